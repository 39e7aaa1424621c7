"""A piece of a training by itself: the steps from one state to another, carried out by the one loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from expunge.core.values import Progress
from expunge.models.resolver import build
from expunge.records.trace_file import NOTHING
from expunge.schedule.plan import Plan, Role, Step, TrainingPlan
from expunge.schedule.recipe import Optimiser, Recipe
from expunge.schedule.schedule import Schedule
from expunge.tasks import TASKS
from expunge.train.examples import Examples
from expunge.train.loop import Hooks, LoopEnd, Recorder, carry_out
from expunge.train.meter import Meter
from expunge.train.objective import Extras, Objective, training_objective
from expunge.train.optimiser import make_optimiser
from expunge.train.perturbation import perturbed_objective
from expunge.train.state import Tensors, full_state, gradients_of, load_full_state, tensors_digest
from expunge.train.trace import losses_digest


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every step is a function of, beside the state that it starts from. ``noise`` is the secret b, if any."""

    recipe: Recipe
    schedule: Schedule
    examples: Examples
    emptied: np.ndarray
    noise: np.ndarray | None = None

    @property
    def objective(self) -> Objective:
        """Plain training, or training under the noise that the recipe asks for."""
        if self.noise is None:
            return training_objective
        return perturbed_objective(self.noise, self.schedule.count - len(self.emptied))


@dataclass(frozen=True, slots=True)
class StepSeen:
    """Digests of a step's losses and, where it was asked for, of its batch gradient: as the trace has them."""

    losses: bytes
    gradient: bytes | None


Look = Callable[[int, Tensors, list[StepSeen]], None]


class StepRunner:
    """A model and its optimiser, taken over pieces of plans by the one loop: any plan, recipe, rows and shard.

    Make it and use it with the recipe's profile pinned. Its meter counts all that is carried out.
    """

    def __init__(
        self,
        recipe: Recipe,
        examples: Examples,
        model: nn.Module,
        *,
        optimiser: Optimiser | None = None,
        objective: Objective = training_objective,
    ) -> None:
        self.recipe, self.examples, self.objective = recipe, examples, objective
        self.model = model.to(examples.device)
        self.optimiser = make_optimiser(optimiser or recipe.optimiser, self.model)
        self.meter = Meter()

    @property
    def state(self) -> Tensors:
        """Weights, buffers and moments as they are; the tensors are the live ones, the next step changes them."""
        return full_state(self.model, self.optimiser)

    def take_up(self, state: Tensors, where: Path | str) -> None:
        """Go on from another state; ``where`` names it in a refusal."""
        load_full_state(self.model, [self.optimiser], state, where)

    def run(
        self,
        plan: Plan,
        start: int = 0,
        end: int | None = None,
        *,
        look: Look | None = None,
        at: Collection[int] = (),
        gradients: bool = False,
        recorder: Recorder | None = None,
        hooks: Hooks | None = None,
        examples: Examples | None = None,
        extras: Extras | None = None,
        progress: Progress | None = None,
    ) -> LoopEnd:
        """Carry out the steps from ``start`` up to, not with, ``end``, at the rates of the whole plan.

        ``look`` is shown the state at ``end`` and after every number of steps in ``at``, with what was seen of the
        steps since it was called before. A ``recorder`` of one's own says itself where to begin. Of two reasons to end
        after one step, that of ``hooks`` is said.
        """
        last = plan.total if end is None else end
        hooks = hooks or Hooks()
        asked = hooks.stop

        def stop(done: int) -> str | None:
            own = None if asked is None else asked(done)
            return f"steps {start} to {last} were asked for" if own is None and last <= done < plan.total else own

        self.model.train()
        return carry_out(
            plan,
            student=self.model,
            objective=self.objective,
            optimiser=self.optimiser,
            recipe=self.recipe,
            task=TASKS[self.recipe.task],
            examples=examples or self.examples,
            meter=self.meter,
            recorder=recorder or _Looking(start, {*at, last}, look, gradients),
            extras=extras,
            hooks=replace(hooks, stop=stop),
            progress=None if progress is None else lambda done, of: progress(done, last),
        )


class _Looking(Recorder):
    """Begins at a step and shows states, with digests of the steps before them."""

    def __init__(self, start: int, at: Collection[int], look: Look | None, gradients: bool) -> None:
        self._start, self._at, self._look, self._gradients = start, at, look, gradients
        self._gradient = NOTHING
        self._seen: list[StepSeen] = []

    def restore(self, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter) -> int:
        if self.due(self._start):
            self.checkpoint(self._start, student, optimisers, meter)
        return self._start

    def before_update(self, student: nn.Module) -> None:
        if self._gradients:
            self._gradient = tensors_digest(gradients_of(student))

    def after_step(self, step: Step, losses: dict[Role, torch.Tensor]) -> None:
        if self._look is not None:
            gradient, self._gradient = self._gradient, NOTHING
            self._seen.append(StepSeen(losses_digest(losses.get(Role.RETAIN)), gradient if self._gradients else None))

    def due(self, done: int) -> bool:
        return self._look is not None and done in self._at

    def checkpoint(
        self, done: int, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter
    ) -> None:
        seen, self._seen = self._seen, []
        assert self._look is not None
        self._look(done, full_state(student, *optimisers), seen)


def carry_out_segment(
    training: Training,
    shard: int,
    steps: tuple[int, int],
    look: Look,
    *,
    state: Tensors | None = None,
    at: Collection[int] = (),
    gradients: bool = False,
    where: str = "the state",
    progress: Progress | None = None,
) -> None:
    """A piece of a training, from ``state`` or the initial weights; the rest is as ``StepRunner.run`` has it."""
    recipe, schedule = training.recipe, training.schedule
    initial = build(recipe, schedule.seed, shard)
    runner = StepRunner(recipe, training.examples, initial, objective=training.objective)
    if state is not None:
        runner.take_up(state, where)
    plan = TrainingPlan(recipe, schedule, shard, training.emptied)
    runner.run(plan, *steps, look=look, at=at, gradients=gradients, progress=progress)
