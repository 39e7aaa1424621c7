"""Carrying out stated steps again, and how far the result lies from what was stated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

import torch
from torch import nn

from expunge.adversary.pol.proof import vector
from expunge.models.resolver import build_empty
from expunge.schedule.plan import Plan, Step
from expunge.schedule.recipe import Optimiser, Recipe
from expunge.tasks import TASKS
from expunge.train.examples import Examples
from expunge.train.loop import Hooks, NoRecorder, carry_out
from expunge.train.meter import Meter
from expunge.train.names import MODEL
from expunge.train.objective import training_objective
from expunge.train.optimiser import make_optimiser
from expunge.train.profile import pinned, placed
from expunge.train.state import Tensors, copied, full_state, load_full_state


class Distance(Enum):
    """How far two vectors lie apart; the cosine distance is 1 − cos."""

    L2 = "l2"
    L1 = "l1"
    LARGEST = "l-infinity"
    COSINE = "cosine"

    def between(self, one: torch.Tensor, other: torch.Tensor) -> float:
        if self is Distance.COSINE:
            lengths = float(one.norm()) * float(other.norm())
            return 0.0 if torch.equal(one, other) else 1.0 - _ratio(one, other, lengths)
        order = {Distance.L2: 2.0, Distance.L1: 1.0, Distance.LARGEST: float("inf")}[self]
        return float(torch.linalg.vector_norm(one - other, ord=order)) if one.numel() else 0.0

    def as_published(self, stated: torch.Tensor, found: torch.Tensor) -> float:
        """The same, but for the cosine, which is divided by ‖stated‖² instead of both lengths.

        Whatever shrinks what is stated then brings it nearer, down to below zero.
        """
        if self is not Distance.COSINE:
            return self.between(stated, found)
        return 1.0 - _ratio(stated, found, float(stated @ stated))


def _ratio(one: torch.Tensor, other: torch.Tensor, lengths: float) -> float:
    return float(one @ other) / lengths if lengths else 0.0


class Replayer:
    """Takes up a state, carries out some steps of a plan through the one loop, and hands over the state after them."""

    def __init__(self, recipe: Recipe, examples: Examples, optimiser: Optimiser) -> None:
        self.recipe = recipe
        self.examples = examples
        self.meter = Meter()
        self.model: nn.Module = placed(build_empty(recipe), recipe, examples.device)
        self.optimiser = make_optimiser(optimiser, self.model)

    def advance(self, plan: Plan, state: Mapping[str, torch.Tensor], segment: tuple[int, int], hooks: Hooks) -> Tensors:
        """The state after the steps from ``segment[0]`` up to, not with, ``segment[1]``."""
        with pinned(self.recipe):
            self.model.train()
            load_full_state(self.model, [self.optimiser], state, "a state of the proof")
            carry_out(
                _Cut(plan, segment[1]),
                student=self.model,
                objective=training_objective,
                optimiser=self.optimiser,
                recipe=self.recipe,
                task=TASKS[self.recipe.task],
                examples=self.examples,
                meter=self.meter,
                recorder=_From(segment[0]),
                hooks=hooks,
            )
            return copied(full_state(self.model, self.optimiser))

    def again(self, plan: Plan, state: Mapping[str, torch.Tensor], segment: tuple[int, int]) -> Tensors:
        """The same without anything beside the steps."""
        return self.advance(plan, state, segment, Hooks())


class _Cut:
    """A plan that ends earlier."""

    def __init__(self, plan: Plan, total: int) -> None:
        self._plan = plan
        self.total = total
        self.shard = plan.shard
        self.seed = plan.seed
        self.purpose = plan.purpose

    def step(self, index: int) -> Step:
        return self._plan.step(index)


class _From(NoRecorder):
    """The state is taken up already, after so many steps."""

    def __init__(self, step: int) -> None:
        self._step = step

    def restore(self, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter) -> int:
        return self._step


def others_apart(
    distance: Distance, stated: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], names: Iterable[str]
) -> tuple[float, float]:
    """How far buffers, and optimiser state, lie apart; infinite where names, shapes or counters differ.

    ``names`` are those of the parameters, which are left out.
    """
    own = set(names)
    kinds = {True: set[str](), False: set[str]()}
    for name in (stated.keys() | found.keys()) - own:
        kinds[name.startswith(MODEL)].add(name)
    return _apart(distance, stated, found, kinds[True]), _apart(distance, stated, found, kinds[False])


def _apart(
    distance: Distance, stated: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], names: set[str]
) -> float:
    reals: list[str] = []
    for name in sorted(names):
        one, other = stated.get(name), found.get(name)
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            return float("inf")
        if one.is_floating_point() and not name.endswith(".step"):
            reals.append(name)
        elif not torch.equal(one, other):
            return float("inf")
    return distance.between(vector(stated, reals), vector(found, reals))
