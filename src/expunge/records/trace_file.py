"""The trace of a run in bytes: what is held of every step and epoch, how wide that is, and where it stands.

A step's record is H of its members ‖ H of its losses, and ‖ H of its batch gradient where the mode says so; an epoch's
is H of its members. A run folder keeps a file of each kind for every shard. In ``trace.bin`` they follow one another:
shard by shard its steps, then its epochs. A state on record names the digest of its shard's records before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np

from expunge.core.hashing import sha256, u32
from expunge.core.merkle import DIGEST_BYTES

EPOCH_BYTES = DIGEST_BYTES
NOTHING = sha256(b"")  # losses and gradient of a skipped step


class TraceMode(Enum):
    """What the trace holds of each step beside its members: H of the losses, or H of the batch gradient as well."""

    LOSSES = "losses"
    GRADIENTS = "gradients"

    @property
    def width(self) -> int:
        """Bytes of a step's record."""
        return DIGEST_BYTES * (2 if self is TraceMode.LOSSES else 3)


def step_record(executed: bytes, losses: bytes, gradient: bytes = b"") -> bytes:
    """The record of a step; a trace of losses has no gradient."""
    return executed + losses + gradient


def step_records(content: bytes, mode: TraceMode) -> list[tuple[bytes, ...]]:
    """Of step after step H of its members, H of its losses and, where the trace has it, H of its gradient."""
    digests = [content[at : at + DIGEST_BYTES] for at in range(0, len(content), DIGEST_BYTES)]
    each = mode.width // DIGEST_BYTES
    return [tuple(digests[at : at + each]) for at in range(0, len(digests), each)]


def digest_table(digests: Sequence[bytes]) -> np.ndarray:
    """A row of bytes for each digest."""
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(digests), DIGEST_BYTES)


def executed_table(content: bytes, mode: TraceMode) -> np.ndarray:
    """Of step after step H of its members, as a row of bytes."""
    return np.frombuffer(content, dtype=np.uint8).reshape(-1, mode.width)[:, :DIGEST_BYTES]


class RunningDigest:
    """H over a shard's step records so far."""

    def __init__(self, shard: int, records: bytes = b"") -> None:
        self._hash = hashlib.sha256(b"expunge/trace/1" + u32(shard) + records)
        self.update = self._hash.update
        self.digest = self._hash.digest


class TraceLayout:
    """Where everything stands in ``trace.bin``; ``counts`` are the steps and the epochs of every shard in it."""

    def __init__(self, mode: TraceMode, counts: Mapping[int, tuple[int, int]]) -> None:
        self.mode = mode
        self.size = 0
        self._starts: dict[int, tuple[int, int]] = {}
        for shard, (steps, epochs) in sorted(counts.items()):
            behind = self.size + steps * mode.width
            self._starts[shard] = (self.size, behind)
            self.size = behind + epochs * EPOCH_BYTES

    def steps(self, shard: int, start: int, end: int) -> tuple[int, int]:
        """First byte of the records of some steps of a shard, and how many bytes they have."""
        return self._starts[shard][0] + start * self.mode.width, (end - start) * self.mode.width

    def epoch(self, shard: int, epoch: int) -> tuple[int, int]:
        """First byte of an epoch's record, and how many bytes it has."""
        return self._starts[shard][1] + epoch * EPOCH_BYTES, EPOCH_BYTES
