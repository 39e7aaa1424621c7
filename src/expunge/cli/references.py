"""``expunge references``, and what it shares with ``expunge witnesses``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from expunge.cli.shared import print_json, told_apart
from expunge.cli.study import live_view
from expunge.core.wording import counted

EXAMPLE = "Example: expunge references runs/base --forget subject:person-017 --count 8"
RUN = Annotated[Path, typer.Argument(help="Folder of the run that is to forget, or of one that forgot.")]
JOBS = Annotated[int | None, typer.Option(help="Trainings at once; as many as there are cores unless said.")]
STORE = Annotated[Path | None, typer.Option(help="Folder that keeps them; store beside the original unless said.")]
DATA = Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print their folders and weights as JSON.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(references)


def references(
    run: RUN,
    forget: Annotated[
        list[str] | None, typer.Option(help="What they are trained without, as for unlearn; a run that forgot says it.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many there are to be, those trained before included.")] = 8,
    jobs: JOBS = None,
    store: STORE = None,
    data: DATA = None,
    json: AS_JSON = False,
) -> None:
    """Retrain without the rows of a request, under several seeds: what a verdict on forgetting is held against."""
    from expunge.study.references import references as train_references

    with live_view() as heard:
        found = train_references(
            run, forget, count=count, jobs=jobs, store=store, data=data, tell=told_apart(json), **heard
        )
    print_runs(found, "reference", "evaluate finds them by itself: expunge evaluate RUN", json)


def print_runs(found: tuple[Any, ...], what: str, more: str, json: bool) -> None:
    if json:
        print_json([{"run": str(run.path), "weights_digest": run.weights_digest} for run in found])
        return
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    for run in found:
        console.print(f"{run.weights_digest[:16]}  {run.path}", markup=False)
    console.print(f"{counted(len(found), what)}; {more}", markup=False)
