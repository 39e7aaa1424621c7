"""CSV and Parquet files: one row per example, one column per feature, label, id or subject."""

from __future__ import annotations

import csv
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


def read_csv(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """A header, then rows. A column is numeric when every value spells a finite number, text when its values average
    three words or more, a category otherwise; the options ``numeric``, ``categorical`` and ``text`` overrule that.
    """
    table = csv_table(source)
    source.taken(len(table), again=columns is not None)
    return assemble(table, source, _label(source, table), columns, classes)


def read_parquet(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """Like ``read_csv``, but the file's own types say which columns are numeric."""
    table = parquet_table(source, again=columns is not None)
    return assemble(table, source, _label(source, table), columns, classes)


def _label(source: Source, table: Table) -> str:
    if source.label is None:
        raise InvalidArgument(
            f"which column of {table.where} is the label is not said: add `label` with one of {table.list_columns()}"
        )
    return source.label


def csv_table(source: Source) -> Table:
    """A text file's columns as they stand in it. What stands behind the rows that are to be taken is not read."""
    path, where = Path(source.location), source.location
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    line = 1
    longest = csv.field_size_limit(LONGEST_FIELD)  # documents may be longer than the module's 131,072 characters
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, delimiter=separator, strict=True)
            names = _header(next(reader, []), where, separator)
            values: list[list[str]] = [[] for _ in names]
            lines: list[int] = []
            line = reader.line_num + 1
            for row in reader:
                if row and len(row) != len(names):
                    raise DataError(
                        f"{where}, line {line}: {len(row)} fields, the header has {len(names)}: put fields that "
                        "hold a separator in double quotes, and give every row the same number"
                    )
                if row:
                    lines.append(line)
                    for cells, value in zip(values, row, strict=True):
                        cells.append(value)
                line = reader.line_num + 1
                if len(lines) == source.rows:
                    break
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{where}, line {line}: {error}: check the double quotes there") from None
    except OSError as error:
        raise DataError(
            f"{where} could not be read ({error.strerror or error}): check the path and its rights"
        ) from None
    finally:
        csv.field_size_limit(longest)
    nothing = np.zeros(len(lines), dtype=bool)
    return Table(
        source.shown,
        {name: FoundColumn(_objects(words), nothing, True) for name, words in zip(names, values, strict=True)},
        tuple(lines),
    )


def _header(cells: list[str], where: str, separator: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if not any(names):
        raise DataError(f"{where} is empty or begins with an empty line: the first line names the columns")
    other = next(
        (mark for mark in OTHER_SEPARATORS if len(names) == 1 and mark != separator and mark in names[0]), None
    )
    if other is not None:
        raise DataError(
            f"{where} seems to be separated by {OTHER_SEPARATORS[other]}, {OTHER_SEPARATORS[separator]} are expected: "
            "save .csv with commas and .tsv with tabs"
        )
    _check_names(names, where)
    return names


def _check_names(names: list[str], where: str) -> None:
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


def parquet_table(source: Source, *, again: bool = False) -> Table:
    """A Parquet file's columns as they stand in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = source.location
    try:
        with pq.ParquetFile(where) as file:  # a dataset reader would add columns from the folders' names
            count = source.taken(file.metadata.num_rows, again=again)
            table = file.read_row_groups(_groups(file.metadata, count)).slice(0, count)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where} could not be read as Parquet ({one_line(error)}): write the file again") from None
    names = [str(name) for name in table.schema.names]
    _check_names(names, where)
    return Table(source.shown, {name: found_in(table.column(name), name, where) for name in names})


def _groups(metadata: Any, count: int) -> list[int]:
    """The first groups of rows that hold so many together."""
    reached = np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])
    return [group for group in range(metadata.num_row_groups) if reached[group] < count]
