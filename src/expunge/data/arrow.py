"""Arrow columns as NumPy arrays: Parquet files and Hugging Face data sets hold the same types."""

from __future__ import annotations

from typing import Any

import numpy as np

from expunge.core.errors import DataError
from expunge.data.columns import FoundColumn

UNREADABLE = "words, numbers, booleans, dates and times can be read: drop the column or write it as one of these"


def found_in(column: Any, name: str, where: str) -> FoundColumn:
    """A ``pyarrow.ChunkedArray`` of plain values. Its type decides what it holds; nothing is guessed from the words."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return found_in(column.cast(kind.value_type), name, where)
    missing = np.asarray(column.is_null().to_numpy()).astype(bool)
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return FoundColumn(_objects(column.cast(pa.string())), missing)
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return FoundColumn(np.asarray(column.fill_null(0).to_numpy()), missing)
    if pa.types.is_timestamp(kind) and kind.tz is not None:  # in UTC, so that no time-zone table is asked
        words = found_in(column.cast(pa.timestamp(kind.unit)), name, where).values
        return FoundColumn(np.array([word and word + "Z" for word in words], dtype=object), missing)
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind):
        words = _objects(column.cast(pa.string()))
        return FoundColumn(np.array([word.replace(" ", "T") for word in words], dtype=object), missing)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view":
        return FoundColumn(_objects(column), missing)
    raise DataError(f"{where}: column {name!r} is of type {kind}, which cannot be read; {UNREADABLE}")


def arrays_in(column: Any, name: str, where: str) -> np.ndarray:
    """A column of lists, lists of lists … that all have the same lengths, as one array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inner = column.combine_chunks()
    inner = pa.concat_arrays(inner.chunks) if isinstance(inner, pa.ChunkedArray) else inner
    shape = [len(inner)]
    while True:
        if inner.null_count:
            raise DataError(f"{where}: column {name!r} has holes in its arrays: fill or remove those rows")
        if isinstance(inner, pa.ExtensionArray):
            inner = inner.storage
            continue
        if not (pa.types.is_list(inner.type) or pa.types.is_large_list(inner.type) or _fixed(inner.type)):
            break
        lengths = pc.call_function("list_value_length", [inner]).unique().to_pylist()
        if len(lengths) != 1:
            raise DataError(
                f"{where}: the arrays in column {name!r} have {sorted(lengths)[:5]} entries, all rows need the same "
                "number: cut or pad them"
            )
        shape.append(lengths[0])
        inner = inner.flatten()
    if not (pa.types.is_integer(inner.type) or pa.types.is_floating(inner.type)):
        raise DataError(f"{where}: column {name!r} holds lists of {inner.type}; arrays of numbers can be read: drop it")
    return np.asarray(inner.to_numpy(zero_copy_only=False)).reshape(shape)


def _fixed(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_list(kind))


def _objects(column: Any) -> np.ndarray:
    """Words as ``str`` objects; an empty cell is the empty text."""
    values = np.empty(len(column), dtype=object)
    values[:] = ["" if value is None else value for value in column.to_pylist()]
    return values
