"""What a verification says: a finding per property, one status over all of them, and what is to be said beside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import Annotated, Any

from expunge.records.form import UNWRITTEN, Through, to_plain
from expunge.records.keys import TrustedKey
from expunge.records.limits import Code
from expunge.records.record import Commit, RunRecord
from expunge.records.statement import Statement


class Level(IntEnum):
    """How deep a verification goes; each level includes those below."""

    V0 = 0  # form: signatures, log, digests of files
    V1 = 1  # structure: seed, schedule, tombstones, requests, chain, reuse
    V2 = 2  # spot replay
    V3 = 3  # full replay
    V4 = 4  # twin run, without any checkpoint


LevelName = Annotated[Level, Through(str, lambda level: level.name, Level.__getitem__)]


class FindingOutcome(Enum):
    HOLDS = "holds"
    NOT_CHECKED = "not-checked"  # nothing was there that this check is about; it stands in nobody's way
    REFUSED = "refused"
    UNDECIDED = "undecided"


class Status(Enum):
    """The answer, with its exit status: 0, 1, 3 (2 is for what could not be run as asked)."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNDECIDED = "undecided"

    @property
    def exit_status(self) -> int:
        return {"accepted": 0, "refused": 1, "undecided": 3}[self.value]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One property at one level. ``code`` is there where it is refused, ``reason`` where it is undecided."""

    name: str = field(metadata={"name": "property"})
    level: LevelName
    outcome: FindingOutcome
    detail: str
    code: Code | None = None
    reason: str | None = None  # a stable word such as "environment-mismatch" or "evidence-missing"
    until_replayed: bool = field(default=False, metadata=UNWRITTEN)  # nothing speaks against it once all was replayed

    @property
    def stands(self) -> bool:
        """Whether nothing speaks against the property: it holds, or there was nothing to check."""
        return self.outcome in (FindingOutcome.HOLDS, FindingOutcome.NOT_CHECKED)


def holds(name: str, level: Level, detail: str) -> Finding:
    return Finding(name=name, level=level, outcome=FindingOutcome.HOLDS, detail=detail)


def not_checked(name: str, level: Level, detail: str) -> Finding:
    return Finding(name=name, level=level, outcome=FindingOutcome.NOT_CHECKED, detail=detail)


def refused_finding(name: str, level: Level, code: Code, detail: str) -> Finding:
    return Finding(name=name, level=level, outcome=FindingOutcome.REFUSED, detail=detail, code=code)


def undecided(name: str, level: Level, reason: str, detail: str) -> Finding:
    return Finding(name=name, level=level, outcome=FindingOutcome.UNDECIDED, detail=detail, reason=reason)


@dataclass(frozen=True)
class Caveat:
    """Something true of the record that no property refuses and nobody should overlook; ``word`` is stable."""

    word: str
    text: str


class Standing(Enum):
    """Whether the guarantee is the owner's word, or was carried out again here."""

    CLAIMED = "claimed"
    VERIFIED = "verified"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All findings, most basic first. ``reached`` is the highest level at and below which everything holds.

    ``commit`` and ``run`` are the statements as they were signed; None where no trusted key signed them. ``signers``
    are the keys on the list that signed the run's record.
    """

    asked: Level
    findings: tuple[Finding, ...] = ()
    remarks: tuple[Caveat, ...] = ()
    commit: Statement | None = None
    run: Statement | None = None
    signers: tuple[TrustedKey, ...] = ()

    def and_also(self, findings: Iterable[Finding]) -> Verdict:
        return replace(self, findings=(*self.findings, *findings))

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.outcome is FindingOutcome.REFUSED)

    @property
    def codes(self) -> tuple[Code, ...]:
        """Every code found, once, most basic first."""
        return tuple(dict.fromkeys(finding.code for finding in self.refusals if finding.code is not None))

    @property
    def status(self) -> Status:
        outcomes = {finding.outcome for finding in self.findings}
        if FindingOutcome.REFUSED in outcomes:
            return Status.REFUSED
        if FindingOutcome.UNDECIDED in outcomes or self.reached is None or self.reached < self.asked:
            return Status.UNDECIDED
        return Status.ACCEPTED

    @property
    def reached(self) -> Level | None:
        """None where not even the form holds."""
        reached = None
        for level in Level:
            here = [finding for finding in self.findings if finding.level is level]
            if not here or not all(finding.stands for finding in here):
                break
            reached = level
        return reached

    @property
    def standing(self) -> Standing:
        """A guarantee is verified where the whole execution was carried out again, and nothing is refused."""
        reached = self.reached
        done = reached is not None and reached >= Level.V3 and self.status is not Status.REFUSED
        return Standing.VERIFIED if done else Standing.CLAIMED

    @property
    def record(self) -> RunRecord | None:
        """What the run's record says."""
        found = None if self.run is None else self.run.predicate
        return found if isinstance(found, RunRecord) else None

    @property
    def committed(self) -> Commit | None:
        """What the commitment says."""
        found = None if self.commit is None else self.commit.predicate
        return found if isinstance(found, Commit) else None

    def as_json(self) -> dict[str, Any]:
        """Not by the form: nearly all of it is concluded from the findings, or copied out of the signed record."""
        reached, record = self.reached, self.record
        found: dict[str, Any] = {
            "status": self.status.value,
            "asked": self.asked.name,
            "reached": None if reached is None else reached.name,
            "codes": [code.value for code in self.codes],
            "findings": [to_plain(finding) for finding in self.findings],
            "remarks": [to_plain(remark) for remark in self.remarks],
            "signed_by": [{"name": key.name, "keyid": key.keyid} for key in self.signers],
        }
        if self.run is not None and record is not None:
            guarantee = record.guarantee
            found |= {
                "model": {"name": self.run.name, "weights_digest": self.run.digest.hex()},
                "guarantee": {
                    "kind": guarantee.kind.value,
                    "standing": self.standing.value,
                    **({} if guarantee.epsilon is None else {"epsilon": guarantee.epsilon}),
                    **({} if guarantee.delta is None else {"delta": guarantee.delta}),
                    **({} if guarantee.base is None else {"base": guarantee.base.hex()}),
                },
                "claims": list(record.claim),
                "not_claimed": list(record.not_claimed),
            }
        return found
