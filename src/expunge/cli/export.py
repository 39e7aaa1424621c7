"""``expunge export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import print_json, short, sized
from expunge.records.form import to_plain

EXAMPLE = "Example: expunge export runs/forgot --out model"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(export)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option(help="New folder for the model.")],
    json: Annotated[bool, typer.Option("--json", help="Print the folder's model.json.")] = False,
) -> None:
    """Write a run's model into a folder of its own: weights, and how rows are given to it.

    It holds no row, no id and no earlier state, so what a run has forgotten is not in it. README.txt in it says how to
    run it; a model of your own factory runs without Expunge.
    """
    from expunge.train.load import export as export_model

    made = export_model(run, out).told
    if json:
        print_json(to_plain(made))
        return
    size = sum(item.stat().st_size for item in out.iterdir())
    typer.echo(f"exported {made.recipe['model']} in {sized(size)}: {made.says}")
    typer.echo(f"to run it: {made.how}")
    typer.echo(f"weights {short(made.trained)}  folder {out}")
