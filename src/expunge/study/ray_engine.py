"""Jobs as Ray tasks: Ray places them, moves their results from node to node, and does them again where a node dies.

Every result comes back into the driver's store, so that the store is the same whichever engine filled it. What another
job reads of it is handed on within Ray: it goes from node to node without passing here.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.records.study_store import Entry, JobOutcome
from expunge.schedule.recipe import Recipe
from expunge.study.engine import Ended, Engine, Moved, check_jobs
from expunge.study.job import Evaluate, Job, ScoreRun, Train
from expunge.study.opened import source_name
from expunge.study.packing import Files, SentPart, file_entry, needed, pack
from expunge.study.ray_cluster import join
from expunge.study.ray_task import NewsBoard, TaskOrder, order_task, sweep, variables
from expunge.study.store import Store, ended
from expunge.study.training_job import software
from expunge.train.run import Run

RETRIES = 3  # by Ray itself, when a worker or a node dies
ATTEMPTS = 2  # by us, when Ray has lost an input beyond rebuilding: the store still has it
LOOK_SECONDS = 5.0
PATIENCE_SECONDS = 60.0  # for a node that a job needs and that was lost
KEPT_SHARE = 0.25  # of the object store, for results that a later job may read


@dataclass
class _Running:
    job: Job
    refs: list[Any]
    attempts: int
    needs: dict[str, float]
    values: list[Any] = field(default_factory=list[Any])
    homeless: float | None = None  # since when no node has what it needs

    @property
    def awaited(self) -> Any:
        """What comes next: the entry, then each part of the result."""
        return self.refs[len(self.values)]


class RayEngine(Engine):
    """Tasks on a running cluster at ``address``, or on one that is started here and ends with the study.

    ``datasets`` are the rows that the study has read, by ``source_name``: nodes need not see the files.
    ``gpu_share`` is what a job on a GPU asks of one.
    """

    name = "ray"

    def __init__(
        self,
        store: Store,
        datasets: Mapping[str, Dataset],
        *,
        jobs: int | None = None,
        address: str | None = None,
        gpu_share: float = 1.0,
        log: Path | None = None,
    ) -> None:
        if jobs is not None:
            check_jobs(jobs)
        if not 0 < gpu_share <= 1:
            raise InvalidArgument(f"GPU share {gpu_share} must lie above 0 and be at most 1")
        self.store, self.datasets, self.jobs, self.gpu_share = store, datasets, jobs, gpu_share
        self._cluster = join(address, jobs, log)
        ray = self._ray = self._cluster.ray
        self._task = ray.remote(order_task)
        self._board = ray.remote(NewsBoard).options(**self._cluster.here()).remote()
        self._news: Any = None
        self._rows: dict[str, Any] = {}
        self._running: dict[str, _Running] = {}
        self._kept: OrderedDict[tuple[str, SentPart], tuple[Any, int]] = OrderedDict()
        self._kept_bytes = 0
        self._ended: list[Ended] = []
        self._looked = time.monotonic()

    @property
    def places(self) -> int:
        return self.jobs or self._cluster.processors

    def submit(self, job: Job) -> None:
        self._start(job, attempts=1)

    def _start(self, job: Job, attempts: int) -> None:
        needs = self._needs(job)
        sent = needed(job)
        parts = [self._sent(key, part) for key, part in sent]
        order = TaskOrder(job, str(self.store.folder.resolve()), sent, variables(), software())
        task = self._task.options(
            name=job.title,
            num_cpus=needs["CPU"],
            num_gpus=needs.get("GPU", 0),
            num_returns=1 + len(SentPart),
            max_retries=RETRIES,
            retry_exceptions=False,
        )
        refs = task.remote(order, self._data(job), self._board, *parts)
        self._running[job.key] = _Running(job, list(refs), attempts, needs)

    def wait(self, seconds: float) -> list[Ended | Moved]:
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._look()
            self._looked = time.monotonic()
        awaited = {running.awaited: running for running in self._running.values()}
        if awaited and not self._ended:
            ready, _ = self._ray.wait(list(awaited), timeout=seconds, fetch_local=True)
            for ref in ready:
                self._arrived(awaited[ref])
        found, self._ended = self._ended, []
        return [*found, *self._moved()]

    def close(self) -> None:
        self._cluster.leave([running.refs[0] for running in self._running.values()])
        self._running.clear()
        self._kept.clear()
        sweep()

    def _needs(self, job: Job) -> dict[str, float]:
        threads = Recipe.from_json(job.means.recipe).threads if isinstance(job, Train) else 1
        needs = {"CPU": float(min(threads, self._cluster.largest))}  # more than any node has would wait for ever
        if self._device(job).startswith("cuda"):
            needs["GPU"] = self.gpu_share
        return needs

    def _device(self, job: Job) -> str:
        """Where a job computes: its own word, or that of the run it starts from; an evaluation only reads answers."""
        if isinstance(job, Train):
            return job.spec.device
        if isinstance(job, Evaluate):
            return "cpu"
        start = job.one("run" if isinstance(job, ScoreRun) else "original")
        return Run.open_any(self.store.place(start)).told.device

    def _data(self, job: Job) -> list[Any]:
        """The rows, within a list so that a task fetches them only if its process has not got them."""
        name = source_name(job.means.data.source)
        if name not in self.datasets:
            return []
        if name not in self._rows:
            self._rows[name] = self._ray.put(self.datasets[name])
        return [self._rows[name]]

    def _sent(self, key: str, part: SentPart) -> Any:
        """A part of a result as an object of Ray: the one that a task made, or one put from the store."""
        if (key, part) in self._kept:
            self._kept.move_to_end((key, part))
            return self._kept[key, part][0]
        files = pack(self.store.place(key), part)
        ref = self._ray.put(files)
        self._keep(key, part, ref, files)
        return ref

    def _keep(self, key: str, part: SentPart, ref: Any, files: Files) -> None:
        size = sum(file.content.nbytes for file in files.values())
        self._kept[key, part] = (ref, size)
        self._kept_bytes += size
        while self._kept_bytes > KEPT_SHARE * self._cluster.object_bytes and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            self._kept_bytes -= freed

    def _forget(self, keys: Iterator[str] | tuple[str, ...]) -> None:
        for key in keys:
            for part in SentPart:
                _, freed = self._kept.pop((key, part), (None, 0))
                self._kept_bytes -= freed

    def _arrived(self, running: _Running) -> None:
        """The next value of a task is here."""
        try:
            running.values.append(self._ray.get(running.awaited))
        except self._ray.exceptions.RayError as error:
            self._broke(running, error)
            return
        told, *parts = running.values
        entry: Entry = told["entry"]
        if entry.outcome is JobOutcome.DONE and len(parts) < len(SentPart):
            return
        for part, ref, files in zip(SentPart, running.refs[1:], parts, strict=False):
            self._keep(entry.key, part, ref, files)
        self._end(running, entry, parts, told["where"])

    def _broke(self, running: _Running, error: Exception) -> None:
        """Ray gave up: once more with inputs from the store if that is what it lacks, else the job has failed."""
        self._cluster.look(misses=1)  # where the cluster itself is gone, no job has failed
        exceptions, cause = self._ray.exceptions, getattr(error, "cause", None) or error
        lost = (exceptions.ObjectLostError, exceptions.ObjectFetchTimedOutError, exceptions.OwnerDiedError)
        if isinstance(cause, lost) and running.attempts < ATTEMPTS:
            self._forget(running.job.needs)
            self._start(running.job, running.attempts + 1)
            return
        self._fail(running, _why(exceptions, cause))

    def _fail(self, running: _Running, reason: str) -> None:
        self._end(running, ended(running.job, JobOutcome.FAILED, reason=reason), [], "no node")

    def _end(self, running: _Running, entry: Entry, parts: list[Files], where: str) -> None:
        del self._running[entry.key]
        if entry.outcome is JobOutcome.FAILED:
            self._ended.append(Ended(self.store.keep_failure(entry), where))
            return
        with self.store.claim(running.job):  # another study may have been at it too
            known = self.store.entry(entry.key)
            if known is None or known.outcome is JobOutcome.FAILED:
                file_entry(self.store, entry, parts)
            else:
                entry = known
        self._ended.append(Ended(entry, where))

    def _moved(self) -> list[Moved]:
        """What running jobs have told of themselves; nothing where nobody answers."""
        if self._news is None:
            self._news = self._board.take.remote()
        if not self._ray.wait([self._news], timeout=0)[0]:
            return []
        news, self._news = self._news, None
        try:
            return [Moved(key, done, total) for key, (done, total) in self._ray.get(news).items()]
        except self._ray.exceptions.RayError:
            return []

    def _look(self) -> None:
        """Whether the cluster is still there, and has what the jobs need."""
        self._cluster.look()
        now = time.monotonic()
        for running in list(self._running.values()):
            if self._cluster.has(running.needs):
                running.homeless = None
            elif running.homeless is None:
                running.homeless = now
            elif now - running.homeless > PATIENCE_SECONDS:
                self._ray.cancel(running.refs[0], force=True)
                asked = " and ".join(f"{amount:g} {what}" for what, amount in running.needs.items())
                self._fail(running, f"no node of the cluster has {asked} any more: add one, then run the command again")


def _why(exceptions: Any, error: Exception) -> str:
    """What became of a task that Ray gave up, in a sentence."""
    times = f"{RETRIES + 1} times"
    if isinstance(error, exceptions.OutOfMemoryError):
        return "its node ran out of memory, and Ray stopped it: use fewer `jobs`, or nodes with more memory"
    if isinstance(error, exceptions.WorkerCrashedError | exceptions.LocalRayletDiedError):
        return f"the worker process died {times}: it may have had too little memory; use fewer `jobs`"
    if isinstance(error, exceptions.NodeDiedError):
        return f"the node that worked on it died {times}: see to the nodes, then run the same command again"
    if isinstance(error, exceptions.TaskUnschedulableError):
        return "Ray finds no node for it: add one with what the recipe asks for"
    return f"Ray gave it up ({type(error).__name__}: {' '.join(str(error).split())[:300]})"
