"""Forged logs of whole trainings, and what either verifier says of each: Proof-of-Learning as published, and ours.

A log denies one training row in every step that held it, and says that its chair was empty in all of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from expunge.adversary.forging.answers import ask
from expunge.adversary.forging.forged_record import write_forged_record
from expunge.adversary.forging.forgery import find_forger, forge_log
from expunge.adversary.pol.calibration import calibrate
from expunge.adversary.pol.proof import prove
from expunge.adversary.pol.verdict import Mode
from expunge.adversary.pol.verify import verify_proof
from expunge.core.streams import Stream, stable_order
from expunge.data.splits import Split
from expunge.train.training import train

METHODS = ("greedy", "greedy-keep", "nearest", "swap", "order")
MODELS = ("cnn", "mlp")


def logs(seed: int, count: int) -> list[dict[str, Any]]:
    """``count`` forged logs of one training with the command line's own defaults, the methods in turn."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        model = MODELS[seed % len(MODELS)]
        folder = Path(scratch) / "run"
        run = train("digits", out=folder, model=model, seed=seed)
        opened = dict(run.data())
        calibration = calibrate(run, data=opened)
        honest = prove(run, data=opened)
        believed = verify_proof(honest, opened[Split.TRAIN], mode=Mode.AS_PUBLISHED, delta=calibration.delta).accepted
        ids = opened[Split.TRAIN].ids
        order = stable_order(Stream(run.schedule.seed, "study/logs").words(len(ids)))
        for number in range(count):
            method = METHODS[number % len(METHODS)]
            forger = find_forger(method, seed=seed)
            forgery = forge_log(run, ids[int(order[number])], forger, data=opened)
            record = write_forged_record(forgery, Path(scratch) / f"forged-{number}")
            answers = ask(forgery, record, calibration=calibration)
            (published,) = answers.published.values()
            found.append(
                {
                    "model": model,
                    "seed": seed,
                    "method": method,
                    "steps": len(forgery.found),
                    "segments": len(published.segments),
                    "honest_believed": believed,
                    "deceived": answers.deceived,
                    "refused_by": [check.value for check in published.refused_by],
                    "step_distance": max(apart.l2 for apart in forgery.distances),
                    "distance": published.largest_distance,
                    "delta": answers.calibration.delta,
                    "refused": answers.refused,
                    "level": answers.verdicts[-1].asked.name,
                    "codes": [code.value for code in answers.verdicts[-1].codes],
                    "expected": record.expected.value,
                }
            )
    return found
