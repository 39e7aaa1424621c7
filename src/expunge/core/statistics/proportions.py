"""Shares of examples, with exact intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import as_vector, check_level
from expunge.core.values import Direction, Measurement, Undecided


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share from ``successes`` of ``n``, covering at least ``level`` at every true share.

    Clopper and Pearson (1934), from quantiles of the beta distribution.
    """
    check_level(level)
    if not 0 <= successes <= n or n < 1:
        raise InvalidArgument(f"{successes} of {n} is no share: 0 ≤ successes ≤ n and n ≥ 1 are needed")
    tail = (1.0 - level) / 2.0
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1.0 - tail))
    return low, high


def proportion(
    flags: npt.ArrayLike, level: float = 0.95, *, direction: Direction = Direction.MATCH
) -> Measurement | Undecided:
    """Share of examples whose flag is 1, in [0, 1], with its Clopper–Pearson interval over examples."""
    check_level(level)
    values = as_vector(flags, "flags")
    if values.size == 0:
        return Undecided("no example to take a share of: needs at least 1, has 0")
    missing = int(np.isnan(values).sum())
    if missing:
        return Undecided(f"{missing} of {values.size} flags are NaN: needs finite outputs for every example")
    if not np.isin(values, (0.0, 1.0)).all():
        raise InvalidArgument("flags must be 0 or 1: a share counts examples")
    successes = int(values.sum())
    low, high = clopper_pearson(successes, values.size, level)
    value = successes / values.size
    return Measurement(
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=values.size,
        unit="example",
        direction=direction,
        level=level,
    )
