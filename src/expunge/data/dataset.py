"""Immutable examples: content columns, a label, an id and a subject per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from expunge.core.errors import DataError
from expunge.core.hashing import sha256

LARGEST_REAL = float(np.finfo(np.float32).max)


class ColumnKind(Enum):
    """How a column of content comes in; fixed by the recipe, never fitted."""

    IMAGE = "image"  # 8-bit pixels, scaled by a constant of the recipe
    NUMERIC = "numeric"  # one real per row
    ARRAY = "array"  # a real array per row
    CATEGORY = "category"  # text, hashed into buckets as a whole
    TEXT = "text"  # text, hashed into buckets word by word
    DATE = "date"  # days since the first of January 1970, one real per row
    INDICATOR = "indicator"  # 1 where the number of the column before it is missing, else 0


REALS = (ColumnKind.NUMERIC, ColumnKind.DATE, ColumnKind.INDICATOR)  # one real per row


@dataclass(frozen=True)
class Column:
    """Name and kind of one content column. ``shape`` is that of one row; ``layout`` orders an image's axes."""

    name: str
    kind: ColumnKind
    shape: tuple[int, ...] = ()
    layout: str = ""
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", float(self.scale))  # a real under the recipe's digest, however it was written


@dataclass(frozen=True)
class Dataset:
    """Rows in a fixed order; the position of a row is its slot once the data set is committed.

    ``labels`` holds indices into ``classes``, or the numbers themselves where there are no classes. Text columns are
    object arrays of ``str``, all others plain arrays.
    ``positional`` says that ids were made from positions because no column was named as id. ``present`` is false
    where a forgotten row is no longer there: its slot stays, its content is gone.
    """

    ids: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[int | str, ...]
    columns: tuple[Column, ...]
    content: Mapping[str, np.ndarray]
    present: np.ndarray
    positional: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def of_numbers(self) -> bool:
        """Whether labels are numbers to be learnt, and no classes."""
        return not self.classes

    def label(self, row: int) -> int | float | str:
        """The label of a row as it was given: its class, or its number."""
        return float(self.labels[row]) if self.of_numbers else self.classes[int(self.labels[row])]

    def take(self, rows: np.ndarray) -> Dataset:
        """These rows, in this order, as a data set of their own."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            subjects=tuple(self.subjects[row] for row in rows),
            labels=self.labels[rows],
            content={name: values[rows] for name, values in self.content.items()},
            present=self.present[rows],
        )

    def example(self, row: int) -> dict[str, Any]:
        """One row as the fields that are committed."""
        fields: dict[str, Any] = {"id": self.ids[row], "subject": self.subjects[row], "label": self.label(row)}
        for column in self.columns:
            value = self.content[column.name][row]
            fields[f"content.{column.name}"] = value if column.shape else _scalar(value, column)
        return fields


def _scalar(value: Any, column: Column) -> Any:
    return float(value) if column.kind in REALS else str(value)


def content_digest(dataset: Dataset, row: int, *, labelled: bool = True) -> bytes:
    """What tells a row's content, and its label, from all others, under whatever name it stands."""
    values = [dataset.content[column.name][row] for column in dataset.columns]
    parts = [value.encode() if isinstance(value, str) else np.asarray(value).tobytes() for value in values]
    label = dataset.labels[row].astype("<f8" if dataset.of_numbers else "<i8").tobytes() if labelled else b""
    return sha256(*[sha256(part) for part in parts], label)


def make_dataset(
    *,
    labels: Sequence[int | float | str],
    columns: Sequence[Column],
    content: Mapping[str, np.ndarray],
    ids: Sequence[str] | None = None,
    subjects: Sequence[str] | None = None,
    classes: Sequence[int | str] | None = None,
    where: str,
) -> Dataset:
    """Check rows as they come from a source and make a data set of them.

    Without ids, a row's id is its position (``row-0``, ``row-1``, …); without subjects, every row is a person of its
    own. ``where`` names the source in errors. Classes that are none say that labels are numbers.
    """
    count = len(labels)
    if count == 0:
        raise DataError(f"{where} holds no rows: a data set needs at least one")
    if not columns:
        raise DataError(f"{where} has no content column left besides id, label and subject: name fewer of them")
    for name, values in content.items():
        if len(values) != count:
            raise DataError(f"{where}: column {name!r} has {len(values)} rows, the labels have {count}")
    positional = ids is None
    chosen_ids = tuple(f"row-{row}" for row in range(count)) if ids is None else tuple(ids)
    _check_ids(chosen_ids, count, where)
    if subjects is not None and len(subjects) != count:
        raise DataError(f"{where}: {len(subjects)} subjects for {count} rows: every row needs one")
    numbers = classes is not None and not classes
    classes = _ordered(set(labels)) if classes is None else tuple(classes)
    targets = _numbers(labels, where) if numbers else _indices(labels, classes, where)
    for column in columns:
        values = content[column.name]
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int(np.argwhere(~np.isfinite(values.reshape(count, -1)).all(axis=1))[0, 0])
            raise DataError(
                f"{where}: column {column.name!r} of row {bad} ({chosen_ids[bad]}) is not a finite number: "
                "fill or remove it before training"
            )
        if values.dtype == np.float64 and values.size and float(np.abs(values).max()) > LARGEST_REAL:
            raise DataError(
                f"{where}: column {column.name!r} holds {float(np.abs(values).max()):g}, models compute in 32 bits and "
                f"end at {LARGEST_REAL:g}: write it in another unit"
            )
    return Dataset(
        ids=chosen_ids,
        subjects=chosen_ids if subjects is None else tuple(subjects),
        labels=targets,
        classes=classes,
        columns=tuple(columns),
        content=dict(content),
        present=np.ones(count, dtype=bool),
        positional=positional,
    )


def _indices(labels: Sequence[int | float | str], classes: tuple[Any, ...], where: str) -> np.ndarray:
    """The place of every label among the classes."""
    positions = {value: index for index, value in enumerate(classes)}
    unknown = sorted({str(label) for label in labels if label not in positions})
    if unknown:
        raise DataError(
            f"{where}: label {unknown[0]!r} is not among the classes {', '.join(map(str, classes[:20]))}: "
            "drop the row, or give the data that the run was trained on"
        )
    if len(positions) < 2:
        raise DataError(f"{where} holds one class only ({classes[0]!r}): a classifier needs at least two")
    return np.array([positions[label] for label in labels], dtype=np.int64)


def _numbers(labels: Sequence[int | float | str], where: str) -> np.ndarray:
    """The labels as numbers; a word is none."""
    for row, label in enumerate(labels):
        if isinstance(label, str) or not abs(label) <= LARGEST_REAL:
            raise DataError(
                f"{where}: the label of row {row} is {label!r:.60}, and `task` regression learns finite numbers within "
                f"±{LARGEST_REAL:g}: fill or remove it, name another column, or leave the task out to learn classes"
            )
    return np.array(labels, dtype=np.float64)


def _check_ids(ids: tuple[str, ...], count: int, where: str) -> None:
    if len(ids) != count:
        raise DataError(f"{where}: {len(ids)} ids for {count} rows: every row needs one")
    if len(set(ids)) != count:
        seen: set[str] = set()
        twice = next(name for name in ids if name in seen or seen.add(name))
        raise DataError(f"{where}: id {twice!r} stands more than once: ids must be unique, name another column as id")


def _ordered(values: set[Any]) -> tuple[int | str, ...]:
    numbers = sorted(value for value in values if isinstance(value, int))
    words = sorted(value for value in values if isinstance(value, str))
    return (*numbers, *words)
