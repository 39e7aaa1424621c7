"""Intervals and p-values without normality. Draws are fixed, and the order of the runs does not matter."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import numpy.typing as npt

from expunge.core.statistics.arrays import as_vector, check_level
from expunge.core.statistics.means import missing_runs, spread
from expunge.core.values import Direction, Measurement, Undecided

EXACT = 20_000
"""Up to this many ways to split the runs, all of them are counted: 8 + 8 runs split in 12,870 ways."""


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


def permutation_p(
    first: npt.ArrayLike, second: npt.ArrayLike, *, draws: int = 9_999, key: int = 0
) -> float | Undecided:
    """Two-sided p-value of equal distributions from |mean(first) − mean(second)| (Fisher, 1935).

    Exact where the splits can all be counted, else (1 + draws as extreme) / (1 + draws). Printed beside a
    verdict from 8 runs on; the smallest p that n + n runs can give is 2 / C(2n, n), .029 at 4 + 4.
    """
    a, b = as_vector(first, "first"), as_vector(second, "second")
    reason = missing_runs(a) or missing_runs(b)
    if reason is not None:
        return Undecided(reason)
    pool = np.sort(np.concatenate([a, b]))
    seen = abs(float(a.mean() - b.mean())) - 1e-12 * float(np.abs(pool).max())
    if math.comb(pool.size, a.size) <= EXACT:
        chosen = np.array(list(combinations(range(pool.size), a.size)))
    else:
        generator = np.random.Generator(np.random.Philox(key=key))
        chosen = np.argsort(generator.random((draws, pool.size)), axis=1)[:, : a.size]
    taken = pool[chosen].sum(axis=1)
    extreme = int((np.abs(taken / a.size - (pool.sum() - taken) / b.size) >= seen).sum())
    if math.comb(pool.size, a.size) <= EXACT:
        return extreme / len(chosen)
    return (1 + extreme) / (1 + len(chosen))
