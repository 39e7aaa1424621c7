"""CSV and Parquet files: one row per example, one column per feature, label, id or subject."""

from __future__ import annotations

import csv
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.arrow import found_in
from expunge.data.columns import FoundColumn, Table, assemble
from expunge.data.dataset import Column, Dataset
from expunge.data.wording import one_line

if TYPE_CHECKING:
    from expunge.data.source import Source

LONGEST_FIELD = 2**31 - 1
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
SPELLED = (".csv", ".tsv")  # tables without types, in which words may spell numbers
LOOKED_AT = 100  # rows that say which separator a file has


def read_csv(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """A header, then rows. A column is numeric when every value spells a finite number, text when its values average
    three words or more, a category otherwise; the options ``numeric``, ``categorical``, ``text`` and ``date`` overrule
    that.
    """
    table = csv_table(source, columns)
    return assemble(table, source, label_of(source, table), columns, classes)


def read_parquet(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """Like ``read_csv``, but the file's own types say which columns are numeric."""
    table = parquet_table(source, columns)
    return assemble(table, source, label_of(source, table), columns, classes)


def label_of(source: Source, table: Table) -> str:
    if source.label is None:
        raise InvalidArgument(
            f"which column of {table.where} is the label is not said: add `label` with one of {table.list_columns()}"
        )
    return source.label


def csv_table(source: Source, columns: tuple[Column, ...] | None = None) -> Table:
    """What stands behind the rows that are to be taken is not read."""
    where = source.location
    values: list[list[str]] = []
    names: list[str] = []
    lines: list[int] = []
    with closing(_rows(source)) as rows:
        for line, row in rows:
            if not names:
                names = _header(row, where, _separator(source), numbered=source.no_header)
                values = [[] for _ in names]
                if not source.no_header:
                    continue
            if row and len(row) != len(names):
                raise DataError(
                    f"{where}, line {line}: {len(row)} fields, the header has {len(names)}: put fields that "
                    "hold a separator in double quotes, and give every row the same number"
                )
            if row:
                lines.append(line)
                for cells, value in zip(values, row, strict=True):
                    cells.append(value)
            if len(lines) == source.rows:
                break
    if not names:
        _header([], where, _separator(source))
    source.taken(len(lines), again=columns is not None)
    nothing, decimal = np.zeros(len(lines), dtype=bool), source.decimal or "."
    return Table(
        source.shown,
        {name: FoundColumn(_objects(words), nothing, True, decimal) for name, words in zip(names, values, strict=True)},
        tuple(lines),
    )


def is_text(location: str) -> bool:
    """Whether a location is that of a text file."""
    return location.lower().endswith(SPELLED)


def look(source: Source) -> Source:
    """The source with the separator that a text file is found to have, where none is said."""
    if source.separator is not None:
        return source
    found = _found_separator(source)
    return source if found == _separator(source) else replace(source, separator=found)


def _found_separator(source: Source) -> str:
    """The usual one where it divides the first rows alike, else whichever makes the most columns of them."""
    own = _separator(source)
    counts: dict[str, int] = {}
    for mark in (own, *(mark for mark in OTHER_SEPARATORS if mark != own)):
        try:
            with closing(_rows(replace(source, separator=mark))) as rows:
                widths = [len(row) for _, row in islice(rows, LOOKED_AT) if row]
        except DataError:
            continue
        if widths and widths[0] > 1 and len(set(widths)) == 1:
            counts[mark] = widths[0]
    return own if own in counts or not counts else max(counts, key=lambda mark: counts[mark])


def _separator(source: Source) -> str:
    return source.separator or ("\t" if Path(source.location).suffix.lower() == ".tsv" else ",")


def _rows(source: Source) -> Generator[tuple[int, list[str]]]:
    """The records of a text file, each with the number of its first line; the header is one of them."""
    where, encoding = source.location, source.encoding or "utf-8-sig"
    line = 1
    longest = csv.field_size_limit(LONGEST_FIELD)  # documents may be longer than the module's 131,072 characters
    try:
        with Path(where).open(encoding=encoding, newline="") as handle:
            reader = csv.reader(handle, delimiter=_separator(source), strict=True)
            for row in reader:
                yield line, row
                line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not {source.encoding or 'UTF-8'} text ({error.reason} at byte {error.start}): save it as "
            "UTF-8, or say its `encoding`, such as latin-1"
        ) from None
    except csv.Error as error:
        raise DataError(f"{where}, line {line}: {error}: check the double quotes there") from None
    except OSError as error:
        raise DataError(
            f"{where} could not be read ({error.strerror or error}): check the path and its rights"
        ) from None
    finally:
        csv.field_size_limit(longest)


def _header(cells: list[str], where: str, separator: str, *, numbered: bool = False) -> list[str]:
    names = [str(at) for at in range(1, len(cells) + 1)] if numbered else [cell.strip() for cell in cells]
    if not any(names):
        raise DataError(f"{where} is empty or begins with an empty line: the first line names the columns")
    other = next(
        (mark for mark in OTHER_SEPARATORS if len(names) == 1 and mark != separator and mark in names[0]), None
    )
    if other is not None:
        raise DataError(
            f"{where} seems to be separated by {OTHER_SEPARATORS[other]}, {OTHER_SEPARATORS[separator]} are expected: "
            "save .csv with commas and .tsv with tabs, or say the `separator`"
        )
    check_names(names, where)
    return names


def check_names(names: list[str], where: str) -> None:
    """Every column has a name of its own."""
    if "" in names:
        raise DataError(
            f"{where}: column {names.index('') + 1} has no name: name it or drop it (an index is no feature)"
        )
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise DataError(f"{where}: column {twice!r} stands more than once: give every column a name of its own")


def _objects(words: list[str]) -> np.ndarray:
    values = np.empty(len(words), dtype=object)
    values[:] = words
    return values


def parquet_table(source: Source, columns: tuple[Column, ...] | None = None) -> Table:
    """The file's columns; groups of rows behind those that are to be taken are not read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = source.location
    try:
        with pq.ParquetFile(where) as file:  # a dataset reader would add columns from the folders' names
            count = source.taken(file.metadata.num_rows, again=columns is not None)
            table = file.read_row_groups(_groups(file.metadata, count)).slice(0, count)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} could not be read as Parquet ({one_line(error)}): write the file again") from None
    names = [str(name) for name in table.schema.names]
    check_names(names, where)
    return Table(source.shown, {name: found_in(table.column(name), name, where) for name in names})


def _groups(metadata: Any, count: int) -> list[int]:
    """The first groups of rows that hold so many together."""
    reached = np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])
    return [group for group in range(metadata.num_row_groups) if reached[group] < count]
