"""Slot → (shard, slice), decided before training by a stream of the lineage."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapreplace

import numpy as np

from expunge.core.streams import Stream, stable_order
from expunge.schedule.recipe import Placement


def number_units(subjects: Sequence[str]) -> np.ndarray:
    """Unit of every slot: subjects numbered by their first slot."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(subject, len(numbers)) for subject in subjects], dtype=np.int64)


def place(seed: bytes, units: np.ndarray, *, shards: int, slices: int, placement: Placement) -> np.ndarray:
    """(n, 2): shard and slice of every slot."""
    count = len(units)
    cells = np.zeros((count, 2), dtype=np.int64)
    if shards == slices == 1:
        return cells
    stream = Stream(seed, "shard")
    if placement is Placement.SLOT:
        position = np.empty(count, dtype=np.int64)
        position[stable_order(stream.words(count))] = np.arange(count)
        cells[:, 0] = position % shards
        cells[:, 1] = (position // shards) % slices
        return cells
    sizes = np.bincount(units)
    filled = [(0, cell) for cell in range(shards * slices)]  # the emptiest comes first, of two the lower
    cell_of = np.empty(len(sizes), dtype=np.int64)
    for unit in stable_order(stream.words(len(sizes))):
        rows, cell = filled[0]
        cell_of[unit] = cell
        heapreplace(filled, (rows + int(sizes[unit]), cell))
    cells[:, 0], cells[:, 1] = np.divmod(cell_of[units], slices)
    return cells
