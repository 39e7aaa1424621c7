"""``expunge halves``."""

from __future__ import annotations

from typing import Annotated

import typer

from expunge.cli.references import AS_JSON, DATA, JOBS, RUN, STORE, print_runs
from expunge.cli.study import live_view

EXAMPLE = "Example: expunge halves runs/base --count 16"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(halves)


def halves(
    run: RUN,
    count: Annotated[int, typer.Option(help="How many there are to be, those trained before included.")] = 16,
    jobs: JOBS = None,
    store: STORE = None,
    data: DATA = None,
    json: AS_JSON = False,
) -> None:
    """Train without half of the rows, each without another half: what likelihood ratios compare with."""
    from expunge.study.references import halves as train_halves

    with live_view() as heard:
        found = train_halves(run, count=count, jobs=jobs, store=store, data=data, **heard)
    find = "evaluate --probe likelihood-ratio, which needs 16, and worst --proxy lira find them"
    print_runs(found, "half model", f"{find}; they hold rows: remove them afterwards", json)
