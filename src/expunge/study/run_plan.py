"""A plan on a run as it stands: its schedule, checkpoints and empty chairs; and what was predicted of others."""

from __future__ import annotations

import numpy as np

from expunge.core.errors import InvalidArgument, RunError
from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.core.wording import LONGEST_NAME, clean, three_digits
from expunge.records.documents import STATES
from expunge.records.plan import PlanAdvice, PlanCheck, PlanFile, PlanKept, Route
from expunge.records.run_file import Predicted
from expunge.schedule.recipe import Placement
from expunge.schedule.rewinds import Rewinds
from expunge.study.incoming import Asking, Batches, draw
from expunge.study.routes import outlay, timed
from expunge.train.run import Run

DRAWN_BY = b"expunge/plan/run/1"


def plan_of_run(run: Run, asking: Asking) -> PlanFile:
    """What the next requests cost on this run."""
    if run.told.adopted is not None:
        raise InvalidArgument(
            f"{run.path} was trained elsewhere, by steps that nobody here recorded: plan its data instead, for a "
            "training that is"
        )
    present = np.setdiff1d(np.arange(len(run.units)), run.tombstones)
    weights = np.ones(int(run.units.max()) + 1)
    seed = sha256(DRAWN_BY, bytes.fromhex(run.weights_digest))
    batches = draw(Stream(seed, "plan"), run.units, weights, asking.mean, present)
    routes = _routes(run, batches)
    return PlanFile(
        data=clean(run.path.name, LONGEST_NAME),
        rows=len(present),
        people=len(np.unique(run.units[present])),
        model=run.recipe.model,
        incoming=asking.told(batches),
        measured=False,
        routes=routes,
        advice=_advice(routes, asking),
    )


def _rewinds(run: Run) -> Rewinds:
    """What replays on a run redo, by the states that still lie in the folder of the run they go on from."""
    ancestor, kept = run.exact_ancestor, list[list[int]]()
    for shard in range(run.schedule.shards):
        logged = () if run.recipe.perturbation else ancestor.log.checkpoints(shard)  # noise weighs 1/n: nothing stays
        kept.append([item.step for item in logged if (ancestor.path / STATES / item.name).is_file()])
    return Rewinds.of(
        run.schedule,
        kept,
        emptied=run.tombstones,
        pending=np.setdiff1d(run.tombstones, ancestor.tombstones),
        least_present=run.recipe.least_present,
    )


def _routes(run: Run, batches: Batches) -> tuple[Route, Route]:
    """Going on from the run's states, and training again without the rows."""
    rewinds, ancestor = _rewinds(run), run.exact_ancestor
    alone = run.recipe.placement is Placement.SLOT
    reach = int((batches.rows if alone else batches.people).max())
    states = [path.stat().st_size for path in (ancestor.path / STATES).glob("*") if path.is_file()]
    again = rewinds.whole - np.bincount(batches.request, rewinds.seats[batches.slots])
    pace, refused = _pace(ancestor), ancestor.result.exact_refused

    def route(method: str, costs: np.ndarray, worst: float) -> Route:
        cost = outlay(costs, worst)
        return Route(
            name=method,
            kind="run",
            unit="example-steps",
            cost=cost,
            retraining=rewinds.whole,
            seconds=None if pace is None else timed(cost, pace),
            retraining_seconds=None if pace is None else rewinds.whole * pace,
            states=len(states) if method == "exact-replay" else None,
            disk=sum(states) if method == "exact-replay" else None,
            train=f"`expunge.unlearn({run.path}, forget=subject:NAME, method={method}, out=CHILD)`",
            notes=() if refused is None else (f"not exact: {refused}",),
        )

    replay = route("exact-replay", rewinds.work(batches.request, batches.slots), rewinds.worst(reach))
    return replay, route("retrain", again, rewinds.whole)


def _pace(run: Run) -> float | None:
    """Seconds that an example-step took on a run; None where it took none."""
    return run.result.seconds / run.result.example_steps if run.result.example_steps else None


def _advice(routes: tuple[Route, Route], asking: Asking) -> PlanAdvice:
    """Going on from states as long as a month of that costs less than one retraining without all who asked in it."""
    replay, retrain = routes
    share = asking.batches / (replay.times or 1.0)
    stop = share > 1
    month = f"a month's {three_digits(asking.batches)} batches cost {three_digits(share)} times one retraining"
    why = f"{month}: collect them and retrain once a month" if stop else month
    best = retrain if stop else replay
    return PlanAdvice(route=best.name, meets=True, why=why, train=best.train)


def predicted(run: Run, slots: np.ndarray, method: str) -> Predicted:
    """What forgetting these very slots costs by ``exact-replay`` or ``retrain``: steps exactly, seconds by the pace of
    the run that it goes on from.
    """
    from expunge.methods.exact_replay import planned

    emptied = np.union1d(slots, run.tombstones)
    whole = method != "exact-replay"
    steps = run.schedule.work(emptied, least_present=run.recipe.least_present) if whole else planned(run, slots)
    pace = _pace(run.exact_ancestor)
    return Predicted(example_steps=steps, seconds=None if pace is None else steps * pace)


def checked(run: Run) -> PlanCheck:
    """What was predicted of a run and its parents, as far as they are at hand, beside what they took."""
    kept: list[PlanKept] = []
    at: Run | None = run
    while at is not None:
        said = None if at.told.forgetting is None else at.told.forgetting.predicted
        if said is not None:
            spent = Predicted(example_steps=at.result.example_steps, seconds=at.result.seconds)
            kept.append(
                PlanKept(
                    run=clean(at.path.name, LONGEST_NAME),
                    weights=at.weights_digest,
                    method=str(at.method),
                    predicted=said,
                    spent=spent,
                )
            )
        try:
            at = at.parent if at.told.operation == "unlearn" else None
        except RunError:  # it was destroyed, as it should be
            at = None
    if not kept:
        raise InvalidArgument(
            f"{run.path} holds no prediction, nor does a parent of it that is at hand: `expunge forget` writes one"
        )
    return PlanCheck(kept=tuple(kept))
