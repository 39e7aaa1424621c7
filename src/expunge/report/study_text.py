"""How the figures of a study are written: the same digits in tables, drawings and docs."""

from __future__ import annotations

import math

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
    "cost": "share",
    "memory": "memory",
    "seconds": "seconds",
    "typicality": "log",
    "margin-above-holdout": "margin",
    "relative-membership": "auc",
    "difference": "auc",
    "tug-of-war": "auc",
    "per-class-accuracy": "points",
    "calibration": "percent",
    "brier-score": "r2",
    "test-file-accuracy": "percent",
    "test-file-mae": "error",
    "test-file-r2": "r2",
    "test-loss": "r2",
    "forget-error": "error",
    "retain-error": "error",
    "test-error": "error",
    "forget-r2": "r2",
    "retain-r2": "r2",
    "test-r2": "r2",
    "head-refit": "percent",
    "head-refit-margin": "margin",
    "relearn": "log",
    "relearn-log-rank": "log",
    "relearn-transfer": "margin",
    "likelihood-ratio": "auc",
    "likelihood-ratio-offline": "auc",
    "epsilon-lower-bound": "log",
    "unlearning-likelihood-ratio": "auc",
    "margin-divergence": "log",
    "weight-distance": "ratio",
    "feature-similarity": "auc",
}
FEWEST = 3  # seeds for an interval
SCALES = {"percent": (0.0, 1.0), "auc": (0.0, 1.0)}


def number(value: float, style: str) -> str:
    """A figure without its unit. ``percent``, ``share`` and ``points`` are shares times a hundred."""
    return bare(value, "fraction" if style in ("percent", "points", "share") else style)


def signed(value: float, style: str) -> str:
    """A difference, with its sign even where it is positive."""
    text = number(value, style)
    return text if text.startswith("−") or not any(digit in "123456789" for digit in text) else f"+{text}"


def between(figure: Estimate, style: str, *, clipped: bool = True) -> str:
    """The interval over seeds in brackets, where its ends differ as printed.

    It is cut to the figure's scale, and two seeds have none, unless ``clipped`` is false; one seed has none ever.
    """
    if figure.n == 1 or (clipped and figure.n < FEWEST):
        return f"n{SPACE}={SPACE}{figure.n}"
    ends = within(figure, style) if clipped else (figure.low, figure.high)
    low, high = (number(end, style) for end in ends)
    return "" if low == high else f"[{low},{SPACE}{high}]"


def within(figure: Estimate, style: str) -> tuple[float, float]:
    """The interval as far as its scale goes."""
    least, most = SCALES.get(style, (-math.inf, math.inf))
    if not least <= figure.mean <= most:
        return figure.low, figure.high
    return max(figure.low, least), min(figure.high, most)


def told(figure: MeanFigure, style: str) -> str:
    """A figure in a line of text."""
    if isinstance(figure, Undecided):
        return f"undecided ({figure.reason})"
    return " ".join(part for part in (number(figure.mean, style), between(figure, style)) if part)
