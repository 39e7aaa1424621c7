"""Convex losses that treat every class on its own: squared, and one-vs-all logistic."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import nn

from expunge.tasks.task import Batch, ClassTask


class LinearTask(ClassTask):
    """A sum over classes of one convex function of each score; under a linear model training has one minimum.

    ``lipschitz`` bounds how fast the second derivative moves: |ℓ″(a) − ℓ″(b)| ≤ lipschitz·|a − b|.
    """

    takes: ClassVar[str] = "a loss that is convex in every score (`task` logistic or squared, with `model` linear)"
    lipschitz: ClassVar[float]

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        scores = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
        return self.each(scores, self.labels(batch)).sum(dim=1)

    @abstractmethod
    def each(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """ℓ for every row and class."""

    @abstractmethod
    def slopes(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """ℓ′ in the score, for every row and class."""

    @abstractmethod
    def curvatures(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """ℓ″ in the score, for every row and class."""


class Squared(LinearTask):
    """Scores against one-hot targets: ½‖z − onehot(y)‖², summed over classes.

    Squared loss is the likelihood of a unit Gaussian around the class's code, under which the posterior of class c is
    proportional to exp(z_c): so the scores are logits of a belief as they stand. It ranks classes as the scores do; it
    is flat (scores lie near 0 and 1), so confidences are low even where every answer is right.
    """

    name = "squared"
    lipschitz = 0.0

    def each(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return 0.5 * self.slopes(scores, labels).square()

    def slopes(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return scores - _member(scores, labels)

    def curvatures(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(scores)


class Logistic(LinearTask):
    """Each class against all others: log(1 + exp(−s·z)) with s = ±1, summed over classes; scores are log-odds.

    The belief is every class's probability on its own, divided by their sum. ``lipschitz`` is the 1/4 of Guo et al.;
    the smallest valid value is 1/(6√3) ≈ .0962.
    """

    name = "logistic"
    lipschitz = 0.25

    def each(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.softplus(-_sign(scores, labels) * scores)

    def slopes(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        sign = _sign(scores, labels)
        return -sign * torch.sigmoid(-sign * scores)

    def curvatures(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(scores) * torch.sigmoid(-scores)

    def beliefs(self, outputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.logsigmoid(outputs)


def _member(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """1 in the column of the row's class, 0 elsewhere."""
    return nn.functional.one_hot(labels, scores.shape[1]).to(scores.dtype)


def _sign(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """+1 in the column of the row's class, −1 elsewhere."""
    return 2.0 * _member(scores, labels) - 1.0
