"""The original's beliefs about the forget set, with the right answer struck out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from expunge.methods.batch_norm import freeze_batch_norm
from expunge.methods.contract import Given, Need
from expunge.methods.divergence import divergence
from expunge.methods.fields import Between, tuned
from expunge.methods.gradient_ascent import BatchNormMode
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Role
from expunge.tasks.classification import Classification
from expunge.tasks.task import Task
from expunge.train.objective import Answer, Loss, Pass, StepBatch


@dataclass(frozen=True, kw_only=True)
class DecoupledDistillation(ObjectiveMethod):
    """Keep the original's beliefs about forgotten rows, but for the right class (DELETE; Zhou et al., 2025).

    Minimises KL(t‖p) on F, with t the original's softmax after the logit of the row's own class is set to −∞. It
    starts from the mean of −log(1 − p_y).
    """

    name = "decoupled-distillation"
    aliases = ("delete",)
    needs = frozenset({Need.FORGET, Need.ORIGINAL})
    citation = "Zhou et al., CVPR 2025"
    work = "4/3 a forgotten row and pass"
    task: ClassVar[type[Task]] = Classification
    rate: float = tuned(1e-4, Between(1e-5, 1e-2))
    epochs: int | float | None = 20
    batch_norm: BatchNormMode = BatchNormMode.EVAL

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        if self.batch_norm is BatchNormMode.EVAL:
            freeze_batch_norm(student)
        return Prepared()

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        assert teacher is not None
        return batch.term(
            _without_the_answer,
            Pass(student, Role.FORGET, writes=self.batch_norm is BatchNormMode.AS_PUBLISHED),
            Pass(teacher, Role.FORGET, gradient=False),
        )


def _without_the_answer(student: Answer, teacher: Answer) -> torch.Tensor:
    others = teacher.outputs.scatter(1, Classification.labels(teacher.batch)[:, None], -torch.inf)
    return divergence(others, student.outputs).mean()
