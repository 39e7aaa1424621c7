"""Does a rehearsal foretell? What scores said of chosen fields beforehand, and what these come to on the request.

Trains on a part of an image data set at half its width and height. Four methods are tuned on rehearsals of a random
tenth, 16 configurations each; then every configuration forgets the request itself, another random tenth, and is scored
there against 16 retrained references in the place of the two twins that foretold, with the twins as those that saw the
rows. Both figures are of the rows to forget alone. Two tricks that forget nothing are scored beside them.

    python -m studies.rehearsal FILE.npz [--trials 16] [--references 16]     # arrays x (pictures) and y
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from expunge.core.statistics.twins import ACCURACY, FORGET, MEMORY, RowsAnswered, TwinScale
from expunge.data.forget_set import ForgetSet, choose
from expunge.data.splits import Split
from expunge.methods.contract import Method
from expunge.methods.lookup import find_method, made_from
from expunge.records.tuning import Score, Tuned, score_of
from expunge.study.pseudo_sets import pseudo_sets, twin_seeds
from expunge.study.rehearsal import Rehearsal, prepare
from expunge.study.score import TuningStage
from expunge.study.tuning import tune_method, tuning_of
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import train

RESULTS = Path(__file__).parent / "results" / "verdicts" / "rehearsal.json"
ROWS, EPOCHS, WIDTH, SIZE, REQUEST, BUDGET = 5000, 30, 128, "10%", "random:10%:1", 0.1
METHODS = ("fine-tune", "neggrad-plus", "saliency-unlearning", "scrub")
APART = 0.05  # how far what was foretold may lie from what came


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--trials", type=int, default=16, help="configurations of each method")
    parser.add_argument("--references", type=int, default=16, help="retrainings without the request")
    options = parser.parse_args()
    with np.load(options.file) as arrays:
        x, y = arrays["x"][:ROWS], arrays["y"][:ROWS]
    halved = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        np.savez(Path(temporary) / "part.npz", x=halved, y=y)
        written = foretold(Path(temporary) / "part.npz", trials=options.trials, references=options.references)
    asked = f"--trials {options.trials} --references {options.references}"
    written["command"] = f"python -m studies.rehearsal FILE.npz {asked} (Fashion-MNIST)"
    written["date"] = datetime.date.today().isoformat()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    print(shown(written))


def foretold(
    part: Path, *, trials: int = 16, references: int = 16, epochs: int = EPOCHS, width: int = WIDTH
) -> dict[str, Any]:
    """Everything, from a file of pictures; runs are kept beside it."""
    started = time.perf_counter()

    def trained(name: str, seed: int, without: ForgetSet | None = None) -> Run:
        options = {"width": width}
        out = part.parent / name
        return train(str(part), out=out, without=without, model="mlp", epochs=epochs, seed=seed, model_options=options)

    run = trained("original", 0)
    rows = run.data()[Split.TRAIN]
    request = choose([REQUEST], rows, root=run.root.hex(), forgotten=run.tombstones)
    asked: dict[str, Any] = {"kind": "random", "size": SIZE, "avoid": request.slots, "seed": 0}
    first, second = (ForgetSet(slots, ("rehearsal",), run.root.hex()) for slots in pseudo_sets(rows, **asked))
    twins = [
        trained(f"twin-{number}", seed, without)
        for number, (without, seed) in enumerate(
            zip((first, first, second, second), twin_seeds(0, 0), strict=True), start=1
        )
    ]
    retrained = [trained(f"reference-{number}", 1000 + number, request) for number in range(references)]
    rehearsal = prepare(run, twins, **asked)
    forget = dict.fromkeys(TuningStage, request)
    real = replace(rehearsal, forget=forget).beside({TuningStage.CHOICE: retrained, TuningStage.TRANSFER: twins})
    entries = [tune_method(name, rehearsal, budget=BUDGET, trials=trials, seed=0) for name in METHODS]
    found = [row(entry, real) for entry in entries]
    tuning = tuning_of(rehearsal, entries, budget=BUDGET, trials=trials, seed=0)
    scales = [*rehearsal.scales.values(), real.scales[TuningStage.CHOICE]]
    return {
        "recipe": f"mlp {width}, {epochs} epochs, {len(rows)} rows; request {REQUEST}; {references} references",
        "one_honest_retraining": [round(scale.retrained, 3) for scale in scales],
        "terms_left_out": [dict(scale.left_out) for scale in scales],
        "doing_nothing": [scale.score(scale.original) for scale in scales],
        "mean_shifted": [
            round(scale.score(shifted(scale, len(scale.original.margins[FORGET]))), 3) for scale in scales
        ],
        "a_tenth_hammered": [
            round(scale.score(shifted(scale, len(scale.original.margins[FORGET]) // 10)), 3) for scale in scales
        ],
        "rows": found,
        "met": all(one["apart"] <= APART for one in found),
        "conclusion": tuning.conclusion,
        "seconds": round(time.perf_counter() - started, 1),
    }


def row(entry: Tuned, real: Rehearsal) -> dict[str, Any]:
    """One method: what its chosen fields were foretold, what they came to, and how well scores rank all of them."""
    kind = find_method(entry.method)
    tried = [trial for trial in entry.trials if trial.repeats is None and trial.score is not None]
    came = [on_the_request(made_from(kind, trial.fields), real) for trial in tried]
    chosen = came[[trial.index for trial in tried].index(first_of(entry))]
    told = [
        of_the_rows(attempt.score) for attempt in (entry.chosen.choice, entry.chosen.transfer) if attempt is not None
    ]
    return {
        "method": entry.method,
        "fields": {name: entry.chosen.fields[name] for name in entry.search},
        "default_score": rounded(score_of(entry.default.choice)),
        "score": rounded(score_of(entry.chosen.choice)),
        "score_on_the_second_set": rounded(score_of(entry.chosen.transfer)),
        "spread": rounded(None if entry.chosen.choice.score is None else entry.chosen.choice.score.spread),
        "better": entry.better,
        "transferred": entry.transferred,
        "foretold": [rounded(value) for value in told],
        "came": rounded(chosen),
        "apart": rounded(max(abs(value - chosen) for value in told)),
        "rank_correlation": rounded(float(spearmanr([of_the_rows(one.score) for one in tried], came).statistic)),
        "configurations": len(tried),
    }


def first_of(entry: Tuned) -> int:
    """The trial that was carried out with the chosen fields."""
    return next(trial.index for trial in entry.trials if trial.fields == entry.chosen.fields)


def on_the_request(method: Method, real: Rehearsal) -> float:
    with pinned(real.parent.recipe):
        made = method(real.parent, real.forget[TuningStage.CHOICE].slots, budget=BUDGET, seed=0)
        return of_the_rows(real.score(made.model))


def of_the_rows(score: Score | None) -> float:
    """The terms of the rows to forget alone."""
    assert score is not None
    return max(value for name, value in score.parts.items() if name in (FORGET, ACCURACY, MEMORY))


def shifted(scale: TwinScale, rows: int) -> RowsAnswered:
    """The original with the margins of so many rows to forget, the surest, shifted until the mean is that of twins."""
    margins = scale.original.margins[FORGET].copy()
    surplus = float(margins.mean() - np.mean([twin.margins[FORGET] for twin in scale.own]))
    margins[np.argsort(-margins)[:rows]] -= surplus * len(margins) / rows
    return replace(scale.original, margins={**scale.original.margins, FORGET: margins})


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def shown(written: Mapping[str, Any]) -> str:
    """A line for each method, and what the tuning concludes."""
    lines = [
        f"{one['method']:<22} foretold {one['foretold']}  came {one['came']}  apart {one['apart']}  "
        f"ranks {one['rank_correlation']}"
        for one in written["rows"]
    ]
    lines.append(
        f"one honest retraining {written['one_honest_retraining']}, mean shifted {written['mean_shifted']}, "
        f"a tenth hammered {written['a_tenth_hammered']}"
    )
    lines.append(f"{'met' if written['met'] else 'MISSED'}: every foretold score within {APART} of what came")
    lines.append(str(written["conclusion"]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
