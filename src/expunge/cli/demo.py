"""``expunge demo``: the main job from end to end on built-in data."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from expunge.cli.shared import print_json, progress_bar

EXAMPLE = "Example: expunge demo --out demo-out"
PEOPLE = (3, 10, 17, 31, 36, 60, 63, 67, 104, 105, 112, 116)
APPROXIMATE = ("fine-tune", "gradient-ascent", "neggrad-plus", "random-labels", "saliency-unlearning")
REFERENCES = 8
EPOCHS = 30


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs and the report.")] = Path("demo-out"),
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Train, forget twelve people by seven methods, measure and report: under a minute, nothing to download.

    The twelve people are those whose handwriting models without them read worst, so that there is something to
    forget. Every approximate method runs on its default fields with a tenth of the training's work.
    """
    from expunge.measure.evaluate import evaluate
    from expunge.methods.retrain import Retrain
    from expunge.methods.unlearn import unlearn
    from expunge.report.report import report
    from expunge.report.text import load, rows
    from expunge.train.training import train

    started = time.perf_counter()
    console = Console(stderr=True, highlight=False)
    people = [f"subject:person-{number:03d}" for number in PEOPLE]
    with progress_bar("train") as progress:
        base = train("digits", out=out / "base", model="cnn", epochs=EPOCHS, progress=progress)
    console.print(f"trained {base.path} on {base.manifest['data']['counts']['train']} images of digits")
    forgot = {}
    for method in ("exact-replay", *APPROXIMATE):
        with progress_bar(method) as progress:
            forgot[method] = unlearn(base, people, method=method, out=out / method, progress=progress)
        console.print(f"forgot {len(people)} people by {method}")
    references = []
    for number in range(REFERENCES):
        with progress_bar(f"retrain {number + 1} of {REFERENCES}") as progress:
            method = Retrain(training_seed=None if number == 0 else number)
            references.append(unlearn(base, people, method=method, out=out / f"retrained-{number}", progress=progress))
    console.print(f"retrained {REFERENCES} references without them")
    same = forgot["exact-replay"].weights_digest == references[0].weights_digest
    for run in forgot.values():
        evaluate(run, references)
    folders = [run.path for run in forgot.values()]
    path = report(folders, out=out / "report.html")
    headers, table_rows = rows(load(folders))
    seconds = time.perf_counter() - started
    if json:
        print_json(
            {
                "headers": list(headers),
                "rows": [list(row) for row in table_rows],
                "exact_equals_retrained": same,
                "report": str(path),
                "seconds": round(seconds, 1),
            }
        )
        return
    table = Table(box=None)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in table_rows:
        table.add_row(*row)
    printed = Console(highlight=False, width=None if console.is_terminal else 160)
    printed.print(table)
    printed.print(
        f"exact-replay and retraining have the same weights, bit for bit: {'yes' if same else 'NO'} "
        f"({base.weights_digest[:12]}… became {forgot['exact-replay'].weights_digest[:12]}…)"
    )
    printed.print(f"report: {path.resolve()} ({seconds:.0f} s)", soft_wrap=True)
