"""How the figures of a study are written: the same digits in tables, drawings and docs."""

from __future__ import annotations

from expunge.core.values import Undecided
from expunge.records.figures import Estimate, Figure
from expunge.report.numerals import LARGE, SPACE, bare

DASH = "—"
STYLES = {
    "forget-accuracy": "percent",
    "retain-accuracy": "percent",
    "test-accuracy": "percent",
    "membership-classifier": "percent",
    "loss-threshold": "auc",
    "mean-margin": "margin",
    "average-gap": "points",
    "forgetting-gap": "spreads",
    "utility-gap": "points",
    "cost": "percent",
    "seconds": "seconds",
}


def number(value: float, style: str) -> str:
    """A figure without its unit. ``percent`` and ``points`` are shares times a hundred."""
    if style in ("percent", "points"):
        return bare(value, "fraction")
    if style == "spreads":
        size = abs(value)
        digits = 3 if size < 0.0995 else 2 if size < 9.995 else 1 if size < 99.95 else 0
        text = f"{value:,.{digits}f}" if abs(value) < LARGE else f"{value:.2e}"
        zero = not any(digit in "123456789" for digit in text.split("e")[0])
        return text.lstrip("-") if zero else text.replace("-", "−")
    return bare(value, style)


def signed(value: float, style: str) -> str:
    """A difference, with its sign even where it is positive."""
    text = number(value, style)
    return text if text.startswith("−") or not any(digit in "123456789" for digit in text) else f"+{text}"


def between(figure: Estimate, style: str) -> str:
    """The interval over seeds in brackets, where its ends differ as printed; one seed has none, and that is said."""
    if figure.n == 1:
        return f"n{SPACE}={SPACE}1"
    low, high = number(figure.low, style), number(figure.high, style)
    return "" if low == high else f"[{low},{SPACE}{high}]"


def told(figure: Figure, style: str) -> str:
    """A figure in a line of text."""
    if isinstance(figure, Undecided):
        return f"undecided ({figure.reason})"
    return " ".join(part for part in (number(figure.mean, style), between(figure, style)) if part)
