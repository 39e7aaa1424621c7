"""Means over runs: one number per run first, then these.

Student's t throughout. Values that do not vary have no interval here: zero variance is not certainty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from expunge.core.statistics.arrays import Array, as_vector, check_level
from expunge.core.values import Direction, Measurement, Undecided


@dataclass(frozen=True)
class StudentEstimate:
    """A value, its standard error and Student's degrees of freedom."""

    value: float
    error: float
    freedom: float

    def reach(self, level: float) -> float:
        """Half width of the two-sided interval."""
        check_level(level)
        return float(stdtrit(self.freedom, (1.0 + level) / 2.0)) * self.error

    def tail(self, distance: float) -> float:
        """P(noise ≥ distance) if the truth lay ``distance`` away: a one-sided p-value."""
        if self.error == 0.0:
            return 0.0 if distance > 0.0 else 1.0
        return float(stdtr(self.freedom, -distance / self.error))


def spread(values: npt.ArrayLike) -> float:
    """Standard deviation over runs (n − 1); exactly 0 when they differ by rounding only."""
    runs = as_vector(values, "values")
    return 0.0 if float(np.ptp(runs)) <= 1e-12 * float(np.abs(runs).max()) else float(runs.std(ddof=1))


def mean_interval(
    values: npt.ArrayLike,
    level: float = 0.95,
    *,
    scale: str = "fraction",
    direction: Direction = Direction.MATCH,
    unit: str = "run",
) -> Measurement | Undecided:
    """Mean over runs, or over what ``unit`` names, with Student's interval."""
    runs = as_vector(values, "values")
    reason = missing_runs(runs)
    if reason is not None:
        return Undecided(reason)
    estimate = StudentEstimate(float(runs.mean()), spread(runs) / math.sqrt(runs.size), float(runs.size - 1))
    return _measured(estimate, runs.size, level, scale, direction, unit)


def difference_of_means(
    first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95, *, scale: str = "fraction"
) -> Measurement | Undecided:
    """Mean of some examples minus the mean of others, with Welch's interval over examples."""
    groups = as_vector(first, "first"), as_vector(second, "second")
    for group in groups:
        if (reason := missing_runs(group, name="example")) is not None:
            return Undecided(reason)
    parts = [spread(group) ** 2 / group.size for group in groups]
    weight = sum(part**2 / (group.size - 1) for part, group in zip(parts, groups, strict=True))
    value, total = float(groups[0].mean() - groups[1].mean()), groups[0].size + groups[1].size
    freedom = sum(parts) ** 2 / weight if weight > 0.0 else 1.0
    estimate = StudentEstimate(value, math.sqrt(sum(parts)), freedom)
    return _measured(estimate, total, level, scale, Direction.MATCH, "example")


def missing_runs(runs: Array, needed: int = 2, name: str = "run") -> str | None:
    """Why these runs decide nothing, and what would; None when they can."""
    if runs.size < needed:
        return f"needs {needed} {name}{'s' if needed > 1 else ''}, has {runs.size}"
    missing = int((~np.isfinite(runs)).sum())
    if missing:
        return f"{missing} of {runs.size} {name}s are not finite: needs a finite number from each"
    return None


def _measured(
    estimate: StudentEstimate, n: int, level: float, scale: str, direction: Direction, unit: str
) -> Measurement | Undecided:
    reach = estimate.reach(level)
    if reach == 0.0:
        return Undecided(f"all {n} runs give the same: needs the interval over examples, or runs that vary")
    return Measurement(
        value=estimate.value,
        low=estimate.value - reach,
        high=estimate.value + reach,
        n=n,
        unit=unit,
        direction=direction,
        level=level,
        scale=scale,
    )
