"""Carrying out stated steps again, and how far the result lies from what was stated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

import torch

from expunge.adversary.pol.proof import vector
from expunge.models.resolver import build_empty
from expunge.records.states import MODEL_PREFIX
from expunge.schedule.plan import Plan
from expunge.schedule.recipe import Optimiser, Recipe
from expunge.train.examples import Examples
from expunge.train.loop import Hooks
from expunge.train.profile import pinned
from expunge.train.segment import StepRunner
from expunge.train.state import Tensors, copied


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


def replayer(recipe: Recipe, examples: Examples, optimiser: Optimiser) -> StepRunner:
    """What carries out steps of a proof, whatever states they begin at."""
    return StepRunner(recipe, examples, build_empty(recipe), optimiser=optimiser)


def advance(
    runner: StepRunner,
    plan: Plan,
    state: Tensors,
    segment: tuple[int, int],
    hooks: Hooks | None = None,
) -> Tensors:
    """The state after the steps from ``segment[0]`` up to, not with, ``segment[1]``."""
    with pinned(runner.recipe):
        runner.take_up(state, "a state of the proof")
        runner.run(plan, *segment, hooks=hooks)
        return copied(runner.state)


def others_apart(
    distance: Distance, stated: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], names: Iterable[str]
) -> tuple[float, float]:
    """How far buffers, and optimiser state, lie apart; infinite where names, shapes or counters differ.

    ``names`` are those of the parameters, which are left out.
    """
    own = set(names)
    kinds = {True: set[str](), False: set[str]()}
    for name in (stated.keys() | found.keys()) - own:
        kinds[name.startswith(MODEL_PREFIX)].add(name)
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
