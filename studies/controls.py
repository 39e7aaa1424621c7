"""Do the verdicts tell the truth on real pictures? Honest retrainings must pass, the original must not.

Trains on a part of an image data set, forgets a random tenth, trains 12 references, 5 further models of other seeds and
4 witnesses, and judges those 5 as if somebody had unlearned them (negative control), the original likewise (positive
control), and the approximate methods on their defaults. That the 5 are exact and the original is unchanged is not told.

    python -m studies.controls FILE.npz          # arrays x (pictures) and y; Fashion-MNIST is what the results are from
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.values import Measurement
from expunge.measure.evaluate import trial_of
from expunge.measure.judgement import Judgement, judge
from expunge.measure.lookup import probes
from expunge.methods.unlearn import unlearn
from expunge.records.form import to_plain
from expunge.study.references import references, witnesses
from expunge.train.profile import pinned
from expunge.train.training import train

RESULTS = Path(__file__).parent / "results" / "controls.json"
ROWS, EPOCHS, REFERENCES, FURTHER, WITNESSES = 5000, 20, 12, 5, 4
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

        trained = references(base, RULE, count=REFERENCES + FURTHER)
        knowing = witnesses(base, count=WITNESSES)
        runs = {method: unlearn(base, RULE, method=method, out=folder / method) for method in APPROXIMATE}
        beside, honest = trained[:REFERENCES], trained[REFERENCES:]
        with pinned(base.recipe):
            trial = trial_of([*honest, *runs.values()], base, beside, base.data(), witnesses=knowing)
            told = [replace(one, exact=False) for one in trial.unlearned]
            told.append(replace(trial.original, weights_digest="0" * 64))  # the guard of equal weights would say it all
            judged = judge(replace(trial, unlearned=tuple(told)), [probe() for probe in probes()])
        names = [*["retrained"] * FURTHER, *runs, "original"]
        rows = [row(name, one) for name, one in zip(names, judged, strict=True)]
    for found in rows:
        print(f"{found['run']:<22} {found['verdict']:<10} {found['detail'][:90]}")
    verdicts = Counter(found["verdict"] for found in rows if found["run"] == "retrained")
    written = {
        "date": datetime.date.today().isoformat(),
        "command": "python -m studies.controls FILE.npz (Fashion-MNIST, its first 5,000 training pictures)",
        "recipe": f"cnn, {EPOCHS} epochs; forget set {RULE}; {REFERENCES} references, {WITNESSES} witnesses",
        "honest_verdicts": dict(sorted(verdicts.items())),
        "rows": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def row(run: str, judgement: Judgement) -> dict[str, Any]:
    """The verdict on one model, what was claimed, and each judged probe."""
    judged = [one for one in judgement.probes if one.probe.judging is not None]
    return {
        "run": run,
        "verdict": judgement.verdict.word,
        "detail": judgement.verdict.detail,
        "claim": str(judgement.claim),
        "memory": None if judgement.memory is None else to_plain(judgement.memory),
        "probes": {one.probe.name: one.verdict.word for one in judged},
        "values": {
            one.probe.name: round(one.unlearned.value, 4) for one in judged if isinstance(one.unlearned, Measurement)
        },
        "guards_fired": sorted({f"{guard.name}: {guard.detail}" for guard in judgement.guards if guard.fired}),
    }


if __name__ == "__main__":
    main()
