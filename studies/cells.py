"""Do attacks that look at many runs together tell the truth? Retrained halves must read as nothing, originals must not.

Trains tiny networks on the digits: 16 originals beside 32 references for U-LiRA, then 64 beside 128 for KLoM, whose
second group of references needs as many runs as the first; each original forgets a random fifth by fine-tuning.

    python -m studies.cells [--out FOLDER] [--jobs 1]
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

from expunge.core.statistics.margin_divergence import FEWEST
from expunge.records.figures import Estimate, MeanFigure
from expunge.records.form import to_plain
from expunge.records.results import Results, Setting
from expunge.study.cells import DIVERGING, MINIMUM, TOLD_APART
from expunge.study.study import study

RESULTS = Path(__file__).parent / "results" / "cells.json"
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
        found = rows(options.out or Path(temporary), options.jobs)
    for one in found:
        print("holds " if one["holds"] else "FAILS ", *(f"{name}: {value}" for name, value in one.items()), sep="  ")
    written = {"date": datetime.date.today().isoformat(), "command": "python -m studies.cells", "rows": found}
    RESULTS.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
