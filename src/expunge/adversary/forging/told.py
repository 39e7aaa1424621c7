"""What ``expunge forge --json`` prints: one tree of typed values, which the form writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from expunge.adversary.forging.answers import Answers
from expunge.adversary.forging.forge import Forging, Spoofing
from expunge.adversary.forging.forgery import ForgedStep
from expunge.adversary.forging.step_state import Apart
from expunge.adversary.pol.replay import Distance
from expunge.adversary.pol.verdict import Mode, PolFinding, PolVerdict
from expunge.records.demo import Spread
from expunge.records.limits import Code
from expunge.records.verdict import LevelName, Status, Verdict


@dataclass(frozen=True, kw_only=True)
class ToldStep:
    """A forged step. Distances are over all weights; None where the step stays as it is."""

    shard: int
    step: int
    epoch: int
    came_in: tuple[int, ...]
    altered: tuple[int, ...]
    l2: float | None
    largest: float | None
    absorbed: bool
    weights_unchanged: bool
    losses_unchanged: bool
    gradient_unchanged: bool
    noise: Mapping[str, Apart]
    example_steps: float


@dataclass(frozen=True, kw_only=True)
class ToldProof:
    """What a verifier of proofs of learning answered; a segment is its first and last step, and how far it ends off."""

    mode: Mode
    accepted: bool
    exit_status: int
    distance: Distance
    delta: float
    largest_distance: float
    segments: tuple[tuple[int, int, float], ...]
    work: float
    findings: tuple[PolFinding, ...]
    randomness: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class ToldVerdict:
    level: LevelName
    status: Status
    codes: tuple[Code, ...]


@dataclass(frozen=True, kw_only=True)
class ToldAnswers:
    """Both verifiers; ``published`` is by shard."""

    d_ref: float
    delta: float
    published: Mapping[str, ToldProof]
    verify: tuple[ToldVerdict, ...]


@dataclass(frozen=True, kw_only=True)
class ToldForging:
    """A forged log, its steps, and where the record of it is kept."""

    run: str
    target: str
    slots: tuple[int, ...]
    method: str
    steps_with_target: int
    steps_tried: int
    steps_forged: int
    absorbed: int
    l2: Spread | None
    largest: Spread | None
    noise: Mapping[str, Spread | None]
    ratio_to_noise: float | None
    example_steps: float
    steps: tuple[ToldStep, ...]
    answers: ToldAnswers | None
    bundle: str | None
    trusted: str | None


@dataclass(frozen=True, kw_only=True)
class Expected:
    code: Code
    level: LevelName


@dataclass(frozen=True, kw_only=True)
class ToldSpoofing:
    """A training that was made up; work is in example-steps."""

    spoof: str
    steps: int
    states: int
    work: float
    honest_work: float
    d_ref: float
    delta: float
    published: ToldProof
    expected: Expected
    verify: tuple[ToldVerdict, ...]
    bundle: str | None
    trusted: str | None


def told_forging(forging: Forging) -> ToldForging:
    """Of ``forge`` with a forger."""
    forgery, record = forging.forgery, forging.record
    return ToldForging(
        run=str(forgery.run.path),
        target=forgery.target,
        slots=tuple(forgery.slots.tolist()),
        method=forgery.forger.name,
        steps_with_target=forgery.touched,
        steps_tried=len(forgery.steps),
        steps_forged=len(forgery.found),
        absorbed=forgery.absorbed,
        l2=forgery.l2,
        largest=forgery.largest,
        noise=forgery.noise,
        ratio_to_noise=forgery.ratio,
        example_steps=forgery.example_steps,
        steps=tuple(told_step(step) for step in forgery.steps),
        answers=None if forging.answers is None else _told_answers(forging.answers),
        bundle=None if record is None else str(record.bundle),
        trusted=None if record is None else str(record.trusted),
    )


def told_spoofing(spoofing: Spoofing) -> ToldSpoofing:
    """Of ``forge`` with a spoof."""
    made, kept = spoofing.spoof, spoofing.kept
    code, level = made.expected
    return ToldSpoofing(
        spoof=made.name,
        steps=len(made.proof.parts),
        states=len(made.proof.trajectory.steps),
        work=made.work,
        honest_work=made.honest_work,
        d_ref=made.d_ref,
        delta=made.delta,
        published=told_proof(made.published),
        expected=Expected(code=code, level=level),
        verify=_told_verdicts(spoofing.verdicts),
        bundle=str(made.bundle) if kept else None,
        trusted=str(made.trusted) if kept else None,
    )


def told_step(step: ForgedStep) -> ToldStep:
    """One step of a forged log."""
    slots, apart, alike = step.forged.slots, step.apart, step.likeness
    return ToldStep(
        shard=step.shard,
        step=step.index,
        epoch=step.epoch,
        came_in=() if slots is None else tuple(np.setdiff1d(slots, step.batch).tolist()),
        altered=tuple(sorted(step.forged.contents)),
        l2=None if apart is None else apart.l2,
        largest=None if apart is None else apart.largest,
        absorbed=step.absorbed,
        weights_unchanged=alike is not None and alike.weights,
        losses_unchanged=alike is not None and alike.losses,
        gradient_unchanged=alike is not None and alike.gradient,
        noise=step.noise.kinds,
        example_steps=step.forged.example_steps,
    )


def told_proof(verdict: PolVerdict) -> ToldProof:
    """What a verifier of proofs answered."""
    return ToldProof(
        mode=verdict.mode,
        accepted=verdict.accepted,
        exit_status=verdict.exit_status,
        distance=verdict.distance,
        delta=verdict.delta,
        largest_distance=verdict.largest_distance,
        segments=tuple((segment.start, segment.end, segment.distance) for segment in verdict.segments),
        work=verdict.work,
        findings=verdict.findings,
        randomness=verdict.randomness,
    )


def _told_answers(answers: Answers) -> ToldAnswers:
    return ToldAnswers(
        d_ref=answers.calibration.d_ref,
        delta=answers.calibration.delta,
        published={str(shard): told_proof(verdict) for shard, verdict in answers.published.items()},
        verify=_told_verdicts(answers.verdicts),
    )


def _told_verdicts(verdicts: Sequence[Verdict]) -> tuple[ToldVerdict, ...]:
    return tuple(ToldVerdict(level=one.asked, status=one.status, codes=one.codes) for one in verdicts)
