"""How the figures of a study are written: the same digits in tables, drawings and docs."""

from __future__ import annotations

from expunge.core.values import Undecided
from expunge.records.figures import Estimate, MeanFigure
from expunge.report.numerals import SPACE, bare

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
    return bare(value, "fraction" if style in ("percent", "points") else style)


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


def told(figure: MeanFigure, style: str) -> str:
    """A figure in a line of text."""
    if isinstance(figure, Undecided):
        return f"undecided ({figure.reason})"
    return " ".join(part for part in (number(figure.mean, style), between(figure, style)) if part)
