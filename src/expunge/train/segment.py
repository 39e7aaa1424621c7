"""A piece of a training by itself: the steps from one state to another, carried out by the one loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from expunge.models.resolver import build
from expunge.schedule.plan import Role, Step, TrainingPlan
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.tasks import TASKS
from expunge.train.examples import Examples
from expunge.train.loop import NoRecorder, Progress, carry_out
from expunge.train.meter import Meter
from expunge.train.objective import Objective, training_objective
from expunge.train.optimiser import make_optimiser
from expunge.train.perturbation import perturbed_objective
from expunge.train.profile import placed
from expunge.train.state import Tensors, full_state, gradients_of, load_full_state, tensors_digest
from expunge.train.trace import NOTHING, losses_digest


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
    """Carry out the steps from ``steps[0]`` up to, not with, ``steps[1]``, from ``state`` or the initial weights.

    ``look`` is shown the state after the last step and after every number of steps in ``at``, with what was seen of
    the steps since it was called before. The tensors are the live ones: they change when the next step is taken. Call
    it with the recipe's profile pinned.
    """
    start, end = steps
    recipe, device = training.recipe, training.examples.device
    model = placed(build(recipe, training.schedule.seed, shard), recipe, device)
    model.train()
    optimiser = make_optimiser(recipe.optimiser, model)
    if state is not None:
        load_full_state(model, [optimiser], state, where)
    if start == end:
        look(end, full_state(model, optimiser), [])
        return
    carry_out(
        _Until(TrainingPlan(recipe, training.schedule, shard, training.emptied), end),
        student=model,
        objective=training.objective,
        optimiser=optimiser,
        recipe=recipe,
        task=TASKS[recipe.task],
        examples=training.examples,
        meter=Meter(),
        recorder=_Witness(start, {*at, end}, look, gradients),
        progress=progress,
    )


class _Until:
    """A plan that ends earlier; rates stay those of the whole."""

    def __init__(self, plan: TrainingPlan, end: int) -> None:
        self.shard, self.seed, self.total = plan.shard, plan.seed, end
        self.purpose, self.step = plan.purpose, plan.step


class _Witness(NoRecorder):
    """Keeps nothing; shows states and digests of steps."""

    def __init__(self, start: int, at: Collection[int], look: Look, gradients: bool) -> None:
        self._start, self._at, self._look, self._gradients = start, frozenset(at), look, gradients
        self._gradient = NOTHING
        self._seen: list[StepSeen] = []

    def restore(self, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter) -> int:
        return self._start

    def before_update(self, student: nn.Module) -> None:
        if self._gradients:
            self._gradient = tensors_digest(gradients_of(student))

    def after_step(self, step: Step, losses: dict[Role, torch.Tensor]) -> None:
        gradient, self._gradient = self._gradient, NOTHING
        self._seen.append(StepSeen(losses_digest(losses.get(Role.RETAIN)), gradient if self._gradients else None))

    def due(self, done: int) -> bool:
        return done in self._at

    def checkpoint(
        self, done: int, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter
    ) -> None:
        seen, self._seen = self._seen, []
        self._look(done, full_state(student, *optimisers), seen)
