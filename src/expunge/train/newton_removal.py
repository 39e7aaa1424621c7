"""Newton steps that take rows out of a linear model, and what they may leave behind: all in float64.

Everything is about ``Σ_c [Σ_i ℓ(w_c·x_i, y_ic) + (λn/2)‖w_c‖² + b_c·w_c]``: every class on its own, sums over rows, so
that noise ``b ~ N(0, σ²I)`` and gradients are in the same unit. ``b`` cancels in a removal: it is needed only to
measure what training left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import torch

from expunge.tasks.linear import LinearTask


class RemovalBound(Enum):
    """How the gradient that a step leaves is bounded (Guo et al., 2020); in both, rows have length 1 at most."""

    WORST_CASE = "worst-case"  # 4γm²C²/(λ²(n−m)), before looking at the rows
    DATA_DEPENDENT = "data-dependent"  # γ‖X‖₂·‖u‖·‖Xu‖, with the step u that was taken


@dataclass(frozen=True)
class LinearRows:
    """Features (rows × p) and labels."""

    features: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Removal:
    """Weights as they will be stored; what each class's gradient may have gained; the rows it took to get here.

    ``gradients`` and ``hessians`` count rows whose gradient or Hessian was computed, passes over the same rows apart.
    """

    weights: torch.Tensor
    added: torch.Tensor
    steps: int
    gradients: int
    hessians: int


def gradient(task: LinearTask, weights: torch.Tensor, rows: LinearRows, decay: float) -> torch.Tensor:
    """``Σ_i ∇ℓ + λnw`` for every class: classes × p."""
    slopes = task.slopes(rows.features @ weights.T, rows.labels)
    return slopes.T @ rows.features + decay * len(rows) * weights


def hessian(task: LinearTask, weights: torch.Tensor, rows: LinearRows, decay: float, label: int) -> torch.Tensor:
    """``Σ_i ℓ″ x xᵀ + λnI`` of one class: p × p."""
    curvatures = task.curvatures(rows.features @ weights.T, rows.labels)[:, label]
    ridge = decay * len(rows) * torch.eye(weights.shape[1], dtype=weights.dtype)
    return (rows.features.T * curvatures) @ rows.features + ridge


def newton_steps(
    task: LinearTask,
    weights: torch.Tensor,
    retain: LinearRows,
    forget: LinearRows,
    decay: float,
    *,
    bound: RemovalBound = RemovalBound.DATA_DEPENDENT,
    stored: torch.dtype = torch.float64,
    kept: torch.Tensor | None = None,
) -> Iterator[Removal]:
    """``w' = w + H⁻¹Δ`` with H on the retain rows and Δ the forget rows' gradient, then further Newton steps.

    A later step removes what the gradient gained before it. Each removal that is yielded is rounded to ``stored``; what
    the rounding and the solver leave is measured and added to the bound. The next step goes on from unrounded weights.
    ``kept`` is the retain rows' gradient at ``weights``, where it is known.
    """
    owed = gradient(task, weights, forget, decay)
    aim = owed
    size = _worst_case_size(task, weights, forget, decay)
    at = weights
    steps, gradients, hessians = 0, len(forget), 0
    while True:
        curvature = torch.stack([hessian(task, at, retain, decay, label) for label in range(len(weights))])
        steps, hessians = steps + 1, hessians + len(retain)
        exact = at + torch.linalg.solve(curvature, aim)
        rounded = exact.to(stored).to(exact.dtype)
        change = rounded - at
        unsolved = _norms(_apply(curvature, change) - aim)
        if bound is RemovalBound.WORST_CASE:
            left = _worst_case(task, size + unsolved, len(retain), decay)
        else:
            left = _data_dependent(task, retain, change)
        yield Removal(rounded, unsolved + left, steps, gradients, hessians)
        if kept is None:
            kept, gradients = gradient(task, weights, retain, decay), gradients + len(retain)
        unsolved = _norms(_apply(curvature, exact - at) - aim)
        size = unsolved + _worst_case(task, size + unsolved, len(retain), decay)
        aim = owed + kept - gradient(task, exact, retain, decay)
        gradients += len(retain)
        at = exact


def _apply(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return torch.einsum("cpq,cq->cp", matrices, vectors)


def _norms(vectors: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(vectors, dim=1)


def _data_dependent(task: LinearTask, retain: LinearRows, change: torch.Tensor) -> torch.Tensor:
    """``‖Xᵀr‖ ≤ ‖X‖₂‖r‖`` with ``|r_i| ≤ γ(x_i·u)²`` and ``|x_i·u| ≤ max‖x‖·‖u‖``."""
    longest = torch.linalg.vector_norm(retain.features, dim=1).max()
    spectral = torch.linalg.eigvalsh(retain.features.T @ retain.features)[-1].clamp(min=0.0).sqrt()
    return task.lipschitz * longest * spectral * _norms(change) * _norms((retain.features @ change.T).T)


def _worst_case(task: LinearTask, size: torch.Tensor, rows: int, decay: float) -> torch.Tensor:
    """``γn‖u‖²`` with ``‖u‖ ≤ size/(λn)``, for a step towards a gradient of length ``size`` at most."""
    return task.lipschitz * size.square() / (decay**2 * rows)


def _worst_case_size(task: LinearTask, weights: torch.Tensor, forget: LinearRows, decay: float) -> torch.Tensor:
    """``‖Δ‖ ≤ m(C + λ‖w‖)``, C = 1. At an optimum without noise ``λ‖w‖ ≤ C``; with noise it may be more, and counts."""
    return len(forget) * (1.0 + (decay * _norms(weights)).clamp(min=1.0))
