"""What the audit demonstration shows, line by line; every line knows whether it came out as it must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from expunge.adversary.forging.forged_record import expected_refusal
from expunge.adversary.forging.forgery import Forgery, spread
from expunge.adversary.pol.calibration import Calibration
from expunge.adversary.pol.spoof import Spoof
from expunge.adversary.pol.verdict import PolVerdict
from expunge.adversary.table.story import Handed
from expunge.records.limits import Code
from expunge.records.verdict import Level, Standing, Status, Verdict


@dataclass(frozen=True, kw_only=True)
class Honest:
    """What the verifier says of the honest bundle at a level, and how long it took."""

    verdict: Verdict
    seconds: float

    @property
    def as_documented(self) -> bool:
        """Accepted as deep as it was asked; a whole replay verifies the guarantee."""
        verified = self.verdict.standing is Standing.VERIFIED
        return self.verdict.status is Status.ACCEPTED and verified == (self.verdict.asked >= Level.V3)

    def as_json(self) -> dict[str, Any]:
        return {
            "level": self.verdict.asked.name,
            "status": self.verdict.status.value,
            "standing": self.verdict.standing.value,
            "seconds": round(self.seconds, 3),
            "as_documented": self.as_documented,
        }


@dataclass(frozen=True, kw_only=True)
class ForgedLog:
    """A forger's log of a training, told in a record of the owner's, and both answers."""

    forgery: Forgery
    calibration: Calibration
    published: PolVerdict
    handed: Handed
    verdict: Verdict

    @property
    def as_documented(self) -> bool:
        """Every step forged, the published verifier deceived, ours refusing with the code that such a log must get."""
        complete = len(self.forgery.found) == self.forgery.touched
        return complete and self.published.accepted and _refused_as(self.verdict, *expected_refusal(self.forgery))

    def as_json(self) -> dict[str, Any]:
        forgery, (code, level) = self.forgery, expected_refusal(self.forgery)
        return {
            "forger": forgery.forger.name,
            "target": forgery.target,
            "steps": forgery.touched,
            "steps_forged": len(forgery.found),
            "absorbed": forgery.absorbed,
            "l2": spread([apart.l2 for apart in forgery.distances]),
            "noise": spread([step.noise.largest.l2 for step in forgery.steps]),
            "tolerance": self.calibration.delta,
            "example_steps": forgery.example_steps,
            "published": answer(self.published.accepted),
            **_refusal(self.verdict, code, level),
            "bundle": str(self.handed.bundle),
            "as_documented": self.as_documented,
        }


@dataclass(frozen=True, kw_only=True)
class Absorbed:
    """The swap that rounding swallows, and every recorded step carried out again with no tolerance at all."""

    forged: ForgedLog
    replayed: PolVerdict
    steps: int

    @property
    def as_documented(self) -> bool:
        """No replay finds any difference, and the schedule does."""
        whole = sum(segment.end - segment.start for segment in self.replayed.segments) == self.steps
        same = self.replayed.accepted and self.replayed.largest_distance == 0.0
        return whole and same and self.forged.as_documented

    def as_json(self) -> dict[str, Any]:
        (step,) = self.forged.forgery.found
        return {
            "target": self.forged.forgery.target,
            "step": step.index,
            "steps": self.steps,
            "tolerance": self.replayed.delta,
            "largest_distance": self.replayed.largest_distance,
            "replay": answer(self.replayed.accepted),
            **_refusal(self.forged.verdict, *expected_refusal(self.forged.forgery)),
            "bundle": str(self.forged.handed.bundle),
            "as_documented": self.as_documented,
        }


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """A training that never was, and both answers: what ours says stands in the table of attacks as well."""

    spoof: Spoof
    verdict: Verdict

    @property
    def as_documented(self) -> bool:
        return self.spoof.published.accepted and _refused_as(self.verdict, *self.spoof.expected)

    def as_json(self) -> dict[str, Any]:
        return {
            "spoof": self.spoof.name,
            "steps": len(self.spoof.proof.parts),
            "example_steps": self.spoof.work,
            "claimed": self.spoof.honest_work,
            "largest_distance": self.spoof.published.largest_distance,
            "tolerance": self.spoof.delta,
            "published": answer(self.spoof.published.accepted),
            **_refusal(self.verdict, *self.spoof.expected),
            "bundle": str(self.spoof.bundle),
            "as_documented": self.as_documented,
        }


def answer(accepted: bool) -> str:
    """The answer of a verifier of proofs of learning, in a word."""
    return "accepted" if accepted else "refused"


def _refused_as(verdict: Verdict, code: Code, level: Level) -> bool:
    """Refused with this code alone, at this level and at none below."""
    below = None if level is Level.V0 else Level(level - 1)
    found = verdict.asked, verdict.status, verdict.codes, verdict.reached
    return found == (level, Status.REFUSED, (code,), below)


def _refusal(verdict: Verdict, code: Code, level: Level) -> dict[str, Any]:
    """What was expected of ``verify`` and what it said; ``reached`` is the highest level that accepts."""
    said: Sequence[str] = [finding.detail for finding in verdict.refusals]
    return {
        "expected": code.value,
        "level": level.name,
        "status": verdict.status.value,
        "codes": [found.value for found in verdict.codes],
        "reached": None if verdict.reached is None else verdict.reached.name,
        "detail": said[0] if said else "nothing was refused",
    }
