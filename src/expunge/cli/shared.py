"""What the verbs share: progress bars, JSON and CSV, `name=value` pairs and shares."""

from __future__ import annotations

import csv
import io
import re
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import cache
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from expunge.cli.app import commands
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import plain_json
from expunge.core.wording import choice, share

__all__ = [
    "Format",
    "as_csv",
    "choice",
    "flagged",
    "html_file",
    "pairs",
    "print_as",
    "print_json",
    "progress_bar",
    "say",
    "share",
    "short",
    "sized",
    "table_of",
    "told_apart",
    "wide_console",
    "with_flags",
]

if TYPE_CHECKING:
    from expunge.records.verdict import Verdict

EVERY_SECONDS = 0.1
LONG_SECONDS = 2.0  # what is done by then says nothing on its way
ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)`")
CALL = re.compile(r"`expunge\.([a-z]+)\((.*?)\)`")


class Shape(StrEnum):
    """What output is for: a person, a program, or a table of somebody's."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


Format = Annotated[Shape, typer.Option("--format", help="text, json (as --json), or csv: the table, row by row.")]


def print_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Machine-readable output, alone on standard output."""
    sys.stdout.write(plain_json(value))


def print_as(
    shape: Shape, json: bool, value: Callable[[], Any], table: str | Iterable[Mapping[str, Any]] | None = None
) -> bool:
    """Print what a program reads, if that was asked for: the value as JSON, or its table as CSV.

    ``table`` are rows, or the name under which they stand in the value; the value itself unless said.
    """
    if json and shape is Shape.CSV:
        raise InvalidArgument("--json and --format csv exclude each other: ask for one")
    if shape is Shape.CSV:
        found = value() if table is None else value()[table] if isinstance(table, str) else table
        sys.stdout.write(as_csv(found))
    elif json or shape is Shape.JSON:
        print_json(value())
    return json or shape is not Shape.TEXT


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as a table with a header; what lies inside another value has a column of its own, named with a point."""
    flat = [dict(_cells(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _cells(row: Mapping[str, Any], before: str = "") -> Generator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _cells(cast("Mapping[str, Any]", value), f"{before}{name}.")
        else:
            yield before + name, _cell(value)


def _cell(value: Any) -> Any:
    """A list as its words; of what has no form in a table, the JSON."""
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        plain = not any(isinstance(item, list | tuple | dict) for item in items)
        return " ".join(map(str, items)) if plain else dumps(items, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else value


@contextmanager
def progress_bar(what: str) -> Generator[Callable[[int, int], None]]:
    """A bar on standard error; where that is no terminal, a line a tenth of what takes long."""
    console = Console(emoji=False, stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield _line_a_tenth(what, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        last = 0.0

        def moved(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= EVERY_SECONDS or done == total:
                last = now
                progress.update(task, completed=done, total=total)

        yield moved


def _line_a_tenth(what: str, console: Console) -> Callable[[int, int], None]:
    started, said = time.monotonic(), 0

    def moved(done: int, total: int) -> None:
        nonlocal said
        tenths, seconds = done * 10 // max(total, 1), time.monotonic() - started
        if tenths > said and seconds >= LONG_SECONDS:
            console.print(f"{what} {tenths * 10} % ({done:,} of {total:,}), {seconds:.0f} s", markup=False)
        said = max(said, tenths)

    return moved


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """``name=value`` options as a mapping; a repeated name is refused."""
    found: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise InvalidArgument(f"{option} {item!r} must have the form name=value")
        if name in found:
            raise InvalidArgument(f"{option} names {name!r} twice: give it once")
        found[name] = value
    return found


@cache
def flags() -> dict[str, str]:
    """What the command line calls an argument of the library: its flag, or its bare name where it has a place."""
    return {str(given.name): given.opts[0] for command in commands().commands.values() for given in command.params}


def with_flags(text: str) -> str:
    """A sentence of the library as the command line says it: the only place where arguments become flags.

    An argument is `` `noise_key` `` there and ``--noise-key`` here, and a call `` `expunge.train(…, out=FOLDER)` `` is
    `` `expunge train … --out FOLDER` ``. Whatever else stands in backticks is no argument of a command and stays.
    """
    text = CALL.sub(lambda found: f"`expunge {found[1]} {' '.join(map(_typed, _given(found[2])))}`", text)
    return ARGUMENT.sub(lambda found: flags().get(found[1], found[0]), text)


def _given(call: str) -> list[str]:
    return re.split(r", (?=\w+=)", call)


def _typed(given: str) -> str:
    """``out=FOLDER`` as ``--out FOLDER``, ``destroy=True`` as ``--destroy``; anything without a name as it is."""
    name, equals, value = given.partition("=")
    return f"{flags()[name]} {value}".removesuffix(" True") if equals else given


def say(text: str) -> None:
    """A sentence of the library on standard output."""
    typer.echo(with_flags(text))


def wide_console(columns: int = 160) -> Console:
    """Where tables are printed: as wide as the terminal, or where there is none so wide."""
    return Console(emoji=False, highlight=False, width=None if Console().is_terminal else columns)


def table_of(headers: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    """Texts under their headers, as they are; what a row is about is not broken while others can be."""
    table = Table(box=None)
    for at, header in enumerate(headers):
        table.add_column(header, overflow="fold", no_wrap=at == 0)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def told_apart(for_programs: bool) -> Callable[[str], None]:
    """Where sentences go before the work begins: beside the output where that is for programs."""
    return lambda text: typer.echo(with_flags(text), err=for_programs)


def flagged(verdict: Verdict) -> Verdict:
    """A verdict whose findings and remarks name flags."""
    named = (replace(finding, detail=with_flags(finding.detail)) for finding in verdict.findings)
    remarks = (replace(remark, text=with_flags(remark.text)) for remark in verdict.remarks)
    return replace(verdict, findings=tuple(named), remarks=tuple(remarks))


def short(digest: str) -> str:
    """A digest as people compare it."""
    return digest[:16]


def sized(count: int) -> str:
    """So many bytes, as people say it."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count // 1000
    return f"{count:,} GB"


def html_file(path: Path) -> Path:
    """A page to write; the name says that it is one."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise InvalidArgument(f"{path} must end in .html: a page overwrites nothing else")
    return path
