"""The slow twin of certified removal: one linear model, its minimum, and one Newton step to that without some rows.

The objective is a sum, Σ ℓ(w·x, y) + (λn/2) ‖w‖² + b·w, over the n rows at hand; b is the noise that hides what is
left of removed rows (Guo et al., 2020).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from expunge.core.errors import InvalidArgument, RunError

SUFFICIENT = 1e-4  # share of the promised descent that a step must deliver
FINEST = 2.0**-40  # a step halved below this share is rounding


class LinearLoss(ABC):
    """ℓ of a score w·x and a label, with two derivatives in the score.

    ``lipschitz`` bounds how fast the second one moves: |ℓ″(a) − ℓ″(b)| ≤ lipschitz·|a − b|.
    """

    lipschitz: ClassVar[float]

    @abstractmethod
    def value(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """ℓ of every row."""

    @abstractmethod
    def slope(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """ℓ′ of every row."""

    @abstractmethod
    def curvature(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """ℓ″ of every row."""


class SquaredLoss(LinearLoss):
    """½ (s − y)²."""

    lipschitz = 0.0

    def value(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return 0.5 * (scores - labels).square()

    def slope(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return scores - labels

    def curvature(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(scores)


class LogisticLoss(LinearLoss):
    """log(1 + exp(−y s)) for labels −1 and +1. Its smallest ``lipschitz`` is 1/(6√3); Guo et al. take 1/4."""

    lipschitz = 1 / (6 * math.sqrt(3))

    def value(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(-labels * scores)

    def slope(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return -labels * torch.sigmoid(-labels * scores)

    def curvature(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(scores) * torch.sigmoid(-scores)


@dataclass(frozen=True)
class LinearProblem:
    """What a linear model is trained on: rows (n, d), labels (n), loss, λ, and the noise b (d), all float64."""

    rows: torch.Tensor
    labels: torch.Tensor
    loss: LinearLoss
    decay: float
    noise: torch.Tensor

    def __post_init__(self) -> None:
        count, width = self.rows.shape
        if self.labels.shape != (count,) or self.noise.shape != (width,):
            found = f"labels {tuple(self.labels.shape)} and noise {tuple(self.noise.shape)}"
            raise InvalidArgument(f"{found} do not fit {count} rows of {width} numbers")
        if {self.rows.dtype, self.labels.dtype, self.noise.dtype} != {torch.float64}:
            raise InvalidArgument("rows, labels and noise must be float64: a certificate rests on the rounding")
        if self.decay < 0:
            raise InvalidArgument(f"decay {self.decay} must not be negative: the objective would have no minimum")

    def only(self, chosen: torch.Tensor) -> LinearProblem:
        """The same problem on some of its rows: a mask or indices. λ is multiplied by what is left; the noise stays."""
        return replace(self, rows=self.rows[chosen], labels=self.labels[chosen])


def objective(problem: LinearProblem, weights: torch.Tensor) -> torch.Tensor:
    """Σ ℓ + (λn/2) ‖w‖² + b·w, a scalar."""
    losses = problem.loss.value(problem.rows @ weights, problem.labels).sum()
    pull = 0.5 * problem.decay * len(problem.rows) * weights.square().sum()
    return losses + pull + problem.noise @ weights


def gradient(problem: LinearProblem, weights: torch.Tensor) -> torch.Tensor:
    """Of the objective, (d). Costs 1 example-step a row."""
    return _data_gradient(problem, weights) + problem.noise


def hessian(problem: LinearProblem, weights: torch.Tensor) -> torch.Tensor:
    """Of the objective, (d, d). Costs d products, 2 example-steps a row each."""
    curvatures = problem.loss.curvature(problem.rows @ weights, problem.labels)
    matrix = problem.rows.T @ (curvatures[:, None] * problem.rows)
    matrix.diagonal().add_(problem.decay * len(problem.rows))
    return matrix


def minimise(problem: LinearProblem, start: torch.Tensor, *, tolerance: float = 1e-12, most: int = 100) -> torch.Tensor:
    """The minimum, by Newton's method with halved steps; what is left of the gradient is rounding.

    ``tolerance`` is that of the gradient's norm, relative to the sum of the norms of its terms.
    """
    weights = start
    for _ in range(most):
        slope = gradient(problem, weights)
        if float(slope.norm()) <= tolerance * _size_of_terms(problem, weights):
            return weights
        step = -solved(hessian(problem, weights), slope)
        weights = weights + _share(problem, weights, step, float(slope @ step)) * step
    raise RunError(
        f"Newton's method did not reach a gradient of {tolerance:g}, relative, in {most} iterations: the objective "
        "may have no minimum; raise the decay"
    )


def removal_step(kept: LinearProblem, forgotten: LinearProblem, weights: torch.Tensor) -> torch.Tensor:
    """u = H_R⁻¹ Δ, to be added to the minimum on R ∪ F: Δ = Σ_F ∇ℓ + λ n_F w, H_R = Σ_R ∇²ℓ + λ n_R I.

    Exact for the squared loss. Costs 1 example-step for each row of F and the Hessian of R.
    """
    return solved(hessian(kept, weights), _data_gradient(forgotten, weights))


def residual_bound(kept: LinearProblem, step: torch.Tensor, lipschitz: float | None = None) -> torch.Tensor:
    """What the norm of R's gradient cannot exceed after the step: γ · max ‖x‖ · ‖X_R‖₂ · ‖u‖ · ‖X_R u‖.

    Guo et al. (2020) scale rows to ‖x‖ ≤ 1 and leave the longest row out; without it the bound does not hold for
    longer rows. γ is the loss's ``lipschitz`` unless given. What the weights before the step lacked to the minimum on
    R ∪ F comes on top.
    """
    gamma = kept.loss.lipschitz if lipschitz is None else lipschitz
    longest = kept.rows.norm(dim=1).max()
    return gamma * longest * torch.linalg.matrix_norm(kept.rows, 2) * step.norm() * (kept.rows @ step).norm()


def solved(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """x with A x = b for a symmetric positive definite A."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed):
        raise RunError("the Hessian is not positive definite: the rows do not decide all weights; raise the decay")
    return torch.cholesky_solve(right[:, None], factor)[:, 0]


def _data_gradient(problem: LinearProblem, weights: torch.Tensor) -> torch.Tensor:
    """Without the noise, which belongs to the model and not to any row."""
    slopes = problem.loss.slope(problem.rows @ weights, problem.labels)
    return problem.rows.T @ slopes + problem.decay * len(problem.rows) * weights


def _size_of_terms(problem: LinearProblem, weights: torch.Tensor) -> float:
    slopes = problem.loss.slope(problem.rows @ weights, problem.labels)
    terms = (slopes.abs() @ problem.rows.norm(dim=1), problem.noise.norm(), weights.norm() * problem.decay)
    return float(terms[0] + terms[1] + terms[2] * len(problem.rows))


def _share(problem: LinearProblem, weights: torch.Tensor, step: torch.Tensor, promised: float) -> float:
    """The largest power of ½ by which the step descends enough; 1 where the descent is lost in rounding."""
    before = float(objective(problem, weights))
    if -promised <= 1e-12 * abs(before):
        return 1.0
    share = 1.0
    while float(objective(problem, weights + share * step)) > before + SUFFICIENT * share * promised and share > FINEST:
        share /= 2
    return share
