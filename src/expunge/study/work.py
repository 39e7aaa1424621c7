"""How jobs are done: one function for each kind, in one visible table. Wherever it runs, it gives the same bytes."""

from __future__ import annotations

import shutil
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from expunge.core.errors import (
    DataError,
    Diverged,
    ExpungeError,
    InvalidArgument,
    RunError,
    UnsupportedEver,
    UnsupportedYet,
)
from expunge.core.files import write_text
from expunge.core.values import Progress
from expunge.data.forget_set import ForgetSet
from expunge.data.source import Source
from expunge.data.splits import SplitBy
from expunge.measure.contract import readings_of
from expunge.measure.evaluate import evaluate
from expunge.measure.lookup import probes
from expunge.measure.over_trainings import claim_beside
from expunge.measure.readings import Kept, Reading, read, rows_digest
from expunge.methods.lookup import read_method
from expunge.methods.unlearn import unlearn
from expunge.records.document import write_document
from expunge.records.run_file import TunedFields
from expunge.records.study_store import Entry, JobOutcome, ScoreFile
from expunge.records.tuning import JobAsked, KeptTrial
from expunge.schedule.recipe import Recipe
from expunge.study.digests import digest_of
from expunge.study.job import Evaluate, Job, ScoreRun, Train, Tune, Unlearn
from expunge.study.opened import OpenedData
from expunge.study.readings import StoredReadings, stored_beliefs
from expunge.study.rehearsal import Rehearsal, prepare
from expunge.study.search import check_optuna
from expunge.study.store import Store, ended
from expunge.study.tuning import chosen_entry, read_tuning, tune_method, tuning_of
from expunge.study.tuning_folder import TrialBook
from expunge.train.folder import sound
from expunge.train.profile import find_device, pinned
from expunge.train.run import Run
from expunge.train.trace import Trace
from expunge.train.training import train

UNKEPT = "the store could not be written: make room, then run the same command again"


@dataclass(frozen=True)
class JobResult:
    """What a job came to: the digest of all that is the same wherever and whenever it is done, and its cost."""

    digest: str
    example_steps: float


@dataclass(frozen=True)
class At:
    """Where a job works: its folder, the store with its inputs, the data, and whom to tell how far it is."""

    folder: Path
    store: Store
    data: OpenedData
    progress: Progress | None

    def input(self, key: str) -> Path:
        return self.store.place(key)


def carry_out(job: Job, store: Store, data: OpenedData, progress: Progress | None = None) -> Entry:
    """Do a job, unless it is done, and note how it ended. Nothing that a person can mend is raised."""
    with store.claim(job):
        known = store.entry(job.key)
        if known is not None and known.outcome is not JobOutcome.FAILED:
            return known
        store.discard(job.key)
        at = At(store.place(job.key), store, data, progress)
        begun = any(at.folder.glob("*"))
        started = time.perf_counter()
        came = _attempt(job, at)
        if begun and isinstance(came, RunError | DataError) and not isinstance(came, Diverged) and not _passes(came):
            _leave(at.folder)  # what was begun cannot be continued, here or at all: from the start then
            came = _attempt(job, at)
        entry = _entry(job, came, round(time.perf_counter() - started, 3))
        if entry.outcome is JobOutcome.REFUSED:
            _leave(at.folder)
        with suppress(RunError):  # where even the note cannot be kept, the job is begun again another time
            store.keep(entry)
            return entry
        return replace(entry, outcome=JobOutcome.FAILED, reason=entry.reason or UNKEPT)


def _attempt(job: Job, at: At) -> JobResult | Exception:
    try:
        _ready(job, at)
        return _done(job, at)
    except (DataError, RunError) as error:
        return _mended_inputs(job, at, error)
    except Exception as error:  # noqa: BLE001 - one job that breaks must not stop the rest
        return error


def _entry(job: Job, came: JobResult | Exception, seconds: float) -> Entry:
    match came:
        case JobResult(digest, example_steps):
            return ended(job, JobOutcome.DONE, digest=digest, example_steps=example_steps, seconds=seconds)
        case InvalidArgument() | UnsupportedYet() | UnsupportedEver() | Diverged() if not _passes(came):
            return ended(job, JobOutcome.REFUSED, reason=str(came), seconds=seconds)
        case ExpungeError():
            return ended(job, JobOutcome.FAILED, reason=str(came), seconds=seconds)
        case _:
            frames = traceback.extract_tb(came.__traceback__)
            where = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "nowhere"
            what = f"{type(came).__name__}: {' '.join(str(came).split())[:300]}"
            return ended(job, JobOutcome.FAILED, reason=f"{what} (not foreseen; {where})", seconds=seconds)


