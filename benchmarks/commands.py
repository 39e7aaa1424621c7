"""What a person waits for: a long study file, a removal under a certificate, the demo."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.pairs import ratio_row, ratios
from expunge.methods.unlearn import unlearn
from expunge.schedule.recipe import Calendar, Optimiser
from expunge.study.toml_lines import Lines
from expunge.train.training import train

TIMES, LONGER = 8, 16.0  # a file of so many times as many lines takes at most so many times as long
CERTIFIED = 0.5  # of retraining
DEMO = 60.0  # seconds of the processor, its children's included


def command_speed(pairs: int) -> list[dict[str, object]]:
    """Two ratios, and the demo in a process of its own."""
    return [long_files(pairs), certified_removal(pairs), demo_seconds()]


def long_files(pairs: int) -> dict[str, object]:
    """Every key of a study file is found in its line: the work grows with the lines, not with their square."""

    def text(rows: int) -> str:
        rules = "".join(f'  "subject:person-{number:04d}",\n' for number in range(rows))
        return f"[forget.many]\nrules = [\n{rules}]\ntitle = 'x'\n"

    long, short = text(TIMES * 1000), text(1000)
    found = ratios(lambda: Lines(long).of(("forget",)) and None, lambda: Lines(short).of(("forget",)) and None, pairs)
    return ratio_row(f"study file of {TIMES} times the lines", found, LONGER)


def certified_removal(pairs: int) -> dict[str, object]:
    """A person of the digits, by a Newton step under a certificate and by training again."""
    recipe: dict[str, Any] = {"task": "logistic", "model": "linear", "batch_size": 2000, "epochs": 400}
    recipe["optimiser"] = Optimiser(rate=4.0, calendar=Calendar.CONSTANT, weight_decay=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        base, numbers = train("digits", out=Path(folder) / "base", perturbation=1.0, **recipe), count()

        def forget(method: str) -> None:
            unlearn(base, "subject:person-017", method=method, out=Path(folder) / str(next(numbers)))

        found = ratios(lambda: forget("newton"), lambda: forget("retrain"), pairs)
    return ratio_row("certified removal / retraining", found, CERTIFIED)


def demo_seconds() -> dict[str, object]:
    """``make demo``, counted in seconds of the processor: those of the clock are also other programs'."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "expunge.cli.main", "demo", "--out", f"{folder}/demo"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"name": "demo", "value": taken, "unit": "seconds", "bound": DEMO, "kept": taken <= DEMO}
