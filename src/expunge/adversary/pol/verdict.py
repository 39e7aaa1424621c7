"""What a verifier of proofs of learning answers, and every check that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from expunge.adversary.pol.replay import Distance


class Mode(Enum):
    AS_PUBLISHED = "as_published"
    FIXED = "fixed"


class PolCheck(StrEnum):
    """What is looked at."""

    INIT = "initial weights"
    DATA = "data"
    SEED = "seed"
    BATCHES = "batches"
    RATES = "rates"
    WEIGHTS = "weights"
    BUFFERS = "buffers"
    OPTIMISER = "optimiser state"


@dataclass(frozen=True)
class PolFinding:
    """One check and how it came out, in words."""

    check: PolCheck
    holds: bool
    detail: str


@dataclass(frozen=True)
class PolSegment:
    """Steps ``start`` to ``end`` carried out again: how far the weights lie from those stated, and how far they moved.

    ``stated`` is the length of the stated update, ``moved`` that of the one carried out; buffers and optimiser state
    are compared in mode ``fixed`` only.
    """

    start: int
    end: int
    distance: float
    stated: float
    moved: float
    buffers: float | None = None
    optimiser: float | None = None


@dataclass(frozen=True, kw_only=True)
class PolVerdict:
    """What a verifier of proofs answers. ``work`` is in example-steps; ``randomness`` is what chose the segments."""

    mode: Mode
    distance: Distance
    delta: float
    findings: tuple[PolFinding, ...]
    segments: tuple[PolSegment, ...]
    work: float
    p_values: dict[str, float] | None = None
    randomness: bytes | None = None

    @property
    def accepted(self) -> bool:
        return all(finding.holds for finding in self.findings)

    @property
    def refused_by(self) -> tuple[PolCheck, ...]:
        return tuple(finding.check for finding in self.findings if not finding.holds)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is refused, in words; empty where it is accepted."""
        return tuple(finding.detail for finding in self.findings if not finding.holds)

    @property
    def exit_status(self) -> int:
        """0 or 1; as published always 0: there the answer is only printed."""
        return 0 if self.accepted or self.mode is Mode.AS_PUBLISHED else 1

    @property
    def largest_distance(self) -> float:
        """Over the segments that were carried out again."""
        return max((segment.distance for segment in self.segments), default=0.0)
