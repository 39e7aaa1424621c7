"""What a study's store and its folder note beside the results: which form they have, and how every job ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from expunge.core.hashing import canonical_json, sha256
from expunge.records.document import Document
from expunge.records.holds import NOTHING, Holds
from expunge.records.scalars import Digest, Name


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


@dataclass(frozen=True, kw_only=True)
class ScoreFile(Document):
    """score.json: how well a model answers rows from outside, named by their root; the figures are its task's."""

    FORMAT: ClassVar[str] = "expunge/score/1"
    NAME: ClassVar[str] = "score.json"
    HOLDS: ClassVar[Holds] = NOTHING

    weights_digest: Digest
    test: Digest
    rows: int
    figures: Mapping[Name, float]

    @property
    def digest(self) -> str:
        """Over all of it: the clock has no part in it."""
        return sha256(canonical_json([self.weights_digest, self.test, self.rows, dict(self.figures)])).hex()
