"""``predict``: what a run's model answers to rows that it never saw, read as it reads its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.data.forms import look
from expunge.data.handed import AnyData, Names, hand_over
from expunge.data.tables import is_text
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import find_device


@dataclass(frozen=True, eq=False)
class Predictions:
    """A class for each row, and the probability of every class, in the order of ``classes``."""

    ids: tuple[str, ...]
    classes: tuple[int | str, ...]
    probabilities: np.ndarray

    @property
    def labels(self) -> list[int | str]:
        """The class that each row most likely has."""
        return [self.classes[int(at)] for at in self.probabilities.argmax(axis=1)]


def predict(
    run: Run | Path | str, data: AnyData, *, id: str | Names | None = None, device: str | None = None
) -> Predictions:
    """What the model of a run answers to rows in whatever form ``train`` takes.

    Columns are read as the run's own; a label is not needed, and columns that the model does not know are passed over.
    ``id`` names the rows, as in the run unless said.
    """
    opened = Run.of(run)
    recipe, described = opened.recipe, opened.told.data
    handed = hand_over(_paired(data), id=id).filled({**(described.source or described.held or {}), "rows": None})
    if handed.data is None and is_text(handed.said.location):  # another file may be written in another way
        handed = replace(handed, said=look(replace(handed.said, separator=None, decimal=None)))
    rows = handed.read_unlabelled(recipe.inputs.columns, recipe.classes)
    with pinned(recipe):
        examples = Examples(recipe, rows, find_device(device or opened.told.device))
        told = signals(recipe, opened.model(examples.device), examples, np.arange(len(rows)))
    beliefs = told["beliefs"] - told["beliefs"].max(axis=1, keepdims=True)
    odds = np.exp(beliefs)
    return Predictions(rows.ids, recipe.classes, odds / odds.sum(axis=1, keepdims=True))


def _paired(data: Any) -> Any:
    """Arrays alone are rows without labels."""
    alone = isinstance(data, np.ndarray) or hasattr(data, "detach")
    return (data, np.zeros(len(data), dtype=np.int64)) if alone else data
