"""Slot → (shard, slice), decided before training by a stream of the lineage, and by tiers where subjects have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import heapreplace

import numpy as np

from expunge.core.hashing import sha256, slot_bytes
from expunge.core.streams import Stream, stable_order
from expunge.schedule.recipe import Placement, Recipe


def number_units(subjects: Sequence[str]) -> np.ndarray:
    """Unit of every slot: subjects numbered by their first slot."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(subject, len(numbers)) for subject in subjects], dtype=np.int64)


def dealt_by(recipe: Recipe, tiers: np.ndarray) -> Recipe:
    """The recipe that deals subjects by these tiers, one for each unit; they are told by their digest."""
    return replace(recipe, placement=Placement.TIERS, tiers=sha256(slot_bytes(tiers)).hex())


def place(
    seed: bytes, units: np.ndarray, *, shards: int, slices: int, placement: Placement, tiers: np.ndarray | None = None
) -> np.ndarray:
    """(n, 2): shard and slice of every slot. Where units have ``tiers``, these are the slices."""
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
    sizes, order = np.bincount(units), stable_order(stream.words(int(units.max()) + 1))
    parts = [order] if tiers is None else [order[tiers[order] == tier] for tier in range(slices)]
    cell_of = np.empty((len(sizes), 2), dtype=np.int64)
    for tier, dealt in enumerate(parts):
        found = _emptiest_first(sizes[dealt], shards * slices if tiers is None else shards)
        cell_of[dealt] = np.stack(np.divmod(found, slices) if tiers is None else (found, np.full_like(found, tier)), 1)
    return cell_of[units]


def _emptiest_first(sizes: np.ndarray, cells: int) -> np.ndarray:
    """The cell that each of some units is put into, one after another: the emptiest by then, of several the first."""
    if (sizes == sizes[:1]).all():
        return np.arange(len(sizes)) % cells
    filled = [(0, cell) for cell in range(cells)]
    found: list[int] = []
    for size in sizes.tolist():
        rows, cell = filled[0]
        found.append(cell)
        heapreplace(filled, (rows + size, cell))
    return np.array(found, dtype=np.int64)
