"""The contract of an engine: it does jobs somewhere else, and says how they ended; and what engines share."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Annotated, Any, Self

from expunge.core.errors import InvalidArgument
from expunge.records.document import read_document
from expunge.records.form import Through, to_plain
from expunge.records.study_store import Entry
from expunge.study.job import Job

MOST_JOBS = 1024
EVERY_SECONDS = 0.5
ANSWER = "the answer of a worker"
ToldEntry = Annotated[Entry, Through(Mapping[str, Any], to_plain, partial(read_document, Entry, where=ANSWER))]


@dataclass(frozen=True)
class Moved:
    """How far a running job is: so many of so many steps."""

    key: str
    done: int
    total: int


@dataclass(frozen=True)
class Ended:
    """How a job ended, and where it was done."""

    entry: Entry
    where: str


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a worker process says, a line of JSON at a time: that it is there, how far a job is, or how one ended."""

    ready: int | None = None
    moved: Moved | None = None
    ended: ToldEntry | None = None


class Engine(ABC):
    """Takes jobs whose inputs are in the store and sees to it that their results come into the store."""

    name: str

    @property
    @abstractmethod
    def places(self) -> int:
        """How many jobs can run at once."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a job. Called only while a place is free."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Ended | Moved]:
        """What happened, as soon as something did, or nothing after so many seconds."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything that still runs; what was begun is continued another time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


class Teller:
    """Tells how far a job is, not too often."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self.tell, self.last = tell, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= EVERY_SECONDS:
            self.last = now
            self.tell(done, total)


def check_jobs(jobs: int) -> None:
    if not 1 <= jobs <= MOST_JOBS:
        raise InvalidArgument(f"`jobs` {jobs} must be a whole number from 1 to {MOST_JOBS}")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
