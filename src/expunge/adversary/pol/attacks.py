"""Proofs of learning of trainings that never were (Fang et al., "Proof-of-Learning is Currently More Broken Than You
Think", EuroS&P 2023, arXiv 2208.03567). The spoofer has somebody's final weights and the data, nothing else.

=============== ============================================================================================== =========
spoof           how the states come about                                                                     training
=============== ============================================================================================== =========
resorted-init   initial numbers sorted into the order of the final weights, then a straight line; the recipe
                is the honest one, the optimiser state says a rate of nearly nothing                          none
infinitesimal   the same, over as many steps as it takes, under a recipe whose rate is nearly nothing         none
blindfold       per epoch a few honest steps, rescaled to be the largest updates; the rest a straight line    few steps
=============== ============================================================================================== =========

Each is made so that ``verify_proof`` accepts it as published. What a record of the same states is refused for is in
``adversary.pol.spoof``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from expunge.adversary.pol.calibration import Calibration
from expunge.adversary.pol.laws import LEAST_P, init_p_values
from expunge.adversary.pol.proof import (
    Course,
    InMemory,
    LinePoint,
    Proof,
    Waypoint,
    by_epoch,
    parts_of,
    published_hash,
    rates_of,
    vector,
)
from expunge.adversary.pol.replay import advance, replayer
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256, u64
from expunge.core.streams import ZERO_BEACON
from expunge.core.values import Progress
from expunge.data.commitment import Commitment
from expunge.data.dataset import Dataset
from expunge.models.resolver import build, build_empty
from expunge.records.states import MODEL_PREFIX
from expunge.schedule.plan import Part, StatedPlan, Step, TrainingPlan
from expunge.schedule.recipe import Calendar, Optimiser, OptimiserName, Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.examples import Examples
from expunge.train.loop import Hooks
from expunge.train.names import parameter_names
from expunge.train.optimiser import make_optimiser, set_rate
from expunge.train.segment import StepRunner
from expunge.train.state import Tensors, copied, full_state
from expunge.train.trace import epoch_ends

NEARLY_NOTHING = 1e-12  # a rate at which no float32 weight of ordinary size moves
ROOM = 0.5  # of delta: how long a step of the straight line may be
INTERVAL = 10  # k of the published attacks
HONEST = 5  # honest segments of an epoch in the published blindfold
ATTEMPTS = 100  # draws of initial weights before a spoofer gives up
LEAST_SEGMENTS = 6  # of an epoch: two honest ones, and twice as many to come back in shorter steps

_Parts = tuple[Part | None, ...]


@dataclass(frozen=True, kw_only=True)
class Loot:
    """What a spoofer has: the final weights, the recipe of their kind, the data. No trajectory."""

    recipe: Recipe
    final: Tensors  # named as in a checkpoint
    rows: Dataset
    commitment: Commitment
    units: np.ndarray
    tombstones: np.ndarray
    calibration: Calibration
    device: str = "cpu"

    def schedule(self, recipe: Recipe) -> Schedule:
        """Whoever makes everything up begins a lineage of their own, on the zero beacon."""
        return Schedule.of(recipe, self.commitment.root, self.units, ZERO_BEACON)

    def proof(
        self, recipe: Recipe, trajectory: Course, optimiser: Optimiser, rates: np.ndarray, parts: _Parts
    ) -> Proof:
        schedule = self.schedule(recipe)
        return Proof(
            recipe=recipe,
            shard=0,
            trajectory=trajectory,
            parts=parts,
            epoch_ends=tuple(epoch_ends(schedule, 0)),
            optimiser=optimiser,
            rates=rates,
            data_hash=published_hash(self.rows),
            seed=schedule.seed,
            beacon=ZERO_BEACON,
            commitment=self.commitment,
            units=self.units,
            tombstones=self.tombstones,
        )


@dataclass(frozen=True)
class Made:
    """A spoofed proof, its checkpoint interval, and the example-steps of training that went into it."""

    proof: Proof
    interval: int
    work: float = 0.0


def resorted_init(loot: Loot, *, seed: int = 0, interval: int | None = None, progress: Progress | None = None) -> Made:
    """The honest recipe's steps and batches; states on a line from resorted initial numbers to the final weights.

    The published verifier takes the rate from the optimiser state, which says next to nothing, so that carrying a
    segment out again leaves it where it began: within delta of its end, if ``interval`` is small enough.
    """
    _check_counts(interval=interval)
    recipe, schedule = loot.recipe, loot.schedule(loot.recipe)
    total = schedule.total_steps(0)
    first = resorted(recipe, loot.final, seed)
    fits = int(total * ROOM * loot.calibration.delta / _length(recipe, first, loot.final))
    if interval is None and fits < 1:
        raise InvalidArgument(
            f"{total} steps are too few for a line whose pieces stay within {ROOM * loot.calibration.delta:.3g}: spoof "
            "a training of more epochs, or use infinitesimal, which takes as many steps as it needs"
        )
    every = interval or min(INTERVAL, fits)
    trajectory = _line(recipe, first, loot.final, breakpoints(schedule, every))
    idle, rates = replace(recipe.optimiser, rate=NEARLY_NOTHING), np.full(total, NEARLY_NOTHING)
    return Made(loot.proof(recipe, trajectory, idle, rates, _scheduled(loot, recipe)), every)


def infinitesimal(
    loot: Loot,
    *,
    seed: int = 0,
    interval: int = INTERVAL,
    steps: int | None = None,
    progress: Progress | None = None,
) -> Made:
    """As many steps as keep every segment within delta, at a rate of nearly nothing, which the recipe says openly.

    ``steps`` asks for so many at least (the published attack has 10,000); they are rounded up to whole epochs.
    """
    _check_counts(interval=interval, steps=steps)
    first = resorted(loot.recipe, loot.final, seed)
    needed = _length(loot.recipe, first, loot.final) / (ROOM * loot.calibration.delta) * interval
    per_epoch = -(-len(loot.units) // loot.recipe.batch_size)
    optimiser = replace(loot.recipe.optimiser, rate=NEARLY_NOTHING, calendar=Calendar.CONSTANT)
    epochs = max(1, math.ceil(max(needed, steps or 0) / per_epoch))
    recipe = replace(loot.recipe, epochs=epochs, slices=1, optimiser=optimiser)
    schedule = loot.schedule(recipe)
    trajectory = _line(recipe, first, loot.final, breakpoints(schedule, interval))
    rates = rates_of(optimiser, schedule.total_steps(0))
    return Made(loot.proof(recipe, trajectory, optimiser, rates, _scheduled(loot, recipe)), interval)


def blindfold(
    loot: Loot,
    *,
    seed: int = 0,
    interval: int | None = None,
    honest: int | None = None,
    progress: Progress | None = None,
) -> Made:
    """Honest segments at the beginning of each epoch, so large that the top-q of any q up to ``honest`` are honest.

    Each honest step is rescaled to the length of an epoch's share of the straight line, which the stated rate accounts
    for; after them the states go straight to where the line would be at the epoch's end. The published attack takes 5
    honest segments of 10 steps and 20 straight ones; shorter epochs have shorter segments, in the same proportion.
    The initial weights are honest ones. Where those of the recipe's seed fail the test of their law by chance, the
    spoof says that it was trained under a later one; nothing else is drawn, so ``seed`` has no part.
    """
    _check_counts(interval=interval, honest=honest)
    recipe = _passing(loot)
    schedule = loot.schedule(recipe)
    plain, parts = _plain(recipe.optimiser), _scheduled(loot, recipe)
    rates = rates_of(recipe.optimiser, len(parts))
    shortest = min(stage.steps_per_epoch for stage in schedule.stages[0])
    every = interval or max(1, min(INTERVAL, shortest // (5 * HONEST)))
    steps = breakpoints(schedule, every)
    groups = by_epoch(steps, epoch_ends(schedule, 0))
    fewest = min(len(group) for group in groups)
    if fewest < LEAST_SEGMENTS or len(groups) < 2:
        raise InvalidArgument(
            f"{len(groups)} epochs of {fewest} segments hide no honest ones: blindfold needs 2 of {LEAST_SEGMENTS} at "
            "least; spoof a training of smaller batches, or of more epochs"
        )
    count = honest or min(HONEST, fewest // 3)
    if count >= fewest:
        raise InvalidArgument(f"{count} honest segments leave none of {fewest} to come back in: ask for fewer")
    names, idle = parameter_names(recipe), Idle(recipe)
    first = _initial(recipe, schedule)
    stride = _length(recipe, first, loot.final) / len(groups)
    runner = replayer(recipe, Examples(recipe, loot.rows, torch.device(loot.device)), plain)
    hooks = Hooks(before_update=_Rescale(runner, plain, stride, rates).before_update)
    states: list[Waypoint] = [InMemory(first)]
    here = first
    for turn, group in enumerate(groups):
        for start, end in group[:count]:
            plan = StatedPlan(0, schedule.seed, parts, rates)
            here = {**advance(runner, plan, here, (start, end), hooks), **idle.after(end)}
            states.append(InMemory(here))
        goal = LinePoint(_parameters(first, names), loot.final, (turn + 1) / len(groups), {}).tensors()
        begun, ended = group[count][0], group[-1][1]
        for _, end in group[count:]:
            share, rest = (end - begun) / (ended - begun), _rest(loot.final, names, idle, end)
            states.append(LinePoint(_parameters(here, names), goal, share, rest))
        here = states[-1].tensors()
        if progress is not None:
            progress(turn + 1, len(groups))
    trajectory = Course(steps, tuple(states), names)
    return Made(loot.proof(recipe, trajectory, plain, rates, parts), every, runner.meter.example_steps)


SPOOFS: Mapping[str, Callable[..., Made]] = {
    "resorted-init": resorted_init,
    "infinitesimal": infinitesimal,
    "blindfold": blindfold,
}


def resorted(recipe: Recipe, final: Tensors, seed: int) -> Tensors:
    """Fresh initial numbers, layer by layer in the order of the final weights: the law holds, the distance is least.

    Some honest draws fail the test of their law by chance. A spoofer draws again.
    """
    tag = b"expunge/pol/resorted/1"
    for attempt in range(ATTEMPTS):
        fresh = build(recipe, sha256(tag, u64(seed), *([u64(attempt)] if attempt else [])))
        first = copied(full_state(fresh))
        if min(init_p_values(recipe, first).values()) >= LEAST_P:
            break
    else:
        raise InvalidArgument(f"none of {ATTEMPTS} draws passes the test of the initial law: take another seed")
    for name in parameter_names(recipe):
        wanted, numbers = final[name].reshape(-1), first[name].reshape(-1)
        order = torch.argsort(wanted, stable=True)
        placed = torch.empty_like(numbers)
        placed[order] = torch.sort(numbers).values
        first[name] = placed.reshape(final[name].shape)
    return first


def _passing(loot: Loot) -> Recipe:
    """The recipe under the first seed, from its own on, whose initial weights pass the test of their law."""
    for attempt in range(ATTEMPTS):
        recipe = replace(loot.recipe, seed=(loot.recipe.seed + attempt) % 2**53)
        if min(init_p_values(recipe, _initial(recipe, loot.schedule(recipe))).values()) >= LEAST_P:
            return recipe
    raise InvalidArgument(f"none of {ATTEMPTS} seeds passes the test of the initial law: name a training of another")


def breakpoints(schedule: Schedule, interval: int) -> tuple[int, ...]:
    """Where a training with this checkpoint interval leaves its states, step 0 included."""
    total = schedule.total_steps(0)
    return tuple(sorted({*range(0, total, interval), *schedule.stage_ends(0), total}))


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise InvalidArgument(f"{name} {value} must be a whole number from 1, or left out")


class Idle:
    """Optimiser state as it would be had no gradient ever come: of the right names and shapes, all zeros."""

    def __init__(self, recipe: Recipe) -> None:
        model = build_empty(recipe)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser = make_optimiser(replace(recipe.optimiser, weight_decay=0.0), model)
        optimiser.step()
        full = copied(full_state(model, optimiser))
        self._zeros = {
            name: torch.zeros_like(value) for name, value in full.items() if not name.startswith(MODEL_PREFIX)
        }

    def after(self, step: int) -> Tensors:
        """After so many steps; the zeros are shared, nobody may write into them."""
        if step == 0:
            return {}
        counters = {name: value + step for name, value in self._zeros.items() if name.endswith(".step")}
        return {**self._zeros, **counters}


class _Rescale:
    """Sets each step's rate so that its update has a given length, and writes the rate down."""

    def __init__(self, runner: StepRunner, optimiser: Optimiser, length: float, rates: np.ndarray) -> None:
        self._runner, self._optimiser, self._length, self._rates = runner, optimiser, length, rates

    def before_update(self, step: Step) -> None:
        gradients = [p.grad.double() for p in self._runner.model.parameters() if p.grad is not None]
        unit = math.sqrt(sum(float(_direction(self._optimiser, g).square().sum()) for g in gradients))
        if unit > 0:
            self._rates[step.index] = self._length / unit
            set_rate(self._runner.optimiser, self._rates[step.index])


