"""How near forged batches come to the true ones, and what sees them (Thudi et al., USENIX Security 2022).

    python -m studies.forging [--quick] [--write] [--jobs 2] [--work FOLDER]
    python -m studies.forging --pictures FILE.npz --name NAME [--write]

Trains small networks on the built-in digits, takes steps at several points of the training, and has every forger deny
members of their batches: by number of candidates, batch size, progress, distance, head and momentum, all read against
what honest replays are off. ``--write`` keeps the cells under studies/results; ``--quick`` measures a few of them.
Every point of every training is kept in the work folder, so that the same command goes on where it was interrupted.

``--pictures`` asks the same of other pictures, such as those that ``studies.pictures`` makes of MNIST, Fashion-MNIST or
CIFAR-10: their first 5,000 rows, one network, three forgers, and no point that would have to wait for the
fit.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from expunge.cli.shared import progress_bar
from expunge.core.files import write_text
from expunge.core.hashing import canonical_json, sha256
from expunge.train.profile import processor
from studies import forging_summary as summary
from studies.forging_logs import logs
from studies.forging_measure import measure, prepare, training_rows
from studies.forging_settings import FULL, PICTURES, QUICK, QUICK_PICTURES, Extent, Setting
from studies.keep import RESULTS, rounded

FORMAT = "expunge/forging-study/1"
PICTURES_FORMAT = "expunge/forging-pictures/1"
WORK = Path("build") / "forging"
STEPS = "steps.json"
Found = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few cells, to see that everything runs")
    parser.add_argument("--write", action="store_true", help="keep the results under studies/results")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--work", type=Path, default=WORK, help="where finished points are kept")
    parser.add_argument("--pictures", type=Path, metavar="FILE", help="other pictures: arrays x and y in a .npz file")
    parser.add_argument("--name", help="what they are called in the results")
    parser.add_argument("--note", default="", help="with --pictures, what a reader must know of the file")
    options = parser.parse_args(arguments)
    if (options.pictures is None) != (options.name is None):
        parser.error("--pictures and --name go together: a file, and what its rows are called")
    if options.pictures is not None:
        return of_pictures(options.pictures, options.name, options)
    extent = QUICK if options.quick else FULL
    points, stated = run(extent, options.work, options.jobs)
    found = results(points, stated, extent)
    for number, check in found["acceptance"].items():
        print(f"{number}: {'passed' if check['passed'] else 'NOT passed'}")
        print("\n".join(f"   {line}" for line in check["said"]))
    if options.write:
        written = write(found, RESULTS)
        print(", ".join(str(path) for path in written))
    return 0


def of_pictures(file: Path, name: str, options: argparse.Namespace) -> int:
    """The same figures of another data set, in a file of their own: nothing is decided by them."""
    extent = replace(QUICK_PICTURES if options.quick else PICTURES, data=str(file))
    points, _ = run(extent, options.work, options.jobs)
    found = pictures_results(points, extent, name, options.note)
    for cell in found["cells"]:
        if cell["distance"] == "l2":
            many = "" if cell["candidates"] is None else f" M = {cell['candidates']}"
            print(f"{cell['point']}: {cell['forger']}{many}: median l2 {cell['median']}")
    if options.write:
        place = RESULTS / f"forging-{name}.json"
        write_text(place, json.dumps(rounded(found), sort_keys=True, separators=(",", ":")) + "\n")
        print(place)
    return 0


def pictures_results(points: Sequence[Mapping[str, Any]], extent: Extent, name: str, note: str = "") -> dict[str, Any]:
    """What is kept of other pictures."""
    table = summary.cells(points)
    return {
        "format": PICTURES_FORMAT,
        "name": name,
        "note": note,
        "date": datetime.date.today().isoformat(),
        "command": f"python -m studies.forging --pictures FILE.npz --name {name} --write",
        "machine": {"processor": processor(), "torch": torch.__version__},
        "training_rows": training_rows(extent),
        "settings": [_described(setting, points) for setting in extent.settings],
        "targets": extent.targets,
        "seeds": extent.seeds,
        "cells": table,
        "noise": summary.noise_cells(points),
        "falls": summary.falls(table),
        "equal_cost": summary.at_equal_cost(points),
        "absorption": summary.absorption_cells(points),
    }


def run(extent: Extent, work: Path, jobs: int) -> tuple[list[Found], list[Found]]:
    """Every point of every training, and every forged log; what the work folder holds is not measured again."""
    tasks = [(setting, seed) for setting in extent.settings for seed in range(extent.seeds)]
    logged = range(extent.seeds if extent.logs else 0)
    total = sum(len(setting.points) for setting, _ in tasks) + len(logged)
    points: dict[tuple[str, int, str], Found] = {}
    stated: dict[int, list[Found]] = {}
    with progress_bar("forging") as moved, _executor(jobs) as executor:
        waiting: dict[Future[Any], tuple[Setting | None, int, str | None]] = {
            executor.submit(_prepared, setting, seed, extent, work): (setting, seed, None) for setting, seed in tasks
        }
        for seed in logged:
            waiting[executor.submit(_stated, seed, extent, work)] = (None, seed, None)
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                setting, seed, point = waiting.pop(future)
                if setting is None:
                    stated[seed] = future.result()
                elif point is None:
                    for place, step in future.result().items():
                        later = executor.submit(_measured, setting, seed, place, step, extent, work)
                        waiting[later] = (setting, seed, place)
                else:
                    points[setting.name, seed, point] = future.result()
                moved(len(points) + len(stated), total)
    order = [
        (setting.name, seed, point)
        for setting in extent.settings
        for point in setting.points
        for seed in range(extent.seeds)
    ]
    return [points[key] for key in order], [log for seed in sorted(stated) for log in stated[seed]]


def _executor(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def _folder(setting: Setting, seed: int, extent: Extent, work: Path) -> Path:
    """One folder for a training; another setting or extent has another."""
    described = {"setting": repr(setting), "extent": repr(extent), "seed": seed}
    folder = work / sha256(canonical_json(described)).hex()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _prepared(setting: Setting, seed: int, extent: Extent, work: Path) -> dict[str, int]:
    folder = _folder(setting, seed, extent, work)
    if not (folder / STEPS).exists():
        write_text(folder / STEPS, json.dumps(prepare(setting, seed, extent, folder)))
    return json.loads((folder / STEPS).read_text(encoding="utf-8"))


def _measured(setting: Setting, seed: int, point: str, step: int, extent: Extent, work: Path) -> dict[str, Any]:
    folder = _folder(setting, seed, extent, work)
    path = folder / f"point-{setting.points.index(point)}.json"
    if not path.exists():
        found = measure(setting, seed, point, step, extent, folder)
        write_text(path, json.dumps({"setting": setting.name, "seed": seed, "point": point, **found}))
    return json.loads(path.read_text(encoding="utf-8"))


def _stated(seed: int, extent: Extent, work: Path) -> list[Found]:
    described = {"logs": extent.logs, "seed": seed, "of": "the command line's defaults, with reasons"}
    path = work / f"logs-{sha256(canonical_json(described)).hex()[:16]}.json"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(logs(seed, extent.logs)))
    return json.loads(path.read_text(encoding="utf-8"))


def results(points: Sequence[Mapping[str, Any]], stated: Sequence[Mapping[str, Any]], extent: Extent) -> dict[str, Any]:
    """Everything that is kept: cells, noise, bound, absorption, logs, and the checks that they decide."""
    table = summary.cells(points)
    bounds, hidden = summary.bound_cells(points), summary.absorption_cells(points)
    equal, fell = summary.at_equal_cost(points), summary.falls(table)
    return {
        "format": FORMAT,
        "date": datetime.date.today().isoformat(),
        "command": "python -m studies.forging --write",
        "data": "digits, 1,438 training rows",
        "machine": {"processor": processor(), "torch": torch.__version__},
        "settings": [_described(setting, points) for setting in extent.settings],
        "targets": extent.targets,
        "few": extent.few,
        "seeds": extent.seeds,
        "cells": table,
        "noise": summary.noise_cells(points),
        "bound": [{name: value for name, value in cell.items() if name != "squares"} for cell in bounds],
        "slopes": summary.slopes(bounds),
        "falls": fell,
        "equal_cost": equal,
        "absorption": hidden,
        "logs": summary.log_cells(stated),
        "acceptance": summary.acceptance(bounds, fell, equal, hidden, stated),
    }


def _described(setting: Setting, points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    steps = {
        point: [found["step"] for found in points if (found["setting"], found["point"]) == (setting.name, point)]
        for point in setting.points
    }
    return {
        "name": setting.name,
        "model": setting.model,
        "options": dict(setting.options),
        "rate": setting.rate,
        "momentum": setting.momentum,
        "steps": steps,
    }


def write(found: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """forging.json with everything, forging.csv with the cells."""
    folder.mkdir(parents=True, exist_ok=True)
    table, whole = folder / "forging.csv", folder / "forging.json"
    text = io.StringIO()
    rows = list(_csv_rows(found["cells"]))
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(table, text.getvalue())
    write_text(whole, json.dumps(rounded(found), sort_keys=True, separators=(",", ":")) + "\n")
    return table, whole


def _csv_rows(cells: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        yield {name: "" if value is None else rounded(value) for name, value in cell.items()}


if __name__ == "__main__":
    raise SystemExit(main())
