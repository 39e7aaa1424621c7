"""The command ``expunge``: one file per verb, one way to fail."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

import typer
from rich.console import Console
from rich.markup import escape

from expunge.cli.app import commands
from expunge.cli.shared import with_flags
from expunge.core.errors import ExpungeError, InvalidArgument, ran_out_of_memory
from expunge.core.installed import needed_by

NOT_UTF8 = "the name {} is not UTF-8, so it can stand in no record and on no page: rename the file or folder"
NO_MEMORY = (
    "memory ran out (a limit of this machine or of its user): nothing is lost; give it more, or ask for less at once "
    "(fewer rows, a smaller model or batch), then run the same command again"
)
# Typer carries its own copy of click or uses the installed one: the class of all usage errors is reached through it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
INTERRUPTED = 130
ENDINGS = ("SIGTERM", "SIGHUP")  # a shutdown, a closed terminal: they end a job as Ctrl-C does


def main() -> None:
    """Run the command line. Errors are one sentence and exit status 2; an interrupted job can be continued."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    console = Console(emoji=False, stderr=True, soft_wrap=True, highlight=False)
    _heed_endings()
    try:
        _check_names(arguments)
        with needed_by(f"`{' '.join(['expunge', *arguments[:1]])}`"):
            status = commands()(arguments, prog_name="expunge", standalone_mode=False)
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
    except UnicodeEncodeError as error:
        if debug:
            raise
        shown = ascii(error.object[max(0, error.start - 40) : error.end + 20])
        console.print(f"[bold red]error:[/] {escape(NOT_UTF8.format(shown))}")
        status = 2
    except MemoryError:
        if debug:
            raise
        console.print(f"[bold red]error:[/] {NO_MEMORY}")
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
        if ran_out_of_memory(error):
            console.print(f"[bold red]error:[/] {NO_MEMORY}")
            sys.exit(2)
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        console.print(f"[bold red]error:[/] {escape(what)}; this was not foreseen: --debug shows where it happened")
        status = 2
    if status == INTERRUPTED:
        console.print(
            "interrupted, nothing is lost: run the same command again, and it goes on from the last state kept"
        )
    sys.exit(status if isinstance(status, int) else 0)


def _heed_endings() -> None:
    """Let a shutdown or a closed terminal end the command as Ctrl-C does; one that is ignored (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ENDINGS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _check_names(arguments: list[str]) -> None:
    """A name that is no text would fail wherever it is first printed or written."""
    for argument in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            raise InvalidArgument(NOT_UTF8.format(ascii(argument[:120])))


if __name__ == "__main__":
    main()
