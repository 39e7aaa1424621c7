"""What ``expunge forge --json`` prints: parts of what was found, under the names that they have there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.adversary.forging.answers import VerifierAnswers
from expunge.adversary.forging.forge import Forging, Spoofing
from expunge.adversary.forging.forgery import ForgedStep
from expunge.adversary.pol.verdict import PolVerdict
from expunge.records.form import some_of, to_plain
from expunge.records.verdict import Verdict


def told_forging(forging: Forging) -> dict[str, Any]:
    """A forged log, its steps, and where the record of it is kept: of ``forge`` with a forger."""
    forgery, record = forging.forgery, forging.record
    return {
        **some_of(forgery, "target", "absorbed", "l2", "largest", "noise", "example_steps"),
        "run": str(forgery.run.path),
        "slots": forgery.slots.tolist(),
        "method": forgery.forger.name,
        "steps_with_target": forgery.touched,
        "steps_tried": len(forgery.steps),
        "steps_forged": len(forgery.found),
        "ratio_to_noise": forgery.ratio,
        "steps": [told_step(step) for step in forgery.steps],
        "answers": None if forging.answers is None else _told_answers(forging.answers),
        "bundle": None if record is None else str(record.bundle),
        "trusted": None if record is None else str(record.trusted),
    }


def told_spoofing(spoofing: Spoofing) -> dict[str, Any]:
    """A training that was made up, its work in example-steps: of ``forge`` with a spoof."""
    made, kept = spoofing.spoof, spoofing.kept
    code, level = made.expected
    return {
        **some_of(made, "work", "honest_work", "d_ref", "delta"),
        "spoof": made.name,
        "steps": len(made.proof.parts),
        "states": len(made.proof.trajectory.steps),
        "published": told_proof(made.published),
        "expected": {"code": code.value, "level": level.name},
        "verify": _told_verdicts(spoofing.verdicts),
        "bundle": str(made.bundle) if kept else None,
        "trusted": str(made.trusted) if kept else None,
    }


def told_step(step: ForgedStep) -> dict[str, Any]:
    """A forged step. Distances are over all weights; null where the step stays as it is."""
    slots, apart, alike = step.forged.slots, step.apart, step.likeness
    return {
        **some_of(step, "shard", "epoch", "absorbed"),
        "step": step.index,
        "came_in": [] if slots is None else np.setdiff1d(slots, step.batch).tolist(),
        "altered": sorted(step.forged.contents),
        "l2": None if apart is None else apart.l2,
        "largest": None if apart is None else apart.largest,
        "weights_unchanged": alike is not None and alike.weights,
        "losses_unchanged": alike is not None and alike.losses,
        "gradient_unchanged": alike is not None and alike.gradient,
        "noise": to_plain(step.noise.kinds),
        "example_steps": step.forged.example_steps,
    }


def told_proof(verdict: PolVerdict) -> dict[str, Any]:
    """What a verifier of proofs answered; a segment is its first and last step, and how far it ends off."""
    found = some_of(verdict, "mode", "accepted", "exit_status", "distance", "delta", "largest_distance", "work")
    found |= {} if verdict.randomness is None else some_of(verdict, "randomness")
    segments = [[segment.start, segment.end, segment.distance] for segment in verdict.segments]
    return {**found, "segments": segments, "findings": to_plain(verdict.findings)}


def _told_answers(answers: VerifierAnswers) -> dict[str, Any]:
    """Both verifiers; what was published is by shard."""
    return {
        **some_of(answers.calibration, "d_ref", "delta"),
        "published": {str(shard): told_proof(verdict) for shard, verdict in answers.published.items()},
        "verify": _told_verdicts(answers.verdicts),
    }


def _told_verdicts(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [{"level": one.asked.name, "status": one.status.value, "codes": to_plain(one.codes)} for one in verdicts]
