"""Intervals without normality. Draws are fixed, and the order of the runs does not matter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from expunge.core.statistics.arrays import as_vector, check_level
from expunge.core.statistics.means import missing_runs, spread
from expunge.core.values import Direction, Measurement, Undecided


def bootstrap_interval(
    values: npt.ArrayLike,
    level: float = 0.95,
    *,
    draws: int = 10_000,
    key: int = 0,
    scale: str = "fraction",
    direction: Direction = Direction.MATCH,
) -> Measurement | Undecided:
    """Mean over runs with the bootstrap's percentile interval (Efron, 1979), drawn by Philox from ``key``.

    It is too narrow for few runs: of normal means it covers .83, .89, .91, .92 at 5, 8, 12, 16, instead of
    .95. Student's interval (``mean_interval``) does not suffer from that; this one does without normality.
    """
    check_level(level)
    runs = np.sort(as_vector(values, "values"))
    reason = missing_runs(runs)
    if reason is None and spread(runs) == 0.0:
        reason = f"all {runs.size} runs give the same: needs the interval over examples, or runs that vary"
    if reason is not None:
        return Undecided(reason)
    generator = np.random.Generator(np.random.Philox(key=key))
    means = runs[generator.integers(runs.size, size=(draws, runs.size))].mean(axis=1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    value = float(runs.mean())
    return Measurement(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=runs.size,
        unit="run",
        direction=direction,
        level=level,
        scale=scale,
    )
