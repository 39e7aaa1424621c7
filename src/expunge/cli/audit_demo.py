"""``expunge audit-demo``: the whole story of a record, and every attack on it, on built-in data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.shared import print_json, progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from expunge.report.audit_demo_text import Table

EXAMPLE = "Example: expunge audit-demo --out audit-demo-out"
REPORT = "report.html"
PIPED = 140  # letters of a line where the output is no terminal
LONGEST = 110  # letters of a line of prose
WIDEST = 31  # letters of a line in a column that is not the one that folds
NARROWEST = 16  # letters of a line in the one that does
GAP = 2  # letters between columns


def register(app: typer.Typer) -> None:
    app.command("audit-demo", epilog=EXAMPLE)(audit_demo)


def audit_demo(
    out: Annotated[Path, typer.Option(help="New folder for keys, runs, bundles and the page.")] = Path(
        "audit-demo-out"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, and the story on stderr.")] = False,
) -> None:
    """Train, log, forget, forge, and ask both verifiers: half a minute, nothing to download.

    Exit status: 0 if every line came out as documented, 1 if not.
    """
    from rich.console import Console

    from expunge.adversary.demo import demonstrate
    from expunge.report.audit_demo import commands, write_audit_demo
    from expunge.report.audit_demo_text import lines_of

    console = Console(emoji=False, highlight=False, stderr=json)
    if not console.is_terminal:
        console = Console(emoji=False, highlight=False, stderr=json, width=PIPED)
    found = demonstrate(out, stage=progress_bar, show=lambda part: _print(console, part))
    told = found.as_json()
    page = write_audit_demo(told, out / REPORT)
    lines = lines_of(told)
    wrong = sum(not line["as_documented"] for line in lines)
    _heading(console, f"{len(lines)} answers, " + (f"{wrong} NOT as documented" if wrong else "all as documented"))
    _paragraph(console, f"Took {told['seconds']:.0f} s. Every bundle is kept; check them yourself:")
    for command in commands(told, out):
        console.print(f"  {command}", soft_wrap=True, markup=False)
    console.print(f"\npage: {page.resolve()}", soft_wrap=True, markup=False)
    if json:
        print_json({**told, "report": str(page)})
    raise typer.Exit(0 if found.as_documented else 1)


def _print(console: Console, part: Mapping[str, Any]) -> None:
    from expunge.report.audit_demo_text import OPENING, heading_of, told

    if "story" in part:
        _paragraph(console, OPENING)
    for name, found in part.items():
        if heading_of(name):
            _heading(console, heading_of(name))
        for block in told(name, found):
            if isinstance(block, str):
                _paragraph(console, block)
            else:
                print_table(console, block)


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def _paragraph(console: Console, text: str) -> None:
    console.print(text, markup=False, width=min(console.width, LONGEST))


def print_table(console: Console, table: Table) -> None:
    """A table, with nothing cut off."""
    from rich.markup import escape
    from rich.table import Table as Drawn

    drawn = Drawn(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for heading, width in zip(table.headings, widths_of(table, console.width), strict=True):
        drawn.add_column(heading, overflow="fold", width=width)
    for row in table.rows:
        drawn.add_row(*(escape(cell) for cell in row))
    console.print()
    console.print(drawn)
    console.print()


def widths_of(table: Table, whole: int) -> list[int]:
    """Letters of each column: all of its own where that fits; else one column folds, and others beyond WIDEST."""
    widths = [max(len(heading), *(len(row[at]) for row in table.rows), 0) for at, heading in enumerate(table.headings)]
    room = whole - GAP * len(widths)
    if sum(widths) <= room:
        return widths
    folded = [min(width, WIDEST) for width in widths]
    rest = room - sum(folded) + folded[table.flexible]
    folded[table.flexible] = min(widths[table.flexible], max(rest, NARROWEST))
    return folded
