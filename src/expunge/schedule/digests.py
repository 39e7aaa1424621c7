"""Digests of who sits in a step as scheduled, and of who took part in a step or an epoch as it was carried out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256 as begin

import numpy as np

from expunge.core.hashing import sha256, slot_bytes, u32, u64

SCHEDULED, EXECUTED, EPOCH = b"expunge/step/1", b"expunge/executed/1", b"expunge/epoch/1"
SLOT_BYTES = 8


def step_bytes(shard: int, step: int, chairs: np.ndarray) -> bytes:
    """One scheduled step as it is hashed."""
    return SCHEDULED + u32(shard) + u64(step) + u32(len(chairs)) + slot_bytes(chairs)


def step_leaves(shard: int, first: int, order: np.ndarray, size: int) -> Iterator[bytes]:
    """Hashes of an epoch's steps as leaves of a tree: those of ``step_bytes``, in one pass over its order."""
    content, head = slot_bytes(order), b"\x00" + SCHEDULED + u32(shard)
    for step, start in enumerate(range(0, len(order), size), start=first):
        chairs = min(size, len(order) - start)
        slots = content[start * SLOT_BYTES : (start + chairs) * SLOT_BYTES]
        yield begin(head + u64(step) + u32(chairs) + slots).digest()


def executed_digest(shard: int, step: int, present: np.ndarray) -> bytes:
    """Digest of the slots that a step was carried out with; none when it was skipped."""
    return sha256(EXECUTED, u32(shard), u64(step), u32(len(present)), slot_bytes(present))


def epoch_digest(shard: int, epoch: int, members: np.ndarray) -> bytes:
    """Digest of the slots that an epoch was carried out with, in whatever order they came."""
    ordered = np.sort(members)
    return sha256(EPOCH, u32(shard), u64(epoch), u32(len(ordered)), slot_bytes(ordered))


@dataclass(frozen=True)
class Executed:
    """What an epoch's records must be: a digest for each step, and one over all members; ``seats`` counts by step."""

    shard: int
    epoch: int
    first: int
    steps: tuple[bytes, ...]
    members: bytes
    skipped: int
    seats: np.ndarray

    @classmethod
    def of(
        cls, shard: int, epoch: int, first: int, order: np.ndarray, present: np.ndarray, size: int, least: int
    ) -> Executed:
        """Of an epoch with this order of slots, of whom some are present; fewer than ``least`` skip a step."""
        seated = present[order]
        kept = order[seated]
        seats = np.add.reduceat(seated.astype(np.int64), np.arange(0, len(order), size))
        enough = seats >= least
        ends = np.cumsum(seats).tolist()
        content, head = slot_bytes(kept), EXECUTED + u32(shard)
        steps: list[bytes] = []
        start = 0
        for number, (end, taken) in enumerate(zip(ends, enough.tolist(), strict=True)):
            slots = content[start * SLOT_BYTES : end * SLOT_BYTES] if taken else b""
            count = len(slots) // SLOT_BYTES
            steps.append(begin(head + u64(first + number) + u32(count) + slots).digest())
            start = end
        members = epoch_digest(shard, epoch, kept if enough.all() else kept[np.repeat(enough, seats)])
        skipped = len(steps) - int(enough.sum())
        return cls(shard, epoch, first, tuple(steps), members, skipped, np.where(enough, seats, 0))
