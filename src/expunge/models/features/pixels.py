"""Images, and real arrays, as pixels of 8 bits."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from expunge.data.dataset import ColumnKind, Dataset
from expunge.models.features.contract import Constants, Encoded, FeatureMap
from expunge.models.features.edges import bounds_of

BLOCK = 4096  # rows looked at at once


@dataclass(frozen=True)
class PixelMap(FeatureMap):
    """A map of images or real arrays.

    Between the least and the greatest entry of all real arrays present lie 256 steps; what is beyond them is at them.
    """

    @property
    def _is_real(self) -> bool:
        return self.encoding.columns[0].kind is ColumnKind.ARRAY

    def encode(self, dataset: Dataset) -> np.ndarray:
        return self.encoding.encode(dataset)

    def derived(self, rows: Encoded, present: np.ndarray, *, spares: bool = False) -> Constants:
        if not self._is_real:
            return {}
        assert isinstance(rows, np.ndarray)
        there = np.flatnonzero(present)
        blocks = (rows[there[at : at + BLOCK]].astype(np.float64) for at in range(0, len(there), BLOCK))
        return {"bounds": bounds_of(np.concatenate([bounds_of(block.reshape(-1, 1)) for block in blocks]))}

    def features(self, rows: Encoded, constants: Constants) -> np.ndarray:
        assert isinstance(rows, np.ndarray)
        if not self._is_real:
            scaled = rows.astype(np.float64) * self.encoding.columns[0].scale * 255
        else:
            low, high = constants["bounds"].ravel()
            scaled = (rows.astype(np.float64) - low) * 255 / (high - low if high > low else 1.0)
        return self._of_pixels(np.clip(np.rint(scaled), 0, 255).astype(np.float32), constants)

    @abstractmethod
    def _of_pixels(self, pixels: np.ndarray, constants: Constants) -> np.ndarray:
        """Features of whole numbers from 0 to 255, in the shape of the rows."""

    def moved(self, wide: Constants, constants: Constants) -> str:
        return "the least or greatest entry of the rows is another now"

    def extremes(self, rows: Encoded, constants: Constants) -> np.ndarray:
        if not self._is_real:
            return super().extremes(rows, constants)
        assert isinstance(rows, np.ndarray)
        flat = rows.reshape(len(rows), -1)
        return np.stack([(flat == end).any(axis=1) for end in constants["bounds"].ravel()], axis=1)
