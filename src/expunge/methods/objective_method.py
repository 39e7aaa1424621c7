"""Methods that are one objective and a few fields, carried out by the one loop."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from torch import nn

from expunge.core.errors import RunError
from expunge.methods.batch_norm import calibration_rows, recalibrate
from expunge.methods.contract import Given, Method, Need, Outcome, check
from expunge.schedule.plan import Plan, Stretch, UnlearningPlan, Walk
from expunge.schedule.recipe import Calendar, Optimiser, OptimiserName, Recipe
from expunge.train.loop import Hooks, carry_out
from expunge.train.objective import Extras, Loss, StepBatch
from expunge.train.optimiser import make_optimiser
from expunge.train.recorder import FolderRecorder
from expunge.train.state import weights_digest

MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Prepared:
    """What a method made ready before the loop. ``still`` says why nothing may move at all, if so.

    ``teacher`` stands in the place of the original alone; ``finish`` is done to the student after the last step.
    """

    extras: Extras = field(default_factory=Extras)
    hooks: Hooks = field(default_factory=Hooks)
    teacher: nn.Module | None = None
    finish: Callable[[], None] | None = None
    still: str | None = None
    notices: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ObjectiveMethod(Method):
    """Fresh optimiser state (the parent's moments hold F); steps planned from the budget before the first one.

    ``epochs`` None fills the budget; a number stops after so many passes, or at the budget if that comes first.
    ``momentum`` is the first beta of Adam. ``recalibrate`` takes batch-norm statistics anew from retained rows.
    """

    edits: ClassVar[bool] = False  # whether ``prepare`` changes the student's weights
    rate: float
    epochs: int | float | None = None
    batch_size: int | None = None
    momentum: float = 0.9
    weight_decay: float | None = None
    calendar: Calendar = Calendar.COSINE
    optimiser: OptimiserName = OptimiserName.SGD
    recalibrate: bool = False

    def __post_init__(self) -> None:
        check(math.isfinite(self.rate) and self.rate >= 0, f"rate {self.rate} must be a finite number from 0")
        check(
            self.epochs is None or (math.isfinite(self.epochs) and self.epochs >= 0),
            f"epochs {self.epochs} must be a number from 0",
        )
        check(self.batch_size is None or self.batch_size >= 1, f"batch_size {self.batch_size} must be at least 1")
        check(0 <= self.momentum < 1, f"momentum {self.momentum} must lie in [0, 1)")
        check(
            self.weight_decay is None or (math.isfinite(self.weight_decay) and self.weight_decay >= 0),
            f"weight_decay {self.weight_decay} must be a finite number from 0",
        )
        check(
            not self.recalibrate or Need.RETAIN in self.needs,
            f"recalibrate needs the retain set, which {self.name} does not see: leave it off",
        )

    @property
    def walk(self) -> Walk:
        """Which rows an epoch passes over: those that the method sees, side by side if it sees both."""
        if Need.RETAIN not in self.needs:
            return Walk.FORGET
        return Walk.PAIRED if Need.FORGET in self.needs else Walk.RETAIN

    @abstractmethod
    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        """What a step minimises. ``teacher`` is the frozen original where ``needs`` names it."""

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        """Masks, labels, edits of the student and the like, before the first step."""
        return Prepared()

    def members(self, given: Given) -> tuple[np.ndarray, np.ndarray]:
        """(retain rows, forget rows) that the passes go over; all that the method sees unless it takes a sample."""
        nobody = np.zeros(0, dtype=np.int64)
        return (
            given.retain if Need.RETAIN in self.needs else nobody,
            given.forget if Need.FORGET in self.needs else nobody,
        )

    def stretches(self, recipe: Recipe) -> Sequence[Stretch]:
        """What is passed over, in which order, under which optimiser; one stretch unless the method has more."""
        return (self.stretch(recipe, self.walk, self.epochs),)

    def stretch(
        self,
        recipe: Recipe,
        walk: Walk,
        epochs: float | None,
        *,
        forget_batch: int | None = None,
        retain_batch: int | None = None,
        turn: int = 0,
        **changes: object,
    ) -> Stretch:
        """A stretch with the method's fields; ``changes`` are those of its optimiser."""
        size = self.batch_size or recipe.batch_size
        return Stretch(
            walk=walk,
            optimiser=replace(self.described(recipe), **changes),  # type: ignore[arg-type]
            retain_batch=retain_batch or size,
            forget_batch=forget_batch or size,
            epochs=epochs,
            turn=turn,
        )

    def described(self, recipe: Recipe) -> Optimiser:
        """The optimiser of the method's fields; the decay is the recipe's unless said."""
        return replace(
            recipe.optimiser,
            name=self.optimiser,
            rate=self.rate,
            momentum=self.momentum,
            beta1=self.momentum,
            calendar=self.calendar,
            weight_decay=recipe.optimiser.weight_decay if self.weight_decay is None else self.weight_decay,
        )

    def unlearn(self, given: Given) -> Outcome:
        student = given.student()
        trainable = [parameter.requires_grad for parameter in student.parameters()]
        student.train()
        prepared = self._prepared(given, student)
        teacher = prepared.teacher
        if teacher is None and Need.ORIGINAL in self.needs:
            teacher = given.original
        rows = calibration_rows(given) if self.recalibrate else np.zeros(0, dtype=np.int64)
        plan = self.plan(given, student, teacher, still=self.rate == 0 or prepared.still is not None, kept=len(rows))
        described = {stretch.turn: stretch.optimiser for stretch in reversed(self.stretches(given.recipe))}
        optimisers = [make_optimiser(described[turn], student) for turn in sorted(described)]
        recorder = given.recorder(plan.total)
        try:
            outcome = carry_out(
                plan,
                student=student,
                objective=self.objective,
                optimiser=optimisers[0],
                others=optimisers[1:],
                recipe=given.recipe,
                task=given.task,
                examples=given.examples,
                meter=given.meter,
                teacher=teacher,
                recorder=recorder,
                extras=prepared.extras,
                hooks=prepared.hooks,
                progress=given.progress,
            )
        finally:
            if isinstance(recorder, FolderRecorder):
                recorder.close()
        if prepared.finish is not None:
            prepared.finish()
        for parameter, required in zip(student.parameters(), trainable, strict=True):
            parameter.requires_grad_(required)
        notices = prepared.notices
        if self.recalibrate and weights_digest(student) != weights_digest(given.student()):
            notices += recalibrate(given, student, rows)
        return Outcome(
            model=student,
            steps=outcome.steps,
            stopped=outcome.stopped or prepared.still or self._stopped(plan),
            notices=notices,
            seen=prepared.seen,
        )

    def _prepared(self, given: Given, student: nn.Module) -> Prepared:
        """An edit that asks for steps after it is not made where none is covered: half a method is no result."""
        if self.edits and self.rate > 0 and self.epochs != 0 and not self.step_follows(given, student, spent=0):
            return Prepared(still="nothing done: the budget covers no step after the edit; a larger `budget` would")
        return self.prepare(given, student)

    def step_follows(self, given: Given, student: nn.Module, *, spent: int) -> bool:
        """Whether a step will follow, once ``spent`` thirds of an example-step are gone; nothing is computed."""
        kept = len(calibration_rows(given)) if self.recalibrate else 0
        teacher = given.original if Need.ORIGINAL in self.needs else None
        plan = self.plan(given, student, teacher, still=self.rate == 0, kept=kept + spent)
        return any(plan.step(index).parts for index in range(plan.total))  # steps in which nobody sits do not count

    def plan(self, given: Given, student: nn.Module, teacher: nn.Module | None, *, still: bool, kept: int = 0) -> Plan:
        """The steps that fit into the stretches' epochs and what is left of the budget; nothing is computed.

        ``kept`` rows of forward passes are kept back for what follows the loop.
        """
        stretches = self.stretches(given.recipe)
        retain, forget = self.members(given)

        def planned(steps: Sequence[int], *, draft: bool = False) -> UnlearningPlan:
            return UnlearningPlan(
                seed=given.seed,
                stretches=stretches,
                steps=steps,
                retain=retain,
                forget=forget,
                count=given.count,
                least_present=given.recipe.least_present,
                draft=draft,
            )

        nothing = [0] * len(stretches)
        if still:
            return planned(nothing)
        wanted = [planned(nothing).wanted(number) for number in range(len(stretches))]
        most = [MOST_STEPS if steps is None else steps for steps in wanted]
        draft, examples = planned(most, draft=True), given.examples
        left = given.meter.left - kept
        spent = index = affordable = 0
        while index < min(draft.total, MOST_STEPS):
            step = draft.step(index)
            cost = Loss.checked(self.objective(student, StepBatch(step, draft, examples, given.task), teacher)).thirds
            if spent + cost > left or index - affordable > draft.steps_per_epoch(step.stretch):
                break
            spent += cost
            index += 1
            affordable = index if cost or (step.parts == {} and wanted[step.stretch] is not None) else affordable
        if index >= MOST_STEPS:
            raise RunError(f"{self.name} was given no end: name epochs or a budget")
        for number, steps in enumerate(most):
            nothing[number] = min(steps, affordable)
            affordable -= nothing[number]
        return planned(nothing)

    def _stopped(self, plan: Plan) -> str | None:
        if plan.total == 0:
            return "no step was taken: rate, epochs, strength or budget is zero or covers none"
        if not isinstance(plan, UnlearningPlan):
            return None
        wanted = [plan.wanted(number) for number in range(len(plan.steps))]
        if None not in wanted and list(plan.steps) == wanted:
            return f"own epochs ({self.epochs:g}) are done" if self.epochs is not None else "its own epochs are done"
        return None
