"""``expunge verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import Format, Shape, flagged, html_file, print_as, progress_bar
from expunge.records.limits import SEGMENTS

EXAMPLE = "Example: expunge verify bundle --level V1 --keys trusted.json"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(verify)


def verify(
    bundle: Annotated[Path, typer.Argument(help="The record to verify: a folder or a zip.")],
    keys: Annotated[Path, typer.Option(help="Your own list of trusted keys; a key from the bundle proves nothing.")],
    level: Annotated[str, typer.Option(help="V0 form, V1 structure, V2 spot replay, V3 full replay, V4 twin.")] = "V1",
    data: Annotated[str | None, typer.Option(help="From V2: where the data are, without the forgotten rows.")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="From V2: folder of states; from V1: of sums.")] = None,
    salts: Annotated[Path | None, typer.Option(help="From V2: the salt file, where leaves are secret.")] = None,
    segments: Annotated[
        int, typer.Option(help="At V2: segments drawn at random beside those always replayed.")
    ] = SEGMENTS,
    known_checkpoint: Annotated[
        Path | None, typer.Option(help="A log/checkpoint that you kept: shows that the log was not rewritten since.")
    ] = None,
    known_records: Annotated[
        list[str] | None,
        typer.Option(
            "--known-record", help="Digest of a record that you kept, from which this run must come (repeatable)."
        ),
    ] = None,
    witnesses: Annotated[int, typer.Option(help="How many witnesses on your list must have cosigned the log.")] = 0,
    noise_key: Annotated[Path | None, typer.Option(help="From V2: noise key of a certified run.")] = None,
    trust: Annotated[
        list[str] | None, typer.Option(help="From V2: digest of foreign sources that may run (repeatable).")
    ] = None,
    base: Annotated[Path | None, typer.Option(help="From V2: file of weights that training began with.")] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="HTML file to write: the certificate, with what this verification came to.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """Check a record. Exit status: 0 accepted, 1 refused, 2 cannot be run as asked, 3 undecided."""
    from expunge.core.errors import InvalidArgument
    from expunge.records.verdict import Level
    from expunge.verify.verdict_text import verdict_lines
    from expunge.verify.verify import level_of
    from expunge.verify.verify import verify as verify_bundle

    given = {"--data": data, "--salts": salts, "--noise-key": noise_key, "--trust": trust, "--base": base}
    idle = [f"{name} {value}" for name, value in given.items() if value]
    if idle and level_of(level) < Level.V2:
        raise InvalidArgument(
            f"{idle[0]} is used from V2 on and --level is {level}, which looks at the bundle alone: ask for V2, V3 or "
            "V4, or leave it out"
        )
    page = None if certificate is None else html_file(certificate)
    with progress_bar("verify") as progress:
        verdict = verify_bundle(
            bundle,
            keys=keys,
            level=level,
            known_checkpoint=known_checkpoint,
            known_records=known_records or (),
            witnesses=witnesses,
            data=data,
            salts=salts,
            checkpoints=checkpoints,
            segments=segments,
            noise_key=noise_key,
            trust=trust or (),
            base=base,
            progress=progress,
        )
    verdict = flagged(verdict)
    if page is not None:
        from expunge.cli.certificates import write_certificate_of

        write_certificate_of(bundle, verdict, keys, page)
    if not print_as(format, json, verdict.as_json, "findings"):
        for line in verdict_lines(verdict):
            typer.echo(line)
    raise typer.Exit(verdict.status.exit_status)
