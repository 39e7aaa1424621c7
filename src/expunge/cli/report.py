"""``expunge report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.certificates import is_bundle, write_certificate_of
from expunge.cli.shared import flagged, html_file, print_json
from expunge.core.errors import InvalidArgument, RunError

EXAMPLE = """Example: expunge report runs/forgot runs/salun --out report.html

Example: expunge report bundle --keys trusted.json --out certificate.html"""


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(report)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, evaluated or not; or one bundle.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write: report.html, or certificate.html, unless said.")
    ] = None,
    original: Annotated[Path | None, typer.Option(help="The run before forgetting, to add its digests.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    examples: Annotated[
        bool, typer.Option("--examples/--no-examples", help="Show forgotten examples; they are somebody's data.")
    ] = True,
    keys: Annotated[
        Path | None, typer.Option(help="Of a bundle: your own list of trusted keys; without it nothing is checked.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print where the report is as JSON, and all facts of a certificate.")
    ] = False,
) -> None:
    """Write one HTML file: a report from runs and their evaluations, or a certificate from a bundle.

    A certificate says what the record claims and what was verified of it (V1, where keys are given; for more, `expunge
    verify --certificate`), and prints on two sheets. The exit status says whether it was written; it is no verdict.
    """
    if any(is_bundle(run) for run in runs):
        if len(runs) != 1 or original is not None or data is not None or not examples:
            raise InvalidArgument(
                f"a certificate is of one bundle and nothing else: give {runs[0]} alone, with --keys and --out"
            )
        _certificate(runs[0], html_file(out or Path("certificate.html")), keys, json)
        return
    if keys is not None and not runs[0].exists():
        raise RunError(f"{runs[0]} does not exist: name a bundle, a folder or a zip")
    if keys is not None:
        raise InvalidArgument(f"--keys {keys} belongs to a bundle, {runs[0]} is none: leave it out, or name a bundle")
    from expunge.report.report import report as write_report

    path = write_report(
        runs, out=html_file(out or Path("report.html")), data=data, examples=examples, original=original
    )
    if json:
        print_json({"report": str(path), "bytes": path.stat().st_size})
        return
    typer.echo(f"report {path} ({path.stat().st_size / 1000:.0f} kB)")


def _certificate(bundle: Path, out: Path, keys: Path | None, json: bool) -> None:
    from expunge.report.certificate_text import certificate_lines
    from expunge.verify.verify import verify

    verdict = None if keys is None else flagged(verify(bundle, keys=keys))
    told = write_certificate_of(bundle, verdict, keys, out)
    if json:
        print_json({"certificate": str(out), "bytes": out.stat().st_size, "facts": told.as_json()})
        return
    for line in certificate_lines(told):
        typer.echo(line)
    typer.echo(f"certificate {out} ({out.stat().st_size / 1000:.0f} kB)")
