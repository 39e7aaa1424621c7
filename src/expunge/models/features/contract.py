"""The contract of a feature map: from rows to whole numbers, the same bits on every machine, batch and thread count.

Every operation is an integer sum that is exact, one IEEE operation on elements (+ − × ÷ √, a comparison), or a look-up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from expunge.data.dataset import Dataset
from expunge.data.encoding import Encoding

LARGEST = 2047  # of a feature, its sign apart
WIDEST = 8192
MOST_ROWS = (2**53 - 1) // LARGEST**2  # then every sum of products is exact in float64

Constants = dict[str, np.ndarray]  # by name; buffers of the model, under its weights digest


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths, one after another: row i is ``values[offsets[i] : offsets[i + 1]]``."""

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """These rows side by side, filled with −1 up to the longest of them."""
        starts, lengths = self.offsets[:-1][rows], np.diff(self.offsets)[rows]
        found = np.full((len(lengths), int(lengths.max(initial=0))), -1, dtype=self.values.dtype)
        inside = np.arange(found.shape[1]) < lengths[:, None]
        found[inside] = self.values[(starts[:, None] + np.arange(found.shape[1]))[inside]]
        return found


Encoded = np.ndarray | Ragged  # what a data set is to a model; ``encoded[slots]`` is what goes into it


@dataclass(frozen=True)
class FeatureMap(ABC):
    """Features of encoded rows: ``width`` columns, the last of them the constant 1.

    Sums are taken over ``features(rows, wide)``, where ``wide = {**drawn(seed), **derived(…, spares=True)}``; the model
    answers by ``{**drawn(seed), **derived(…)}``, whose columns stand at ``columns(wide, constants)`` of the sums. After
    a deletion the constants are derived from the rows that are left: where ``columns`` is None, sums must be
    accumulated again, and ``moved`` says why.
    """

    name: ClassVar[str]
    usual_width: ClassVar[int]
    usual_penalty: ClassVar[tuple[str, int]]

    encoding: Encoding
    width: int

    @abstractmethod
    def encode(self, dataset: Dataset) -> Encoded:
        """What rows are to the model; of those that are gone nothing is said."""

    def drawn(self, seed: bytes) -> Constants:
        """What comes of the lineage's seed, if anything does: other seeds are other references."""
        return {}

    def derived(self, rows: Encoded, present: np.ndarray, *, spares: bool = False) -> Constants:
        """What comes of the rows present, if anything does; with what is summed beyond it in reserve."""
        return {}

    def penalty(self, classes: int) -> tuple[str, int]:
        """Which penalty derived from the sums goes with the map, and its shift: 2^-shift is a factor of it."""
        return self.usual_penalty

    def views(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """What of rows enters the sums, a term each: themselves, unless the map says more; answers read them alone."""
        return (rows,)

    @abstractmethod
    def features(self, rows: Encoded, constants: Constants) -> np.ndarray:
        """(rows, columns) int32 within ±2047 of rows as they go into the model, or of all encoded ones."""

    @abstractmethod
    def work(self, rows: Encoded) -> float:
        """About how many additions and multiplications features take, a row on average over some encoded ones."""

    def columns(self, wide: Constants, constants: Constants) -> np.ndarray | None:
        """Where in sums that were taken by ``wide`` the columns of ``constants`` stand; None if they do not."""
        alike = all(np.array_equal(wide[name], value) for name, value in constants.items())
        return np.arange(self.width) if alike else None

    def lighter(self, wide: Constants, held: np.ndarray) -> tuple[Constants, np.ndarray]:
        """``wide`` without what only rows that are gone held, and where its columns stood before.

        ``held`` is how much the rows that are left hold of each column.
        """
        return wide, np.arange(len(held))

    @property
    def summed(self) -> int:
        """How many columns are summed."""
        return self.width

    def answering(self, wide: Constants, held: np.ndarray) -> Constants:
        """What ``derived`` comes to without spares, told by the sums alone."""
        return wide

    def can_be_derived(self, wide: Constants) -> bool:
        """Whether rows could have these constants, those that are drawn apart."""
        return not wide

    def moved(self, wide: Constants, constants: Constants) -> str:
        """Why ``columns`` is None, for people."""
        return "what was derived from the rows is another now"

    def extremes(self, rows: Encoded, constants: Constants) -> np.ndarray:
        """(rows, ends) booleans: who holds an end of a range. Forgetting all who hold one end moves it."""
        return np.zeros((len(rows), 0), dtype=bool)
