"""How well confidences fit what happens; lower = better."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array, as_vector
from expunge.core.statistics.means import missing_runs
from expunge.core.values import Direction, Measurement, Undecided

BINS = 15
MINIMUM = 500
"""Fewest examples of an expected calibration error: a perfect model of 200 already reads about .05."""
DRAWS = 500


def calibration_error(confidences: npt.ArrayLike, correct: npt.ArrayLike) -> Measurement | Undecided:
    """Expected calibration error (Naeini et al., 2015): mean over bins of |share right − mean confidence|.

    Bins hold equally many examples, in the order of their confidence. It is above 0 for a perfect model too: read it
    beside references. The interval is the bootstrap's over examples, bins held.
    """
    sure, right = as_vector(confidences, "confidences"), as_vector(correct, "correct")
    if sure.shape != right.shape:
        raise InvalidArgument(f"{sure.size} confidences and {right.size} answers: one of each per example is needed")
    reason = missing_runs(sure + right, MINIMUM, "example")
    if reason is not None:
        return Undecided(reason)
    order = np.lexsort((right, sure))
    off, edges = (right - sure)[order], np.arange(sure.size) * BINS // sure.size
    drawn = np.random.Generator(np.random.Philox(key=0)).integers(sure.size, size=(DRAWS, sure.size))
    low, high = np.quantile([_error(off[rows], edges[rows]) for rows in drawn], (0.025, 0.975))
    value = _error(off, edges)
    return Measurement(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=sure.size,
        unit="example",
        direction=Direction.LOW,
    )


def squared_errors(beliefs: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """Σ_c (p_c − 1[c = y])² of every row (Brier, 1950), in [0, 2]."""
    rows = np.asarray(beliefs, dtype=np.float64)
    hits = np.asarray(labels)[:, None] == np.arange(rows.shape[1])
    return ((rows - hits) ** 2).sum(axis=1)


def _error(off: Array, bins: npt.NDArray[np.int64]) -> float:
    return float(np.abs(np.bincount(bins, off, BINS)).sum() / off.size)
