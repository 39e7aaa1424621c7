"""Numbers as people read them: the same value always gives the same text, on every machine."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from expunge.core.values import Measurement
from expunge.records.run_file import Result

DASH = "—"
SPACE = "\u00a0"
LARGE = 1e15


def _signed(text: str) -> str:
    """A typographic minus, and none on zero."""
    if text.startswith("-"):
        return text[1:] if not any(digit in "123456789" for digit in text.split("e")[0]) else "−" + text[1:]
    return text


def wrapped(text: str) -> str:
    """Ordinary spaces, which terminals wrap at."""
    return text.replace(SPACE, " ")


def spaced(text: str) -> str:
    """A sentence from elsewhere with its percent signs set as on a page."""
    return re.sub(r"(?<=\d)%", f"{SPACE}%", text)


def bare(value: float, scale: str) -> str:
    """A number without its unit, with the digits that its scale deserves."""
    if scale in ("fraction", "memory"):
        value *= 100
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits = _digits(value, scale)
    if digits is None:
        return _signed(f"{value:.4g}")
    return _signed(f"{value:,.{digits}f}") if abs(value) < LARGE else _far(value)


def _digits(value: float, scale: str) -> int | None:
    """How many decimals; none where the scale is not known here."""
    if scale in ("example-steps", "row-sums"):
        return 0 if value == math.floor(value) else 1
    if scale == "seconds":
        return 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    if scale == "spreads":
        return 3 if abs(value) < 0.0995 else 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    if scale == "error":  # four figures, in whatever unit
        return 3 if value == 0 else min(12, max(0, 3 - math.floor(math.log10(abs(value)))))
    return {"fraction": 1, "memory": 0, "sure": 1, "log": 2, "auc": 3, "margin": 2, "ratio": 2, "r2": 3}.get(scale)


def _far(value: float) -> str:
    return _signed(f"{value:.2e}")


def unit(scale: str) -> str:
    """What stands behind a number of this scale."""
    return {
        "fraction": f"{SPACE}%",
        "memory": f"{SPACE}%",
        "seconds": f"{SPACE}s",
        "example-steps": f"{SPACE}example-steps",
        "row-sums": f"{SPACE}row-sums",
    }.get(scale, "")


def worked(result: Result) -> str:
    """What a run took, in its own unit: sums take no steps, and steps are no sums."""
    if result.row_sums is not None:
        return shown(result.row_sums, "row-sums")
    return shown(result.example_steps, "example-steps")


def shown(value: float, scale: str) -> str:
    """A number with its unit."""
    return bare(value, scale) + unit(scale)


def interval(measured: Measurement) -> str:
    """The interval in brackets; nothing for what was counted, not estimated."""
    if measured.low == measured.high:
        return ""
    level = "" if measured.level == 0.95 else f" at {percent(measured.level)}"
    return f"[{bare(measured.low, measured.scale)},{SPACE}{bare(measured.high, measured.scale)}]{level}"


def percent(share: float) -> str:
    """A share of something as percent: one decimal below ten, none above."""
    value = 100 * share
    digits = 0 if abs(value) >= 9.95 else 1
    return (_signed(f"{value:,.{digits}f}") if abs(value) < LARGE else _far(value)) + f"{SPACE}%"


def probability(value: float) -> str:
    """A p-value with its sign."""
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def short(digest: str) -> str:
    """The first twelve digits of a digest, as errors and info show it."""
    return f"{digest[:12]}…"


def few(names: Sequence[str], most: int) -> str:
    """The first names as a list, the others counted."""
    return listed([*names[:most], *([f"{len(names) - most} more"] if names[most:] else [])])


def listed(names: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
