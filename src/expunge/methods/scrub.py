"""Away from the original on the forget set, towards it on the retain set, in turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from expunge.methods.contract import Need, check
from expunge.methods.divergence import softened_divergence
from expunge.methods.fields import Among, Between, tuned
from expunge.methods.objective_method import ObjectiveMethod
from expunge.schedule.plan import Role, Stretch, Walk
from expunge.schedule.recipe import Calendar, OptimiserName, Recipe
from expunge.tasks.classification import Classification
from expunge.tasks.task import Task
from expunge.train.objective import Loss, Pass, StepBatch

MILESTONES = (0.5, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class Scrub(ObjectiveMethod):
    """Leave the original's beliefs on the forget set and keep to them on the retain set (SCRUB; Kurmanji et al., 2023).

    Each of the first ``forget_epochs`` epochs begins with a pass over F that climbs T²·KL(p₀‖p) at ``temperature`` T;
    every epoch has a pass over R that descends ``cross_entropy``·CE + ``distillation``·T²·KL(p₀‖p). At the start the
    student is the teacher, where the divergence is flat: without batch norm, dropout and weight decay the first forget
    pass moves nothing, and it is the retain passes that give the later ones their slope. The last weights are the
    result; none are chosen by how well they do. ``batch_size`` is that of retain passes.
    """

    name = "scrub"
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.ORIGINAL})
    citation = "Kurmanji et al., NeurIPS 2023"
    work = "4/3 a row and pass"
    task: ClassVar[type[Task]] = Classification
    rate: float = tuned(5e-4, Between(1e-5, 1e-2))
    epochs: int | float | None = 10
    batch_size: int | None = 64
    forget_batch_size: int | None = 32
    optimiser: OptimiserName = OptimiserName.ADAM
    calendar: Calendar = Calendar.STEP
    forget_epochs: int = 3
    cross_entropy: float = 1.0
    distillation: float = tuned(0.5, Between(1e-3, 10.0))
    temperature: float = tuned(2.0, Among((2.0, 4.0)))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cross_entropy", "distillation"):
            value = getattr(self, name)
            check(math.isfinite(value) and value >= 0, f"{name} {value} must be a finite number from 0")
        check(
            math.isfinite(self.temperature) and self.temperature > 0,
            f"temperature {self.temperature} must be a finite number above 0",
        )
        check(self.forget_epochs >= 0, f"forget_epochs {self.forget_epochs} must be a whole number from 0")
        check(
            self.forget_batch_size is None or self.forget_batch_size >= 1,
            f"forget_batch_size {self.forget_batch_size} must be at least 1",
        )

    def stretches(self, recipe: Recipe) -> Sequence[Stretch]:
        """F, R, F, R, …, R under one optimiser, whose rate falls tenfold at 50, 80 and 90 % of all steps."""
        return [
            self.stretch(recipe, walk, epochs, forget_batch=self.forget_batch_size, milestones=MILESTONES, decay=0.1)
            for walk, epochs in self._passes()
        ]

    def _passes(self) -> Iterator[tuple[Walk, float | None]]:
        wanted = math.inf if self.epochs is None else self.epochs
        retained = self.cross_entropy > 0 or self.distillation > 0  # else a retain pass has nothing to compute
        forgetting = min(self.forget_epochs, math.ceil(wanted)) if wanted < math.inf else self.forget_epochs
        for epoch in range(forgetting):
            yield Walk.FORGET, 1
            if retained:
                yield Walk.RETAIN, min(1.0, wanted - epoch)
        if retained or not forgetting:
            yield Walk.RETAIN, None if self.epochs is None else max(0.0, self.epochs - forgetting)

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        assert teacher is not None
        pulled = softened_divergence(self.temperature)
        kept = batch.term(pulled, Pass(student, Role.RETAIN, writes=True), Pass(teacher, Role.RETAIN, gradient=False))
        left = batch.term(pulled, Pass(student, Role.FORGET), Pass(teacher, Role.FORGET, gradient=False))
        return self.cross_entropy * batch.retain_loss(student) + self.distillation * kept - left
