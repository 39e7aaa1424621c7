"""``plan``: what requests for deletion will cost, before anything is trained and on a run as it stands. No torch."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.core.values import Progress
from expunge.core.wording import LONGEST_NAME, clean
from expunge.data.dataset import Dataset
from expunge.data.encoding import make_encoding
from expunge.data.handed import HANDED, AnyData, HandedData, Names, hand_over
from expunge.data.labels import LabelKind
from expunge.data.source import UNSAID, Source
from expunge.data.splits import Split, split_rows
from expunge.data.tiers import TierFile
from expunge.records.catalogue import NUMBER_TASKS
from expunge.records.plan import PlanFile, Route
from expunge.records.run_file import RunFile
from expunge.schedule.fields import RecipeFields, require_kind, usual_model
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import Placement, Recipe
from expunge.study.advice import advised
from expunge.study.incoming import Asking, draw
from expunge.study.routes import PlannedOn, grid, replayed
from expunge.study.run_plan import plan_of_run
from expunge.study.sums_routes import accumulated
from expunge.train.run import Run

DRAWN_BY = b"expunge/plan/requests/1"
SAID = ("model", "task", "epochs", "batch_size", "shards", "slices")  # of a recipe, where they are not the usual ones
USUAL = RecipeFields()
SUMS = ("ridge", "patch-ridge", "naive-bayes", "forest")  # the one to take first, where nothing was measured
CLOCKED = (1, 4, 12)  # numbers of shards that are trained to measure


def plan(
    data: AnyData | Run,
    *,
    requests: str,
    window: str | None = None,
    horizon: int = 24,
    model: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    task: str | None = None,
    tiers: Path | str | None = None,
    stages: Sequence[int] | str | None = None,
    tier_shares: Sequence[float] | None = None,
    floor: float | None = None,
    measure: bool = False,
    label: str | None = None,
    subject: str | Names | None = None,
    id: str | Names | None = None,
    progress: Progress | None = None,
    **said: Any,
) -> PlanFile:
    """What requests for deletion cost on each way to train, and which way to take.

    ``data`` are as ``train`` takes them, and so are ``label``, ``subject``, ``id`` and whatever else is ``said`` of
    their columns; or a run, by its folder, which is planned on as it stands. ``requests`` is a rate such as 20/month,
    ``window`` for how long requests are collected into one batch (7d; each is carried out by itself unless said),
    ``horizon`` how many months are looked ahead. ``model``, ``epochs``, ``batch_size`` and ``task`` are those of the
    ordinary training. ``tiers`` is a file of subjects and their tiers, ``stages`` the epochs of each, ``tier_shares``
    the share of all requests that each tier makes; as many as it has people unless said.

    With ``measure`` routes are trained, a person is forgotten from each, and seconds, disk and the accuracy on
    calibration rows stand in the plan; ``floor`` is the least accuracy that is taken.
    """
    for name, value, kinds, what in (
        ("requests", requests, (str,), "a rate such as 20/month"),
        ("window", window, (str, type(None)), "a duration such as 7d"),
        ("floor", floor, (int, float, type(None)), "a share of right answers"),
        ("tiers", tiers, (str, os.PathLike, type(None)), "a file of subjects and tiers"),
        ("measure", measure, (bool,), "true or false"),
    ):
        require_kind(name, value, kinds, what)
    asking = Asking.read(requests, window, horizon)
    if floor is not None and not measure:
        raise InvalidArgument(
            f"`floor` {floor:g} is a share of right answers, which nobody knows before training: add `measure`"
        )
    if floor is not None and not 0 <= floor <= 1:
        raise InvalidArgument(f"`floor` {floor:g} must be a share of right answers from 0 to 1")
    for name, value in (("stages", stages), ("tier_shares", tier_shares)):
        if tiers is None and value is not None:
            raise InvalidArgument(f"`{name}` is said of tiers, and there are none: name their file with `tiers`")
    ordinary = RecipeFields(
        model=model, task=task, epochs=epochs, batch_size=USUAL.batch_size if batch_size is None else batch_size
    )
    if isinstance(data, Run) or (isinstance(data, str | os.PathLike) and (Path(data) / RunFile.NAME).is_file()):
        if tiers is not None or measure or ordinary != USUAL:
            raise InvalidArgument(
                "a run is planned on as it stands: leave out what is of a training to come, and `measure`"
            )
        return plan_of_run(Run.of(data), asking)
    handed = hand_over(data, label=label, subject=subject, id=id, **said)
    _, rows = handed.find(kind=_kind(task))
    ground = _ground(rows, asking, ordinary, None if tiers is None else TierFile.read(tiers), stages, tier_shares)
    recipes = list(grid(ground))
    calls = [_call(handed.said, ordinary, recipe, tiers) for recipe in recipes]
    routes: list[Route] = []
    for done, (recipe, call) in enumerate(zip(recipes, calls, strict=True)):
        if progress is not None:
            progress(done, len(recipes))
        routes.append(replayed(ground, recipe, call))
    if measure:
        routes = _measured(handed, ground, ordinary, recipes, routes)
    for name in SUMS if rows.classes else ():
        call = _call(handed.said, USUAL, replace(ground.recipe, model=name), None)
        routes += [found] if (found := accumulated(ground, name, call)) is not None else []
    return PlanFile(
        data=clean(Path(handed.said.location).name, LONGEST_NAME),
        rows=len(ground.units),
        people=int(ground.units.max()) + 1,
        model=ground.recipe.model,
        incoming=asking.told(ground.batches, ground.asked),
        floor=floor,
        measured=measure,
        routes=tuple(routes),
        advice=advised(routes, floor),
        notices=tuple(_notices(ground, asking)),
    )


def _measured(
    handed: HandedData,
    ground: PlannedOn,
    ordinary: RecipeFields,
    recipes: Sequence[Recipe],
    routes: Sequence[Route],
) -> list[Route]:
    """Routes with seconds: some are trained, and the others take as long for an example-step as the first of these."""
    from expunge.study.timed import clock, with_clock

    person = ground.rows.subjects[ground.trained[ground.batches.slots[0]]]
    own = {
        recipe.shards: clock(handed, person, replace(ordinary, model=recipe.model, shards=recipe.shards))
        for recipe in recipes
        if recipe.shards in CLOCKED and recipe.slices == 1
    }
    return [
        with_clock(route, own[1].pace, own[1], own.get(recipe.shards) if recipe.slices == 1 else None)
        for recipe, route in zip(recipes, routes, strict=True)
    ]


def _kind(task: str | None) -> LabelKind:
    if task is None:
        return LabelKind.UNSAID
    return LabelKind.NUMBERS if task in NUMBER_TASKS else LabelKind.CLASSES


def _ground(
    rows: Dataset,
    asking: Asking,
    ordinary: RecipeFields,
    tiers: TierFile | None,
    stages: Sequence[int] | str | None,
    shares: Sequence[float] | None,
) -> PlannedOn:
    """The rows that a training would take, dealt out as ``train`` deals them, and batches drawn among their people."""
    encoding = make_encoding(rows)
    told = replace(ordinary, model=ordinary.model or usual_model(encoding, ordinary.task)).said()
    recipe = Recipe(
        inputs=encoding, classes=rows.classes, **{name: told[name] for name in told if not name.endswith("_buckets")}
    )
    trained = np.flatnonzero(split_rows(rows) == Split.TRAIN.code)
    subjects = [rows.subjects[row] for row in trained.tolist()]
    units = number_units(subjects)
    weights, of_units, asked = np.ones(int(units.max()) + 1), None, ()
    if tiers is not None:
        of_units = tiers.of(rows.subjects, subjects)
        people = np.bincount(of_units)
        asked = tuple((people / people.sum()).tolist()) if shares is None else _shares(shares, len(people))
        weights = np.array(asked)[of_units] / people[of_units]
    return PlannedOn(
        rows=rows,
        trained=trained,
        recipe=recipe,
        units=units,
        batches=draw(Stream(sha256(DRAWN_BY, recipe.digest), "plan"), units, weights, asking.mean),
        tiers=of_units,
        stages=None if stages is None else RecipeFields(stages=stages).said()["stages"],
        asked=asked,
    )


def _shares(given: Sequence[float], count: int) -> tuple[float, ...]:
    if len(given) != count or not all(0 <= share <= 1 for share in given) or abs(sum(given) - 1) > 1e-6:
        raise InvalidArgument(
            f"`tier_shares` {', '.join(f'{share:g}' for share in given)} must be the share of all requests that each "
            f"of the {count} tiers makes, 1 in all"
        )
    return tuple(given)


def _call(source: Source, ordinary: RecipeFields, recipe: Recipe, tiers: Path | str | None) -> str:
    """The call that trains a route, which the command line shows as a command."""
    route = replace(ordinary, model=recipe.model, shards=recipe.shards, slices=recipe.slices)
    told = [(item.name, getattr(source, item.name)) for item in fields(source) if item.name != "location"]
    told = [(name, value) for name, value in told if value not in UNSAID]
    if recipe.placement is Placement.TIERS:
        route = replace(route, slices=1, epochs=None if recipe.stages else route.epochs)
        told.append(("placement", shlex.quote(f"tiers:{tiers}")))
    if recipe.stages is not None:
        told.append(("stages", ",".join(map(str, recipe.stages))))
    told += [(name, value) for name in SAID if (value := getattr(route, name)) != getattr(USUAL, name)]
    place = "DATA" if source.location == HANDED else shlex.quote(source.location)
    listed = [f"{name}={one}" for name, value in told for one in (value if isinstance(value, tuple) else (value,))]
    return f"`expunge.train({', '.join([place, *listed, 'out=RUN'])})`"


def _notices(ground: PlannedOn, asking: Asking) -> Iterator[str]:
    """What a table of costs does not show."""
    people, all_in_all = int(ground.units.max()) + 1, asking.a_month * asking.horizon
    if all_in_all >= people:
        yield f"{all_in_all:,.0f} requests in {asking.horizon} months are more than the {people:,} people there are"
    if ground.tiers is not None:
        yield (
            "rows of the last tier are trained on in the last stage alone, and whoever sees the schedule reads each "
            "row's tier off it: `expunge evaluate` tells accuracy per tier"
        )
        if np.allclose(ground.asked, np.bincount(ground.tiers) / people):
            yield "every tier asks as often as it has people, so that tiers save little: `tier_shares` says otherwise"
