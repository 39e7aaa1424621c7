"""Rows that the verifier reads, seated by the committed leaves. No torch.

What was forgotten may be gone; every other row must be, byte for byte, the one that its leaf was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from expunge.core.wording import counted
from expunge.data.commitment import open_again
from expunge.data.dataset import Column, Dataset
from expunge.data.forms import look_at, read
from expunge.data.salts import OPEN, Salts, SecretSalts, read_salts
from expunge.data.source import Source
from expunge.data.splits import SPLITS, Split
from expunge.records.limits import Code, refused
from expunge.records.record import LeafSalts
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing


class Contents:
    """The rows of a record as the verifier has them; checked before they are used.

    ``data`` is a place to read from, or rows that are at hand; ``salts`` the file of secret salts.
    """

    def __init__(self, opened: OpenedRecord, data: Path | str | Dataset, salts: Path | str | None) -> None:
        self._opened = opened
        self._salts = self._read_salts(salts)
        said = opened.committed.data.source
        self.source = None if isinstance(data, Dataset) else Source.from_json({**said, "location": str(data)})
        self._data = data if isinstance(data, Dataset) else None
        self._rows: dict[Split, Dataset] | None = None

    def check_leaves(self) -> str:
        """Every row that must be there is the one that was committed."""
        opened = self._opened
        if self._salts is None:
            raise EvidenceMissing(
                "the leaves are hidden under secret salts, without which no row can be checked: ask the owner for the "
                "salt file and give it with `salts`"
            )
        if isinstance(self._salts, SecretSalts):
            self._check_secret(self._salts)
            self._check_destroyed(self._salts)
        dataset = _labelled(self.read_with(opened.recipe.inputs.columns, opened.recipe.classes), opened.recipe.classes)
        cut = self.source is not None and self.source.rows is not None
        try:
            self._rows = open_again(
                dataset, opened.commitment, opened.tombstones, opened.released, cut=cut, salts=self._salts
            )
        except DataError as error:
            raise refused(Code.CONTENT_LEAF_MISMATCH, str(error)) from None
        self._check_units()
        absent = len(self.train) - int(self.train.present.sum())
        return (
            f"{counted(self.left, 'row')} are those of their leaves; {counted(len(opened.tombstones), 'training row')} "
            f"forgotten, {absent} of them compared with nothing (the row or its salt is not here)"
        )

    def _check_units(self) -> None:
        """Subjects of the rows at hand and the committed units are one to one: a person sits in one place."""
        there = np.flatnonzero(self.train.present).tolist()
        pairs = {(self.train.subjects[slot], int(self._opened.units[slot])) for slot in there}
        subjects, units = {subject for subject, _ in pairs}, {unit for _, unit in pairs}
        if not len(subjects) == len(units) == len(pairs):
            raise refused(
                Code.SHARD_MAP_MISMATCH,
                f"the training rows at hand belong to {counted(len(subjects), 'subject')}, the committed units make "
                f"{len(units)} of them in other groups: who sits in which shard does not follow from the data",
            )

    @property
    def rows(self) -> Mapping[Split, Dataset]:
        """Every split's rows at their slots; those that are gone are marked absent."""
        assert self._rows is not None, "the leaves were not checked"
        return self._rows

    @property
    def train(self) -> Dataset:
        """The training rows at their slots."""
        return self.rows[Split.TRAIN]

    @property
    def left(self) -> int:
        """How many of the committed rows are at hand."""
        return sum(int(rows.present.sum()) for rows in self.rows.values())

    def _read_salts(self, path: Path | str | None) -> Salts | None:
        """None where they are secret and no file was given."""
        committed = self._opened.committed.data
        if committed.salts is LeafSalts.OPEN:
            if path is not None:
                raise InvalidArgument(f"salt file {path} has no use here: the salts are open; leave `salts` out")
            return OPEN
        return None if path is None else read_salts(path, committed.rows)

    def _check_secret(self, salts: SecretSalts) -> None:
        """Leaves that are called hidden were made with salts that hide them."""
        odd = salts.hiding_nothing
        if odd:
            raise refused(
                Code.CONTENT_LEAF_MISMATCH,
                f"the commitment calls its salts secret, and in {salts.place} those of {counted(len(odd), 'row')} (the "
                f"first is row {odd[0]}) are open ones or another row's: guesses of such a row can be tested",
            )

    def _check_destroyed(self, salts: SecretSalts) -> None:
        """A salt that is gone although its row was not forgotten is missing evidence, no other content."""
        opened = self._opened
        may_miss = {Split.TRAIN: opened.tombstones, **opened.released}
        for split in SPLITS:
            excused = {int(slot) for slot in may_miss.get(split, ())}
            rows = opened.commitment.source_rows(split, np.arange(len(opened.commitment.leaves[split.code])))
            for slot, row in enumerate(rows.tolist()):
                if slot not in excused and salts.of(row, slot) is None:
                    raise EvidenceMissing(
                        f"the salt of row {row} was destroyed in {salts.place}, and this run has not forgotten that "
                        "row: a later run did, so verify that one, or ask for a salt file that still holds it"
                    )

    def read_with(
        self,
        columns: tuple[Column, ...] | None,
        classes: tuple[int | str, ...] | None,
        rows: int | None = None,
    ) -> Dataset:
        """The rows as they are given, or read with columns and classes: None lets the rows say what they are.

        ``rows`` takes fewer of a source that was cut. A place that can be read, and not as the commitment says, does
        not hold the committed rows; one that cannot be read at all decides nothing.
        """
        if self._data is not None:
            return self._data
        assert self.source is not None
        source = self.source if rows is None or self.source.rows is None else replace(self.source, rows=rows)
        try:
            return read(source, columns=columns, classes=classes)
        except ExpungeError as error:
            if columns is None:
                raise
            look_at(source.location)
            label = "no column as label" if source.label is None else f"column {source.label!r} as label"
            raise refused(
                Code.CONTENT_LEAF_MISMATCH,
                f"read as the commitment says, with {label}, {source.location} does not give the committed rows "
                f"({error}): either the owner committed to other columns than those that were trained on, or these are "
                "other data",
            ) from None


def _labelled(dataset: Dataset, classes: tuple[int | str, ...]) -> Dataset:
    """Labels counted by the recipe's classes, of which rows at hand may lack some; a label beyond them fits no leaf."""
    if dataset.classes == classes or not set(dataset.classes) <= set(classes):
        return dataset
    places = np.array([classes.index(name) for name in dataset.classes], dtype=np.int64)
    return replace(dataset, classes=classes, labels=places[dataset.labels])
