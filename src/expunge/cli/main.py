"""The command ``expunge``: one file per verb, one way to fail."""

from __future__ import annotations

import functools
import importlib
import sys

import typer
from rich.console import Console
from rich.markup import escape

from expunge.core.errors import ExpungeError

# Typer carries its own copy of click or uses the installed one: the class of all usage errors is reached through it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
INTERRUPTED = 130
VERBS = (
    "demo",
    "audit-demo",
    "train",
    "info",
    "tune",
    "unlearn",
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
    add_completion=False,
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


@functools.cache  # a command registered twice is built twice, whenever the app is called
def _register() -> None:
    for verb in VERBS:
        importlib.import_module(f"expunge.cli.{verb.replace('-', '_')}").register(app)


def main() -> None:
    """Run the command line. Errors are one sentence and exit status 2; an interrupted job can be continued."""
    _register()
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    console = Console(emoji=False, stderr=True, soft_wrap=True, highlight=False)
    try:
        status = app(arguments, standalone_mode=False)
    except typer.Exit as stop:
        status = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except USAGE_ERROR as error:
        if debug:
            raise
        message = getattr(error, "format_message", error.__str__)()
        if not message:  # the help was shown
            sys.exit(2)
        console.print(
            f"[bold red]error:[/] {escape(message.rstrip('.'))}. See `expunge {' '.join(arguments[:1])} --help`."
        )
        status = 2
    except ExpungeError as error:
        if debug:
            raise
        console.print(f"[bold red]error:[/] {escape(str(error))}")
        status = 2
    except OSError as error:
        if debug:
            raise
        where = f" ({error.filename})" if error.filename else ""
        console.print(f"[bold red]error:[/] {escape(str(error.strerror or error))}{escape(where)}: nothing is lost")
        status = 2
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        console.print(f"[bold red]error:[/] {escape(what)}; this was not foreseen: --debug shows where it happened")
        status = 2
    if status == INTERRUPTED:
        console.print(
            "interrupted, nothing is lost: run the same command again, and it goes on from the last state kept"
        )
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
