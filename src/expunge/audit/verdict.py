"""What a verification says: a finding per property, and one status over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from typing import Any

from expunge.audit.limits import Code


class Level(IntEnum):
    """How deep a verification goes; each level includes those below."""

    V0 = 0  # form: signatures, log, digests of files
    V1 = 1  # structure: seed, schedule, tombstones, requests, chain, reuse
    V2 = 2  # spot replay
    V3 = 3  # full replay
    V4 = 4  # twin run, without any checkpoint


class Outcome(Enum):
    HOLDS = "holds"
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

    name: str
    level: Level
    outcome: Outcome
    detail: str
    code: Code | None = None
    reason: str | None = None  # a stable word such as "environment-mismatch" or "evidence-missing"

    def as_json(self) -> dict[str, Any]:
        return {
            "property": self.name,
            "level": self.level.name,
            "outcome": self.outcome.value,
            "detail": self.detail,
            **({} if self.code is None else {"code": self.code.value}),
            **({} if self.reason is None else {"reason": self.reason}),
        }


def holds(name: str, level: Level, detail: str) -> Finding:
    return Finding(name=name, level=level, outcome=Outcome.HOLDS, detail=detail)


def refused_finding(name: str, level: Level, code: Code, detail: str) -> Finding:
    return Finding(name=name, level=level, outcome=Outcome.REFUSED, detail=detail, code=code)


def undecided(name: str, level: Level, reason: str, detail: str) -> Finding:
    return Finding(name=name, level=level, outcome=Outcome.UNDECIDED, detail=detail, reason=reason)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All findings, most basic first. ``reached`` is the highest level at and below which everything holds."""

    asked: Level
    findings: tuple[Finding, ...] = ()

    def and_also(self, findings: Iterable[Finding]) -> Verdict:
        return replace(self, findings=(*self.findings, *findings))

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.outcome is Outcome.REFUSED)

    @property
    def status(self) -> Status:
        outcomes = {finding.outcome for finding in self.findings}
        if Outcome.REFUSED in outcomes:
            return Status.REFUSED
        if Outcome.UNDECIDED in outcomes or self.reached != self.asked:
            return Status.UNDECIDED
        return Status.ACCEPTED

    @property
    def reached(self) -> Level | None:
        """None where not even the form holds."""
        reached = None
        for level in Level:
            here = [finding.outcome for finding in self.findings if finding.level is level]
            if not here or any(outcome is not Outcome.HOLDS for outcome in here):
                break
            reached = level
        return reached

    def as_json(self) -> dict[str, Any]:
        reached = self.reached
        return {
            "status": self.status.value,
            "asked": self.asked.name,
            "reached": None if reached is None else reached.name,
            "codes": [finding.code.value for finding in self.refusals if finding.code is not None],
            "findings": [finding.as_json() for finding in self.findings],
        }
