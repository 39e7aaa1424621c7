"""Two teachers: one that knows nothing for the forget set, the original for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from expunge.methods.contract import Given, Need, check
from expunge.methods.divergence import softened_divergence
from expunge.methods.fields import Between, tuned
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Role, Walk
from expunge.schedule.recipe import OptimiserName
from expunge.tasks.classification import Classification
from expunge.tasks.task import Task
from expunge.train.objective import Loss, Pass, StepBatch


class Teachers(nn.Module):
    """Both teachers, frozen and in eval mode."""

    def __init__(self, *, incompetent: nn.Module, competent: nn.Module) -> None:
        super().__init__()
        self.incompetent = incompetent
        self.competent = competent
        self.eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class BadTeacher(ObjectiveMethod):
    """Follow an untrained network on the forget set and the original on a sample of the rest (Chundawat et al., 2023).

    The loss is KL(t‖p) averaged over a step's rows: t is the belief of the recipe's initial weights on F, and of the
    original on ``retain_share`` of R. ``forget_weight`` scales the rows of F; at a ``temperature`` other than 1 both
    sides are softened, and the loss is multiplied by its square.
    """

    name = "bad-teacher"
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.ORIGINAL, Need.INIT})
    citation = "Chundawat et al., AAAI 2023"
    work = "4/3 a forgotten or sampled retained row and pass"
    task: ClassVar[type[Task]] = Classification
    rate: float = tuned(1e-4, Between(1e-5, 1e-2))
    epochs: int | float | None = 1
    optimiser: OptimiserName = OptimiserName.ADAM
    retain_share: float = 0.3
    forget_weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.retain_share <= 1, f"retain_share {self.retain_share} must be a share between 0 and 1")
        check(
            math.isfinite(self.forget_weight) and self.forget_weight >= 0,
            f"forget_weight {self.forget_weight} must be a finite number from 0",
        )
        check(
            math.isfinite(self.temperature) and self.temperature > 0,
            f"temperature {self.temperature} must be a finite number above 0",
        )

    @property
    def walk(self) -> Walk:
        return Walk.SPLIT

    def members(self, given: Given) -> tuple[np.ndarray, np.ndarray]:
        retain = given.retain
        return given.sample(retain, round(self.retain_share * len(retain))), given.forget

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        return Prepared(teacher=Teachers(incompetent=given.initial(), competent=given.original))

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        assert isinstance(teacher, Teachers)
        pulled = softened_divergence(self.temperature)
        forgotten = batch.term(
            pulled, Pass(student, Role.FORGET), Pass(teacher.incompetent, Role.FORGET, gradient=False)
        )
        retained = batch.term(
            pulled, Pass(student, Role.RETAIN, writes=True), Pass(teacher.competent, Role.RETAIN, gradient=False)
        )
        return batch.share(Role.FORGET) * self.forget_weight * forgotten + batch.share(Role.RETAIN) * retained
