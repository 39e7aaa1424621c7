"""Medians with intervals that assume nothing about the distribution: heavy tails and exact zeros are welcome."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import as_vector, check_level
from expunge.core.values import Direction, Measurement, Undecided


def median_interval(
    values: npt.ArrayLike,
    level: float = 0.95,
    *,
    scale: str = "fraction",
    direction: Direction = Direction.MATCH,
) -> Measurement | Undecided:
    """Median over examples with the interval between two order statistics.

    It covers the true median with probability ``level`` at least, whatever the distribution: the number of values below
    the median is binomial. At .95 it takes 6 values.
    """
    check_level(level)
    ordered = np.sort(as_vector(values, "values"))
    if not np.isfinite(ordered).all():
        raise InvalidArgument(f"{int((~np.isfinite(ordered)).sum())} of {ordered.size} values are not finite numbers")
    rank = int(binom.ppf((1.0 - level) / 2.0, ordered.size, 0.5)) if ordered.size else 0
    if rank < 1:
        return Undecided(f"{ordered.size} values give no interval of the median at {level:g}: needs more examples")
    return Measurement(
        value=float(np.median(ordered)),
        low=float(ordered[rank - 1]),
        high=float(ordered[-rank]),
        n=int(ordered.size),
        unit="example",
        direction=direction,
        level=level,
        scale=scale,
    )
