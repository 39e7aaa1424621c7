"""Data that a worker has read and checked already: many jobs in a row need the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from expunge.core.errors import DataError
from expunge.core.hashing import canonical_json, sha256
from expunge.core.values import Figure
from expunge.data.commitment import commit
from expunge.data.dataset import Dataset
from expunge.data.forms import read, read_raw
from expunge.data.source import Source
from expunge.data.splits import SPLITS, Split, SplitBy, split_rows
from expunge.data.stored import roots_of
from expunge.records.run_file import Roots
from expunge.schedule.recipe import Recipe
from expunge.study.job import WHOLE, PlannedData

Value = TypeVar("Value")


@dataclass(frozen=True)
class Opened:
    """A data set, how it is dealt to its splits, and the roots that it is committed to."""

    dataset: Dataset
    rows: Mapping[Split, Dataset]
    roots: Roots


class OpenedData:
    """Data by where they lie and how they are split; each is read and checked once."""

    def __init__(self) -> None:
        self._opened: dict[str, Opened] = {}
        self._last: tuple[str, Any] | None = None
        self.figures: dict[object, Figure] = {}  # what evaluations found of single models

    def hand_over(self, described: PlannedData, dataset: Dataset) -> None:
        """Rows that somebody else has read: a worker on another machine may not see the file."""
        by = None if described.split_by == WHOLE else SplitBy(described.split_by)
        self._opened[_name(described)] = deal(dataset, described.split_seed, by)

    def rows(self, described: PlannedData) -> Mapping[Split, Dataset]:
        """The rows in their splits, which must be those that the study was planned with."""
        return self._found(described).rows

    def dataset(self, described: PlannedData) -> Dataset:
        """All rows as they were read, under the same rule."""
        return self._found(described).dataset

    def scored(self, described: PlannedData, recipe: Recipe) -> Dataset:
        """Rows that a model is scored on, read as it reads its own."""
        return self._found(described, recipe).dataset

    def _found(self, described: PlannedData, recipe: Recipe | None = None) -> Opened:
        name = _name(described)
        if name not in self._opened:
            source, classes = Source.from_json(described.source), () if described.numbers else None
            found = read(source, classes=classes) if recipe is None else read_scored(source, recipe)
            self.hand_over(described, found)
        opened = self._opened[name]
        if opened.roots != described.roots:
            del self._opened[name]
            raise DataError(
                f"the data at {described.source['location']} are not those that the study was planned with: put "
                "them back, or start the study again with these"
            )
        return opened

    def last(self, name: str, make: Callable[[], Value]) -> Value:
        """What was made last under this name, or made now: jobs in a row often need the same."""
        if self._last is None or self._last[0] != name:
            self._last = (name, make())
        return self._last[1]


def read_scored(source: Source, recipe: Recipe) -> Dataset:
    """Rows with labels, by the columns and classes of a recipe."""
    return read_raw(source, recipe.inputs.columns, recipe.classes, labelled=True)


def deal(dataset: Dataset, split_seed: int, split_by: SplitBy | None) -> Opened:
    """Split a data set and commit to it; by nothing, all rows are of one split."""
    whole = np.zeros(len(dataset), dtype=np.uint8)
    assignment = whole if split_by is None else split_rows(dataset, seed=split_seed, by=split_by)
    rows = {split: dataset.take(np.flatnonzero(assignment == split.code)) for split in SPLITS}
    return Opened(dataset, rows, roots_of(commit(dataset, assignment)))


def source_name(source: Mapping[str, Any]) -> str:
    """A source, as a job's means describe it, in one word: two may lie in one place and be read differently."""
    return sha256(canonical_json(dict(source))).hex()


def _name(described: PlannedData) -> str:
    read_as = "numbers" if described.numbers else "classes"
    return f"{source_name(described.source)}/{read_as}/{described.split_seed}/{described.split_by}"
