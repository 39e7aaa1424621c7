"""Ways to train, and what forgetting costs from then on: shards × slices, tiers, and models that are sums over rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from expunge.core.hashing import sha256
from expunge.data.dataset import Dataset
from expunge.records.catalogue import LINEAR_TASKS
from expunge.records.plan import Outlay, Route
from expunge.schedule.costs import share_of_stages
from expunge.schedule.keeping import default_interval, kept_steps
from expunge.schedule.placement import dealt_by
from expunge.schedule.recipe import Placement, Recipe
from expunge.schedule.rewinds import Rewinds
from expunge.schedule.schedule import Schedule
from expunge.study.incoming import Batches

SHARDS, SLICES = (1, 2, 4, 8, 12, 16, 32), (1, 2, 4, 8)
SEED = b"expunge/plan-schedule/1"  # of schedules: a training's own is not known before its recipe is whole


@dataclass(frozen=True, kw_only=True)
class PlannedOn:
    """What is planned on: the rows that would be trained on, by what recipe, whose they are, and random requests.

    ``tiers`` are those of every unit, and ``asked`` is the share of the requests that each tier makes.
    """

    rows: Dataset
    recipe: Recipe
    units: np.ndarray
    batches: Batches
    tiers: np.ndarray | None = None
    stages: tuple[int, ...] | None = None
    asked: tuple[float, ...] = ()


def outlay(costs: np.ndarray, worst: float) -> Outlay:
    """Of the drawn batches; nothing that was drawn is beyond the worst."""
    return Outlay(mean=float(costs.mean()), high=float(np.quantile(costs, 0.95)), worst=max(worst, float(costs.max())))


def timed(cost: Outlay, pace: float) -> Outlay:
    """The same in seconds, of which a unit of work takes ``pace``."""
    return Outlay(mean=cost.mean * pace, high=cost.high * pace, worst=cost.worst * pace)


def grid(ground: PlannedOn) -> Iterator[Recipe]:
    """The ordinary recipe in every number of shards and slices that there are people for, and by tiers if there are."""
    people = int(ground.units.max()) + 1
    for shards, slices in product(SHARDS, SLICES):
        if shards * slices <= people and (shards == 1 or ground.recipe.task not in LINEAR_TASKS):
            yield replace(ground.recipe, shards=shards, slices=slices)
    if ground.tiers is not None:
        sizes = np.bincount(ground.tiers)
        for shards in (shards for shards in SHARDS if shards <= sizes.min()):
            tiered = replace(ground.recipe, shards=shards, slices=len(sizes))
            if ground.stages is not None:
                tiered = replace(tiered, stages=ground.stages, epochs=sum(ground.stages))
            yield dealt_by(tiered, ground.tiers)


def replayed(ground: PlannedOn, recipe: Recipe, train: str) -> Route:
    """A route by replay: cost by formula, and of the drawn batches on the schedule itself, exactly."""
    tiered = recipe.placement is Placement.TIERS
    schedule = Schedule(
        seed=sha256(SEED, recipe.digest),
        units=ground.units,
        batch_size=recipe.batch_size,
        stage_epochs=recipe.stage_epochs,
        shards=recipe.shards,
        placement=recipe.placement,
        tiers=ground.tiers if tiered else None,
    )
    interval = default_interval(max(schedule.total_steps(shard) for shard in range(schedule.shards)))
    kept = [kept_steps(schedule, shard, interval, None) for shard in range(schedule.shards)]
    rewinds, batches = Rewinds.of(schedule, kept), ground.batches
    parts = np.bincount(schedule.cells[:, 1], minlength=recipe.slices) / schedule.count
    asked = ground.asked if tiered else tuple(parts.tolist())
    cells = "" if recipe.shards * recipe.slices == 1 else f", {recipe.shards} × {recipe.slices}"
    return Route(
        name=f"{recipe.model}{cells}{' by tiers' if tiered else ''}",
        kind="tiers" if tiered else "replay" if cells else "plain",
        unit="example-steps",
        cost=outlay(rewinds.work(batches.request, batches.slots), rewinds.worst(int(batches.people.max()))),
        retraining=rewinds.whole,
        share=_by_formula(recipe, parts.tolist(), asked, batches.people),
        states=sum(map(len, kept)),
        train=train,
    )


def _by_formula(recipe: Recipe, parts: Sequence[float], asked: Sequence[float], people: np.ndarray) -> float:
    """The mean share of a retraining over batches of so many people, each of whose rows lie together."""
    sizes, often = np.unique(people, return_counts=True)
    shares = [share_of_stages(recipe.shards, parts, recipe.stage_epochs, asked, int(size)) for size in sizes]
    return float(np.average(shares, weights=often))
