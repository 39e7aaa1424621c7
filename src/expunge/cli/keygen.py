"""``expunge keygen``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import print_json, short

EXAMPLE = "Example: expunge keygen --out keys --name example.com/unlearning"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(keygen)


def keygen(
    out: Annotated[Path, typer.Option(help="Folder for the two files.")],
    name: Annotated[
        str | None,
        typer.Option(help="Your name in lists of keys, and that of your log, such as example.com/unlearning."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print where the key lies as JSON.")] = False,
) -> None:
    """Make a key that signs records and your log."""
    import secrets

    from expunge.records.keys import PRIVATE, TRUSTED, KeyRole
    from expunge.records.keys import keygen as make_key

    named = name or f"expunge-{secrets.token_hex(4)}"
    roles = (KeyRole.OWNER, KeyRole.LOG)
    key = make_key(out, named, roles)
    private, trusted = out / PRIVATE, out / TRUSTED
    if json:
        print_json(
            {
                "keyid": key.keyid,
                "name": named,
                "roles": [role.value for role in roles],
                "private": str(private),
                "trusted": str(trusted),
            }
        )
        return
    typer.echo(f"key {short(key.keyid)}… of {named}")
    typer.echo(f"{private}: stays with you; whoever has it can sign in your name, and nobody can restore it")
    typer.echo(f"{trusted}: goes to those who verify your records, by another way than the records themselves")
