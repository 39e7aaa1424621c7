"""Frames, tables and data sets of others as our columns and arrays. None of their packages is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from expunge.data.arrow import arrays_in, found_in
from expunge.data.columns import FoundColumn, Table
from expunge.data.dataset import Column
from expunge.data.huggingface import held_table
from expunge.data.source import Source
from expunge.data.tables import check_names
from expunge.data.wording import one_line

INDEX = "__index_level_"  # how pandas calls the index of a frame, which is no column


def is_of(data: Any, package: str) -> bool:
    """Whether a value is of a package, which need not be there."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(data).__mro__)


def is_pair(data: Any) -> bool:
    """Whether it is (X, y): rows, and a label for each."""
    return isinstance(data, tuple) and len(data) == 2


def array_of(values: Any, name: str, where: str) -> np.ndarray:
    """An array, a list or a tensor as an array; words as words, whatever holds them."""
    if hasattr(values, "__arrow_c_stream__") and hasattr(values, "columns"):
        raise InvalidArgument(
            f"{where}: {name} is a frame: put the labels into it as a column and name it with `label`"
        )
    if hasattr(values, "detach"):  # a tensor, wherever it lies
        values = values.detach().cpu()
    try:
        found = np.asarray(values)
        found = np.array(found.tolist()) if found.dtype.kind == "O" else found
    except Exception as error:
        raise DataError(
            f"{where}: {name} is a {type(values).__name__} that makes no array ({one_line(error)}): every row needs "
            "the same shape"
        ) from error
    return found if found.dtype.kind != "O" else _refused_objects(name, where)


def _refused_objects(name: str, where: str) -> np.ndarray:
    raise DataError(f"{where}: {name} holds Python objects: give numbers or words, the same of every row")


def table_of(data: Any, said: Source, columns: tuple[Column, ...] | None = None) -> Table:
    """The columns of whatever offers them through Arrow, or of a data set of Hugging Face by its features."""
    if is_of(data, "datasets"):
        return held_table(data, said, columns)
    import pyarrow as pa

    try:
        arrow = data if isinstance(data, pa.Table) else pa.RecordBatchReader.from_stream(data).read_all()
        arrow = arrow.slice(0, said.taken(arrow.num_rows, again=columns is not None))
    except ExpungeError:
        raise
    except Exception as error:  # whatever another package makes of a frame that Arrow has no type for
        raise DataError(
            f"{said.location} could not be read through Arrow ({one_line(error)}): see its columns"
        ) from error
    names = [str(name) for name in arrow.schema.names if not str(name).startswith(INDEX)]
    check_names(names, said.location)
    capital = is_of(data, "pandas")
    return Table(said.shown, {name: _column(arrow.column(name), name, said.location, capital) for name in names})


def _column(column: Any, name: str, where: str, capital: bool) -> FoundColumn:
    """One column; lists of one shape are arrays. ``capital`` booleans are True and False, as pandas writes them."""
    import pyarrow as pa

    if pa.types.is_nested(column.type) or isinstance(column.type, pa.BaseExtensionType):
        values = arrays_in(column, name, where)
        return FoundColumn(values, np.zeros(len(values), dtype=bool))
    found = found_in(column, name, where)
    if capital and pa.types.is_boolean(column.type):
        values = np.empty(len(found.values), dtype=object)
        values[:] = [word.capitalize() for word in found.values]
        return FoundColumn(values, found.missing)
    return found


def table_of_matrix(rows: np.ndarray, names: tuple[str, ...], beside: Mapping[str, np.ndarray], where: str) -> Table:
    """Rows of numbers under the names of their columns; ``beside`` are label, subjects and ids."""
    rows = rows.reshape(-1, 1) if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != len(names) or rows.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: X of shape {rows.shape} and type {rows.dtype} are no numbers under the {len(names)} columns "
            f"{', '.join(names[:8])}: give one number for each"
        )
    check_names([*names, *beside], where)
    found = {name: FoundColumn(rows[:, at], np.zeros(len(rows), dtype=bool)) for at, name in enumerate(names)}
    for name, values in beside.items():
        if values.shape != (len(rows),):
            raise DataError(f"{where}: {name} has shape {values.shape}, X has {len(rows)} rows: give one for each")
        words = np.array([*map(str, values.tolist())], dtype=object) if values.dtype.kind in "US" else values
        found[name] = FoundColumn(words, np.zeros(len(rows), dtype=bool))
    return Table(where, found)


def collected(data: Any, where: str) -> Any:
    """The rows of a map-style data set: a pair of arrays where they are pairs, a table where they are mappings."""
    try:
        rows = list(_rows(data))
    except Exception as error:
        raise DataError(f"{where}: a row of {type(data).__name__} could not be read ({one_line(error)})") from error
    if not rows:
        raise DataError(f"{where} hold no rows: a data set needs at least one")
    if all(isinstance(row, Mapping) for row in rows):
        import pyarrow as pa

        try:
            return pa.table({str(name): [_plain(row[name]) for row in rows] for name in rows[0]})
        except Exception as error:
            raise DataError(f"{where}: the rows' columns differ or mix types ({one_line(error)})") from error
    if all(isinstance(row, tuple | list) and len(row) == 2 for row in rows):
        inputs = [array_of(row[0], "x", where) for row in rows]
        if len({one.shape for one in inputs}) > 1:
            raise DataError(f"{where}: rows have the shapes {inputs[0].shape} and others: give all of them one shape")
        return np.stack(inputs), array_of([_plain(row[1]) for row in rows], "y", where)
    raise DataError(f"{where}: rows are {type(rows[0]).__name__}, pairs (x, y) or mappings of columns are needed")


def _rows(data: Any) -> Iterator[Any]:
    return (data[at] for at in range(len(data)))


def _plain(value: Any) -> Any:
    """A number, a word or a list of an array or tensor."""
    return value.tolist() if hasattr(value, "tolist") else value
