"""The command ``expunge``: one file per verb, one way to fail."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from expunge.cli.app import commands
from expunge.cli.shared import with_flags
from expunge.core.errors import ExpungeError

# Typer carries its own copy of click or uses the installed one: the class of all usage errors is reached through it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
INTERRUPTED = 130


def main() -> None:
    """Run the command line. Errors are one sentence and exit status 2; an interrupted job can be continued."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    console = Console(emoji=False, stderr=True, soft_wrap=True, highlight=False)
    try:
        status = commands()(arguments, standalone_mode=False)
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
        console.print(f"[bold red]error:[/] {escape(with_flags(str(error)))}")
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
