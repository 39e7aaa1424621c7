"""Every method as a person runs it: one process forgets, one evaluates, on the built-in digits.

``python -m benchmarks.catalogue --write`` trains a model of each kind, forgets with every method at
a tenth of the training's work, evaluates against one retrained reference, and writes results/catalogue.json. Where a
method does not fit, its own sentence is what is written down.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from expunge.methods.lookup import method_rows

RESULTS = Path(__file__).parent / "results" / "catalogue.json"
BOUND = 10.0
WHOLE_CLASS = "class:3"
ROWS = "random:5%:1"
MODELS: dict[str, list[str]] = {
    "mlp": ["--model", "mlp", "--epochs", "20"],
    "cnn": ["--model", "cnn", "--epochs", "20"],
    "resnet18": ["--model", "resnet18", "--model-option", "width=8", "--epochs", "4"],
    "linear": [
        *("--task", "logistic", "--model", "linear", "--perturbation", "1", "--epochs", "500", "--batch-size", "2000"),
        *("--rate", "4", "--calendar", "constant", "--weight-decay", "0.001"),
    ],
}


def expunge(*words: str) -> tuple[float, int, str, str]:
    """One process of the command: seconds, exit status, what it printed, what it complained of."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "expunge.cli.main", *words], capture_output=True, text=True, check=False
    )
    return time.perf_counter() - start, done.returncode, done.stdout, done.stderr.strip()


def one(folder: Path, model: str, method: str, forget: str, reference: Path) -> dict[str, Any]:
    """Forget and evaluate once."""
    out = folder / f"{model}-{method}-{forget.partition(':')[0]}"
    row: dict[str, Any] = {"model": model, "method": method, "forget": forget}
    unlearning, status, printed, complaint = expunge(
        "unlearn", str(folder / model), "--forget", forget, "--method", method, "--out", str(out), "--json"
    )
    row["unlearn_seconds"] = round(unlearning, 2)
    if status != 0:
        return {**row, "refused": complaint.splitlines()[-1], "status": status}
    run = json.loads(printed)
    row["budget_used"] = run["example_steps"] / run["training_example_steps"]
    row["stopped"], row["notices"], row["guarantee"] = run["stopped"], run["notices"], run["guarantee"]["kind"]
    evaluating, status, printed, complaint = expunge("evaluate", str(out), "--reference", str(reference), "--json")
    row["evaluate_seconds"] = round(evaluating, 2)
    if status != 0:
        return {**row, "refused": complaint.splitlines()[-1], "status": status}
    probes = {probe["name"]: probe["unlearned"].get("value") for probe in json.loads(printed)["probes"]}
    row.update({name: probes.get(name) for name in ("forget-accuracy", "retain-accuracy", "test-accuracy")})
    row["seconds"] = round(unlearning + evaluating, 2)
    row["kept"] = row["seconds"] <= BOUND
    return row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/catalogue.json")
    parser.add_argument("--method", action="append", help="this method only (repeatable)")
    parser.add_argument("--model", action="append", choices=tuple(MODELS), help="this model only (repeatable)")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="expunge-catalogue-") as place:
        folder = Path(place)
        for model in options.model or MODELS:
            _, status, _, complaint = expunge("train", "digits", *MODELS[model], "--out", str(folder / model))
            if status != 0:
                print(f"{model}: {complaint}", file=sys.stderr)
                return 1
            for forget in (ROWS, WHOLE_CLASS):
                name = f"{model}-reference-{forget.partition(':')[0]}"
                words = ("unlearn", str(folder / model), "--forget", forget, "--method", "retrain")
                expunge(*words, "--out", str(folder / name))
            for described in method_rows():
                method = described["name"]
                if options.method and method not in options.method:
                    continue
                row = one(folder, model, method, ROWS, folder / f"{model}-reference-random")
                if row.get("refused") and "class" in row["refused"] and "task" not in row["refused"]:
                    rows.append(row)
                    row = one(folder, model, method, WHOLE_CLASS, folder / f"{model}-reference-class")
                rows.append(row)
                for shown in rows[-2:] if len(rows) > 1 and rows[-2]["method"] == method else rows[-1:]:
                    print(_line(shown), flush=True)
    if options.write:
        written = {
            "date": datetime.date.today().isoformat(),
            "command": "python -m benchmarks.catalogue --write",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "rows": rows,
        }
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if all(row.get("kept", True) for row in rows) else 1


def _line(row: dict[str, Any]) -> str:
    head = f"{row['model']:<9} {row['method']:<30} {row['forget']:<12}"
    if "refused" in row:
        return f"{head} refused ({row['status']}): {row['refused']}"
    accuracies = " ".join(f"{row[f'{name}-accuracy']:.3f}" for name in ("forget", "retain", "test"))
    return f"{head} {row['seconds']:5.1f} s  budget {row['budget_used']:6.1%}  {accuracies}  {row['stopped'] or ''}"


if __name__ == "__main__":
    sys.exit(main())
