"""Rows in two parts: those that a model elsewhere was trained on, and others that it never saw."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.streams import stable_order
from expunge.data.dataset import Column, ColumnKind, Dataset, content_digest
from expunge.data.forms import find, look, read, takes
from expunge.data.labels import LabelKind
from expunge.data.source import Source
from expunge.data.splits import Split, split_stream
from expunge.records.run_file import DataFile

WORDS = {split.value: split for split in Split}
TEST = "test"  # of a split column: never trained on, and yet to be dealt out
CALIBRATION_SHARE = 4  # of so many rows that nobody trained on one is for calibration, the others are the holdout


@dataclass(frozen=True)
class RowParts:
    """Two places, or one whose ``split_column`` says row by row which were trained on."""

    data: Source
    holdout: Source | None = None
    split_column: str | None = None

    def find(self, seed: int, kind: LabelKind) -> tuple[RowParts, Dataset, np.ndarray]:
        """All rows as they are read for the first time, those of ``data`` first, and the split code of each.

        With them the places, and what was found of how they are written.
        """
        source, column = self.data, self.split_column
        if column is not None and takes(source, "categorical"):  # words, whatever they spell
            source = replace(source, categorical=(*source.categorical, column))
        source, found = find(source, kind=kind)
        others, holdout = None, self.holdout
        if holdout is not None:
            known = tuple(one for one in found.columns if one.name != column)
            holdout = look(holdout)
            others = read(holdout, columns=known, classes=found.classes)
        places = RowParts(replace(source, categorical=self.data.categorical), holdout, column)
        return places, *parted(found, others, column, seed)

    def again(self, columns: tuple[Column, ...], classes: tuple[int | str, ...]) -> Dataset:
        """The same rows, read by a recipe; forgotten ones may be gone."""
        name = self.split_column
        marked = columns if name is None else (*columns, Column(name, ColumnKind.CATEGORY))
        found = read(self.data, columns=marked, classes=classes)
        if name is not None:
            found = _without_column(found, name)
        if self.holdout is None:
            return found
        return joined(found, read(self.holdout, columns=columns, classes=classes))


def parts_of(told: DataFile, moved: str | None = None) -> RowParts:
    """Where a run's rows lie, by its run.json; ``moved`` is where those that it was trained on lie now."""
    source = Source(location=str(moved)) if told.source is None else Source.from_json(told.source)
    holdout = None if told.holdout is None else Source.from_json(told.holdout)
    return RowParts(source if moved is None else replace(source, location=moved), holdout, told.split_column)


def parted(found: Dataset, others: Dataset | None, split_column: str | None, seed: int) -> tuple[Dataset, np.ndarray]:
    """All rows, ``others`` last, and the split code of each: what was never trained on is dealt 1:3 by the seed."""
    marks = [Split.TRAIN.value] * len(found)
    if split_column is not None:
        found, marks = _unmarked(found, split_column)
    if others is not None:
        found = joined(found, others)
        marks += [TEST] * len(others)
        _refuse_shared(found, len(others))
    codes = np.array([WORDS.get(mark, Split.HOLDOUT).code for mark in marks], dtype=np.uint8)
    if not (codes == Split.TRAIN.code).any():
        raise InvalidArgument("`split_column` says of no row that it was trained on: there is nothing to forget")
    return found, _dealt(codes, np.array([row for row, mark in enumerate(marks) if mark == TEST], dtype=np.int64), seed)


def joined(first: Dataset, second: Dataset) -> Dataset:
    """The rows of one data set, then those of another of the same form."""
    if first.columns != second.columns or first.classes != second.classes:
        raise DataError(
            "`holdout` has other columns or classes than the data: give rows of the same form, with labels among the "
            "classes of the data"
        )
    if first.positional != second.positional:
        raise DataError("`holdout` and the data must both have a column of ids, or neither: name it with `id`")
    ids, subjects = (*first.ids, *second.ids), (*first.subjects, *second.subjects)
    if first.positional:
        own, ids = subjects == ids, tuple(f"row-{row}" for row in range(len(ids)))
        subjects = ids if own else subjects
    elif len(set(ids)) < len(ids):
        raise DataError(
            f"{len(ids) - len(set(ids))} ids of `holdout` stand in the data too: a row that was trained on is no "
            "holdout; take it out, or give it an id of its own"
        )
    return replace(
        first,
        ids=ids,
        subjects=subjects,
        labels=np.concatenate([first.labels, second.labels]),
        content={name: np.concatenate([values, second.content[name]]) for name, values in first.content.items()},
        present=np.concatenate([first.present, second.present]),
    )


def _refuse_shared(found: Dataset, last: int) -> None:
    """What was trained on is no holdout, under whatever name or label it comes."""
    begin = len(found) - last
    known = {content_digest(found, row, labelled=False) for row in range(begin)}
    shared = sum(content_digest(found, row, labelled=False) in known for row in range(begin, len(found)))
    if shared:
        raise DataError(
            f"{shared} of {last} rows of `holdout` stand in the data too, with the same content: what was trained on "
            "is no holdout; take these rows out"
        )


def _unmarked(dataset: Dataset, name: str) -> tuple[Dataset, list[str]]:
    """The rows without the column that says what each is for, and what it says."""
    if name not in dataset.content:
        there = ", ".join(column.name for column in dataset.columns[:40])
        raise InvalidArgument(f"`split_column` {name!r} is no content column of the data: name one of {there}")
    marks = [str(value).strip() for value in dataset.content[name]]
    odd = next((mark for mark in marks if mark != TEST and mark not in WORDS), None)
    if odd is not None:
        raise DataError(
            f"`split_column` {name!r} holds {odd[:40]!r}: it must say train, calibration, holdout, or test (dealt out "
            "to the latter two) of every row"
        )
    return _without_column(dataset, name), marks


def _without_column(dataset: Dataset, name: str) -> Dataset:
    return replace(
        dataset,
        columns=tuple(column for column in dataset.columns if column.name != name),
        content={column: values for column, values in dataset.content.items() if column != name},
    )


def _dealt(codes: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    order = stable_order(split_stream(seed, "adopted").words(len(rows)))
    found = codes.copy()
    found[rows[order]] = Split.HOLDOUT.code
    found[rows[order[: round(len(rows) / CALIBRATION_SHARE)]]] = Split.CALIBRATION.code
    return found
