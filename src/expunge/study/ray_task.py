"""What a Ray task does on its node: a scratch store with what the job reads, the job, and its result as bytes.

Nothing that computes is imported before the task has set its variables: libraries read them when they are loaded.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expunge.records.study_store import Entry, JobOutcome
from expunge.study.engine import Teller, cores
from expunge.study.job import Job, PlannedData
from expunge.study.packing import File, Files, SentPart, pack, settle, unpack
from expunge.study.store import Store, ended

if TYPE_CHECKING:
    from expunge.data.dataset import Dataset

try:
    import fcntl
except ImportError:  # no advisory locks on this system: scratch folders are not told apart, and stay
    fcntl = None

# Those that a run's environment names: they decide bits, and Ray sets the last one for every task.
VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "OMP_NUM_THREADS")
PREFIX, LOCK = "expunge-study-", "held"


@dataclass(frozen=True)
class TaskOrder:
    """What a task is told: the job, whose store its result goes to, what it is sent, and how it must be computed."""

    job: Job
    home: str
    sent: Sequence[tuple[str, SentPart]]
    variables: Mapping[str, str]
    software: Mapping[str, str]


def variables() -> dict[str, str]:
    """Settings of this process that decide bits."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def carry_out_order(
    order: TaskOrder, dataset: Callable[[], Dataset] | None, tell: Callable[[int, int], None], parts: Sequence[Files]
) -> tuple[Entry, list[dict[str, File]]]:
    """Do a job with the inputs that were sent; gives its entry and the result, part by part."""
    _set_variables(order.variables)
    from expunge.study.training_job import software
    from expunge.study.work import carry_out

    job = order.job
    found = software()
    if found != order.software:
        told = ", ".join(f"{name} {version}" for name, version in found.items() if order.software.get(name) != version)
        reason = f"this node has {told}, which gives other bits than where the study was planned: install the same"
        return ended(job, JobOutcome.FAILED, reason=reason), [{} for _ in SentPart]
    scratch = _scratch()
    scratch.take(order.sent, parts)
    described = job.means.data
    if dataset is not None:
        scratch.hand_over(described, dataset)
    entry = carry_out(job, scratch.store, scratch.data, Teller(tell))
    folder = scratch.store.place(job.key)
    settle(folder, Path(order.home))
    packed = [pack(folder, part) if entry.outcome is JobOutcome.DONE else {} for part in SentPart]
    shutil.rmtree(folder, ignore_errors=True)  # what is mapped stays until it is sent
    return entry, packed


def order_task(order: TaskOrder, rows: list[Any], board: Any, *parts: Files) -> tuple[Any, ...]:
    """The task itself. ``rows`` holds a reference to the data set, or nothing where the node reads it on its own."""
    import ray

    key = order.job.key

    def fetch() -> Dataset:
        return ray.get(rows[0])

    def tell(done: int, total: int) -> None:
        board.tell.remote(key, done, total)

    entry, packed = carry_out_order(order, fetch if rows else None, tell, parts)
    where = f"node {ray.get_runtime_context().get_node_id()[:8]} process {os.getpid()}"
    return ({"entry": entry, "where": where}, *packed)


class NewsBoard:
    """Where running jobs leave word of how far they are."""

    def __init__(self) -> None:
        self._news: dict[str, tuple[int, int]] = {}

    def tell(self, key: str, done: int, total: int) -> None:
        self._news[key] = (done, total)

    def take(self) -> dict[str, tuple[int, int]]:
        news, self._news = self._news, {}
        return news


def _set_variables(told: Mapping[str, str]) -> None:
    """Compute as the study's own process does. Ray's choice of OMP_NUM_THREADS would be another environment."""
    for name in VARIABLES:
        if name in told:
            os.environ[name] = told[name]
        else:
            os.environ.pop(name, None)
    if "OMP_NUM_THREADS" not in told:
        _free_threads()


@functools.cache
def _free_threads() -> None:
    """NumPy was imported under Ray's choice: give it as many threads as it takes on its own."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(cores(), user_api="blas")


class _Scratch:
    """A store of one worker process. It holds what the last job was sent: the next one often reads the same."""

    def __init__(self) -> None:
        from expunge.study.opened import OpenedData

        self.folder, self._held = held_folder()
        self.store = Store(self.folder / "store")
        self.data = OpenedData()
        self._handed: set[str] = set()
        self._there: set[tuple[str, SentPart]] = set()

    def take(self, sent: Sequence[tuple[str, SentPart]], parts: Sequence[Files]) -> None:
        """Lay out what a job reads, and clear what it does not."""
        keys = {key for key, _ in sent}
        for key in {key for key, _ in self._there} - keys:
            shutil.rmtree(self.store.place(key), ignore_errors=True)
        self._there = {one for one in self._there if one[0] in keys}
        for one, files in zip(sent, parts, strict=True):
            if one not in self._there:
                unpack(files, self.store.place(one[0]), sync=False)
                self._there.add(one)

    def hand_over(self, described: PlannedData, dataset: Callable[[], Dataset]) -> None:
        """Rows that came with the order, opened once."""
        name = repr(described)
        if name not in self._handed:
            self.data.hand_over(described, dataset())
            self._handed.add(name)


@functools.cache
def _scratch() -> _Scratch:
    return _Scratch()


def held_folder() -> tuple[Path, Any]:
    """A new folder for as long as this process lives, and the handle that holds it; what dead ones left is removed."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    handle = (folder / "taken").open("ab")
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        (folder / "taken").rename(folder / LOCK)  # nobody finds it before it is held
    return folder, handle


def sweep() -> None:
    """Remove scratch folders whose process is gone; a worker that is killed cannot do it itself."""
    if fcntl is None:
        return
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        try:
            with lock.open("ab") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # it is in use, or somebody else's
            continue
