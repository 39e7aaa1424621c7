"""Rows that are handed over in Python: a place, a frame or table, a data set of others, arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.data import arrays
from expunge.data.columns import Table, assemble, raw_rows
from expunge.data.dataset import Column, ColumnKind, Dataset
from expunge.data.forms import COLUMNS, find, found_of, look, read, read_raw, takes
from expunge.data.frames import array_of, collected, is_of, is_pair, table_of, table_of_matrix
from expunge.data.huggingface import LABEL
from expunge.data.labels import LabelKind
from expunge.data.source import OF_TEXT, UNSAID, Source
from expunge.data.splits import Split
from expunge.data.tables import is_text, label_of

HANDED = "the data handed over"
KNOWN = (
    "a path, a Source, a frame of pandas or polars, an Arrow table, a datasets.Dataset, a torch Dataset with a length, "
    "or a pair (X, y) of arrays"
)
Names = Sequence[str] | np.ndarray


@runtime_checkable
class Arrow(Protocol):
    """What offers its columns as a stream of Arrow: a frame of pandas or polars, an Arrow table."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@runtime_checkable
class MapStyle(Protocol):
    """A data set that has a length and gives its rows by number: pairs (x, y), or mappings of columns."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


AnyData = str | Path | Source | Dataset | Arrow | MapStyle | tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class HandedData:
    """Data as somebody hands them over, and what is said of them.

    ``data`` are rows in memory: a data set of ours, a pair of arrays, or what has columns; None where they lie at the
    place that ``said`` names. ``names`` are ids and subjects of arrays, ``columns`` what the columns of X are called.
    """

    said: Source
    data: Any = None
    names: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    columns: tuple[str, ...] | None = None

    @property
    def source(self) -> Source | None:
        """Where the rows lie, and how they are read there; None of rows in memory."""
        return self.said if self.data is None else None

    @property
    def cut(self) -> bool:
        """Whether only the first so many rows of a place or table are taken."""
        return self.said.rows is not None and not isinstance(self.data, Dataset)

    @property
    def held(self) -> dict[str, Any] | None:
        """What a run remembers of how columns in memory are read."""
        if self.data is None or isinstance(self.data, Dataset) or (is_pair(self.data) and self.columns is None):
            return None
        return {name: value for name, value in self.said.as_json().items() if name != "location"}

    def find(self, *, kind: LabelKind = LabelKind.UNSAID) -> tuple[HandedData, Dataset]:
        """The rows as they are read for the first time, and the same data with what was found of them."""
        if isinstance(self.data, Dataset):
            return self, self.data
        if self.data is None:
            said, found = find(self.said, kind=kind)
        else:
            if is_pair(self.data) and kind is LabelKind.UNSAID:
                arrays.refuse_measured(self.data[1], HANDED)
                kind = LabelKind.CLASSES  # whole numbers in an array are
            if is_pair(self.data) and self.columns is None:
                return self, self._of_arrays(None, kind.classes)
            said, found = found_of(self._table(self.columns), self.said, label=self._usual, kind=kind)
        return replace(self, said=said), found

    def read(self, columns: tuple[Column, ...], classes: tuple[int | str, ...]) -> Dataset:
        """The rows read again by a recipe."""
        if isinstance(self.data, Dataset):
            return self.data
        if self.data is None:
            return read(self.said, columns=columns, classes=classes)
        names = _single(columns)
        if is_pair(self.data) and names is None:
            return self._of_arrays(columns, classes)
        table = self._table(names, columns)
        return assemble(
            table, self.said, self.said.label or self._usual or label_of(self.said, table), columns, classes
        )

    def read_raw(
        self, columns: tuple[Column, ...], classes: tuple[int | str, ...], *, labelled: bool = False
    ) -> Dataset:
        """Rows for a model to answer: columns that it does not know are passed over, labels too unless ``labelled``."""
        if isinstance(self.data, Dataset):
            return self.data
        if self.data is None:
            return read_raw(self.said, columns, classes, labelled=labelled)
        names = _single(columns)
        if is_pair(self.data) and names is None:
            if labelled:
                return self._of_arrays(columns, classes)
            found = {"x": self.data[0], **{f"{name}s": of for name, of in self.names.items() if name == "id"}}
            return arrays.unlabelled(found, HANDED, columns, classes)
        if "id" in self.names:
            return replace(self, said=replace(self.said, id=self.said.id or "id"))._raw_rows(columns, classes, labelled)
        return self._raw_rows(columns, classes, labelled)

    def _raw_rows(self, columns: tuple[Column, ...], classes: tuple[int | str, ...], labelled: bool) -> Dataset:
        """The same of what has columns."""
        table = self._table(_single(columns))
        label = (self.said.label or self._usual or label_of(self.said, table)) if labelled else None
        return raw_rows(table, self.said, label, columns, classes)

    def filled(self, told: Mapping[str, Any] | None) -> HandedData:
        """The same with what a run knows of its data where nothing is said here."""
        if isinstance(self.data, Dataset) or (told is None and self.data is not None):
            return self
        own = {item.name: getattr(self.said, item.name) for item in fields(self.said)}
        said = {name: value for name, value in own.items() if value not in UNSAID}
        known = Source.from_json({**(told or {}), "location": self.said.location})
        if not is_text(self.said.location):
            known = replace(known, **dict.fromkeys(OF_TEXT, None), no_header=False)
        if self.data is None:  # rows of another form take less
            unfit = {item.name: item.default for item in fields(known)[1:] if not takes(known, item.name)}
            known = replace(known, **{name: default for name, default in unfit.items() if name != "rows"})
        filled = replace(known, **said)
        if self.data is None and is_text(filled.location) and not is_text(str((told or {}).get("location"))):
            filled = look(filled)  # it is read for the first time
        return replace(self, said=filled)

    @property
    def _usual(self) -> str | None:
        """The label by its name alone, where no other is said: of a data set of Hugging Face, and of a pair."""
        return LABEL if is_pair(self.data) or is_of(self.data, "datasets") else None

    def _table(self, names: tuple[str, ...] | None, columns: tuple[Column, ...] | None = None) -> Table:
        if not is_pair(self.data):
            return table_of(self.data, self.said, columns)
        rows, labels = self.data
        beside = {self.said.label or LABEL: labels}
        beside |= {str(getattr(self.said, name)): values for name, values in self.names.items()}
        return table_of_matrix(rows, names or (), beside, HANDED)

    def _of_arrays(self, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
        found = {"x": self.data[0], "y": self.data[1]}
        found |= {f"{name}s": values for name, values in self.names.items()}
        return arrays.made_of(found, HANDED, columns, classes)


GivenData = AnyData | HandedData | Mapping[Split, Dataset] | None  # rows, or where they lie; None where the run says


def _single(columns: tuple[Column, ...]) -> tuple[str, ...] | None:
    """The names of columns that hold one number each, as those of X may have been called; None of whole arrays."""
    if any(column.kind in (ColumnKind.ARRAY, ColumnKind.IMAGE) for column in columns):
        return None
    return tuple(column.name for column in columns if column.kind is not ColumnKind.INDICATOR)


def hand_over(
    data: Any,
    *,
    label: str | None = None,
    subject: str | Names | None = None,
    id: str | Names | None = None,
    columns: Sequence[str] | None = None,
    **options: Any,
) -> HandedData:
    """Data in whichever form, with what is said of them; ``options`` are further fields of a Source."""
    every: dict[str, Any] = {"label": label, "subject": subject, "id": id, **options}
    said: dict[str, Any] = {
        name: tuple(cast("list[Any]", value)) if isinstance(value, list) else value
        for name, value in every.items()
        if not _unsaid(value)
    }
    if isinstance(data, Source | Dataset) and said:
        raise InvalidArgument(
            f"`{next(iter(said))}` is said beside a {type(data).__name__}, which says itself how its rows are read: "
            "say it there"
        )
    if isinstance(data, Source):
        return HandedData(data)
    if isinstance(data, Dataset):
        return HandedData(Source(location=HANDED), data)
    if isinstance(data, str | os.PathLike):
        _check_columns(columns)
        return HandedData(Source(location=os.fspath(data), **said))
    return _in_memory(data, said, columns)


def said_of(data: GivenData, **said: Any) -> GivenData:
    """Data for a run that is there, with what is said of them here; nothing where nothing is given."""
    if data is None or isinstance(data, HandedData | Mapping):
        first = next((name for name, value in said.items() if not _unsaid(value)), None)
        if first is not None:
            raise InvalidArgument(f"`{first}` is said of data, and none are given: give `data`, or leave it out")
        return data
    return hand_over(data, **said)


def _unsaid(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, tuple | list) and not value)


def _in_memory(data: Any, said: dict[str, Any], columns: Sequence[str] | None) -> HandedData:
    if isinstance(data, type) or (isinstance(data, list | dict | set | bytes) and not is_of(data, "datasets")):
        raise _no_data(data)
    if not is_pair(data) and not hasattr(data, "__arrow_c_stream__") and not is_of(data, "datasets"):
        if isinstance(data, np.ndarray) or hasattr(data, "detach") or not isinstance(data, MapStyle):
            raise _no_data(data)
        data = collected(data, HANDED)
    if is_of(data, "datasets") and not (hasattr(data, "with_format") and isinstance(data, MapStyle)):
        raise _no_data(data)
    takes = COLUMNS | {"rows"} if not is_pair(data) else COLUMNS
    takes |= {"split", "image_size"} if is_of(data, "datasets") else set()
    odd = next((name for name in said if name not in takes), None)
    if odd is not None:
        raise InvalidArgument(f"`{odd}` {said[odd]!r:.60} makes no sense for a {type(data).__name__}: leave it out")
    if not is_pair(data):
        _check_columns(columns)
        return HandedData(Source(location=HANDED, **said), data)
    return _pair(data, said, columns)


def _check_columns(columns: Sequence[str] | None) -> None:
    if columns is not None:
        raise InvalidArgument(
            "columns= names the columns of X in (X, y); other data have names of their own: leave it out"
        )


def _no_data(data: Any) -> InvalidArgument:
    what = f"class {data.__name__}" if isinstance(data, type) else type(data).__name__
    return InvalidArgument(f"a {what} is no data that can be read: give {KNOWN}")


def _pair(data: Any, said: dict[str, Any], columns: Sequence[str] | None) -> HandedData:
    names: dict[str, np.ndarray] = {}
    for name in ("subject", "id"):
        value = said.pop(name, None)
        if isinstance(value, str):
            raise InvalidArgument(
                f"`{name}` {value!r} names a column, and arrays have none: give one name for each row"
            )
        if value is not None:
            names[name] = array_of(value, name, HANDED)
            if columns is not None:
                said[name] = name
    if columns is None and said:
        raise InvalidArgument(
            f"`{next(iter(said))}` is for data with columns, and arrays have none: name those of X with columns=[…], "
            "or leave it out"
        )
    pair = array_of(data[0], "x", HANDED), array_of(data[1], "y", HANDED)
    if isinstance(columns, str):
        raise InvalidArgument(f"columns={columns!r} must be a list of names, one for each column of X")
    return HandedData(Source(location=HANDED, **said), pair, names, None if columns is None else tuple(columns))
