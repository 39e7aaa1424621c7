"""``expunge references`` and ``expunge witnesses``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from expunge.cli.shared import print_json
from expunge.cli.study import live_view

EXAMPLE = "Example: expunge references runs/base --forget subject:person-017 --count 8"
EXAMPLE_WITNESSES = "Example: expunge witnesses runs/base --count 4"
Run = Annotated[Path, typer.Argument(help="Folder of the run that is to forget, or of one that forgot.")]
Jobs = Annotated[int | None, typer.Option(help="Trainings at once; as many as there are cores unless said.")]
Store = Annotated[Path | None, typer.Option(help="Folder that keeps them; store beside the original unless said.")]
Data = Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print their folders and weights as JSON.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(references)
    app.command(epilog=EXAMPLE_WITNESSES)(witnesses)


def references(
    run: Run,
    forget: Annotated[
        list[str] | None, typer.Option(help="What they are trained without, as for unlearn; a run that forgot says it.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many there are to be, those trained before included.")] = 8,
    jobs: Jobs = None,
    store: Store = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """Retrain without the rows of a request, under several seeds: what a verdict on forgetting is held against."""
    from expunge.study.references import references as train_references

    with live_view() as heard:
        found = train_references(run, forget, count=count, jobs=jobs, store=store, data=data, **heard)
    _print(found, "references", "evaluate finds them by itself: expunge evaluate RUN", json)


def witnesses(
    run: Run,
    count: Annotated[int, typer.Option(help="How many there are to be, those trained before included.")] = 4,
    jobs: Jobs = None,
    store: Store = None,
    data: Data = None,
    json: AsJson = False,
) -> None:
    """Train with everybody under several seeds: what remembering looks like. All requests of a run share them."""
    from expunge.study.references import witnesses as train_witnesses

    with live_view() as heard:
        found = train_witnesses(run, count=count, jobs=jobs, store=store, data=data, **heard)
    _print(found, "witnesses", "they hold every row: remove them once the verdict is reached", json)


def _print(found: tuple[Any, ...], what: str, more: str, json: bool) -> None:
    if json:
        print_json([{"run": str(run.path), "weights_digest": run.weights_digest} for run in found])
        return
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    for run in found:
        console.print(f"{run.weights_digest[:16]}  {run.path}", markup=False)
    console.print(f"{len(found)} {what}; {more}", markup=False)
