"""``expunge demo``: the main job from end to end on built-in data."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from expunge.cli.shared import Format, Shape, print_as, progress_bar, table_of
from expunge.cli.study import live_view
from expunge.core.values import Measurement
from expunge.records.evaluation import Evaluation

EXAMPLE = "Example: expunge demo --out demo-out"
PEOPLE = (3, 10, 17, 31, 36, 60, 63, 67, 104, 106, 112, 116)  # chosen by studies/demo_people.py
PERSON = "subject:person-017"
COLUMNS = {
    "Run",
    "Guarantee",
    "Forget accuracy",
    "Test accuracy",
    "Memory left, with bound",
    "Work (example-steps)",
    "Verdict",
}
APPROXIMATE = ("fine-tune", "gradient-ascent", "neggrad-plus", "random-labels", "saliency-unlearning")
REFERENCES, WITNESSES = 8, 4
EPOCHS = 30


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs and the report.")] = Path("demo-out"),
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """Train, forget twelve people by seven methods, measure and report: under a minute, nothing to download.

    The twelve people are those whose handwriting models without them read worst, so that there is something to
    forget. Every approximate method runs on its default fields with a tenth of the training's work.
    """
    from expunge.methods.unlearn import unlearn
    from expunge.report.report import report
    from expunge.report.text import load, rows
    from expunge.study.evaluate import evaluate
    from expunge.study.references import references, witnesses
    from expunge.train.training import train

    started = time.perf_counter()
    console = Console(emoji=False, stderr=True, highlight=False)
    people = [f"subject:person-{number:03d}" for number in PEOPLE]
    with progress_bar("train") as progress:
        base = train("digits", out=out / "base", model="cnn", epochs=EPOCHS, progress=progress)
    console.print(f"trained {base.path} on {base.told.data.counts.train} images of digits")
    forgot = {}
    for method in ("exact-replay", *APPROXIMATE):
        with progress_bar(method) as progress:
            forgot[method] = unlearn(base, people, method=method, out=out / method, progress=progress)
        console.print(f"forgot {len(people)} people by {method}")
    with progress_bar("retrain") as progress:
        retrained = unlearn(base, people, method="retrain", out=out / "retrained", progress=progress)
    with live_view() as heard:
        references(base, people, count=REFERENCES, **heard)
        witnesses(base, count=WITNESSES, **heard)
    console.print(f"retrained {REFERENCES} references without them, and {WITNESSES} witnesses with everybody")
    same = forgot["exact-replay"].weights_digest == retrained.weights_digest
    evaluations = {name: evaluate(run, [retrained]) for name, run in forgot.items()}
    with progress_bar("train in 4 shards of 3 slices") as progress:
        sharded = train(
            "digits", out=out / "sharded", model="cnn", epochs=EPOCHS, shards=4, slices=3, progress=progress
        )
    one, again = (
        unlearn(sharded, PERSON, method=method, out=out / f"sharded-{method}") for method in ("exact-replay", "retrain")
    )
    console.print(f"forgot one person exactly from {sharded.recipe.shards} shards of {sharded.recipe.slices} slices")
    fraction = one.result.example_steps / again.result.example_steps
    price = _test_accuracy(evaluate(one, [again])), _test_accuracy(evaluations["exact-replay"])
    folders = [run.path for run in (*forgot.values(), retrained)]
    path = report(folders, out=out / "report.html", original=base.path)
    headers, table_rows = rows(load(folders))
    seconds = time.perf_counter() - started
    told: dict[str, Any] = {
        "headers": list(headers),
        "rows": [list(row) for row in table_rows],
        "exact_equals_retrained": same,
        "sharded_exact_equals_retrained": one.weights_digest == again.weights_digest,
        "sharded_share_of_retraining": fraction,
        "test_accuracy_sharded_and_plain": list(price),
        "report": str(path),
        "seconds": round(seconds, 1),
    }
    if print_as(format, json, lambda: told, [dict(zip(headers, row, strict=True)) for row in table_rows]):
        return
    shown = [index for index, header in enumerate(headers) if header in COLUMNS]
    printed = Console(emoji=False, highlight=False, width=None if console.is_terminal else 120)
    without_notes = ([re.sub(r"\[\d+\]$", "", row[index]) for index in shown] for row in table_rows)
    printed.print(table_of([headers[index] for index in shown], without_notes))
    for name, evaluation in evaluations.items():
        printed.print(f"{name}: {evaluation.answer}", markup=False)
    printed.print(
        f"exact-replay and retraining have the same weights, bit for bit: {_yes(same)}; on a plain training it saves "
        "next to nothing, because every epoch holds everybody"
    )
    printed.print(
        f"one person out of 4 shards × 3 slices: {fraction:.0%} of a retraining's work, same bits as retraining: "
        f"{_yes(one.weights_digest == again.weights_digest)}; the price is accuracy: {price[0]:.1%} on the holdout "
        f"before forgetting, {price[1]:.1%} for the plain training"
    )
    printed.print(f"report: {path.resolve()} ({seconds:.0f} s)", soft_wrap=True)


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"


def _test_accuracy(evaluation: Evaluation) -> float:
    """Test accuracy of the original of an evaluation."""
    probe = evaluation.probe("test-accuracy")
    return probe.original.value if probe is not None and isinstance(probe.original, Measurement) else math.nan
