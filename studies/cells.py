"""Does what is said of a method, over many runs, tell the truth? Retrained halves must read as nothing, originals not.

Trains tiny networks on the digits: 16 originals beside 32 references for U-LiRA, then 64 beside 128 for KLoM, whose
second group of references needs as many runs as the first; each original forgets a random fifth by fine-tuning. The
verdict on a method is tried on draws from these models: on retrained ones, on originals and on unlearned ones.

    python -m studies.cells [--out FOLDER] [--jobs 1]
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.statistics.margin_divergence import FEWEST
from expunge.core.statistics.means import spread
from expunge.core.statistics.memory import Memory, bounded
from expunge.core.statistics.prediction import LEVEL, Prediction
from expunge.measure.trial import Whose
from expunge.records.figures import Estimate, MeanFigure
from expunge.records.form import to_plain
from expunge.records.over_trainings import DIVERGING, TOLD_APART
from expunge.records.results import Results, Setting
from expunge.study.cells import MINIMUM
from expunge.study.grid import lay_out
from expunge.study.results import Gathered
from expunge.study.scheduler import known_outcomes
from expunge.study.store import Store
from expunge.study.study import study
from expunge.study.study_file import read_study

RESULTS = Path(__file__).parent / "results" / "verdicts" / "cells.json"
DRAWS = 400
NULL = {16: 3.89, 32: 1.69, 64: 0.64, 100: 0.35, 200: 0.15}  # KLoM of one normal distribution on both sides
FILE = """
title = "Digits, {runs} tiny networks a side"
seeds = {seeds}
references = {references}
witnesses = 4
budget = "10%"
methods = ["fine-tune"]

[data.digits]
location = "digits"
rows = 600

[training.mlp]
model = "mlp"
model_options = {{ width = 32 }}
epochs = 40

[forget.random]
title = "a random fifth"
rules = "random:20%:1"
"""


def setting(folder: Path, runs: int, jobs: int | None = 1) -> Setting:
    """Of so many originals and twice as many references; studies of other numbers in the same folder are shared."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"cells-{runs}.toml"
    file.write_text(FILE.format(runs=runs, seeds=list(range(runs)), references=2 * runs), encoding="utf-8")
    results: Results = study(file, out=folder / f"cells-{runs}", store=folder / "store", jobs=jobs)
    return results.settings[0]


def rows(folder: Path, jobs: int | None = 1, few: int = MINIMUM, many: int = FEWEST) -> list[dict[str, Any]]:
    """What must hold, whether it does, and the figures."""
    apart, diverging = setting(folder, few, jobs), setting(folder, many, jobs)
    references, original = apart.retrained[TOLD_APART], apart.original[TOLD_APART]
    (row,), (among_many,) = apart.rows, diverging.rows
    found = among_many.concluded and among_many.concluded.divergences
    excess = diverging.original[DIVERGING]
    assert found is not None
    null, expected = found.forget.null_mean, NULL[found.runs]
    return [
        {
            "check": f"U-LiRA, {few} + {few}: references .50 ± .03",
            "holds": isinstance(references, Estimate) and abs(references.mean - 0.5) <= 0.03,
            "references": told(references),
        },
        {
            "check": f"U-LiRA, {few} + {few}: original >= .60",
            "holds": isinstance(original, Estimate) and original.mean >= 0.6,
            "original": told(original),
            "fine-tune": told(row.figures[TOLD_APART]),
        },
        {
            "check": f"KLoM, {found.runs} + {found.runs}: a second group of references at the null ± 25 %",
            "holds": abs(null - expected) <= 0.25 * expected,
            "references": round(null, 4),
            "null of a normal": expected,
        },
        {
            "check": f"KLoM, {found.runs} + {found.runs}: original clearly above, its interval without the null",
            "holds": isinstance(excess, Estimate) and excess.low > 0,
            "original, excess": told(excess),
            "fine-tune, excess": told(among_many.figures[DIVERGING]),
            "fine-tune": to_plain(found.forget),
        },
    ]


def verdicts_on_methods(
    never: np.ndarray, remembering: np.ndarray, unlearned: np.ndarray, references: int, trainings: int, share: float
) -> dict[str, list[float]]:
    """[Supported, Refuted] of draws from pools of margins (models, rows); retrained models are honest.

    Each draw takes references, 4 witnesses, and so many other models as the runs of one method.
    """
    rng = np.random.default_rng(references)
    pools = {"honest": bounded(never), "original": bounded(remembering), "unlearned": bounded(unlearned)}
    found: dict[str, list[list[bool]]] = {name: [] for name in pools}
    for _ in range(DRAWS):
        order = {name: rng.permutation(len(pool)) for name, pool in pools.items()}
        order["unlearned"] = order["original"]  # the k-th was the k-th original, which must be no witness
        memory = Memory(pools["honest"][order["honest"][:references]], pools["original"][order["original"][:4]])
        null = float(memory.null[0].mean())
        for name, pool in pools.items():
            chosen = order[name][references if name == "honest" else 4 :][:trainings]
            left = [memory.left(one) - null for one in pool[chosen]]
            mean = Prediction(float(np.mean(left)), spread(left), trainings)
            found[name].append([mean.bound <= share, mean.outside(share) <= LEVEL])
    return {name: np.mean(each, axis=0).round(3).tolist() for name, each in found.items()}


def pools(folder: Path, runs: int = FEWEST) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins of the forget set as references, originals and unlearned runs gave them, from the store."""
    planned = read_study(folder / f"cells-{runs}.toml")
    grid, store = lay_out(planned), Store(folder / "store")
    gathered = Gathered(planned, grid, store, known_outcomes(grid.jobs, store))
    (laid,) = grid.settings
    together = gathered.together(laid)
    assert together is not None
    originals = [gathered.run(key) for key in laid.originals.values()]
    unlearned = [gathered.run(one.unlearn) for one in laid.runs["fine-tune"]]
    never, remembering, forgot = (
        together.margins(models, Whose.FORGET) for models in (together.references, originals, unlearned)
    )
    return never, remembering, forgot


def told(figure: MeanFigure) -> list[float] | str:
    """[mean, low, high], or why there is none."""
    if not isinstance(figure, Estimate):
        return figure.reason
    return [round(value, 4) for value in (figure.mean, figure.low, figure.high)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="Folder that keeps what is trained; a new one that goes unless said.")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        found = rows(folder, options.jobs)
        margins = pools(folder)
    for references in (5, 8, 16):
        for share in (0.10, 0.25):
            rates = verdicts_on_methods(*margins, references=references, trainings=5, share=share)
            check = (
                f"verdict on a method, {references} references, 5 trainings, claim {share:.0%}: [Supported, Refuted]"
            )
            holds = rates["honest"][1] <= 0.08 and rates["original"][1] >= 0.95
            found.append({"check": check, "holds": holds, **rates})
    for one in found:
        print("holds " if one["holds"] else "FAILS ", *(f"{name}: {value}" for name, value in one.items()), sep="  ")
    written = {"date": datetime.date.today().isoformat(), "command": "python -m studies.cells", "rows": found}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
