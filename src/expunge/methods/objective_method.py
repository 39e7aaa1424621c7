"""Methods that are one objective and a few fields, carried out by the one loop."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from torch import nn

from expunge.core.errors import RunError
from expunge.methods.contract import Given, Method, Need, Outcome, check
from expunge.schedule.plan import UnlearningPlan, Walk
from expunge.schedule.recipe import Calendar, Optimiser, OptimiserName, Recipe
from expunge.train.loop import Relabel, carry_out
from expunge.train.objective import Loss, StepBatch
from expunge.train.optimiser import make_optimiser
from expunge.train.recorder import FolderRecorder

MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Prepared:
    """What a method made ready before the loop. ``still`` says that nothing may move at all."""

    relabel: Relabel | None = None
    after_update: Callable[[], None] | None = None
    still: bool = False


@dataclass(frozen=True, kw_only=True)
class ObjectiveMethod(Method):
    """Fresh optimiser state (the parent's moments hold F); steps planned from the budget before the first one.

    ``epochs`` None fills the budget; a number stops after so many passes, or at the budget if that comes first.
    """

    rate: float
    epochs: int | None = None
    batch_size: int | None = None
    momentum: float = 0.9
    weight_decay: float | None = None
    calendar: Calendar = Calendar.COSINE
    optimiser: OptimiserName = OptimiserName.SGD

    def __post_init__(self) -> None:
        check(math.isfinite(self.rate) and self.rate >= 0, f"rate {self.rate} must be a finite number from 0")
        check(self.epochs is None or self.epochs >= 0, f"epochs {self.epochs} must be a whole number from 0")
        check(self.batch_size is None or self.batch_size >= 1, f"batch_size {self.batch_size} must be at least 1")
        check(0 <= self.momentum < 1, f"momentum {self.momentum} must lie in [0, 1)")
        check(
            self.weight_decay is None or (math.isfinite(self.weight_decay) and self.weight_decay >= 0),
            f"weight_decay {self.weight_decay} must be a finite number from 0",
        )

    @property
    @abstractmethod
    def walk(self) -> Walk:
        """Which rows an epoch passes over."""

    @abstractmethod
    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        """What a step minimises. ``teacher`` is the frozen original where ``needs`` names it."""

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        """Masks, labels and the like, before the first step."""
        return Prepared()

    @final
    def unlearn(self, given: Given) -> Outcome:
        student = given.student()
        student.train()
        prepared = self.prepare(given, student)
        described = self._optimiser(given.recipe)
        teacher = given.original if Need.ORIGINAL in self.needs else None
        total = 0
        if self.rate > 0 and not prepared.still:
            total = self._affordable(given, student, described, teacher)
        plan = self._plan(given, described, total)
        recorder = given.recorder(total)
        try:
            outcome = carry_out(
                plan,
                student=student,
                objective=self.objective,
                optimiser=make_optimiser(described, student),
                recipe=given.recipe,
                task=given.task,
                examples=given.examples,
                meter=given.meter,
                teacher=teacher,
                recorder=recorder,
                relabel=prepared.relabel,
                after_update=prepared.after_update,
                progress=given.progress,
            )
        finally:
            if isinstance(recorder, FolderRecorder):
                recorder.close()
        stopped = outcome.stopped
        if total == 0 and stopped is None:
            stopped = "nothing to do: rate, epochs, strength or budget is zero or covers no step"
        elif stopped is None and self.epochs is not None and total == self.epochs * plan.steps_per_epoch:
            stopped = f"own epochs ({self.epochs}) are done"
        return Outcome(model=student, steps=outcome.steps, stopped=stopped)

    def _optimiser(self, recipe: Recipe) -> Optimiser:
        return replace(
            recipe.optimiser,
            name=self.optimiser,
            rate=self.rate,
            momentum=self.momentum,
            calendar=self.calendar,
            weight_decay=recipe.optimiser.weight_decay if self.weight_decay is None else self.weight_decay,
        )

    def _plan(self, given: Given, described: Optimiser, total: int) -> UnlearningPlan:
        size = self.batch_size or given.recipe.batch_size
        nobody = np.zeros(0, dtype=np.int64)
        return UnlearningPlan(
            seed=given.seed,
            walk=self.walk,
            retain=given.retain if Need.RETAIN in self.needs else nobody,
            forget=given.forget if Need.FORGET in self.needs else nobody,
            count=given.count,
            retain_batch=size,
            forget_batch=size,
            optimiser=described,
            least_present=given.recipe.least_present,
            total=total,
        )

    def _affordable(self, given: Given, student: nn.Module, described: Optimiser, teacher: nn.Module | None) -> int:
        """Steps that fit into what is left of the budget and into the method's own epochs; nothing is computed."""
        plan = self._plan(given, described, 0)
        most = MOST_STEPS if self.epochs is None else self.epochs * plan.steps_per_epoch
        allowed = given.meter.allowed
        left = math.inf if allowed is None else 3 * allowed + 1e-6 - given.meter.thirds
        spent = steps = costly = 0
        while steps < most:
            batch = StepBatch(plan.step(steps), plan, given.examples, given.task)
            cost = self.objective(student, batch, teacher).thirds
            if spent + cost > left or steps - costly > plan.steps_per_epoch:
                break
            spent += cost
            steps += 1
            costly = steps if cost else costly
        if steps == MOST_STEPS:
            raise RunError(f"{self.name} was given no end: name epochs or a budget")
        return costly


def freeze_batch_norm(model: nn.Module) -> None:
    """Batch norms in eval mode: a batch of forget examples alone would move their statistics to F."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):  # pyright: ignore[reportPrivateUsage]
            module.eval()
