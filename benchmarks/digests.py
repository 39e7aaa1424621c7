"""``python -m benchmarks.digests``: the acceptance checks on bits at full size, into benchmarks/results/digests.json.

The same trainings in three processes of their own; rewinding, retraining and the twin run over shards, slices and sizes
of forget sets; work done over work predicted; honest records through V3. Nothing is measured in time: what counts is
whether digests are equal.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom

from benchmarks.loop import NOBODY, pictures
from expunge.attest.attest import attest
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.records.keys import KeyRole, keygen
from expunge.records.verdict import Level, Status, Verdict
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import Optimiser, OptimiserName, Placement
from expunge.schedule.schedule import Schedule
from expunge.train.run import Run
from expunge.train.training import make_recipe, train
from expunge.verify.levels.segments import Segment, draw, missed
from expunge.verify.verify import verify

RESULTS = Path(__file__).parent / "results" / "digests.json"
ORIGIN = "benchmark.example/digests"
PROCESSES = 3
MODELS: dict[str, dict[str, Any]] = {
    "cnn": {"model": "cnn", "epochs": 2},
    "resnet18 with batch norm": {"model": "resnet18", "model_options": {"width": 2}, "epochs": 1},
}
OPTIMISERS = {
    "sgd with momentum": Optimiser(name=OptimiserName.SGD, rate=0.05, momentum=0.9),
    "adamw": Optimiser(name=OptimiserName.ADAMW, rate=0.003),
}
GRID = tuple(itertools.product((1, 4, 8), (1, 4), (1, 10, 100)))  # shards, slices, forgotten rows
CELLS = tuple(itertools.product((1, 2, 5, 10, 20), (10, 20, 40, 80, 160, 320)))  # bad and drawn segments
AUDITS = 2000
DIGITS = Source(location="digits", rows=240)


def states_of(seeds: Sequence[int]) -> dict[str, list[str]]:
    """Digests of every state that a training passes, for both models, both optimisers and each seed."""
    found: dict[str, list[str]] = {}
    for (model, fields), (optimiser, described) in itertools.product(MODELS.items(), OPTIMISERS.items()):
        for seed in seeds:
            with tempfile.TemporaryDirectory(prefix="expunge-digests-") as folder:
                run = train(
                    DIGITS,
                    out=Path(folder) / "run",
                    batch_size=32,
                    optimiser=described,
                    seed=seed,
                    checkpoint_interval=3,
                    **fields,
                )
                found[f"{model}, {optimiser}, seed {seed}"] = [
                    *(checkpoint.digest for checkpoint in run.log.checkpoints(0)),
                    run.weights_digest,
                ]
    return found


def processes_agree(seeds: int) -> dict[str, Any]:
    """Acceptance 1: no digest of any state differs between processes."""
    command = [sys.executable, "-m", "benchmarks.digests", "--states", str(seeds)]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(PROCESSES)
    ]
    states = sum(len(digests) for digests in found[0].values())
    differing = sum(
        len({process[name][at] for process in found}) > 1
        for name, digests in found[0].items()
        for at in range(len(digests))
    )
    what = f"{len(found[0])} trainings ({seeds} seeds × {len(MODELS)} models × {len(OPTIMISERS)} optimisers)"
    return _row(
        f"states that differ between {PROCESSES} processes, of {states} in {what}", differing, 0, differing == 0
    )


def twins_agree(folder: Path) -> list[dict[str, Any]]:
    """Acceptance 2 and the first half of 3: rewound = retrained = twin, and the work is what was predicted."""
    office = _Office(folder)
    equal, ratios, runs = 0, set[float](), 0
    for shards, slices in sorted({cell[:2] for cell in GRID}):
        base = _sharded(folder / f"base-{shards}-{slices}", shards, slices)
        rules = {str(count): f"random:{count}:5" for of, by, count in GRID if (of, by) == (shards, slices)}
        if (shards, slices) == (1, 1):
            rules["a whole batch"] = _whole_batch(base, folder / "batch.txt")
        for name, rule in rules.items():
            place = folder / f"{shards}-{slices}-{name.replace(' ', '-')}"
            rewound = unlearn(base, rule, out=place / "rewound")
            retrained = unlearn(base, rule, method="retrain", out=place / "retrained")
            verdict = office.verified(rewound, place / "bundle", Level.V4)
            runs += 1
            equal += rewound.weights_digest == retrained.weights_digest and verdict.status is Status.ACCEPTED
            predicted = base.schedule.work(rewound.tombstones, starts=_starts(base, rewound))
            ratios.add(rewound.result.example_steps / predicted)
    return [
        _row(f"of {runs} rewound runs, those that equal retraining and the twin run", equal, runs, equal == runs),
        _row("example-steps done / predicted, over all of them", max(ratios), 1.0, ratios == {1.0}),
    ]


def costs_agree() -> list[dict[str, Any]]:
    """Acceptance 3, second half: the mean over uniform single deletions against (2R+1)/(3RS)."""
    rows: list[dict[str, Any]] = []
    dataset = pictures(640, 8, 1)
    for shards, slices in ((4, 1), (8, 1), (8, 4), (16, 4)):
        recipe = make_recipe(
            dataset, model="mlp", epochs=20, batch_size=4, shards=shards, slices=slices, placement=Placement.SLOT
        )
        schedule = Schedule.of(recipe, bytes(32), number_units(dataset.subjects))
        costs: list[float] = []
        for slot in range(len(dataset)):
            gone = np.array([slot])
            touched = [schedule.first_touch(shard, gone) for shard in range(shards)]
            starts = tuple(_last_end(schedule, shard, step) for shard, step in enumerate(touched))
            costs.append(schedule.work(gone, starts=starts) / schedule.work(NOBODY))
        mean, formula = float(np.mean(costs)), (2 * slices + 1) / (3 * slices * shards)
        name = f"share of retraining that one deletion costs, S = {shards}, R = {slices}: mean / formula"
        rows.append(_row(name, mean / formula, 1.05, abs(mean / formula - 1) <= 0.05))
    return rows


def audits_see() -> dict[str, Any]:
    """Acceptance 12: 2,000 simulated audits per cell against the exact binomial 99 % interval around the formula.

    In one table of four some interval of the 30 is left by chance; more than two are in one table of 300.
    """
    outside = 0
    for bad, count in CELLS:
        segments = [Segment(0, at, at + 1) for at in range(401)]
        chance = random.Random(f"benchmark/{bad}/{count}")
        seen = 0
        for _ in range(AUDITS):
            forged = set(chance.sample(segments[1:], bad))
            seen += bool(forged & set(draw(segments, segments[:1], count, chance).drawn))
        low, high = binom.interval(0.99, AUDITS, float(1 - missed(400, bad, count)))
        outside += not low <= seen <= high
    return _row(f"of {len(CELLS)} cells of {AUDITS} audits, K = 400, those outside 99 %", outside, 2, outside <= 2)


def honest_records_hold(folder: Path, count: int) -> dict[str, Any]:
    """Acceptance 9: honest records of many kinds at V3; none may be refused."""
    office = _Office(folder)
    models = ("mlp", "linear", "cnn")
    refused = undecided = 0
    for number in range(count):
        place = folder / f"honest-{number}"
        run = train(
            Source(location="digits", rows=120),
            out=place / "run",
            model=models[number % 3],
            optimiser=list(OPTIMISERS.values())[number % 2],
            epochs=1 + number % 3,
            batch_size=16,
            shards=1 + number % 4 // 3,
            slices=1 + number % 5 // 4,
            seed=number,
            checkpoint_interval=3,
        )
        if number % 2:
            run = unlearn(run, f"random:{1 + number % 7}:{number}", out=place / "forgot")
        verdict = office.verified(run, place / "bundle", Level.V3)
        refused += verdict.status is Status.REFUSED
        undecided += verdict.status is Status.UNDECIDED
    bound = 1 - 0.05 ** (1 / count)
    name = f"of {count} honest records at V3, those refused (upper bound of the rate at 95 %: {bound:.1%})"
    return _row(name, refused, 0, refused == 0 and undecided == 0)


class _Office:
    """A key, a log, and bundles with every state in them."""

    def __init__(self, folder: Path) -> None:
        self._key = keygen(folder / "keys", ORIGIN)
        self._log = folder / "log"
        self._trusted = (self._key.trusted(ORIGIN, KeyRole.OWNER), self._key.trusted(ORIGIN, KeyRole.LOG))

    def verified(self, run: Run, bundle: Path, level: Level) -> Verdict:
        attest(run, key=self._key, out=bundle, log=self._log, origin=ORIGIN, checkpoints=level is not Level.V4)
        return verify(bundle, keys=self._trusted, level=level, data="digits")


def _sharded(out: Path, shards: int, slices: int) -> Run:
    return train(
        Source(location="digits", rows=400),
        out=out,
        model="mlp",
        epochs=3,
        batch_size=8,
        shards=shards,
        slices=slices,
        placement=Placement.SLOT,
        checkpoint_interval=5,
    )


def _whole_batch(run: Run, path: Path) -> str:
    """A forget set of everybody who sits in one step."""
    names = run.data()[Split.TRAIN].ids
    path.write_text("\n".join(names[slot] for slot in run.schedule.chairs(0, 7)), encoding="utf-8")
    return f"ids:{path}"


def _starts(base: Run, after: Run) -> tuple[int, ...]:
    """By shard the last recorded state of the original before the first touched step."""
    found: list[int] = []
    for shard in range(base.schedule.shards):
        touched = base.schedule.first_touch(shard, after.tombstones)
        steps = [checkpoint.step for checkpoint in base.log.checkpoints(shard)]
        found.append(max([0, *(step for step in steps if touched is None or step <= touched)]))
    return tuple(found)


def _last_end(schedule: Schedule, shard: int, touched: int | None) -> int:
    """Where redoing a shard begins, if only the ends of stages are kept."""
    ends = (0, *schedule.stage_ends(shard))
    return ends[-1] if touched is None else max(end for end in ends if end <= touched)


def _kept(measured: set[str]) -> list[dict[str, Any]]:
    """Rows of parts that were measured earlier and not now."""
    if not RESULTS.is_file():
        return []
    return [row for row in json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if row["part"] not in measured]


def _row(name: str, value: float, bound: float, kept: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "bound": bound, "kept": kept}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.digests", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="training seeds in each process")
    parser.add_argument("--honest", type=int, default=200, help="honest records")
    parser.add_argument("--states", type=int, help="print the digests of so many seeds and stop: one of the processes")
    parser.add_argument("--only", choices=("processes", "twins", "costs", "audits", "honest"), help="one of the parts")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.states is not None:
        print(json.dumps(states_of(range(options.states))))
        return 0
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="expunge-digests-") as name:
        folder = Path(name)
        parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "processes": lambda: [processes_agree(options.seeds)],
            "twins": lambda: twins_agree(folder / "twins"),
            "costs": costs_agree,
            "audits": lambda: [audits_see()],
            "honest": lambda: [honest_records_hold(folder / "honest", options.honest)],
        }
        for part, measure in parts.items():
            if options.only in (None, part):
                for row in measure():
                    found.append({**row, "part": part})
                    print(f"{row['name']}: {row['value']:g}, bound {row['bound']:g}", "ok" if row["kept"] else "MISSED")
    if options.write:
        written = {
            "date": datetime.date.today().isoformat(),
            "command": "python -m benchmarks.digests --write",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "rows": [*_kept({row["part"] for row in found}), *found],
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if all(row["kept"] for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
