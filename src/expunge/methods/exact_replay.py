"""Redo only what the forgotten examples touched: rewinding, slices and shards by one rule."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from expunge.core.errors import RunError
from expunge.core.files import link_or_copy
from expunge.core.values import Exact
from expunge.methods.contract import Given, Method, Need, Outcome, Parent
from expunge.methods.retrain import exact_outcome, refuse_nobody
from expunge.records.run_file import RunFile
from expunge.records.run_log import Checkpointed
from expunge.schedule.keeping import kept_steps
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.accumulate import subtract
from expunge.train.checkpoint import read_checkpoint
from expunge.train.log import RunLog
from expunge.train.recorder import adopt
from expunge.train.run import Run
from expunge.train.shards import StartingPoint, carry_out_shards, interval_of
from expunge.train.trace import Trace, continued

WAY_OUT = "use `method` retrain, which needs no checkpoint"
OTHER_TRACE = {
    Trace.OFF: "no trace is kept: the run that is replayed has none whose beginning could be taken over",
    Trace.LOSSES: "the trace is of losses, like that of the run that is replayed: its beginning is taken over",
    Trace.GRADIENTS: "the trace is of gradients, like that of the run that is replayed: its beginning is taken over",
}


@dataclass(frozen=True, kw_only=True)
class ExactReplay(Method):
    """In each shard that holds F, load the last checkpoint before the first step that touches F and redo the rest.

    The result is bit-identical to ``retrain``. Shards without F keep their bytes (SISA; Bourtoule et al., 2021, is
    the case of shards and slices; rewinding the case of one shard and one slice). Of an accumulated model F's rows are
    taken out of the sums.
    """

    name = "exact-replay"
    aliases = ("rewind", "sisa", "sharded")
    needs = frozenset({Need.RETAIN, Need.INIT, Need.CHECKPOINTS})
    ceiling = Exact
    takes_budget = False
    takes_shards = True
    takes_sums = True
    citation = "Bourtoule et al., S&P 2021"
    work = "the steps from the last checkpoint before the first touched one"

    def unlearn(self, given: Given) -> Outcome:
        given.declare(Need.RETAIN)
        given.declare(Need.INIT)
        folder = given.ancestor
        if folder is None:
            raise RunError(f"exact-replay needs the recorded run's checkpoints, this parent has no folder: {WAY_OUT}")
        if given.recipe.accumulated:
            return self._subtracted(given, folder)
        log, told = RunLog(folder / "log.jsonl", writer=False), Run.open_any(folder).told
        kept: list[Checkpointed] = []
        starts: dict[int, StartingPoint] = {}
        notices: list[str] = []
        for shard in range(given.schedule.shards):
            logged = reusable_checkpoints(
                given.recipe, given.schedule, given.newly_emptied, log, shard, _kept(told, given.schedule, shard)
            )
            reusable = sound(folder, logged)
            kept.extend(reusable)
            if len(reusable) < len(logged):
                used = reusable[-1].name if reusable else "the initial weights"
                notices.append(f"{logged[-1].name} is missing or damaged: {used} is used instead")
            if reusable:
                starts[shard] = StartingPoint(reusable[-1], folder / "checkpoints" / reusable[-1].name)
        recording = given.recording
        if recording is not None:
            trace = continued(_trace_of(folder), recording.trace)
            if trace is not recording.trace:
                notices.append(OTHER_TRACE[trace])
            recording = replace(recording, trace=trace)
            adopt(
                recording.folder,
                RunLog(recording.folder / "log.jsonl"),
                source=folder,
                kept=kept,
                link=link_or_copy,
                schedule=given.schedule,
                trace=trace,
            )
        carried = carry_out_shards(
            given.recipe,
            given.schedule,
            given.examples,
            given.emptied,
            recording=recording,
            starts=starts,
            progress=given.progress,
            noise=given.noise,
        )
        reused = {shard: start.checkpoint.step for shard, start in starts.items()}
        return exact_outcome(given, carried, given.schedule, reused, tuple(notices))

    def _subtracted(self, given: Given, folder: Path) -> Outcome:
        """Of an accumulated model: take the rows out of its sums, and derive its weights again."""
        result = Run.open_any(folder).result
        carried = subtract(
            given.recipe,
            given.schedule.seed,
            given.subtracted,
            given.emptied,
            given.newly_emptied,
            folder,
            result.sums,
            None if given.recording is None else given.recording.folder,
        )
        return exact_outcome(given, carried, given.schedule, {})

    def traces(self, parent: Parent, asked: Trace) -> Trace:
        if parent.recipe.accumulated:
            return Trace.OFF
        return Trace.OFF if parent.folder is None else continued(_trace_of(parent.folder), asked)

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        refuse_nobody(parent, forget)
        if parent.recipe.accumulated and not parent.examples.allowed[forget].all():
            raise RunError(
                "rows of the forget set are no longer in the data, and only rows at hand can be taken out of sums: use "
                "`method` retrain, which sums those that stay"
            )

    def seen(self, parent: Parent) -> tuple[str, ...]:
        return ()


def _trace_of(folder: Path) -> Trace:
    """What the ancestor recorded; a trace that was taken away is none."""
    return Run.open_any(folder).trace if (folder / "trace").is_dir() else Trace.OFF


def _kept(told: RunFile, schedule: Schedule, shard: int) -> Collection[int] | None:
    """Steps whose states the ancestor was to keep, where not all of them."""
    if told.keep_checkpoints is None:
        return None
    return kept_steps(schedule, shard, interval_of(schedule, told.checkpoint_interval), told.keep_checkpoints)


def planned(run: Run, forget: np.ndarray) -> int:
    """Example-steps that a replay of a run without these rows would redo, read off its schedule and log."""
    ancestor, emptied = run.exact_ancestor, np.union1d(forget, run.tombstones)
    newly, schedule, starts = np.setdiff1d(emptied, ancestor.tombstones), run.schedule, list[int]()
    for shard in range(schedule.shards):
        kept = _kept(ancestor.told, schedule, shard)
        logged = reusable_checkpoints(run.recipe, schedule, newly, ancestor.log, shard, kept)
        there = [item.step for item in logged if (ancestor.path / "checkpoints" / item.name).is_file()]
        starts.append(max(there, default=0))
    return schedule.work(emptied, least_present=run.recipe.least_present, starts=tuple(starts))


def reusable_checkpoints(
    recipe: Recipe,
    schedule: Schedule,
    newly_emptied: np.ndarray,
    log: RunLog,
    shard: int,
    kept: Collection[int] | None = None,
) -> list[Checkpointed]:
    """A shard's checkpoints up to the first step that holds a newly forgotten example, as far as they were ``kept``.

    Noise in the loss weighs 1/n, with n the rows present: where anybody goes, no step is what it was.
    """
    if recipe.perturbation and len(newly_emptied):
        return []
    touched = schedule.first_touch(shard, newly_emptied)
    there = (item for item in log.checkpoints(shard) if kept is None or item.step in kept)
    return [item for item in there if touched is None or item.step <= touched]


def sound(folder: Path, logged: list[Checkpointed]) -> list[Checkpointed]:
    """The checkpoints up to the last one whose file is what was logged; earlier ones that are gone are left out."""
    while logged and read_checkpoint(folder / "checkpoints" / logged[-1].name, logged[-1]) is None:
        logged = logged[:-1]
    return [item for item in logged if (folder / "checkpoints" / item.name).is_file()]
