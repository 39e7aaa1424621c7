"""``expunge report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import print_json
from expunge.core.errors import InvalidArgument

EXAMPLE = "Example: expunge report runs/forgot runs/salun --out report.html"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(report)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, evaluated or not.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    original: Annotated[Path | None, typer.Option(help="The run before forgetting, to add its digests.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    examples: Annotated[
        bool, typer.Option("--examples/--no-examples", help="Show forgotten examples; they are somebody's data.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print where the report is as JSON.")] = False,
) -> None:
    """Write one HTML file from runs and their evaluations."""
    from expunge.report.report import report as write_report

    if out.suffix.lower() not in (".html", ".htm"):
        raise InvalidArgument(f"--out {out} must end in .html: a report overwrites nothing else")
    path = write_report(runs, out=out, data=data, examples=examples, original=original)
    if json:
        print_json({"report": str(path), "bytes": path.stat().st_size})
        return
    typer.echo(f"report {path} ({path.stat().st_size / 1000:.0f} kB)")
