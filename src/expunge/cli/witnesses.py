"""``expunge witnesses``."""

from __future__ import annotations

from typing import Annotated

import typer

from expunge.cli.references import AS_JSON, DATA, JOBS, RUN, STORE, print_runs
from expunge.cli.shared import told_apart
from expunge.cli.study import live_view

EXAMPLE = "Example: expunge witnesses runs/base --count 4"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(witnesses)


def witnesses(
    run: RUN,
    count: Annotated[int, typer.Option(help="How many there are to be, those trained before included.")] = 4,
    jobs: JOBS = None,
    store: STORE = None,
    data: DATA = None,
    json: AS_JSON = False,
) -> None:
    """Train with everybody under several seeds: what remembering looks like. All requests of a run share them."""
    from expunge.study.references import witnesses as train_witnesses

    with live_view() as heard:
        found = train_witnesses(run, count=count, jobs=jobs, store=store, data=data, tell=told_apart(json), **heard)
    print_runs(found, "witness", "they hold every row: remove them once the verdict is reached", json)
