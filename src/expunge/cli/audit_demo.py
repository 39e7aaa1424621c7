"""``expunge audit-demo``: the whole story of a record, and every attack on it, on built-in data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.shared import print_json, progress_bar

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = "Example: expunge audit-demo --out audit-demo-out"
REPORT = "report.html"
NARROWEST = 140  # letters of a line where the output is no terminal


def register(app: typer.Typer) -> None:
    app.command("audit-demo", epilog=EXAMPLE)(audit_demo)


def audit_demo(
    out: Annotated[Path, typer.Option(help="New folder for keys, runs, bundles and the page.")] = Path(
        "audit-demo-out"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Train, log, forget, forge, and ask both verifiers: about a minute, nothing to download.

    Exit status: 0 if every line came out as documented, 1 if not.
    """
    from rich.console import Console

    from expunge.audit.demo import demonstrate
    from expunge.report.audit_demo import write_audit_demo

    told_to = Console(emoji=False, stderr=True, highlight=False)
    with progress_bar("audit demonstration") as progress:
        found = demonstrate(out, progress=progress, say=lambda line: told_to.print(line, markup=False, soft_wrap=True))
    told = found.as_json()
    page = write_audit_demo(told, out / REPORT)
    if json:
        print_json({**told, "report": str(page)})
    else:
        printed = Console(emoji=False, highlight=False)
        _print(printed if printed.is_terminal else Console(emoji=False, highlight=False, width=NARROWEST), told, page)
    raise typer.Exit(0 if found.as_documented else 1)


def _print(console: Console, told: Mapping[str, Any], page: Path) -> None:
    for headings, rows in (_forgeries(told), _made_up(told), _attacks(told)):
        _print_table(console, headings, rows)
    lines = [*told["honest"], *told["forgeries"], *told["made_up"], *told["attacks"]]
    wrong = sum(not line["as_documented"] for line in lines)
    console.print(
        f"{len(lines)} lines, "
        + ("every one as documented" if not wrong else f"{wrong} NOT as documented")
        + f" ({told['seconds']:.0f} s)"
    )
    console.print(f"report: {page.resolve()}", soft_wrap=True, markup=False)


Shown = tuple[Sequence[str], list[Sequence[str]]]


def _forgeries(told: Mapping[str, Any]) -> Shown:
    rows: list[Sequence[str]] = [
        (
            line["forger"],
            f"{line['steps_forged']} of {line['steps']}",
            f"{line['l2']['median']:.1e}",
            f"{line['noise']['most']:.1e}",
            f"{line['tolerance']:.1e}",
            line["published"],
            _ours(line),
        )
        for line in told["forgeries"]
    ]
    headings = ("Forged log", "Steps", "l2, median", "Replay noise", "PoL tolerance", "PoL as published", "Expunge")
    return headings, rows


def _made_up(told: Mapping[str, Any]) -> Shown:
    rows: list[Sequence[str]] = [
        (
            line["spoof"],
            f"{line['example_steps']:,.0f} of {line['claimed']:,.0f}",
            line["published"],
            _ours(line),
        )
        for line in told["made_up"]
    ]
    return ("Training that never was", "Example-steps done", "PoL as published", "Expunge"), rows


def _attacks(told: Mapping[str, Any]) -> Shown:
    rows: list[Sequence[str]] = [
        (line["number"], line["title"], _ours(line), line["one_level_lower"] or "") for line in told["attacks"]
    ]
    return ("No.", "What the attacker does", "Expunge", "One level lower"), rows


def _ours(line: Mapping[str, Any]) -> str:
    said = f"{line['status']} at {line['level']} {', '.join(line['codes'])}".strip()
    return said if line["as_documented"] else f"{said} — NOT AS DOCUMENTED, expected {line['expected']}"


def _print_table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    console.print()
