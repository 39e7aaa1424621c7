"""Shards that were trained apart from the run that they belong to: taken over as if it had trained them itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.files import link_or_copy
from expunge.core.values import Progress
from expunge.data.forget_set import ForgetSet
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.exactness import require_same
from expunge.train.log import RunLog
from expunge.train.recorder import adopt
from expunge.train.run import Run
from expunge.train.shards import Recording, anybody

TrainsApart = Callable[[Run, Sequence[int], ForgetSet | None, Progress | None], Iterable[Path]]
"""Trains some shards of a run that was begun, without those who are left out, and says in which folders they lie."""


def lacking(recording: Recording, recipe: Recipe, schedule: Schedule, emptied: np.ndarray) -> list[int]:
    """Shards that have somebody, and whose last state is not on record."""
    log = RunLog(recording.folder / "log.jsonl", writer=False)
    done = {shard: max((one.step for one in log.checkpoints(shard)), default=0) for shard in range(schedule.shards)}
    return [
        shard
        for shard, step in done.items()
        if step < schedule.total_steps(shard) and anybody(recipe, schedule, shard, emptied)
    ]


def take_over(recording: Recording, place: Path, schedule: Schedule, environment: Mapping[str, Any]) -> None:
    """States, trace and cost of the shards that a folder holds; the folder goes."""
    there, log = Run.open_any(place), RunLog(place / "log.jsonl", writer=False)
    require_same(dict(environment), there.told.environment or {}, f"{place} was trained", "train in one process")
    adopt(
        recording.folder,
        RunLog(recording.folder / "log.jsonl"),
        source=place,
        kept=[state for shard in range(schedule.shards) for state in log.checkpoints(shard)],
        link=link_or_copy,
        schedule=schedule,
        trace=recording.trace,
        paid=True,
    )
    shutil.rmtree(place)
