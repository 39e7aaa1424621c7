"""``expunge study``."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from expunge.cli.shared import Format, Shape, print_as, table_of, wide_console, with_flags

if TYPE_CHECKING:
    from expunge.records.results import Results
    from expunge.study.progress import StudyStanding

EXAMPLE = "Example: expunge study studies/smoke.toml --out study-out --jobs 2"
SHOWN_RUNNING = 8
FAILED = 1


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(study)


def study(
    file: Annotated[Path, typer.Argument(help="A study file in TOML; docs/studies.md explains it.")],
    out: Annotated[Path, typer.Option(help="Folder for results and report; the same command continues a study.")],
    store: Annotated[
        Path | None, typer.Option(help="Folder of all that is computed; several studies may share it. OUT/store.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local (processes on this machine) or ray.")] = "local",
    jobs: Annotated[int | None, typer.Option(help="Jobs at once; as many as there are cores unless said.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of a running Ray cluster, such as auto; a new one here unless said.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where the study's data lie, if not where the file says.")] = None,
    draw_only: Annotated[bool, typer.Option("--draw", help="Compute nothing; draw what the store holds.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """Run methods × forget sets × data × seeds, keep everything, and draw the leaderboard."""
    from expunge.records.form import to_plain
    from expunge.report.leaderboard import leaderboard
    from expunge.study.study import as_csv
    from expunge.study.study import study as run_study

    with live_view() as heard:
        results = run_study(
            file,
            out=out,
            store=store,
            engine=engine,
            jobs=jobs,
            address=address,
            data=data,
            draw_only=draw_only,
            command=shlex.join(["expunge", *sys.argv[1:]]),
            **heard,
        )
    page = leaderboard(results, out=out)
    if not print_as(format, json, lambda: to_plain(results), csv.DictReader(io.StringIO(as_csv(results)))):
        _print(results, page)
    if results.cost.failed or (not draw_only and not results.complete):
        raise typer.Exit(FAILED)


class Heard(TypedDict, total=False):
    """Who is told how a study goes."""

    show: Callable[[StudyStanding], None]
    say: Callable[[str], None]
    warn: Callable[[str], None]


@contextmanager
def live_view() -> Generator[Heard]:
    """On a terminal one view that moves, on standard error; else a line a tenth, as in the log."""
    console = Console(emoji=False, stderr=True, highlight=False)

    def line(text: str) -> None:
        console.print(with_flags(text), markup=False, soft_wrap=True)

    if not console.is_terminal:
        yield {"say": line}
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield {"show": lambda standing: live.update(drawn(standing)), "warn": line}


def drawn(standing: StudyStanding) -> Group:
    """The standing as a bar, the running jobs, and a line of counts."""
    from datetime import datetime

    bar = ProgressBar(total=max(1, standing.total), completed=standing.ended, width=40)
    table = Table.grid(padding=(0, 2))
    table.add_row(bar, Text(standing.line(datetime.now(), naming=False)))
    running = [Text(f"  {title}", style="dim") for title in standing.running[:SHOWN_RUNNING]]
    if len(standing.running) > SHOWN_RUNNING:
        running.append(Text(f"  and {len(standing.running) - SHOWN_RUNNING} more", style="dim"))
    return Group(table, *running)


def _print(results: Results, page: Path) -> None:
    console = wide_console(150)
    for told in (table for setting in results.settings for table in setting.tables):
        if not told.rows:
            continue
        console.print(f"\n{told.answer}", markup=False)
        console.print(table_of(told.headers, told.rows))
    for setting in results.settings:
        if setting.nothing_forgets is not None:
            console.print(f"note: {setting.id}: {setting.nothing_forgets}", markup=False)
    cost = results.cost
    for problem in results.problems:
        if problem.status == "failed":
            console.print(with_flags(f"failed: {problem.job}: {problem.reason}"), markup=False)
    console.print(
        f"{cost.jobs} jobs ({cost.reused} computed before, {cost.refused} refused, {cost.failed} failed) "
        f"in {cost.seconds:.0f} s; results {results.digest[:16]}",
        markup=False,
    )
    if cost.failed:
        console.print("some jobs failed: mend what they say, then run the same command again", markup=False)
    console.print(f"report: {page.resolve()}", markup=False, soft_wrap=True)
