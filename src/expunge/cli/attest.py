"""``expunge attest``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import print_json, progress_bar, say, short

EXAMPLE = "Example: expunge attest runs/forgot --key keys/private.pem --out bundle"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(attest)


def attest(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    key: Annotated[Path, typer.Option(help="Key that signs, from `expunge keygen`.")] = Path("keys/private.pem"),
    out: Annotated[
        Path | None, typer.Option(help="Bundle to write, a folder or FILE.zip; RUN-bundle beside the run unless said.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Folder of your transparency log; `log` beside the key unless said.")
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(help="Name of a log that is begun; the one in trusted.json beside the key unless said."),
    ] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Add every recorded state, which replay needs.")
    ] = False,
    without_model: Annotated[
        bool, typer.Option("--without-model", help="Leave the weights out of the bundle.")
    ] = False,
    known_checkpoints: Annotated[
        list[Path] | None,
        typer.Option(
            "--known-checkpoint",
            help="A log/checkpoint that an auditor kept: the bundle proves growth since (repeatable).",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was signed as JSON.")] = False,
) -> None:
    """Sign what ran on which data, enter it into the log, and write a bundle for whoever checks it."""
    from expunge.attest.attest import attest as attest_run
    from expunge.records.form import to_plain
    from expunge.records.keys import TRUSTED

    with progress_bar("attest") as progress:
        made = attest_run(
            run,
            key=key,
            out=out,
            log=log,
            origin=origin,
            checkpoints=checkpoints,
            model=not without_model,
            known_checkpoints=known_checkpoints or (),
            progress=progress,
        )
    if json:
        print_json(to_plain(made))
        return
    claimed = made.guarantee.kind.value if made.guarantee.base is None else made.guarantee
    typer.echo(f"{len(made.chain)} records, {made.signed} signed now: {claimed} is claimed, not verified")
    for notice in made.notices:
        say(f"note: {notice}")
    typer.echo(f"log {made.log.origin} with {made.log.entries} entries")
    typer.echo(f"record {short(made.record.hex())}  key {short(made.keyid)}  bundle {made.bundle}")
    typer.echo(f"check it as others will: expunge verify {made.bundle} --level V1 --keys {key.with_name(TRUSTED)}")