class _NotHere(RunError):
    """What a job needs is not on this machine, or not any more: nothing that the job itself has to answer for."""


def _ready(job: Job, at: At) -> None:
    """Data, device and packages must be there; where they are not, the job may well go another time."""
    try:
        if isinstance(job, ScoreRun):
            at.data.scored(job.means.data, Run.open(at.input(job.one("run"))).recipe)
        else:
            at.data.rows(job.means.data)
        devices = {job.spec.device} if isinstance(job, Train) else set[str]()
        for key in job.needs:
            if (at.input(key) / "run.json").is_file():
                devices.add(Run.open(at.input(key)).told.device)
        for device in devices:
            find_device(device)
        if isinstance(job, Tune):
            check_optuna()
    except ExpungeError as error:
        raise _NotHere(str(error)) from error


def _passes(error: BaseException | None) -> bool:
    """Whether an error may be gone another time: the disk, the memory, what is not here, another process."""
    while error is not None:
        if isinstance(error, OSError | MemoryError | _NotHere):
            return True
        error = error.__cause__ or error.__context__
    return False


def _mended_inputs(job: Job, at: At, error: ExpungeError) -> ExpungeError:
    """Where an input is damaged, take back that it is done, so that it is made again; else the error as it is."""
    damaged = [key for key in job.needs if not _sound(at.input(key))]
    if not damaged:
        return error
    for key in damaged:
        at.store.discard(key)
        _leave(at.input(key))
    return RunError(
        f"{len(damaged)} of the results that this needs were damaged ({error}): they are removed; run the same command "
        "again, and they are made again"
    )


def _sound(folder: Path) -> bool:
    """Whether a result is what it announces."""
    try:
        if (folder / "run.json").is_file():
            run = sound(Run.open(folder))
            stored_beliefs(folder, run.weights_digest)
        elif (folder / "tuning.json").is_file():
            read_tuning(folder / "tuning.json")
        else:
            return False
    except ExpungeError:
        return False
    return True


def _leave(folder: Path) -> None:
    """Remove what a job that came to nothing has written; an interrupted or failed job is not such a one."""
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)


def _done(job: Job, at: At) -> JobResult:
    match job:
        case Train():
            return _train(job, at)
        case Tune():
            return _tune(job, at)
        case Unlearn():
            return _unlearn(job, at)
        case Evaluate():
            return _evaluate(job, at)
        case ScoreRun():
            return _score(job, at)


def _train(job: Train, at: At) -> JobResult:
    spec, means = job.spec, job.means
    without = None
    if means.without is not None and spec.without is not None:
        without = ForgetSet(np.array(means.without, dtype=np.int64), spec.without.rules, spec.roots.train)
    shard = spec.shard
    run = train(
        at.data.dataset(means.data),
        source=Source.from_json(means.data.source),
        out=at.folder,
        recipe=Recipe.from_json(means.recipe),
        without=without,
        split_seed=spec.split_seed,
        split_by=SplitBy(spec.split_by),
        device=spec.device,
        tiers=None if means.tiers is None else np.array(means.tiers, dtype=np.int64),
        checkpoint_interval=spec.checkpoint_interval,
        trace=Trace.OFF if shard is None else Trace(shard.trace),
        progress=at.progress,
        beacon=None if shard is None else shard.beacon,
        only=None if shard is None else shard.number,
    )
    if run.told.data.roots != spec.roots:
        location = means.data.source["location"]
        raise DataError(f"the data at {location} changed while the study ran: start it again")
    if shard is not None:
        last = run.log.checkpoints(shard.number)[-1]
        return JobResult(last.digest, last.thirds / 3)
    if means.replayed is False or without is not None:
        shutil.rmtree(at.folder / "checkpoints", ignore_errors=True)
    return _remember(run, job, at)


