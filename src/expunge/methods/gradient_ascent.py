"""Climbing on the forget set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from torch import nn

from expunge.methods.batch_norm import freeze_batch_norm
from expunge.methods.contract import Given, Need
from expunge.methods.fields import Between, tuned
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.train.objective import Loss, StepBatch


class BatchNormMode(Enum):
    """Eval keeps running statistics out of it; as published, batches of forget examples set the statistics."""

    EVAL = "eval"
    AS_PUBLISHED = "as-published"


@dataclass(frozen=True, kw_only=True)
class GradientAscent(ObjectiveMethod):
    """Climb the loss of the forget set until its epochs or the budget end (GA; Thudi et al., 2022)."""

    name = "gradient-ascent"
    aliases = ("ga",)
    needs = frozenset({Need.FORGET})
    citation = "Thudi et al., EuroS&P 2022"
    work = "1 a forgotten row and pass"
    rate: float = tuned(1e-4, Between(1e-6, 1e-1))
    epochs: int | float | None = 10
    batch_norm: BatchNormMode = BatchNormMode.EVAL

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        if self.batch_norm is BatchNormMode.EVAL:
            freeze_batch_norm(student)
        return Prepared()

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return -batch.forget_loss(student, writes=self.batch_norm is BatchNormMode.AS_PUBLISHED)
