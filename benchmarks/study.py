"""What the engines of a study add to its jobs, and what a second worker gains.

``python -m benchmarks.study --write`` measures on this machine and writes results/study.json. Two figures have bounds:

- scheduling: the seconds of a study of small trainings with one worker, less those that the jobs count themselves, by
  job. The worker is warm; claiming a job, its entry on disk and the words between the processes are all in it.
- speed-up: a study of equal trainings with ``--jobs 1`` against ``--jobs 2``, in turn, workers' start included.

Whatever else runs on the machine shows in both, so the load averages before and after are written beside them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.pairs import ratios
from expunge.study.engine import Engine
from expunge.study.grid import Grid, lay_out
from expunge.study.job import Job, Train
from expunge.study.local import LocalEngine
from expunge.study.progress import Watch
from expunge.study.scheduler import carry_out_jobs
from expunge.study.store import JobOutcome, Store
from expunge.study.study_file import read_study

RESULTS = Path(__file__).parent / "results" / "study.json"
OVERHEAD, SPEED_UP = 0.050, 1.6
SMALL, EQUAL, ROUNDS = 41, 8, 3
STUDY = """
seeds = {seeds}
references = 0
methods = ["fine-tune"]
[data.digits]
location = "digits"
[training.mlp]
model = "mlp"
epochs = {epochs}
[forget.random]
rules = "random:5%:1"
"""


def trainings(folder: Path, count: int, epochs: int) -> tuple[Grid, list[Job]]:
    """Jobs that need nothing and take equally long."""
    path = folder / f"{count}-{epochs}.toml"
    path.write_text(STUDY.format(seeds=list(range(count)), epochs=epochs), encoding="utf-8")
    grid = lay_out(read_study(path))
    return grid, [job for job in grid.jobs if isinstance(job, Train)]


def carried_out(engine: Engine, store: Store, jobs: Sequence[Job]) -> tuple[float, float]:
    """Seconds on the clock, and the sum of those that the jobs count."""
    start = time.perf_counter()
    outcomes = carry_out_jobs(jobs, store, engine, Watch(engine.places))
    taken = time.perf_counter() - start
    undone = [entry for entry in outcomes.entries.values() if entry.outcome is not JobOutcome.DONE]
    if undone:
        raise SystemExit(f"a job was not done, so nothing is measured: {undone[0].title}: {undone[0].reason}")
    return taken, sum(outcomes.entries[job.key].seconds for job in jobs)


def scheduling(folder: Path, make: Callable[[Store, Grid], Engine]) -> list[float]:
    """Overhead of a job in seconds, round by round; the first job only starts the worker."""
    grid, jobs = trainings(folder, SMALL, 1)
    found: list[float] = []
    for _ in range(ROUNDS):
        store = Store(Path(tempfile.mkdtemp(dir=folder)))
        with make(store, grid) as engine:
            carried_out(engine, store, jobs[:1])
            taken, counted = carried_out(engine, store, jobs[1:])
        found.append((taken - counted) / (len(jobs) - 1))
    return found


def speed_up(folder: Path, pairs: int, epochs: int) -> list[float]:
    """How many times as fast two workers are as one, pair by pair."""
    _, jobs = trainings(folder, EQUAL, epochs)

    def with_workers(count: int) -> Callable[[], None]:
        def work() -> None:
            store = Store(Path(tempfile.mkdtemp(dir=folder)))
            with LocalEngine(store, count) as engine:
                carried_out(engine, store, jobs)

        return work

    return ratios(with_workers(1), with_workers(2), pairs)


def _row(name: str, found: list[float], unit: str, **bound: Any) -> dict[str, Any]:
    spread = {"value": statistics.median(found), "lowest": min(found), "highest": max(found), "times": len(found)}
    return {"name": name, **spread, "unit": unit, **bound}


def _ray(store: Store, grid: Grid) -> Engine:
    from expunge.study.ray_engine import RayEngine

    return RayEngine(store, grid.datasets, jobs=1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3, help="pairs of runs for the speed-up")
    parser.add_argument("--epochs", type=int, default=200, help="epochs of an equal job")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/study.json")
    options = parser.parse_args()
    before, rows = os.getloadavg(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory(prefix="expunge-benchmark-") as place:
        folder = Path(place)
        found = scheduling(folder, lambda store, grid: LocalEngine(store, 1))
        kept = statistics.median(found) <= OVERHEAD
        rows.append(_row("scheduling of a job, local", found, "seconds", bound=OVERHEAD, kept=kept))
        if find_spec("ray") is not None:
            rows.append(_row("scheduling of a job, Ray on this machine", scheduling(folder, _ray), "seconds"))
        found = speed_up(folder, options.pairs, options.epochs)
        kept = statistics.median(found) >= SPEED_UP
        rows.append(_row("--jobs 1 / --jobs 2, equal jobs", found, "ratio", bound=SPEED_UP, better="higher", kept=kept))
    after = os.getloadavg()
    for row in rows:
        outcome = "" if "bound" not in row else f"bound {row['bound']:g}  {'ok' if row['kept'] else 'MISSED'}"
        spread = f"{row['lowest']:.4f} – {row['highest']:.4f}"
        print(f"{row['name']:<42} {row['value']:>8.4f} {row['unit']:<8} ({spread})  {outcome}")
    print(f"load averages before {_shown(before)}, after {_shown(after)}; {os.cpu_count()} cores")
    if options.write:
        written = {
            "date": datetime.date.today().isoformat(),
            "command": "python -m benchmarks.study --write",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_before": list(before),
            "load_after": list(after),
            "rows": rows,
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if all(row.get("kept", True) for row in rows) else 1


def _shown(load: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.2f}" for value in load)


if __name__ == "__main__":
    sys.exit(main())
