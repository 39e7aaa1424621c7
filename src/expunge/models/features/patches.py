"""Images: how much of each filter their patches hold, cell by cell (after Coates and Ng, 2011), in whole numbers.

The filters are real patches of scikit-learn's two public photographs (by D. Buechele and vultilion, CC BY 2.0),
whitened by them, made once by ``studies/patch_filters.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from expunge.core.errors import RunError
from expunge.core.hashing import sha256
from expunge.models.features.contract import Constants, Encoded
from expunge.models.features.pixels import PixelMap

LEAST_SIDE, LARGEST_SIDE = 12, 512  # a cell of the largest ones has so many places that its sum is exact yet
SIDE = 6
FLAT = 10.0  # added to the variance of a patch, in squares of a pixel's step: where nothing is, nothing is amplified
LEVELS = 64  # to a standard deviation over the photographs
FLOOR = 32  # levels that a patch must have of a filter to count
AT_ONCE = 2  # rows: what is computed of them stays near the processor

FILTERS = Path(__file__).with_name("filters.npz")
FILTERS_DIGEST = "db39b7774a04abf1bb3ef21f33782507754230f8dd83ab5468bd92336c9e6cf6"


@cache
def filters(name: str) -> tuple[np.ndarray, int]:
    """All filters for grey or colour, (filters, entries) whole numbers of 8 bits, and what one deviation is of them."""
    content = FILTERS.read_bytes()
    if sha256(content).hex() != FILTERS_DIGEST:
        raise RunError(f"the filters {FILTERS.name} are not those of this release: install it again")
    with np.load(FILTERS) as found:
        return found[name], int(found[f"{name}_unit"])


@dataclass(frozen=True)
class PatchMap(PixelMap):
    """Of each filter, either sign and cell √ of what the patches there have of it beyond a floor, in 8 bits.

    What a patch has is its product with the filter over its contrast. Grey images are summed over 3 × 3 cells, coloured
    ones over 2 × 2, and they enter the sums mirrored as well.
    """

    name = "patches"
    usual_width: ClassVar[int] = 2048
    usual_penalty: ClassVar[tuple[str, int]] = ("spread", 6)

    @property
    def _coloured(self) -> bool:
        return self.encoding.shape[0] == 3

    @property
    def _cells(self) -> int:
        return 2 if self._coloured else 3

    def views(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        return (rows, rows[..., ::-1]) if self._coloured else (rows,)

    def work(self, rows: Encoded) -> float:
        channels, *sides = self.encoding.shape
        places = math.prod(side - SIDE + 1 for side in sides)
        return 2.0 * places * SIDE**2 * channels * ((self.width - 1) // (2 * self._cells**2))

    def _of_pixels(self, pixels: np.ndarray, constants: Constants) -> np.ndarray:
        found = np.zeros((len(pixels), self.width), dtype=np.int32)
        found[:, -1] = 1
        weights, unit = filters("colour" if self._coloured else "grey")
        chosen = weights[: (self.width - 1) // (2 * self._cells**2)].astype(np.float32)
        for at in range(0, len(pixels), AT_ONCE):
            summed = self._summed(pixels[at : at + AT_ONCE], chosen, unit)
            found[at : at + AT_ONCE, : summed.shape[1]] = summed
        return found

    def _summed(self, pixels: np.ndarray, weights: np.ndarray, unit: int) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(pixels, (SIDE, SIDE), axis=(2, 3))
        rows, _, down, across = windows.shape[:4]
        patches = windows.transpose(1, 4, 5, 0, 2, 3).reshape(weights.shape[1], -1)
        held = weights @ patches
        held /= contrasts(patches) * np.float32(unit / LEVELS)
        cells, sizes = _cells_of(down, across, self._cells)
        sums = np.empty((rows, len(weights), 2, len(sizes)))
        part = np.empty_like(held)
        for sign, beyond in enumerate((np.subtract, np.add)):
            beyond(held, np.float32(FLOOR), out=part)
            np.rint(np.clip(part, *((0, 255), (-255, 0))[sign], out=part), out=part)
            pooled = np.abs(part.reshape(-1, down * across) @ cells)
            sums[:, :, sign] = pooled.reshape(len(weights), rows, -1).transpose(1, 0, 2)
        return np.rint(np.sqrt(sums * 255 / sizes)).reshape(rows, -1).astype(np.int32)


def contrasts(patches: np.ndarray) -> np.ndarray:
    """Root of variance and ``FLAT`` of each column of pixels, by the exact variance in whole numbers."""
    size = len(patches)
    ones = np.ones(size, dtype=np.float32)
    sums, squares = (ones @ patches).astype(np.float64), (ones @ (patches * patches)).astype(np.float64)
    return np.sqrt((size * squares - sums * sums) / size**2 + FLAT).astype(np.float32)


@cache
def _cells_of(down: int, across: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Which place lies in which cell, (places, cells) of 0 and 1, and how many places a cell has."""
    rows, columns = (np.arange(size) * cells // size for size in (down, across))
    cell = (rows[:, None] * cells + columns).ravel()
    found = (cell[:, None] == np.arange(cells**2)).astype(np.float32)
    return found, found.sum(axis=0, dtype=np.float64)
