"""What ``plan`` measures: a route is trained, a person is forgotten from it, and the old state is destroyed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from expunge.data.handed import HandedData
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.documents import STATES
from expunge.records.plan import Outlay, Route
from expunge.records.run_file import Result
from expunge.schedule.fields import RecipeFields
from expunge.schedule.recipe import Recipe
from expunge.study.routes import PlannedOn, timed
from expunge.study.sums_routes import FOREST, Grown, SumsCost, grown
from expunge.train.training import train

CLOCKED = (1, 4, 12)  # numbers of shards that are trained to measure


@dataclass(frozen=True, kw_only=True)
class Clocked:
    """Of one route: what its training and forgetting one person came to, in how many seconds.

    ``beside`` is what a request takes besides (loading, writing), ``erasing`` what hygiene takes; ``state`` is the size
    of a kept state in bytes, ``accuracy`` that on calibration rows; ``forest`` what batches cost in one that has grown.
    """

    trained: Result
    forgot: Result
    beside: float
    erasing: float
    state: float
    accuracy: float | None
    forest: Grown | None


def measured(
    data: HandedData,
    on: PlannedOn,
    ordinary: RecipeFields,
    recipes: Sequence[Recipe],
    sums: Sequence[SumsCost],
    routes: Sequence[Route],
) -> list[Route]:
    """Routes with seconds: some are trained, and others take as long for an example-step as the one below.

    Whoever is forgotten to measure holds no end of a range, which costs more than others do.
    """
    ends = np.zeros(len(on.units), dtype=bool)
    for one in sums:
        ends |= one.ends.any(axis=1)
    slot = int(next(iter(on.batches.slots[~ends[on.batches.slots]]), on.batches.slots[0]))
    clocked = {
        shards: _clock(data, on, slot, replace(ordinary, model=on.recipe.model, shards=shards))
        for shards in sorted({recipe.shards for recipe in recipes} & set(CLOCKED))
    }
    found: list[Route] = []
    for recipe, route in zip(recipes, routes, strict=False):
        assert route.cost is not None, "what replays redo is known beforehand"
        like = clocked[max(shards for shards in clocked if shards <= recipe.shards)]
        pace = like.trained.seconds / max(1.0, like.trained.example_steps)
        own = clocked.get(recipe.shards) if recipe.slices == 1 else None
        found.append(_with_clock(route, timed(route.cost, pace), like, own, pace))
    rows = int(np.count_nonzero(on.units == on.units[slot]))
    for one, route in zip(sums, routes[len(recipes) :], strict=True):
        own = _clock(data, on, slot, RecipeFields(model=one.model))
        if own.forest is not None:
            seconds, route = own.forest.seconds, own.forest.told(route)
        else:
            seconds = timed(one.cost(on.batches, on.units), own.forgot.seconds / float(one.operations(rows)))
        found.append(_with_clock(route, seconds, own, own, 0.0))
    return found


def _clock(data: HandedData, on: PlannedOn, slot: int, fields: RecipeFields) -> Clocked:
    """Train, forget the person of a slot and destroy, in a folder that goes again."""
    with tempfile.TemporaryDirectory(prefix="expunge-plan-") as place:
        trained = train(data, out=Path(place) / "trained", **fields.said())
        forest = grown(trained, on.rows, on.batches) if fields.model == FOREST else None
        begun = time.monotonic()
        forgot = unlearn(trained, f"subject:{on.rows.subjects[slot]}", out=Path(place) / "forgot", data=data)
        served = time.monotonic()
        states = [path.stat().st_size for path in (trained.path / STATES).glob("*") if path.is_file()]
        destroy(survey(forgot), unrecorded=True)
        figures = [one.figures for one in trained.told.learnt or () if one.split == "calibration"]
        return Clocked(
            trained=trained.result,
            forgot=forgot.result,
            beside=max(0.0, served - begun - forgot.result.seconds),
            erasing=time.monotonic() - served,
            state=sum(states) / max(1, len(states)),
            accuracy=next((told.get("accuracy") for told in figures), None),
            forest=forest,
        )


def _with_clock(route: Route, seconds: Outlay, like: Clocked, own: Clocked | None, pace: float) -> Route:
    """A route with seconds; what was trained itself has accuracy, and the seconds of its own training."""
    service = seconds.mean + like.beside
    return replace(
        route,
        seconds=seconds,
        retraining_seconds=(route.retraining or 0.0) * pace if own is None else own.trained.seconds,
        service=service,
        hygiene=service + like.erasing,
        disk=like.state * (1 if route.states is None else route.states),
        accuracy=None if own is None else own.accuracy,
    )
