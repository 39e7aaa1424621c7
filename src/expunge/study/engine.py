"""The contract of an engine: it does jobs somewhere else, and says how they ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from expunge.study.job import Job
from expunge.study.store import Entry


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
