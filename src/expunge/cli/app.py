"""All verbs of the command line, registered once a process."""

from __future__ import annotations

import importlib
from functools import cache
from typing import cast

import typer
from typer.core import TyperGroup

VERBS = (
    "demo",
    "audit-demo",
    "plan",
    "train",
    "adopt",
    "info",
    "predict",
    "export",
    "tune",
    "worst",
    "unlearn",
    "forget",
    "references",
    "witnesses",
    "halves",
    "evaluate",
    "hygiene",
    "keygen",
    "attest",
    "verify",
    "forge",
    "report",
    "methods",
    "study",
)

app = typer.Typer(
    name="expunge",
    help="Make a trained PyTorch model forget named people's data, and show the work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        from expunge.core.version import __version__

        typer.echo(f"expunge {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Make a trained PyTorch model forget named people's data, and show the work."""


@cache
def commands() -> TyperGroup:
    """Every verb with its arguments, as its file declares them, and what installs completion for a shell."""
    for verb in VERBS:
        importlib.import_module(f"expunge.cli.{verb.replace('-', '_')}").register(app)
    return cast("TyperGroup", typer.main.get_command(app))
