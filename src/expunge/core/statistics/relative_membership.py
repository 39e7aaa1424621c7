"""How much likelier a row is under a model than under others, counted against rows that nobody was trained on.

Zarifzadeh, Liu and Shokri, Low-Cost High-Power Membership Inference Attacks (RMIA, 2024), offline. Higher = more like a
member.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from expunge.core.statistics.arrays import Array, as_vector

GAMMA = 1.0
OFFLINE = tuple(np.linspace(0.0, 1.0, 11).tolist())
"""Values that ``offline`` is chosen from."""


def likelihood_ratios(own: npt.ArrayLike, out: npt.ArrayLike, offline: float) -> Array:
    """p(x|θ) ÷ p(x), where p(x) = ½((1 + a)·p_out(x) + (1 − a)).

    ``own`` are a model's confidences in the true labels, ``out`` the mean ones of models that were not trained on these
    rows, ``offline`` is a: how far these lie below what models trained on them would say.
    """
    usual = 0.5 * ((1.0 + offline) * as_vector(out, "out") + (1.0 - offline))
    return as_vector(own, "own") / np.maximum(usual, np.finfo(np.float64).tiny)


def relative_scores(rows: npt.ArrayLike, compared: npt.ArrayLike) -> Array:
    """For every row the share of those compared with whose ratio it reaches, γ = 1; from ``likelihood_ratios``."""
    ordered = np.sort(GAMMA * as_vector(compared, "compared"))
    return np.searchsorted(ordered, as_vector(rows, "rows"), side="right") / ordered.size
