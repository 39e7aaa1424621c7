"""``expunge audit-demo``: the whole story of a record, and every attack on it, on built-in data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.shared import Format, Shape, print_as, progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from expunge.records.demo import Forged, ForgedLog, MadeUp

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
    format: Format = Shape.TEXT,
) -> None:
    """Train, log, forget, forge, and ask both verifiers: half a minute, nothing to download.

    Exit status: 0 if every line came out as documented, 1 if not.
    """
    from rich.console import Console

    from expunge.adversary.demo import demonstrate
    from expunge.records.form import to_plain
    from expunge.report.audit_demo import commands, write_audit_demo

    aside = json or format is not Shape.TEXT
    console = Console(emoji=False, highlight=False, stderr=aside)
    if not console.is_terminal:
        console = Console(emoji=False, highlight=False, stderr=aside, width=PIPED)
    told = demonstrate(out, stage=progress_bar, show=lambda part, found: print_part(console, part, found))
    page = write_audit_demo(told, out / REPORT)
    _heading(
        console,
        f"{len(told.lines)} answers, " + (f"{told.wrong} NOT as documented" if told.wrong else "all as documented"),
    )
    _paragraph(console, f"Took {told.seconds:.0f} s. Every bundle is kept; check them yourself:")
    for command in commands(told):
        console.print(f"  {command}", soft_wrap=True, markup=False)
    console.print(f"\npage: {page.resolve()}", soft_wrap=True, markup=False)
    lines = [to_plain(line) for line in told.lines]
    print_as(format, json, lambda: {**to_plain(told), "report": str(page)}, lines)
    raise typer.Exit(0 if told.as_documented else 1)


def print_part(console: Console, part: str, found: Any) -> None:
    """A part of the result: its heading, what it means, a table where there is one, and what came of it."""
    from expunge.report import audit_demo as page

    if part == "story":
        _paragraph(console, page.OPENING)
    if part in page.HEADINGS:
        _heading(console, f"{list(page.HEADINGS).index(part) + 1}. {page.HEADINGS[part]}")
    words: Sequence[str] = ()
    match part:
        case "story":
            words = page.story_words(found)
        case "honest":
            rows = [(one.level, page.LEVELS[one.level], page.answered(one), page.took(one)) for one in found]
            print_table(console, ("Level", "What is looked at", "Answer", "Time"), rows, flexible=1)
        case "forgeries":
            before, *words = page.forged_words(found)
            _paragraph(console, before)
            headings = ("Who takes the chairs", "Steps", "Distance", "PoL", "Expunge refuses")
            print_table(console, headings, [_log_row(one) for one in found])
        case "absorbed":
            words = page.absorbed_words(found)
        case "made_up":
            before, *words = page.made_up_words(found)
            _paragraph(console, before)
            headings = ("Made-up training", "Work done", "PoL", "Expunge refuses")
            print_table(console, headings, [_made_up_row(one) for one in found])
        case _:
            _paragraph(console, page.ATTACKS)
            rows = [(one.number, one.title, _briefly(one)) for one in found]
            print_table(console, ("No.", "What the attacker does", "Expunge refuses"), rows, flexible=1)
    for paragraph in words:
        _paragraph(console, paragraph)


def _log_row(line: ForgedLog) -> tuple[str, ...]:
    from expunge.report.audit_demo import small
    from expunge.report.audit_demo_chart import FORGERS

    steps = f"{line.steps_forged} of {line.steps}"
    return FORGERS.get(line.forger, line.forger), steps, small(line.l2.median), line.published, _briefly(line)


def _made_up_row(line: MadeUp) -> tuple[str, ...]:
    from expunge.report.audit_demo import SPOOFS

    done = f"{line.example_steps:,.0f} of {line.claimed:,.0f}"
    return f"{line.spoof}: {SPOOFS.get(line.spoof, '')}", done, line.published, _briefly(line)


def _briefly(line: Forged) -> str:
    """What Expunge said, under a heading that says that it is a refusal."""
    from expunge.report.audit_demo import ours

    return ours(line).removeprefix("refused at ") if line.as_documented else ours(line)


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def _paragraph(console: Console, text: str) -> None:
    console.print(text, markup=False, width=min(console.width, LONGEST))


def print_table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], *, flexible: int = 0) -> None:
    """A table, with nothing cut off; where lines are short, the ``flexible`` column is the one that folds."""
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    widths = [max(len(heading), *(len(row[at]) for row in rows), 0) for at, heading in enumerate(headings)]
    room = console.width - GAP * len(widths)
    if sum(widths) > room:
        folded = [min(width, WIDEST) for width in widths]
        rest = room - sum(folded) + folded[flexible]
        folded[flexible] = min(widths[flexible], max(rest, NARROWEST))
        widths = folded
    for heading, width in zip(headings, widths, strict=True):
        drawn.add_column(heading, overflow="fold", width=width)
    for row in rows:
        drawn.add_row(*(escape(cell) for cell in row))
    console.print()
    console.print(drawn)
    console.print()
