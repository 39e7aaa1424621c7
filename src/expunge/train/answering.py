"""Rows as they are held outside, answered by a model that reads them as it read its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.margins import probabilities
from expunge.data.dataset import Dataset
from expunge.data.forms import look
from expunge.data.handed import AnyData, HandedData, Names, hand_over
from expunge.data.tables import is_text
from expunge.schedule.recipe import Recipe
from expunge.tasks import TASKS
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.profile import find_device, pinned


@dataclass(frozen=True, eq=False)
class Predictions:
    """A class for each row, and the probability of every class, in the order of ``classes``.

    Where labels are numbers there are no classes, and ``numbers`` holds an answer for each row, in the labels' units.
    """

    ids: tuple[str, ...]
    classes: tuple[int | str, ...]
    probabilities: np.ndarray
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> list[int | str] | list[float]:
        """The class that each row most likely has, or its number."""
        if self.numbers is not None:
            return self.numbers.tolist()
        return [self.classes[int(at)] for at in self.probabilities.argmax(axis=1)]

    def rows(self) -> Iterator[dict[str, int | float | str]]:
        """Each row as a table shows it: its id, its answer, and how likely each class is."""
        headers = [f"probability {name}" for name in self.classes]
        for id, label, odds in zip(self.ids, self.labels, self.probabilities.tolist(), strict=True):
            yield {"id": id, "answer": label, **dict(zip(headers, odds, strict=True))}


@dataclass(frozen=True, eq=False)
class Answering:
    """A model that answers rows: its recipe, how its own rows are read, and how it is opened on a device."""

    recipe: Recipe
    reading: Mapping[str, Any]
    device: str
    opened: Callable[[torch.device], nn.Module]

    def predict(self, data: AnyData, *, id: str | Names | None = None) -> Predictions:
        """What it answers; no label is needed, and columns that it does not know are passed over."""
        rows = self._read(_paired(data), id, None, labelled=False)
        told, classes = self._signals(rows), self.recipe.classes
        if not classes:
            return Predictions(rows.ids, (), np.empty((len(rows), 0)), told["answer"])
        return Predictions(rows.ids, classes, probabilities(told["beliefs"]))

    def score(self, data: AnyData, *, label: str | None = None) -> dict[str, float]:
        """How well it answers rows whose labels are there: the figures of its task, by name."""
        return TASKS[self.recipe.task].fit(self._signals(self._read(data, None, label, labelled=True)))

    def _read(self, data: AnyData, id: str | Names | None, label: str | None, *, labelled: bool) -> Dataset:
        handed = looked_at(hand_over(data, id=id, label=label).filled({**self.reading, "rows": None}))
        rows = handed.read_raw(self.recipe.inputs.columns, self.recipe.classes, labelled=labelled)
        if isinstance(id, str) and rows.positional:
            raise InvalidArgument(f"the rows to answer have no column {id!r} to use as id: leave `id` out")
        return rows

    def _signals(self, rows: Dataset) -> dict[str, np.ndarray]:
        with pinned(self.recipe):
            examples = Examples(self.recipe, rows, find_device(self.device))
            return signals(self.recipe, self.opened(examples.device), examples, np.arange(len(rows)))


def looked_at(handed: HandedData) -> HandedData:
    """Rows from outside of which it is known how a model's own are read: another file may be written in another way."""
    if handed.data is None and is_text(handed.said.location):
        return replace(handed, said=look(replace(handed.said, separator=None, decimal=None)))
    return handed


def _paired(data: Any) -> Any:
    """Arrays alone are rows without labels."""
    alone = isinstance(data, np.ndarray) or hasattr(data, "detach")
    return (data, np.zeros(len(data), dtype=np.int64)) if alone else data
