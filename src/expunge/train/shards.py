"""Carrying out a whole recipe: every shard through the loop, from its last good state or from its initial weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from expunge.core.errors import RunError
from expunge.core.values import Progress
from expunge.models.resolver import build
from expunge.records.run_log import Checkpointed
from expunge.schedule.keeping import default_interval, kept_steps
from expunge.schedule.plan import TrainingPlan
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.accumulate import accumulate
from expunge.train.carried import Carried
from expunge.train.checkpoint import read_checkpoint
from expunge.train.examples import Examples
from expunge.train.log import RunLog
from expunge.train.objective import Objective, training_objective
from expunge.train.perturbation import perturbed_objective
from expunge.train.recorder import FolderRecorder
from expunge.train.segment import StepRunner
from expunge.train.state import Tensors
from expunge.train.trace import ShardTrace, Trace


@dataclass(frozen=True)
class Recording:
    """Where a training is recorded, how often, and with which trace of its steps."""

    folder: Path
    interval: int | None = None
    trace: Trace = Trace.LOSSES
    restores: bool = True  # false where a checkpoint does not hold all of the model's state
    keep: int | None = None  # how many states of each shard stay; all unless said


@dataclass(frozen=True)
class StartingPoint:
    """A parent's checkpoint to start a shard from, where nothing is recorded."""

    checkpoint: Checkpointed
    path: Path

    def state(self) -> Tensors:
        """What is on disk; it must be what was logged."""
        found = read_checkpoint(self.path, self.checkpoint)
        if found is None:
            raise RunError(f"{self.path} is missing or does not match its digest: use `method` retrain")
        return found


def carry_out_shards(
    recipe: Recipe,
    schedule: Schedule,
    examples: Examples,
    emptied: np.ndarray,
    *,
    recording: Recording | None = None,
    starts: Mapping[int, StartingPoint] | None = None,
    progress: Progress | None = None,
    noise: np.ndarray | None = None,
    only: int | None = None,
) -> Carried:
    """Train every shard on those present, or ``only`` one. What a folder already holds is taken up, not done again.

    ``noise`` is the secret b of a recipe with a perturbation.
    """
    if recipe.accumulated:
        folder = None if recording is None else recording.folder
        return accumulate(recipe, schedule.seed, examples, emptied, folder, progress)
    objective = _objective(recipe, noise, schedule.count - len(emptied))
    totals = [schedule.total_steps(shard) for shard in range(schedule.shards)]
    members: list[nn.Module | None] = []
    thirds = passed = 0
    seconds = 0.0
    for shard, total in enumerate(totals):
        if only not in (None, shard) or not anybody(recipe, schedule, shard, emptied):
            members.append(None)
            passed += total
            continue
        runner = StepRunner(recipe, examples, build(recipe, schedule.seed, shard), objective=objective)
        plan = TrainingPlan(recipe, schedule, shard, emptied)
        before, first = passed, 0
        if recording is None and starts and shard in starts:
            first = starts[shard].checkpoint.step
            runner.take_up(starts[shard].state(), starts[shard].path)

        def moved(done: int, of: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, sum(totals))

        recorder = None if recording is None else _recorder(recording, schedule, plan)
        try:
            runner.run(plan, first, recorder=recorder, progress=moved)
        finally:
            if recorder is not None:
                recorder.close()
        thirds += runner.meter.thirds
        seconds += runner.meter.seconds
        passed += total
        members.append(runner.model.eval())
    return Carried(members, thirds, seconds)


def _objective(recipe: Recipe, noise: np.ndarray | None, rows: int) -> Objective:
    if recipe.perturbation == 0:
        return training_objective
    if noise is None:
        raise RunError(
            f"the recipe trains under noise of σ {recipe.perturbation:g} and its secret key is not at hand: give the "
            "noise.key of the run"
        )
    return perturbed_objective(noise, rows)


def _recorder(recording: Recording, schedule: Schedule, plan: TrainingPlan) -> FolderRecorder:
    traced, interval = recording.trace is not Trace.OFF, interval_of(schedule, recording.interval)
    return FolderRecorder(
        recording.folder,
        shard=plan.shard,
        total=plan.total,
        log=RunLog(recording.folder / "log.jsonl"),
        interval=interval,
        stage_ends=schedule.stage_ends(plan.shard),
        kept=None if recording.keep is None else kept_steps(schedule, plan.shard, interval, recording.keep),
        trace=ShardTrace(recording.folder, schedule, plan, recording.trace) if traced else None,
        restores=recording.restores,
    )


def interval_of(schedule: Schedule, asked: int | None) -> int:
    """Steps between checkpoints, the same for every shard: what was asked for, or by the longest training."""
    return asked or default_interval(max(schedule.total_steps(shard) for shard in range(schedule.shards)))


def anybody(recipe: Recipe, schedule: Schedule, shard: int, emptied: np.ndarray) -> bool:
    """Whether a shard has a step to carry out at all."""
    seated = np.setdiff1d(schedule.shard_slots(shard), emptied)
    if len(seated) == 0:
        return False
    if recipe.least_present == 1:
        return True
    plan = TrainingPlan(recipe, schedule, shard, emptied)
    return any(plan.step(index).parts for index in range(plan.total))
