"""How much models that were trained with a row are surer of it than those that were trained without it."""

from __future__ import annotations

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array

FEWEST = 2
"""Models with a row, and without it, that it takes to say how far either of them scatter."""


def memorised(margins: Array, inside: np.ndarray) -> Array:
    """(μ_in − μ_out)/s̃ of every row, from margins and memberships, (models, rows); higher = better remembered.

    s̃² is the variance within both kinds, pooled, and a quarter of the squared median of its root over all rows: where
    few models happen to agree, a small difference is no large score.
    """
    with_row, without = inside.sum(axis=0), (~inside).sum(axis=0)
    lacking = int(((with_row < FEWEST) | (without < FEWEST)).sum())
    if lacking:
        raise InvalidArgument(
            f"{lacking} of {margins.shape[1]} rows lie in fewer than {FEWEST} of {len(margins)} half models, or in all "
            f"but fewer than {FEWEST}: train more of them, each without another half; 32 are usual"
        )
    means = [(margins * kind).sum(axis=0) / count for kind, count in ((inside, with_row), (~inside, without))]
    apart = (margins - np.where(inside, *means)) ** 2
    variance = apart.sum(axis=0) / (len(margins) - 2)
    return (means[0] - means[1]) / np.sqrt(variance + 0.25 * np.median(np.sqrt(variance)) ** 2)
