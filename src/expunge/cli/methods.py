"""``expunge methods``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from expunge.cli.shared import Format, Shape, print_as, with_flags

EXAMPLE = "Example: expunge methods scrub"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(methods)


def methods(
    name: Annotated[str | None, typer.Argument(help="One method, by name or alias, with its fields.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the table, or one row of it, as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """List the ways to unlearn, with the guarantee that each can earn; or one of them with its fields."""
    from expunge.methods.lookup import find_method, method_rows

    rows = method_rows()
    if name is not None:
        (row,) = (row for row in rows if row["name"] == find_method(name).name)
        if not print_as(format, json, lambda: row, [row]):
            _print_one(row)
        return
    if print_as(format, json, lambda: rows):
        return
    table = Table(box=None)
    for header in ("method", "guarantee", "needs", "idea"):
        table.add_column(header, overflow="fold")
    for row in rows:
        shown = row["name"] + (f" ({', '.join(row['aliases'])})" if row["aliases"] else "")
        table.add_row(shown, row["guarantee"], ", ".join(row["needs"]), row["summary"])
    console = Console(emoji=False, highlight=False, width=None if Console().is_terminal else 160)
    console.print(table)
    console.print("\nFields of a method: expunge methods NAME")


def _print_one(row: dict[str, Any]) -> None:
    from expunge.methods.fields import searches
    from expunge.methods.lookup import find_method

    console = Console(emoji=False, highlight=False, width=None if Console().is_terminal else 160)
    facts = {
        "idea": row["summary"],
        "aliases": ", ".join(row["aliases"]) or "none",
        "guarantee": row["guarantee"],
        "needs": ", ".join(row["needs"]),
        "works on": with_flags(row["task"]),
        "costs": row["work"],
        "budget": "10% of the training's work unless --budget says otherwise" if row["budget"] else "none",
        "source": row["citation"] or "none",
    }
    head = Table(box=None, show_header=False)
    for fact, value in {"method": row["name"], **facts}.items():
        head.add_row(fact, value)
    console.print(head)
    fields = Table(box=None)
    for header in ("--set field", "default", "tuning looks at"):
        fields.add_column(header, overflow="fold")
    found = searches(find_method(row["name"]))
    for field, value in row["fields"].items():
        fields.add_row(field, "not set" if value is None else str(value), str(found.get(field, "")))
    console.print()
    console.print(fields if row["fields"] else "no fields")
