"""How well numbers are answered: mean absolute error and share of the variance, with intervals over examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from expunge.core.statistics.arrays import Array, as_vector
from expunge.core.statistics.means import mean_interval, missing_runs
from expunge.core.values import Direction, Figure, Measurement, Undecided

DRAWS = 2000
SAME = "all targets are the same: needs some that differ"


def fit_of_numbers(answers: npt.ArrayLike, residuals: npt.ArrayLike) -> dict[str, float]:
    """``mae`` in the targets' units and ``r2`` of one example at least; where all targets are one there is no R².

    A residual is the answer minus its target. R² is 0 for always answering the mean of these targets.
    """
    given, missed = as_vector(answers, "answers"), as_vector(residuals, "residuals")
    found = {"mae": float(np.abs(missed).mean())}
    shares = _r_squared(given - missed, missed)
    return {**found, "r2": float(shares)} if np.isfinite(shares) else found


def residual_unit(models: Sequence[npt.ArrayLike]) -> float | None:
    """Standard deviation of some models' residuals on rows that they were not trained on, averaged over the models.

    None where there is none: fewer than 2 rows, or nothing finite that varies.
    """
    spreads = [float(values.std(ddof=1)) for one in models if (values := as_vector(one, "residuals")).size > 1]
    known = [found for found in spreads if np.isfinite(found)]
    return float(np.mean(known)) if any(known) else None


def margins_of_numbers(residuals: npt.ArrayLike, unit: float) -> Array:
    """φ = −|residual| ÷ unit: 0 where the label is answered exactly; higher = more like a member."""
    return -np.abs(as_vector(residuals, "residuals")) / unit


def mean_absolute_error(residuals: npt.ArrayLike, *, direction: Direction = Direction.LOW) -> Figure:
    """Mean of |residual| in the targets' units, with Student's interval over examples."""
    missed = np.abs(as_vector(residuals, "residuals"))
    found = mean_interval(missed, scale="error", direction=direction, unit="example")
    return replace(found, low=max(0.0, found.low)) if isinstance(found, Measurement) else found


def r_squared(answers: npt.ArrayLike, residuals: npt.ArrayLike, *, direction: Direction = Direction.HIGH) -> Figure:
    """1 − Σ residual² / Σ (target − mean target)², with the bootstrap's percentile interval over examples."""
    given, missed = as_vector(answers, "answers"), as_vector(residuals, "residuals")
    reason = missing_runs(missed, name="example")
    if reason is not None:
        return Undecided(reason)
    targets = given - missed
    value = float(_r_squared(targets, missed))
    if not np.isfinite(value):
        return Undecided(SAME)
    drawn = np.random.Generator(np.random.Philox(key=0)).integers(missed.size, size=(DRAWS, missed.size))
    values = np.array([_r_squared(targets[rows], missed[rows]) for rows in drawn])
    low, high = np.quantile(values[np.isfinite(values)], (0.025, 0.975))
    return Measurement(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=missed.size,
        unit="example",
        direction=direction,
        scale="r2",
    )


def _r_squared(targets: np.ndarray, residuals: np.ndarray) -> float:
    """NaN where all targets are the same but for rounding."""
    around = float(((targets - targets.mean()) ** 2).sum())
    if around <= 1e-20 * float((targets**2).sum()):
        return float("nan")
    return 1.0 - float((residuals**2).sum()) / around