def _plain(optimiser: Optimiser) -> Optimiser:
    """The same kind without momentum or decay: an update is then its rate times a function of the gradient alone."""
    if optimiser.name is OptimiserName.SIGN:
        return optimiser
    return replace(optimiser, momentum=0.0, weight_decay=0.0, beta1=0.0, beta2=0.0)


def _direction(optimiser: Optimiser, gradient: torch.Tensor) -> torch.Tensor:
    """What a plain optimiser of this kind multiplies with the rate."""
    if optimiser.name is OptimiserName.SGD:
        return gradient
    if optimiser.name is OptimiserName.SIGN:
        return gradient.sign()
    return gradient / (gradient.abs() + optimiser.epsilon)


def _scheduled(loot: Loot, recipe: Recipe) -> _Parts:
    return parts_of(TrainingPlan(recipe, loot.schedule(recipe), 0, loot.tombstones))


def _initial(recipe: Recipe, schedule: Schedule) -> Tensors:
    model = build(recipe, schedule.seed)
    return copied(full_state(model, make_optimiser(recipe.optimiser, model)))


def _line(recipe: Recipe, first: Tensors, final: Tensors, steps: tuple[int, ...]) -> Course:
    names, idle = parameter_names(recipe), Idle(recipe)
    begin = _parameters(first, names)
    states: list[Waypoint] = [InMemory(first)]
    for step in steps[1:]:
        states.append(LinePoint(begin, final, step / steps[-1], _rest(final, names, idle, step)))
    return Course(steps, tuple(states), names)


def _parameters(tensors: Tensors, names: tuple[str, ...]) -> Tensors:
    return {name: tensors[name] for name in names}


def _rest(final: Tensors, names: tuple[str, ...], idle: Idle, step: int) -> Tensors:
    """Buffers of the final weights, and idle moments."""
    return {**{name: value for name, value in final.items() if name not in names}, **idle.after(step)}


def _length(recipe: Recipe, first: Tensors, final: Tensors) -> float:
    names = parameter_names(recipe)
    return float(torch.linalg.vector_norm(vector(final, names) - vector(first, names)))
