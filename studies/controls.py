"""Do the verdicts tell the truth on real pictures? Honest retrainings must pass, the original must not.

Trains on a part of an image data set, forgets a random tenth, retrains 12 references and 5 further models of other
seeds, and judges those 5 as if they were unlearned (negative control), the original (positive control, by the guards),
and the approximate methods on their defaults.

    python -m studies.controls FILE.npz          # arrays x (pictures) and y; Fashion-MNIST is what the results are from
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.values import Measurement
from expunge.measure.evaluate import evaluate
from expunge.measure.readings import Kept
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.evaluation import Evaluation
from expunge.train.training import train

RESULTS = Path(__file__).parent / "results" / "controls.json"
ROWS, EPOCHS, REFERENCES, FURTHER = 5000, 20, 12, 5
RULE = "random:10%:7"
APPROXIMATE = ("fine-tune", "gradient-ascent", "neggrad-plus", "random-labels", "saliency-unlearning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    with np.load(options.file) as arrays:
        x, y = arrays["x"][:ROWS], arrays["y"][:ROWS]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        np.savez(folder / "part.npz", x=x, y=y)
        base = train(str(folder / "part.npz"), out=folder / "base", model="cnn", epochs=EPOCHS)
        print(f"trained on {base.told.data.counts.train} rows in {base.result.seconds:.0f} s")

        def retrained(number: int) -> Any:
            return unlearn(base, RULE, method=Retrain(training_seed=number), out=folder / f"retrained-{number}")

        references = [retrained(number + 1) for number in range(REFERENCES)]
        rows, kept = list[dict[str, Any]](), Kept()
        for number in range(FURTHER):
            rows.append(row("retrained", evaluate(retrained(100 + number), references, kept=kept)))
        for method in APPROXIMATE:
            run = unlearn(base, RULE, method=method, out=folder / method)
            rows.append(row(method, evaluate(run, references, kept=kept)))
    for found in rows:
        print(f"{found['run']:<22} {found['verdict']:<10} {found['detail'][:90]}")
    honest = [found for found in rows if found["run"] == "retrained"]
    verdicts = Counter(value for found in honest for value in found["probes"].values())
    written = {
        "date": datetime.date.today().isoformat(),
        "command": "python -m studies.controls FILE.npz (Fashion-MNIST, its first 5,000 training pictures)",
        "recipe": f"cnn, {EPOCHS} epochs; forget set {RULE}; {REFERENCES} references",
        "honest_probe_verdicts": dict(sorted(verdicts.items())),
        "rows": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def row(run: str, evaluation: Evaluation) -> dict[str, Any]:
    """Verdicts of one evaluation, probe by probe, and which probes see the original."""
    judged = [probe for probe in evaluation.probes if probe.role != "cost" and probe.name != "average-gap"]
    fired = [guard for guard in evaluation.guards if guard.fired]
    return {
        "run": run,
        "verdict": evaluation.verdict.word,
        "detail": evaluation.verdict.detail,
        "probes": {probe.name: probe.verdict.word for probe in judged},
        "values": {
            probe.name: round(probe.unlearned.value, 4) for probe in judged if isinstance(probe.unlearned, Measurement)
        },
        "reference_means": {
            probe.name: round(probe.reference_mean, 4) for probe in judged if probe.reference_mean is not None
        },
        "original": {
            probe.name: round(probe.original.value, 4) for probe in judged if isinstance(probe.original, Measurement)
        },
        "guards_fired": sorted({f"{guard.name}: {guard.detail}" for guard in fired}),
    }


if __name__ == "__main__":
    main()
