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
from expunge.core.wording import LONGEST_NAME, clean, counted
from expunge.data.dataset import Dataset
from expunge.data.encoding import make_encoding
from expunge.data.handed import HANDED, AnyData, Names, hand_over
from expunge.data.labels import LabelKind
from expunge.data.source import UNSAID, Source
from expunge.data.splits import Split, split_rows
from expunge.data.tiers import TierFile
from expunge.records.catalogue import NUMBER_TASKS
from expunge.records.plan import PlanFile, Route
from expunge.records.run_file import RunFile
from expunge.schedule.costs import least_asked, works
from expunge.schedule.fields import RecipeFields, require_kind, usual_model
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import Placement, Recipe
from expunge.study.advice import TIMES, advised
from expunge.study.incoming import Asking, draw
from expunge.study.routes import PlannedOn, grid, replayed
from expunge.study.run_plan import plan_of_run
from expunge.study.sums_routes import summed, sums_of
from expunge.train.run import Run

DRAWN_BY = b"expunge/plan/requests/1"
SAID = ("model", "task", "epochs", "batch_size")  # of the ordinary training
USUAL = RecipeFields()


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
    ordinary = RecipeFields(model=model, task=task, epochs=epochs, batch_size=batch_size)
    if isinstance(data, Run) or (isinstance(data, str | os.PathLike) and (Path(data) / RunFile.NAME).is_file()):
        if tiers is not None or measure or ordinary != USUAL:
            raise InvalidArgument(
                "a run is planned on as it stands: leave out what is of a training to come, and `measure`"
            )
        return plan_of_run(Run.of(data), asking)
    handed = hand_over(data, label=label, subject=subject, id=id, **said)
    _, rows = handed.find(kind=_kind(task))
    ground = _ground(rows, asking, ordinary, None if tiers is None else TierFile.read(tiers), stages, tier_shares)
    recipes, sums, routes = list(grid(ground)), list(sums_of(ground)), list[Route]()
    for done, recipe in enumerate(recipes):
        if progress is not None:
            progress(done, len(recipes))
        routes.append(replayed(ground, recipe, _call(handed.said, _options(ordinary, recipe, tiers))))
    for one in sums:
        routes.append(summed(one, ground.batches, ground.units, _call(handed.said, [("model", one.model)])))
    if measure:
        from expunge.study.timed import measured

        routes = measured(handed, ground, ordinary, recipes, sums, routes)
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
        notices=tuple(_notices(ground, asking, recipes)),
    )


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
        rows=rows.take(trained),
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


def _options(ordinary: RecipeFields, recipe: Recipe, tiers: Path | str | None) -> Sequence[tuple[str, object]]:
    """What is said of a route by replay."""
    told = [(name, getattr(ordinary, name)) for name in SAID if getattr(ordinary, name) != getattr(USUAL, name)]
    told = [("model", recipe.model), *((name, value) for name, value in told if name != "model")]
    if recipe.stages is not None:
        told = [(name, value) for name, value in told if name != "epochs"]
        told.append(("stages", ",".join(map(str, recipe.stages))))
    cells = [("shards", recipe.shards)]
    if recipe.placement is Placement.TIERS:
        told.append(("placement", shlex.quote(f"tiers:{tiers}")))
    else:
        cells.append(("slices", recipe.slices))
    return [*told, *((name, count) for name, count in cells if count > 1)]


def _call(source: Source, options: Sequence[tuple[str, object]]) -> str:
    """The call that trains a route, which the command line shows as a command."""
    told = [(item.name, getattr(source, item.name)) for item in fields(source) if item.name != "location"]
    told = [*((name, value) for name, value in told if value not in UNSAID), *options]
    place = "DATA" if source.location == HANDED else shlex.quote(source.location)
    listed = [f"{name}={one}" for name, value in told for one in (value if isinstance(value, tuple) else (value,))]
    return f"`expunge.train({', '.join([place, *listed, 'out=RUN'])})`"


def _notices(ground: PlannedOn, asking: Asking, recipes: Sequence[Recipe]) -> Iterator[str]:
    """What a table of costs does not show."""
    people, all_in_all = int(ground.units.max()) + 1, asking.a_month * asking.horizon
    if all_in_all >= people:
        yield f"{all_in_all:,.0f} requests in {asking.horizon} months are more than the {people:,} people there are"
    if ground.tiers is not None:
        yield (
            "rows of the last tier are trained on in the last stage alone, and whoever sees the schedule reads each "
            "row's tier off it: `expunge evaluate` tells accuracy per tier"
        )
        yield from _law(ground, recipes)
        if np.allclose(ground.asked, np.bincount(ground.tiers) / people):
            yield "every tier asks as often as it has people, so that tiers save little: `tier_shares` says otherwise"


def _law(ground: PlannedOn, recipes: Sequence[Recipe]) -> Iterator[str]:
    """How many of the requests must be for the last tier, by the law of tiers; the others cost their whole shard."""
    tiered = [recipe for recipe in recipes if recipe.placement is Placement.TIERS]
    if ground.tiers is None or len(ground.asked) < 2 or not tiered:
        return
    parts = np.bincount(ground.tiers[ground.units]) / len(ground.units)
    work = works(parts.tolist(), tiered[0].stage_epochs)
    needed = {recipe.shards: least_asked(recipe.shards, work[-1] / sum(work), TIMES) for recipe in tiered}
    told = ", ".join(f"{share:.1%} with {counted(shards, 'shard')}" for shards, share in needed.items() if share)
    if told:
        yield (
            f"one request costs {TIMES} times less by tiers where so many are for the last tier at least: {told}; "
            f"here {ground.asked[-1]:.1%} are"
        )
