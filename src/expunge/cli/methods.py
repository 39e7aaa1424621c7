"""``expunge methods``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from rich.table import Table

from expunge.cli import completion
from expunge.cli.shared import Format, Shape, print_as, table_of, wide_console, with_flags
from expunge.records.form import from_plain
from expunge.records.method_table import Search, built_in, named

EXAMPLE = "Example: expunge methods scrub"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(methods)


def methods(
    name: Annotated[
        str | None,
        typer.Argument(help="One method, by name or alias, with its fields.", autocompletion=completion.methods),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the table, or one row of it, as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """List the ways to unlearn, with the guarantee that each can earn; or one of them with its fields."""
    rows = _rows()
    if name is not None:
        found = named(name, {row["name"]: row["aliases"] for row in rows})
        (row,) = (row for row in rows if row["name"] == found)
        if not print_as(format, json, lambda: row, [row]):
            _print_one(row)
        return
    if print_as(format, json, lambda: rows):
        return
    told: list[tuple[str, ...]] = []
    for row in rows:
        shown = row["name"] + (f" ({', '.join(row['aliases'])})" if row["aliases"] else "")
        told.append((shown, row["guarantee"], ", ".join(row["needs"]), row["summary"]))
    console = wide_console()
    console.print(table_of(("method", "guarantee", "needs", "idea"), told))
    console.print("\nFields of a method: expunge methods NAME")


def _rows() -> list[dict[str, Any]]:
    """The built-in methods, which are listed without torch, and those of others where any are installed."""
    if not entry_points(group="expunge.methods"):
        return built_in()
    from expunge.methods.lookup import method_rows

    return method_rows()


def _print_one(row: dict[str, Any]) -> None:
    console = wide_console()
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
    fields: list[tuple[str, ...]] = []
    for field, value in row["fields"].items():
        found = row["search"].get(field)
        looked = "" if found is None else str(from_plain(Search, found, field))
        fields.append((field, "not set" if value is None else str(value), looked))
    console.print()
    console.print(table_of(("--set field", "default", "tuning looks at"), fields) if fields else "no fields")
