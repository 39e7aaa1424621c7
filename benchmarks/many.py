"""Many models: shadows side by side, and an evaluation beside what a store has of a request.

``python -m benchmarks.many FOLDER --write`` measures on the first 5,000 pictures that FOLDER holds, as ``python -m
studies.pictures`` reads them, and writes results/many.json. Three figures have bounds:

- shadows: 64 half models of ``mlp`` and of ``cnn`` on 28×28, ``--jobs 1`` against ``--jobs 2``, with workers' start.
- evaluate: ``expunge evaluate`` as a process, on rows pooled to 14×14, ``mlp``, 400 of 4,000 rows forgotten, with 8
  references and 4 witnesses in the store.
- memory: the most that such a process holds with 48 references, against that with 8.

Whatever else runs on the machine shows in the first two, so the load averages are written beside them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from studies.pictures import pictures

import expunge
from benchmarks.pairs import ratios, seconds
from expunge.study.references import halves, references, witnesses
from expunge.train.run import Run

RESULTS = Path(__file__).parent / "results" / "many.json"
ROWS, FORGET = 5000, "random:10%:1"
SPEED_UP, LONGEST, MEMORY = 1.7, 10.0, 1.2
EVALUATE = """
import resource, sys
from expunge.study.evaluate import evaluate
evaluate(sys.argv[1], store=sys.argv[2], out=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def written(folder: Path, place: Path, *, pooled: bool) -> Path:
    """The first rows as one file; pooled, each pixel is the mean of four."""
    x, y = (part[:ROWS] for part in pictures(folder))
    if pooled:
        x = x.reshape(len(x), 14, 2, 14, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    np.savez(place, x=x, y=y)
    return place


def speed_up(folder: Path, data: Path, model: str, count: int, epochs: int, pairs: int) -> list[float]:
    """How many times as fast two workers train half models as one does, pair by pair."""
    run = expunge.train(str(data), out=folder / model, model=model, epochs=epochs)

    def with_workers(jobs: int) -> Callable[[], None]:
        return lambda: (halves(run, count=count, jobs=jobs, store=Path(tempfile.mkdtemp(dir=folder))), None)[1]

    return ratios(with_workers(1), with_workers(2), pairs)


def beside_a_store(folder: Path, data: Path, epochs: int, most: int) -> tuple[list[float], float]:
    """Seconds of evaluations beside 8 references, and the memory of one beside ``most`` against that beside 8."""
    base = expunge.train(str(data), out=folder / "base", model="mlp", epochs=epochs)
    run = expunge.unlearn(base, FORGET, method="fine-tune", out=folder / "run")
    witnesses(base, count=4)
    references(base, FORGET, count=8)
    held, taken = evaluated(run), [seconds(lambda: print(evaluated(run), end=" ", flush=True)) for _ in range(3)]
    references(base, FORGET, count=most)
    return taken, evaluated(run) / held


def evaluated(run: Run) -> int:
    """Evaluate in a process of its own: the most memory that it held."""
    words = [str(run.path), str(run.path.parent / "store"), str(run.path.parent / "evaluation.json")]
    done = subprocess.run([sys.executable, "-c", EVALUATE, *words], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def _row(name: str, found: list[float], unit: str, bound: float, *, higher: bool = False) -> dict[str, Any]:
    value = statistics.median(found)
    row = {"name": name, "value": value, "lowest": min(found), "highest": max(found), "times": len(found)}
    kept = value >= bound if higher else value <= bound
    return {**row, "unit": unit, "bound": bound, "kept": kept, **({"better": "higher"} if higher else {})}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=__doc__)
    parser.add_argument("folder", type=Path, help="pictures as their publishers offer them")
    parser.add_argument("--shadows", type=int, default=64, help="half models of each kind; 0 leaves them out")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of each training")
    parser.add_argument("--references", type=int, default=48, help="of the evaluation whose memory is compared")
    parser.add_argument("--pairs", type=int, default=1, help="pairs of runs for the speed-up")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/many.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    before, rows = os.getloadavg(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory(prefix="expunge-benchmark-") as place:
        folder = Path(place)
        small = written(options.folder, folder / "small.npz", pooled=True)
        taken, memory = beside_a_store(folder, small, options.epochs, options.references)
        rows.append(_row("evaluate beside 8 references and 4 witnesses, 14×14", taken, "seconds", LONGEST))
        rows.append(_row(f"memory of evaluate, {options.references} references / 8", [memory], "ratio", MEMORY))
        large = written(options.folder, folder / "large.npz", pooled=False)
        for model in ("mlp", "cnn") if options.shadows else ():
            found = speed_up(folder, large, model, options.shadows, options.epochs, options.pairs)
            name = f"{options.shadows} shadows, {model} on 28×28, --jobs 1 / --jobs 2"
            rows.append(_row(name, found, "ratio", SPEED_UP, higher=True))
    after = os.getloadavg()
    for row in rows:
        print(f"{row['name']:<58} {row['value']:>8.3f} {row['unit']:<8} bound {row['bound']:g}  {row['kept']}")
    print(f"load averages before {before}, after {after}; {os.cpu_count()} cores")
    if options.write:
        told = {
            "date": datetime.date.today().isoformat(),
            "command": "python -m " + " ".join(["benchmarks.many FOLDER", *sys.argv[2:]]),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_before": before,
            "load_after": after,
            "rows": rows,
        }
        RESULTS.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if all(row["kept"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
