"""What a study's store and its folder note beside the results: which form they have, and how every job ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from expunge.records.document import Document
from expunge.records.holds import NOTHING, Holds


class JobOutcome(Enum):
    """How a job ended. ``FAILED`` may go better another time and is tried again; the others stand."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class StoreFile(Document):
    """store.json: this folder is a store."""

    FORMAT: ClassVar[str] = "expunge/store/1"
    NAME: ClassVar[str] = "store.json"
    HOLDS: ClassVar[Holds] = NOTHING
    AGAIN: ClassVar[str] = "; choose another `store`"


@dataclass(frozen=True, kw_only=True)
class StudyFile(Document):
    """study.json: whose results this folder holds."""

    FORMAT: ClassVar[str] = "expunge/study/1"
    NAME: ClassVar[str] = "study.json"
    HOLDS: ClassVar[Holds] = NOTHING

    name: str


@dataclass(frozen=True, kw_only=True)
class Entry(Document):
    """entry.json: what is known of a job that ended. ``digest`` is that of its result, without times."""

    FORMAT: ClassVar[str] = "expunge/entry/1"
    NAME: ClassVar[str] = "entry.json"
    HOLDS: ClassVar[Holds] = NOTHING

    key: str
    work: str
    title: str
    outcome: JobOutcome
    reason: str = ""
    digest: str = ""
    example_steps: float = 0.0
    seconds: float = 0.0
