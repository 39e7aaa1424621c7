"""Models that were trained without half of the rows: what they answer to every row, and who was in which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.run import Run

MAKE = "make them with `expunge halves`, or one with `expunge.train(…, without=random:50%:SEED, seed=SEED)`"


@dataclass(frozen=True, eq=False)
class HalfModels:
    """Runs of the recipe and data of the one that is looked at, each under a seed of its own."""

    runs: tuple[Run, ...]

    @classmethod
    def of(cls, given: Sequence[Run | Path | str], run: Run) -> HalfModels:
        """Open and check them; a run is a half model if it was trained so, whatever half that is."""
        runs = tuple(Run.of(one, "halves") for one in given)
        for one in runs:
            if one.told.operation != "train" or not len(one.tombstones):
                raise InvalidArgument(f"`halves` {one.path} was not trained without some of the rows: {MAKE}")
            if one.root != run.root or not one.has_recipe_of(run):
                raise InvalidArgument(
                    f"`halves` {one.path} has other rows or another recipe than {run.path}: train it as that was, but "
                    "for its seed"
                )
        seeds = [one.recipe.seed for one in runs]
        twice = next((seed for seed in seeds if seeds.count(seed) > 1 or seed == run.recipe.seed), None)
        if twice is not None:
            raise InvalidArgument(
                f"two of `halves`, or one and {run.path}, share the seed {twice}: shared noise of a seed looks like "
                "memory; give each a seed of its own"
            )
        return cls(runs)

    def read(self, examples: Examples, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(margins, memberships) of some rows, model by model."""
        margins = [signals(one.recipe, one.model(examples.device), examples, slots)["margin"] for one in self.runs]
        return np.array(margins), np.array([~np.isin(slots, one.tombstones) for one in self.runs])
