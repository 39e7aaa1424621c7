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
    sizes = np.bincount(units)
    heaps = [[(0, shard, part) for shard in range(shards) for part in range(slices)]]  # the emptiest cell comes first
    if tiers is not None:
        heaps = [[(0, shard, tier) for shard in range(shards)] for tier in range(slices)]
    cell_of = np.empty((len(sizes), 2), dtype=np.int64)
    for unit in stable_order(stream.words(len(sizes))):
        heap = heaps[0 if tiers is None else tiers[unit]]
        rows, shard, part = heap[0]
        cell_of[unit] = shard, part
        heapreplace(heap, (rows + int(sizes[unit]), shard, part))
    return cell_of[units]
