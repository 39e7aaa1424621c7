"""The shards of one training side by side: each is a job of the study's engines, and the run the same to the byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.core.values import Progress
from expunge.data.forget_set import ForgetSet
from expunge.models.resolver import factory_digest
from expunge.records.study_store import JobOutcome
from expunge.study.engine import Engine, check_jobs
from expunge.study.job import PlannedData, ShardSpec, Train
from expunge.study.local import LocalEngine
from expunge.study.progress import StudyStanding, Watch
from expunge.study.scheduler import carry_out_jobs
from expunge.study.store import Store
from expunge.study.training_job import training_job
from expunge.train.run import Run

STORE = "apart"  # in the run's folder, until all is taken over


@dataclass(frozen=True)
class SideBySide:
    """Trains ``jobs`` shards at a time, by worker processes here unless an ``engine`` says otherwise."""

    jobs: int
    engine: Callable[[Store], Engine] | None = None

    def __post_init__(self) -> None:
        check_jobs(self.jobs)

    def __call__(
        self, run: Run, shards: Sequence[int], without: ForgetSet | None, progress: Progress | None
    ) -> Iterator[Path]:
        """Folders with the states of these shards; what was begun is continued."""
        _refuse(run)

        def show(standing: StudyStanding) -> None:
            if progress is not None:
                progress(standing.ended, standing.total)

        store, wanted = Store(run.path / STORE), [_job(run, shard, without) for shard in shards]
        with LocalEngine(store, self.jobs) if self.engine is None else self.engine(store) as engine:
            outcomes = carry_out_jobs(wanted, store, engine, Watch(engine.places, None, show))
        for job in wanted:
            entry = outcomes.entries.get(job.key)
            if entry is None or entry.outcome is not JobOutcome.DONE:
                reason = "it was not begun" if entry is None else entry.reason
                raise RunError(f"{job.title} could not be trained ({reason}): run the command again, and it continues")
        yield from (store.place(job.key) for job in wanted)
        shutil.rmtree(store.folder)


def _job(run: Run, shard: int, without: ForgetSet | None) -> Train:
    told, recipe = run.told, run.recipe
    beacon = None if run.beacon_described.is_zero else run.beacon.hex()
    return training_job(
        recipe,
        PlannedData(
            source=told.data.source or {},
            roots=told.data.roots,
            split_seed=told.data.split_seed,
            split_by=told.data.split_by,
            numbers=None if recipe.classes else True,
        ),
        f"shard {shard} of {run.path.name}",
        without=without,
        factory=factory_digest(recipe.model),
        device=told.device,
        checkpoint_interval=told.checkpoint_interval,
        tiers=run.tiers,
        shard=ShardSpec(number=shard, trace=run.trace.value, beacon=beacon),
    )


def _refuse(run: Run) -> None:
    """What another process cannot train, or what has nothing beside it."""
    if run.recipe.shards == 1:
        raise InvalidArgument("`jobs` above 1 with one shard: nothing is trained beside it; ask for more `shards`")
    what = None
    if run.told.data.source is None:
        what = "its data were handed over in memory, where other processes cannot read them"
    elif run.told.data.secret:
        what = "its salts are secret"
    elif run.recipe.base is not None:
        what = "its training begins with a base"
    if what is not None:
        raise UnsupportedYet(f"shards of {run.path} side by side: {what}; train them one after another")
