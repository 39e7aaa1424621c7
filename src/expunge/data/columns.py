"""From the columns that a table holds to content, label, id and subject.

What a column holds is inferred once, when a run is trained; then it stands in the recipe, and a table that is read
again is read by the recipe. Labels, ids and subjects lose the white space around them, content is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.arrays import array_column
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.dates import WRITTEN, days, spells_dates
from expunge.data.labels import (
    NUMBER,
    dotted,
    is_missing,
    is_number,
    labels_of,
    nobodys,
    refuse_quantities,
    refuse_quantity,
    spelled_classes,
    spells_numbers,
)

if TYPE_CHECKING:
    from expunge.data.source import Source

WORDS_OF_A_TEXT = 3
MARKED = " is missing"  # behind a column's name in that of its indicator


@dataclass(frozen=True)
class FoundColumn:
    """One column as it stands in a table: words (objects), numbers, or an array per row.

    ``missing`` marks empty cells. ``spelled`` says that the table has no types, so that words may spell numbers, with
    ``decimal`` before the parts of one.
    """

    values: np.ndarray
    missing: np.ndarray
    spelled: bool = False
    decimal: str = "."

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
    table: Table,
    source: Source,
    label: str,
    columns: tuple[Column, ...] | None,
    classes: tuple[int | str, ...] | None,
    *,
    as_classes: bool = False,
) -> Dataset:
    """A data set of a table: every column that is not label, id or subject is content.

    ``as_classes`` says that numbers in the label are classes, whichever they are; ``classes`` that are none say that
    they are what is learnt.
    """
    labels = table.column(label, "label")
    if label in (source.id, source.subject):
        raise InvalidArgument(f"column {label!r} is named as label and as id or subject: it can be one of them")
    names = _content_names(table, source, label)
    if columns is None:
        chosen = _with_indicators(
            tuple(_infer(table, name, overruled) for name, overruled in _overrule(table, source, names).items()), source
        )
        twice = next((one.name for one in chosen if one.kind is ColumnKind.INDICATOR and one.name in names), None)
        if twice is not None:
            raise InvalidArgument(f"{table.where} has a column {twice!r}, as an indicator is called: name it otherwise")
    else:
        chosen = _as_before(table, names, columns)
    return make_dataset(
        labels=_labels(table, label, labels, classes, as_classes),
        columns=chosen,
        content=contents(table, chosen, again=columns is not None),
        ids=None if source.id is None else _names(table, source.id, "id"),
        subjects=None if source.subject is None else _names(table, source.subject, "subject"),
        classes=classes,
        where=table.where,
    )


def raw_rows(
    table: Table, source: Source, label: str | None, columns: tuple[Column, ...], classes: tuple[int | str, ...]
) -> Dataset:
    """Rows for a model to answer: columns beside its own are passed over.

    Without a ``label`` nobody looks at one, and all rows stand alike.
    """
    for column in columns:
        if (name := column.name.removesuffix(MARKED)) not in table.columns:
            raise DataError(f"{table.where} misses column {name!r}, which the model was trained on: add it")
    table = spelled_with(table, source.decimal)
    given = None if label is None else _labels(table, label, table.column(label, "label"), classes, as_classes=False)
    return make_dataset(
        labels=[nobodys(classes)] * len(table) if given is None else given,
        columns=columns,
        content=contents(table, columns, again=True),
        ids=_names(table, source.id, "id") if source.id in table.columns and source.id is not None else None,
        classes=classes,
        where=table.where,
    )


def contents(table: Table, columns: tuple[Column, ...], *, again: bool) -> dict[str, np.ndarray]:
    """What the table holds in these columns; numbers may be missing where a column marks them.

    Read ``again`` by a recipe, columns are what it says, and nothing else can be said of them.
    """
    marked = {column.name.removesuffix(MARKED) for column in columns if column.kind is ColumnKind.INDICATOR}
    found: dict[str, np.ndarray] = {}
    for column in columns:
        if column.kind is ColumnKind.INDICATOR:
            name = column.name.removesuffix(MARKED)
            found[column.name] = _holes(table.column(name, column.kind.value)).astype(np.float64)
        else:
            found[column.name] = _content(table, column, fill=column.name in marked, again=again)
    return found


def found_in_words(table: Table, source: Source, label: str) -> Source:
    """The source with what the words of a table say of it where nothing was said: its decimal mark, and its dates."""
    unsaid = [name for name, kind in _overrule(table, source, _content_names(table, source, label)).items() if not kind]
    words = {name: table.columns[name].values for name in unsaid if table.columns[name].is_words}
    dates = tuple(name for name, values in words.items() if values.ndim == 1 and spells_dates(values))
    return replace(with_decimal(table, source), date=(*source.date, *dates))


def with_decimal(table: Table, source: Source) -> Source:
    """The source with a decimal comma where columns of numbers have one and none has a point."""
    if source.decimal is not None:
        return source
    columns = [column.values for column in table.columns.values() if column.spelled]

    def has(mark: str) -> bool:
        return any(any(mark in word for word in words) and spells_numbers(words, mark) for words in columns)

    return replace(source, decimal=",") if has(",") and not has(".") else source


def spelled_with(table: Table, decimal: str | None) -> Table:
    """The table with this mark in its words that are numbers."""
    columns = {name: replace(found, decimal=decimal or ".") for name, found in table.columns.items()}
    return replace(table, columns=columns)


def refuse_measured(table: Table, label: str) -> None:
    """A label of numbers that look measured is not cut into classes without a word."""
    found = table.column(label, "label")
    if found.values.ndim > 1:
        return
    if found.is_words:
        if not (found.spelled and spells_numbers(found.values, found.decimal)):
            return
        words = (dotted(word, found.decimal) for word in found.values if is_number(word, found.decimal))
        numbers = np.array([float(word) for word in words])
    else:
        numbers = found.values[~found.missing].astype(np.float64)
    refuse_quantity(numbers, f"{table.where}: the label {label!r}")


def _content_names(table: Table, source: Source, label: str) -> list[str]:
    named = {name for name in (label, source.id, source.subject) if name is not None}
    return [name for name in table.columns if name not in named]


def _with_indicators(columns: tuple[Column, ...], source: Source) -> tuple[Column, ...]:
    """Behind every number and date the column that marks where it is missing, if that was asked for.

    All of them have one, whether or not a value is missing: so none hangs on a row.
    """
    if source.missing is None:
        return columns
    found: list[Column] = []
    for column in columns:
        found.append(column)
        if column.kind in (ColumnKind.NUMERIC, ColumnKind.DATE):
            found.append(Column(column.name + MARKED, ColumnKind.INDICATOR))
    return tuple(found)


def _overrule(table: Table, source: Source, names: list[str]) -> dict[str, ColumnKind | None]:
    """For every content column the kind that was said for it, or none."""
    kinds: dict[str, ColumnKind | None] = dict.fromkeys(names)
    said = (
        (ColumnKind.NUMERIC, source.numeric),
        (ColumnKind.CATEGORY, source.categorical),
        (ColumnKind.TEXT, source.text),
        (ColumnKind.DATE, source.date),
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
    known = [column.name for column in columns if column.kind is not ColumnKind.INDICATOR]
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
    if not found.is_words or (found.spelled and spells_numbers(found.values, found.decimal)):
        return Column(name, ColumnKind.NUMERIC)
    counts = [len(value.split()) for value in found.values if value]
    is_text = bool(counts) and sum(counts) >= WORDS_OF_A_TEXT * len(counts)
    return Column(name, ColumnKind.TEXT if is_text else ColumnKind.CATEGORY)


def _content(table: Table, column: Column, *, fill: bool, again: bool) -> np.ndarray:
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
    if column.kind is ColumnKind.DATE:
        if not found.is_words:
            raise DataError(
                f"{table.where}: column {column.name!r} holds numbers, which are no dates such as {WRITTEN}: say "
                f"`numeric` {column.name}"
            )
        return _numbers(table, column.name, found, f"a date such as {WRITTEN}", days, fill, again)
    if column.kind is ColumnKind.NUMERIC:
        return _numbers(table, column.name, found, "a finite number", _reading(found.decimal), fill, again)
    return _words(found)


def _reading(decimal: str) -> Callable[[str], float]:
    def read(word: str) -> float:
        spelled = dotted(word, decimal)
        return float(spelled) if NUMBER.match(spelled) else math.nan

    return read


def _holes(found: FoundColumn) -> np.ndarray:
    """Where there is no value: an empty cell, no number, or a word that says so."""
    if found.is_words:
        return found.missing | np.array([is_missing(word) for word in found.values], dtype=bool)
    return found.missing | (np.isnan(found.values) if found.values.dtype.kind == "f" else False)


def _numbers(
    table: Table, name: str, found: FoundColumn, needed: str, read: Callable[[str], float], fill: bool, again: bool
) -> np.ndarray:
    values = np.array([read(word) for word in found.values]) if found.is_words else found.values.astype(np.float64)
    if np.isfinite(values).all() and not found.missing.any():
        return values
    holes = _holes(found)
    if fill:
        values = np.where(holes, 0.0, values)
    bad = np.flatnonzero(~np.isfinite(values) | (found.missing & (not fill)))
    if len(bad):
        value = "" if found.missing[bad[0]] else str(found.values[bad[0]])
        shown = repr(value) if value.strip() else "an empty cell"
        mark = "take 0 for it and mark it with `missing` indicator, " if holes[bad[0]] else ""
        way = "fill it or remove the row" if again else f"fill it, remove the row, {mark}or say `categorical` {name}"
        raise DataError(
            f"{table.where}, {table.place(int(bad[0]))}: column {name!r} holds {shown} where {needed} is needed "
            f"({len(bad)} such rows): {way}"
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


def _labels(
    table: Table, name: str, found: FoundColumn, classes: tuple[int | str, ...] | None, as_classes: bool
) -> list[int | str] | list[float]:
    if found.values.ndim > 1:
        raise DataError(f"{table.where}: column {name!r} holds arrays or images, it cannot be the label")
    if classes == ():
        return _targets(table, name, found)
    words = [str(value).strip() for value in _words(found)]
    _refuse_empty(table, name, words, "label")
    if found.is_words:
        if found.spelled and classes is None:
            refuse_quantities(words, name, table.where, table.place, as_classes=as_classes)
        return spelled_classes(words, classes) if found.spelled else list(words)
    parts = found.values.dtype.kind == "f" and bool((found.values != np.floor(found.values)).any())
    if (parts and as_classes) or (classes is not None and all(isinstance(known, str) for known in classes)):
        return list(words)
    return labels_of(found.values, table.where)


def _targets(table: Table, name: str, found: FoundColumn) -> list[float]:
    """Labels that are numbers to be learnt; each row needs one."""
    read = _reading(found.decimal)
    values = np.array([read(word) for word in found.values]) if found.is_words else found.values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values) | found.missing)
    if len(bad):
        value = "" if found.missing[bad[0]] else str(found.values[bad[0]])
        raise DataError(
            f"{table.where}, {table.place(int(bad[0]))}: the label in column {name!r} is "
            f"{repr(value) if value.strip() else 'an empty cell'} ({len(bad)} such rows), and `task` regression learns "
            "finite numbers: fill it, remove the row, or leave the task out to learn classes"
        )
    return values.tolist()
