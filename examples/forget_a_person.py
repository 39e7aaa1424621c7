"""Train, forget a person exactly and approximately, measure against retrained references, report."""

from __future__ import annotations

import sys
from pathlib import Path

import expunge
from expunge.methods.retrain import Retrain

PERSON = "subject:person-017"


def main(out: Path) -> None:
    base = expunge.train("digits", model="cnn", epochs=8, shards=4, slices=3, out=out / "base")
    exact = expunge.unlearn(base, PERSON, method="exact-replay", out=out / "exact")
    references = [
        expunge.unlearn(base, PERSON, method=Retrain(training_seed=seed), out=out / f"retrained-{seed}")
        for seed in (None, 1, 2, 3, 4)
    ]
    assert exact.weights_digest == references[0].weights_digest
    share = exact.result.example_steps / references[0].result.example_steps
    print(f"exact at {share:.0%} of a retraining's work: {exact.weights_digest[:16]}…")
    verdict = expunge.evaluate(exact, references).verdict
    print(f"verdict: {verdict.word} ({verdict.detail})")
    print(f"report: {expunge.report([exact.path], out=out / 'report.html')}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs-forget-a-person"))
