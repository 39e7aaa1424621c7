"""A plan on a run as it stands: its schedule, checkpoints and empty chairs; and what was predicted of others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from expunge.core.errors import InvalidArgument, RunError
from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.core.wording import LONGEST_NAME, clean, three_digits
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.models.features.choice import map_of
from expunge.records.documents import STATES, SUMS
from expunge.records.plan import Outlay, PlanAdvice, PlanCheck, PlanFile, PlanKept, Route
from expunge.records.run_file import Predicted
from expunge.schedule.recipe import Placement
from expunge.schedule.rewinds import Rewinds
from expunge.study.incoming import Asking, Batches, draw
from expunge.study.routes import outlay, timed
from expunge.study.sums_routes import FOREST, SumsCost, grown, summed
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
    routes = _of_sums(run, batches) if run.recipe.accumulated else _routes(run, batches)
    return PlanFile(
        data=clean(run.path.name, LONGEST_NAME),
        rows=len(present),
        people=len(np.unique(run.units[present])),
        model=run.recipe.model,
        incoming=asking.told(batches),
        measured=False,
        routes=routes,
        advice=_advice(routes, asking),
        notices=tuple(account_notices(run, batches, asking)),
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
            train=_call(run, method),
            notes=() if refused is None else (f"not exact: {refused}",),
        )

    replay = route("exact-replay", rewinds.work(batches.request, batches.slots), rewinds.worst(reach))
    return replay, route("retrain", again, rewinds.whole)


def _of_sums(run: Run, batches: Batches) -> tuple[Route, Route]:
    """Taking rows out of the run's sums, and summing the others anew; seconds where the run itself was made so."""
    rows, present = run.data()[Split.TRAIN], np.setdiff1d(np.arange(len(run.units)), run.tombstones)
    told = SumsCost.of(run.recipe.model, map_of(run.recipe), rows, present)
    replay = replace(summed(told, batches, run.units, _call(run, "exact-replay")), name="exact-replay", kind="run")
    if told.model == FOREST:
        replay = replace(grown(run, rows, batches).told(replay), disk=(run.path / SUMS).stat().st_size)
    whole = replay.retraining or 0.0
    again = replace(
        replay,
        name="retrain",
        cost=Outlay(mean=whole, high=whole, worst=whole),
        row_sums=whole if told.model == FOREST else len(present) - float(batches.rows.mean()),
        train=_call(run, "retrain"),
    )
    return replay, again


def _call(run: Run, method: str) -> str:
    return f"`expunge.unlearn({run.path}, forget=subject:NAME, method={method}, out=CHILD)`"


def account_notices(run: Run, batches: Batches, asking: Asking) -> Iterator[str]:
    """How long the account of certified removals lasts, by what those so far have spent a row."""
    if not run.recipe.perturbation:
        return
    if run.told.account is None:
        yield "how long certificates last is known once a first removal has spent some of their account"
        return
    from expunge.methods.certified_logistic import CertifiedLogistic
    from expunge.methods.removal_account import Account, allowance

    usual, decay, classes = CertifiedLogistic(), run.recipe.optimiser.weight_decay, len(run.told.account["spent"])
    account = Account.from_json(run.told.account, decay=decay, classes=classes)
    allowed = allowance(run.recipe.perturbation, usual.epsilon, usual.delta, classes)
    spent = sum(max(entry["added"]) for entry in account.removals)
    rows = sum(entry["forgotten"] for entry in account.removals)
    left = max(0.0, allowed - account.worst) / (spent / rows) if spent else float("inf")
    months = left / float(batches.rows.mean()) / asking.batches
    if months < asking.horizon:
        yield (
            f"the account of certified removals ends after some {left:,.0f} more rows, about {three_digits(months)} "
            "months: retrain then, which opens a new one"
        )


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


def predicted(run: Run, slots: np.ndarray, method: str, data: GivenData = None) -> Predicted:
    """What forgetting these very slots costs by ``exact-replay`` or ``retrain``: steps exactly, seconds by the pace of
    the run that it goes on from. ``data`` are the rows where they are not where the run found them.
    """
    from expunge.methods.exact_replay import planned

    emptied = np.union1d(slots, run.tombstones)
    if run.recipe.accumulated:
        return _predicted_sums(run, slots, method, data)
    whole = method != "exact-replay"
    steps = run.schedule.work(emptied, least_present=run.recipe.least_present) if whole else planned(run, slots)
    pace = _pace(run.exact_ancestor)
    return Predicted(example_steps=steps, seconds=None if pace is None else steps * pace)


def _predicted_sums(run: Run, slots: np.ndarray, method: str, data: GivenData) -> Predicted:
    """Row-sums of these very slots: each is subtracted once, or everybody else added again where an end of a range
    goes; in a forest they are taken out to see. Seconds by the last request of the same kind, if the run is one.
    """
    stay = len(run.units) - len(np.union1d(slots, run.tombstones))
    if method != "exact-replay":
        trained = run.told.training_row_sums or run.result.row_sums or 0
        return Predicted(example_steps=0, row_sums=trained * stay / len(run.units))
    rows = run.data(data)[Split.TRAIN]
    batch = Batches(np.zeros(len(slots), dtype=np.int64), slots, np.ones(1, dtype=np.int64))
    if run.recipe.model == FOREST:
        return Predicted(example_steps=0, row_sums=grown(run, rows, batch).cost.mean)
    present = np.setdiff1d(np.arange(len(run.units)), run.tombstones)
    told = SumsCost.of(run.recipe.model, map_of(run.recipe), rows, present)
    again = bool(batch.exhaust(told.ends).any())
    before = run.method == "exact-replay" and run.result.row_sums == run.told.forgotten and not again
    seconds = None
    if before:
        seconds = run.result.seconds * float(told.operations(len(slots)) / told.operations(run.result.row_sums or 1))
    return Predicted(example_steps=0, row_sums=stay if again else len(slots), seconds=seconds)


def checked(run: Run) -> PlanCheck:
    """What was predicted of a run and its parents, as far as they are at hand, beside what they took."""
    kept: list[PlanKept] = []
    at: Run | None = run
    while at is not None:
        said = None if at.told.forgetting is None else at.told.forgetting.predicted
        if said is not None:
            took = at.result
            spent = Predicted(example_steps=took.example_steps, row_sums=took.row_sums or 0, seconds=took.seconds)
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
