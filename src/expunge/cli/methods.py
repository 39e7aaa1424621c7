"""``expunge methods``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from expunge.cli.shared import print_json

EXAMPLE = "Example: expunge methods --json"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(methods)


def methods(json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False) -> None:
    """List the ways to unlearn, with the guarantee that each can earn and its fields."""
    from expunge.methods.lookup import method_rows

    rows = method_rows()
    if json:
        print_json(rows)
        return
    table = Table(box=None)
    for header in ("method", "guarantee", "needs", "fields", "what it does"):
        table.add_column(header, overflow="fold")
    for row in rows:
        name = row["name"] + (f" ({', '.join(row['aliases'])})" if row["aliases"] else "")
        fields = ", ".join(f"{field}={value}" for field, value in row["fields"].items())
        table.add_row(name, row["guarantee"], ", ".join(row["needs"]), fields, row["summary"])
    Console(highlight=False, width=None if Console().is_terminal else 160).print(table)
