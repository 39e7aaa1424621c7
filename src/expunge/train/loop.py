"""The only loop: draws batches from a plan, asks an objective for a loss, steps, counts, records.

Training, retraining and every method that takes gradient steps run through here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from expunge.core.errors import Diverged, RunError
from expunge.core.values import Progress
from expunge.models.sight import in_sight
from expunge.schedule.plan import Part, Plan, Role, Step
from expunge.schedule.recipe import Recipe
from expunge.tasks.task import Task
from expunge.train.examples import Examples
from expunge.train.meter import Meter
from expunge.train.objective import Extras, Loss, Objective, StepBatch
from expunge.train.optimiser import set_rate
from expunge.train.profile import precision_of


@dataclass(frozen=True)
class Hooks:
    """What a method does beside minimising: before an epoch begins, to gradients before a step, to weights after it.

    ``stop`` is asked with the number of steps done, before the first step and after each: the reason to end, if any.
    """

    begin: Callable[[Step], None] | None = None
    before_update: Callable[[Step], None] | None = None
    after_update: Callable[[torch.optim.Optimizer], None] | None = None
    stop: Callable[[int], str | None] | None = None


class Recorder:
    """What is told of a training as it goes on; this one keeps nothing, others a trace or what a killed run needs."""

    def restore(self, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter) -> int:
        """Take up the last good state; the number of steps that it already holds."""
        return 0

    def watching(self, model: nn.Module, part: Part) -> AbstractContextManager[None]:
        """Entered before a model goes forward over a part of a step with a gradient, left when it has gone backward.

        Hooks on its layers see what goes in and what comes back; of several parts, the one entered last is going on.
        """
        return nullcontext()

    def before_update(self, student: nn.Module) -> None:
        """The gradients of a step are what the optimiser will take."""

    def after_step(self, step: Step, losses: dict[Role, torch.Tensor]) -> None:
        """One calendar step is done or was skipped."""

    def due(self, done: int) -> bool:
        """Whether a checkpoint falls after ``done`` steps."""
        return False

    def checkpoint(
        self, done: int, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter
    ) -> None:
        """Keep the state after ``done`` steps."""


@dataclass(frozen=True)
class LoopEnd:
    """Steps carried out or skipped, and why the loop ended before its plan did."""

    steps: int
    stopped: str | None = None


def carry_out(
    plan: Plan,
    *,
    student: nn.Module,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    task: Task,
    examples: Examples,
    meter: Meter,
    teacher: nn.Module | None = None,
    recorder: Recorder | None = None,
    extras: Extras | None = None,
    hooks: Hooks | None = None,
    others: Sequence[torch.optim.Optimizer] = (),
    progress: Progress | None = None,
) -> LoopEnd:
    """Carry out a plan on ``student``, in place. A step that would pass the meter's budget is not begun.

    ``optimiser`` takes the steps of turn 0, ``others`` those of the turns after it.
    """
    recorder, hooks = recorder or Recorder(), hooks or Hooks()
    optimisers = (optimiser, *others)
    start = recorder.restore(student, optimisers, meter)
    precision = precision_of(recipe, examples.device)
    stopped = None if hooks.stop is None else hooks.stop(start)
    done = start
    while stopped is None and done < plan.total:
        step = plan.step(done)
        if step.begins and hooks.begin is not None:
            hooks.begin(step)
        batch = StepBatch(step, plan, examples, task, extras, recorder.watching)
        loss = Loss.checked(objective(student, batch, teacher))
        if loss.needed:
            if not meter.fits(loss.thirds):
                return LoopEnd(done, f"the next step would pass the budget of {meter.allowed:g} example-steps")
            optimiser = optimisers[step.turn]
            set_rate(optimiser, step.rate)
            with batch.watched:
                with precision:
                    value = loss.value()
                assert value is not None
                meter.thirds += loss.thirds
                _check_finite(value, done)
                optimiser.zero_grad(set_to_none=True)
                _check_reaches(value, done)
                with in_sight(getattr(student, "whose", None)):
                    value.backward()
            if hooks.before_update is not None:
                hooks.before_update(step)
            recorder.before_update(student)
            optimiser.step()
            if hooks.after_update is not None:
                hooks.after_update(optimiser)
        recorder.after_step(step, batch.losses)
        done += 1
        if recorder.due(done):
            recorder.checkpoint(done, student, optimisers, meter)
        if progress is not None:
            progress(done, plan.total)
        stopped = None if hooks.stop is None else hooks.stop(done)
    for used in optimisers:
        used.zero_grad(set_to_none=True)
    return LoopEnd(done, stopped)


def _check_reaches(value: torch.Tensor, index: int) -> None:
    if not value.requires_grad:
        raise RunError(
            f"the loss of step {index} depends on no weight that may change: the layers that are trained have no part "
            "in the model's answer; train other or more layers"
        )


def _check_finite(value: torch.Tensor, index: int) -> None:
    number = value.item()
    if not math.isfinite(number):
        raise Diverged(
            f"the loss became {number} at step {index}: no result is written, the last good checkpoint is kept; "
            "lower the rate or check the data"
        )
