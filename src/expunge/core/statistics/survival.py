"""How long something takes, where not everything that was watched came to its end."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import as_vector


def log_rank(
    first: npt.ArrayLike, first_ended: npt.ArrayLike, second: npt.ArrayLike, second_ended: npt.ArrayLike
) -> float:
    """z of the log-rank test (Mantel, 1966); above 0 where the first group takes longer, N(0, 1) where it does not.

    Times, and whether each ended then or was no longer watched. 0 where nothing ended while both were watched.
    """
    times = as_vector(first, "first"), as_vector(second, "second")
    ended = np.asarray(first_ended, dtype=bool), np.asarray(second_ended, dtype=bool)
    if any(time.shape != end.shape or not time.size for time, end in zip(times, ended, strict=True)):
        raise InvalidArgument("a log-rank test needs for every time of two groups whether it ended there")
    expected = variance = 0.0
    for time in np.unique(np.concatenate([time[end] for time, end in zip(times, ended, strict=True)])):
        mine, theirs = (int((own >= time).sum()) for own in times)
        ends = sum(int(((own == time) & end).sum()) for own, end in zip(times, ended, strict=True))
        watched = mine + theirs
        expected += ends * mine / watched
        if watched > 1:
            variance += ends * mine * theirs * (watched - ends) / (watched**2 * (watched - 1))
    return (expected - int(ended[0].sum())) / math.sqrt(variance) if variance else 0.0
