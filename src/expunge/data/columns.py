"""From the columns that a table holds to content, label, id and subject.

What a column holds is inferred once, when a run is trained; then it stands in the recipe, and a table that is read
again is read by the recipe. Labels, ids and subjects lose the white space around them, content is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.arrays import array_column
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.labels import NUMBER, labels_of, refuse_quantities, spelled_classes, spells_numbers

if TYPE_CHECKING:
    from expunge.data.source import Source

WORDS_OF_A_TEXT = 3


@dataclass(frozen=True)
class FoundColumn:
    """One column as it stands in a table: words (objects), numbers, or an array per row.

    ``missing`` marks empty cells. ``spelled`` says that the table has no types, so that words may spell numbers.
    """

    values: np.ndarray
    missing: np.ndarray
    spelled: bool = False

    @property
    def is_words(self) -> bool:
        return self.values.dtype.kind == "O"


@dataclass(frozen=True)
class Table:
    """Named columns in their order; ``lines`` are the rows' places in a text file, else rows are counted from 0."""

    where: str
    columns: Mapping[str, FoundColumn]
    lines: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values) if self.columns else 0

    def place(self, row: int) -> str:
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"

    def column(self, name: str, purpose: str) -> FoundColumn:
        if name not in self.columns:
            raise InvalidArgument(
                f"{self.where} has no column {name!r} to use as {purpose}: name one of {self.list_columns()}"
            )
        return self.columns[name]

    def list_columns(self) -> str:
        return ", ".join(list(self.columns)[:40]) + (" …" if len(self.columns) > 40 else "")


def assemble(
    table: Table, source: Source, label: str, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None
) -> Dataset:
    """A data set of a table: every column that is not label, id or subject is content."""
    labels = table.column(label, "label")
    named = {name for name in (label, source.id, source.subject) if name is not None}
    if label in (source.id, source.subject):
        raise InvalidArgument(f"column {label!r} is named as label and as id or subject: it can be one of them")
    names = [name for name in table.columns if name not in named]
    if columns is None:
        chosen = tuple(_infer(table, name, overruled) for name, overruled in _overrule(table, source, names).items())
    else:
        chosen = _as_before(table, names, columns)
    return make_dataset(
        labels=_labels(table, label, labels, classes),
        columns=chosen,
        content={column.name: _content(table, column) for column in chosen},
        ids=None if source.id is None else _names(table, source.id, "id"),
        subjects=None if source.subject is None else _names(table, source.subject, "subject"),
        classes=classes,
        where=table.where,
    )


def _overrule(table: Table, source: Source, names: list[str]) -> dict[str, ColumnKind | None]:
    """For every content column the kind that was said for it, or none."""
    kinds: dict[str, ColumnKind | None] = dict.fromkeys(names)
    said = (
        (ColumnKind.NUMERIC, source.numeric),
        (ColumnKind.CATEGORY, source.categorical),
        (ColumnKind.TEXT, source.text),
    )
    for kind, wanted in said:
        for name in wanted:
            found = table.column(name, kind.value)
            if name not in kinds:
                raise InvalidArgument(f"column {name!r} is label, id or subject, it cannot be {kind.value} content too")
            if found.values.ndim > 1:
                raise InvalidArgument(f"column {name!r} holds arrays or images, it cannot be read as {kind.value}")
            kinds[name] = kind
    return kinds


def _as_before(table: Table, names: list[str], columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The recipe's columns, after checking that the table has these and no others."""
    known = [column.name for column in columns]
    for name in (*known, *names):
        if name not in known or name not in names:
            state = "misses" if name in known else "has a further"
            raise DataError(
                f"{table.where} {state} column {name!r}: the run was trained on {', '.join(known)}; give these columns"
            )
    return columns


def _infer(table: Table, name: str, overruled: ColumnKind | None) -> Column:
    found = table.columns[name]
    if found.values.ndim > 1:
        return array_column(name, found.values, table.where)
    if overruled is not None:
        return Column(name, overruled)
    if not found.is_words or (found.spelled and spells_numbers(found.values)):
        return Column(name, ColumnKind.NUMERIC)
    counts = [len(value.split()) for value in found.values if value]
    is_text = bool(counts) and sum(counts) >= WORDS_OF_A_TEXT * len(counts)
    return Column(name, ColumnKind.TEXT if is_text else ColumnKind.CATEGORY)


def _content(table: Table, column: Column) -> np.ndarray:
    found = table.columns[column.name]
    is_array = column.kind in (ColumnKind.IMAGE, ColumnKind.ARRAY)
    if is_array != (found.values.ndim > 1):
        raise DataError(
            f"{table.where}: column {column.name!r} holds {'plain values' if is_array else 'arrays'}, the recipe says "
            f"{column.kind.value}: give the data that the run was trained on"
        )
    if is_array:
        array_column(column.name, found.values, table.where, (column,))
        return found.values
    return _numbers(table, column.name, found) if column.kind is ColumnKind.NUMERIC else _words(found)


def _numbers(table: Table, name: str, found: FoundColumn) -> np.ndarray:
    if found.is_words:
        values = np.array([float(word) if NUMBER.match(word.strip()) else math.nan for word in found.values])
    else:
        values = found.values.astype(np.float64)
    bad = np.flatnonzero(found.missing | ~np.isfinite(values))
    if len(bad):
        value = "" if found.missing[bad[0]] else str(found.values[bad[0]])
        shown = repr(value) if value.strip() else "an empty cell"
        raise DataError(
            f"{table.where}, {table.place(int(bad[0]))}: column {name!r} holds {shown} where a finite number is needed "
            f"({len(bad)} such rows): fill it, remove the row, or say `categorical` {name}"
        )
    return values


def _words(found: FoundColumn) -> np.ndarray:
    if found.is_words:
        return found.values
    words = [repr(float(value)) if found.values.dtype.kind == "f" else str(int(value)) for value in found.values]
    return np.array(["" if gone else word for word, gone in zip(words, found.missing, strict=True)], dtype=object)


def _names(table: Table, name: str, purpose: str) -> list[str]:
    found = table.column(name, purpose)
    if found.values.ndim > 1 or found.values.dtype.kind == "f":
        raise DataError(f"{table.where}: column {name!r} cannot be {purpose}: text or whole numbers are needed")
    names = [str(value).strip() for value in _words(found)]
    _refuse_empty(table, name, names, purpose)
    return names


def _refuse_empty(table: Table, name: str, words: list[str], purpose: str) -> None:
    if "" in words:
        raise DataError(
            f"{table.where}, {table.place(words.index(''))}: the {purpose} in column {name!r} is empty: fill it or "
            "remove the row"
        )


def _labels(table: Table, name: str, found: FoundColumn, classes: tuple[int | str, ...] | None) -> list[int | str]:
    if found.values.ndim > 1:
        raise DataError(f"{table.where}: column {name!r} holds arrays or images, it cannot be the label")
    words = [str(value).strip() for value in _words(found)]
    _refuse_empty(table, name, words, "label")
    if found.is_words:
        if found.spelled and classes is None:
            refuse_quantities(words, name, table.where, table.place)
        return spelled_classes(words, classes) if found.spelled else list(words)
    return labels_of(found.values, table.where)
