"""How fast a model learns again what it is said to have forgotten."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from expunge.core.errors import Diverged
from expunge.core.statistics.means import mean_interval
from expunge.core.statistics.survival import log_rank
from expunge.core.streams import Stream, stable_order
from expunge.core.values import Figure, Measurement, Undecided
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.memory import FEWEST_OTHERS
from expunge.measure.readings import Arrays, RequestReading, RequestRows
from expunge.measure.trial import Answers, Beside, Ground, Whose
from expunge.schedule.plan import Stretch, UnlearningPlan, Walk
from expunge.schedule.recipe import Calendar, Recipe
from expunge.tasks import TASKS
from expunge.tasks.task import ClassTask
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.loop import Hooks, carry_out
from expunge.train.meter import Meter
from expunge.train.objective import Loss, StepBatch
from expunge.train.optimiser import make_optimiser

WATCHED = 500
"""Rows whose margins are read after every step, at most."""
NOTHING = "nothing to relearn by: needs classes, and a model of one shard, which is trained as one"
NO_STEPS = "takes no steps: its weights are a function of sums over rows, and nothing is learnt again"


def both_losses(student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
    """Half of the rows must go, half of them stay."""
    return 0.5 * batch.retain_loss(student) + 0.5 * batch.forget_loss(student)


def relearn(
    model: nn.Module,
    recipe: Recipe,
    examples: Examples,
    rows: RequestRows,
    forget: np.ndarray,
    steps: int,
    watch: Callable[[nn.Module, int], None],
) -> None:
    """Train a copy on some forgotten rows mixed half and half with retained ones, at the recipe's constant rate.

    ``watch`` is given the copy before the first step and after each. Batches and order depend on the request alone.
    """
    student = copy.deepcopy(model).train()
    size = max(1, recipe.batch_size // 2)
    optimiser = replace(recipe.optimiser, calendar=Calendar.CONSTANT)
    plan = UnlearningPlan(
        seed=rows.seed,
        stretches=[Stretch(walk=Walk.PAIRED, optimiser=optimiser, retain_batch=size, forget_batch=size)],
        steps=[steps],
        retain=rows.retain,
        forget=forget,
        count=len(examples),
        least_present=recipe.least_present,
    )

    def stop(done: int) -> None:
        watch(student, done)

    carry_out(
        plan,
        student=student,
        objective=both_losses,
        optimiser=make_optimiser(optimiser, student),
        recipe=recipe,
        task=TASKS[recipe.task],
        examples=examples,
        meter=Meter(),
        hooks=Hooks(stop=stop),
    )


def _cannot(recipe: Recipe) -> Arrays | None:
    """What is read of a model that cannot be trained as one; None where it can."""
    if recipe.accumulated:
        return {NO_STEPS: np.zeros(1)}
    return None if recipe.shards == 1 and isinstance(TASKS[recipe.task], ClassTask) else {}


@dataclass(frozen=True, kw_only=True)
class Relearning(RequestReading):
    """Mean "margin" of forgotten rows, some that a stream draws where there are many, after 0, 1, … steps on them."""

    name = "relearning"
    share: float = 0.1  # of the training's steps

    def __call__(self, model: nn.Module, recipe: Recipe, examples: Examples, rows: RequestRows) -> Arrays:
        if (nothing := _cannot(recipe)) is not None:
            return nothing
        order = stable_order(Stream(rows.seed, "probe/relearn").words(len(rows.forget)))
        asked = np.sort(rows.forget[order[:WATCHED]])
        steps = max(1, round(self.share * recipe.epochs * -(-len(examples) // recipe.batch_size)))
        found = np.full(steps + 1, np.nan)

        def watch(student: nn.Module, done: int) -> None:
            found[done] = signals(recipe, student, examples, asked)["margin"].mean()

        with suppress(Diverged):  # what follows stays without a number
            relearn(model, recipe, examples, rows, rows.forget, steps, watch)
        return {"margin": found}


@dataclass(frozen=True, kw_only=True)
class Transfer(RequestReading):
    """By how much the "margin" of half of the forgotten rows rises over ``steps`` steps on the other half."""

    name = "relearning-transfer"
    steps: int = 50

    def __call__(self, model: nn.Module, recipe: Recipe, examples: Examples, rows: RequestRows) -> Arrays:
        if (nothing := _cannot(recipe)) is not None or len(rows.forget) < 2:
            return nothing or {}
        order = stable_order(Stream(rows.seed, "probe/relearn-half").words(len(rows.forget)))
        taught, asked = (np.sort(rows.forget[half]) for half in np.array_split(order, 2))
        found: dict[int, np.ndarray] = {}

        def watch(student: nn.Module, done: int) -> None:
            if done in (0, self.steps):
                found[done] = signals(recipe, student, examples, asked)["margin"]

        try:
            relearn(model, recipe, examples, rows, taught, self.steps, watch)
        except Diverged:
            return {"rise": np.full(len(asked), np.nan)}
        return {"rise": found[self.steps] - found[0]}


@dataclass(frozen=True, kw_only=True)
class RelearningProbe(Probe):
    """Base of what is said of a copy that is trained on forgotten rows; a model that takes no steps has none."""

    role = ProbeRole.FORGETTING
    untold = NOTHING

    def unfit(self, own: Answers, ground: Ground) -> str | None:
        return NO_STEPS if NO_STEPS in own.of(Whose.FORGET, self.reads[0]) else None


@dataclass(frozen=True, kw_only=True)
class RelearningTime(RelearningProbe):
    """Base of what is said of the steps until F is answered half way between retrained models and the original.

    Who was not seen to get there within a tenth of the training took longer than that: it is *censored*.
    """

    asked = "relearn"
    references_needed = FEWEST_OTHERS
    original_needed = True
    reads = (Relearning(),)

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        assert beside.original is not None
        first, *others = (
            one.of(Whose.FORGET, self.reads[0])["margin"] for one in (beside.original, own, *beside.references)
        )
        goal = (first[0] + np.mean([one[0] for one in others[1:]])) / 2
        there = np.array([one >= goal for one in others])
        ended = np.asarray(there.any(axis=1))
        times = np.where(ended, there.argmax(axis=1), there.shape[1] - 1)
        if not ended.any():
            return Undecided(f"nobody relearnt the forget set in {int(times[0])} steps: needs a higher rate to tell")
        return self.of(times, ended)

    @abstractmethod
    def of(self, times: np.ndarray, ended: np.ndarray) -> Figure:
        """The figure, from steps and whether they led there: of the model first, then of every reference."""


@dataclass(frozen=True, kw_only=True)
class Relearn(RelearningTime):
    """Log of the steps that it takes to relearn the forget set, over a reference's; below 0 knowledge was left.

    0 is the aim. Pairs of a model and a reference see the same batches in the same order. Where one of them is censored
    the ratio is a bound: an end of the interval is open.
    """

    name = "relearn"
    scale = "log"

    def of(self, times: np.ndarray, ended: np.ndarray) -> Figure:
        ratios = np.log((times[0] + 1) / (times[1:] + 1))
        found = over_references(ratios, self.scale)
        if isinstance(found, Undecided):
            return found
        low = found.low if ended[1:].all() else -np.inf
        return replace(found, low=low, high=found.high if ended[0] else np.inf)


@dataclass(frozen=True, kw_only=True)
class RelearnLogRank(RelearningTime):
    """z of the log-rank test of the steps that relearning takes, model against references; below 0 it was faster."""

    name = "relearn-log-rank"
    scale = "z"

    def of(self, times: np.ndarray, ended: np.ndarray) -> Figure:
        z = log_rank(times[:1], ended[:1], times[1:], ended[1:])
        return Measurement(
            value=z,
            low=z - 1.96,
            high=z + 1.96,
            n=len(times) - 1,
            unit="reference",
            direction=self.direction,
            scale=self.scale,
        )


@dataclass(frozen=True, kw_only=True)
class RelearnTransfer(RelearningProbe):
    """By how much the margin of half of the forget set rises over 50 steps on its other half."""

    name = "relearn-transfer"
    scale = "margin"
    asked = "relearn-transfer"
    reads = (Transfer(),)

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return mean_interval(own.of(Whose.FORGET, self.reads[0])["rise"], scale=self.scale, unit="example")


def over_references(values: np.ndarray, scale: str) -> Figure:
    """Mean over references, with Student's interval; one alone, or all alike, say nothing of their luck."""
    value = float(np.mean(values))
    if len(values) == 1 or np.ptp(values) == 0:
        low = high = value
    else:
        found = mean_interval(values, scale=scale)
        if isinstance(found, Undecided):
            return found
        low, high = found.low, found.high
    return Measurement(
        value=value,
        low=low,
        high=high,
        n=len(values),
        unit="reference",
        direction=Probe.direction,
        scale=scale,
    )
