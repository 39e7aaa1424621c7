"""Signals of one example, from logits in float64 and never from rounded probabilities.

A row that holds NaN or +∞ gives NaN: it is missing evidence, and what sums it up answers ``Undecided``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array, as_rows


def margins(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """φ = z_y − logsumexp of the other logits = log(p_y / (1 − p_y)), in nats; higher = more like a member.

    Carlini et al., Membership Inference Attacks From First Principles (2022). Finite at logits of ±1e4.
    """
    rows, targets = as_rows(logits, labels, "logits")
    chosen = np.arange(len(rows)), targets
    own = rows[chosen]
    others = rows.copy()
    others[chosen] = -np.inf
    with np.errstate(invalid="ignore", divide="ignore"):
        top = np.where(np.isneginf(others.max(axis=1)), 0.0, others.max(axis=1))
        result = own - (top + np.log(np.exp(others - top[:, None]).sum(axis=1)))
    return np.where(_usable(rows), result, np.nan)


def losses(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """ℓ = −log p_y = log(1 + e^−φ), in nats; lower = more like a member. Keeps its digits near p_y = 1."""
    return losses_at(margins(logits, labels))


def losses_at(margin: Array) -> Array:
    """ℓ at margins that are known."""
    with np.errstate(invalid="ignore"):
        return np.logaddexp(0.0, -margin)


def probabilities(logits: npt.ArrayLike) -> Array:
    """Softmax of every row, (n, C)."""
    rows, _ = as_rows(logits, np.zeros(len(np.asarray(logits)), dtype=np.int64), "logits")
    with np.errstate(invalid="ignore"):
        shifted = np.exp(rows - rows.max(axis=1, keepdims=True))
        return shifted / shifted.sum(axis=1, keepdims=True)


def correct(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """1 where the largest logit (the first, if tied) is the label's, 0 elsewhere, NaN in an unusable row."""
    rows, targets = as_rows(logits, labels, "logits")
    return np.where(_usable(rows), (rows.argmax(axis=1) == targets).astype(np.float64), np.nan)


def entropy(probabilities: npt.ArrayLike) -> Array:
    """−Σ p log p of every row, in nats; lower = more like a member. Terms with p = 0 are 0."""
    rows = np.asarray(probabilities, dtype=np.float64)
    checked, _ = _distributions(rows, np.zeros(len(np.atleast_1d(rows)), dtype=np.int64))
    return entr(checked).sum(axis=1)


def modified_entropy(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """M = −(1 − p_y) log p_y − Σ_{c≠y} p_c log(1 − p_c), in nats; lower = more like a member.

    Song and Mittal, Systematic Evaluation of Privacy Risks of Machine Learning Models (2021). Probabilities
    are held below 1 − 1e-12, and p_y above the smallest float: a sure and wrong answer is large, not
    infinite.
    """
    rows, targets = _distributions(probabilities, labels)
    held = np.minimum(rows, 1.0 - 1e-12)
    chosen = np.arange(len(rows)), targets
    own = np.maximum(held[chosen], np.finfo(np.float64).tiny)
    others = held * np.log1p(-held)
    others[chosen] = 0.0
    return -(1.0 - own) * np.log(own) - others.sum(axis=1)


def _usable(rows: Array) -> npt.NDArray[np.bool_]:
    """No NaN, a finite largest logit; −∞ is a class that cannot be, and allowed."""
    return ~np.isnan(rows).any(axis=1) & np.isfinite(rows.max(axis=1))


def _distributions(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
) -> tuple[Array, npt.NDArray[np.int64]]:
    rows, targets = as_rows(probabilities, labels, "probabilities")
    present = rows[~np.isnan(rows).any(axis=1)]
    if present.size and (present.min() < 0.0 or np.abs(present.sum(axis=1) - 1.0).max() > 1e-3):
        raise InvalidArgument(
            "probabilities must be at least 0 and sum to 1 in every row: these look like logits; "
            "pass them through probabilities() first"
        )
    return rows, targets