def _unlearn(job: Unlearn, at: At) -> JobResult:
    spec, means = job.spec, job.means
    parent = Run.open(at.input(job.one("original")))
    chosen: TunedFields | None = None
    method = read_method(spec.method)
    if "tuning" in job.inputs:
        method, chosen = chosen_entry(read_tuning(at.input(job.one("tuning")) / "tuning.json"), method.name)
    run = unlearn(
        parent,
        ForgetSet(np.array(means.slots, dtype=np.int64), spec.forget.rules, parent.root.hex()),
        method=method,
        out=at.folder,
        budget=spec.budget if method.takes_budget else None,
        seed=spec.seed,
        data=at.data.rows(means.data),
        trace=Trace.OFF,
        progress=at.progress,
        tuning=chosen,
    )
    return _remember(run, job, at)


def _remember(run: Run, job: Job, at: At) -> JobResult:
    """Ask the model what it answers to every row, once."""
    rows = at.data.rows(job.means.data)
    kept, of_rows = StoredReadings([run], rows), [one for one in readings_of(probes()) if isinstance(one, Reading)]
    with pinned(run.recipe):
        for reading, answered in read(run, of_rows, rows, find_device(run.told.device)).items():
            kept[reading, run.weights_digest, rows_digest(run, rows)] = answered
    return JobResult(digest_of(run.told), run.result.example_steps)


def _evaluate(job: Evaluate, at: At) -> JobResult:
    rows = at.data.rows(job.means.data)
    run, original = (Run.open(at.input(job.one(role))) for role in ("run", "original"))
    references, witnesses, halves = (
        [Run.open(at.input(key)) for key in job.inputs.get(role, ())] for role in ("references", "witnesses", "halves")
    )
    claiming = [Run.open(at.input(key)) for key in job.inputs.get("claimed", ())]
    kept = Kept(StoredReadings([run, original, *references, *witnesses, *halves, *claiming], rows), at.data.figures)
    claim = job.spec.claim
    for one in claiming:
        claim = str(claim_beside(run, one, references, witnesses, rows, kept))
    evaluation = evaluate(
        run,
        references,
        witnesses=witnesses,
        claim=claim,
        probes=job.spec.asked or (),
        halves=halves,
        as_published=bool(job.spec.as_published),
        original=original,
        data=rows,
        out=at.folder / "evaluation.json",
        progress=at.progress,
        kept=kept,
    )
    return JobResult(digest_of(evaluation), 0.0)


def _score(job: ScoreRun, at: At) -> JobResult:
    run = Run.open(at.input(job.one("run")))
    rows = at.data.scored(job.means.data, run.recipe)
    figures = run.score(rows)
    found = ScoreFile(weights_digest=run.weights_digest, test=job.spec.test, rows=len(rows), figures=figures)
    at.folder.mkdir(parents=True, exist_ok=True)
    write_text(at.folder / ScoreFile.NAME, write_document(found))
    return JobResult(found.digest, 0.0)


def _tune(job: Tune, at: At) -> JobResult:
    """The trials of one method, appended as they end, so that a killed tuning goes on with the next."""
    spec = job.spec
    original, twins = at.input(job.one("original")), [Run.open(at.input(key)) for key in job.inputs["twins"]]
    at.folder.mkdir(parents=True, exist_ok=True)
    book = TrialBook(at.folder, JobAsked(job=job.key))
    shared = repr((job.inputs, spec.kind, spec.size, spec.avoid, spec.seed))  # by all methods that are tuned on it

    def make() -> Rehearsal:
        return prepare(
            Run.open(original),
            twins,
            kind=spec.kind,
            size=None if spec.size == "whole" else spec.size,
            avoid=np.array(job.means.avoid, dtype=np.int64),
            seed=spec.seed,
            data=at.data.rows(job.means.data),
        )

    rehearsal = at.data.last(shared, make)
    done = len(book.of(spec.method))

    def tell(record: KeptTrial) -> None:
        nonlocal done
        book.add(record)
        done += 1
        if at.progress is not None:
            at.progress(done, spec.trials + 2)

    entry = tune_method(
        spec.method,
        rehearsal,
        budget=spec.budget,
        trials=spec.trials,
        seed=spec.seed,
        kept=book.of(spec.method),
        on_trial=tell,
    )
    content = tuning_of(rehearsal, [entry], budget=spec.budget, trials=spec.trials, seed=spec.seed)
    write_text(at.folder / "tuning.json", write_document(content))
    return JobResult(content.digest, entry.cost.example_steps + entry.cost.scoring)
