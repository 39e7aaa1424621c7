"""Random streams: a counter-based generator keyed by (lineage seed, purpose, shard, index).

Only raw 64-bit words are used (NumPy's ``Philox.random_raw``, Philox4x64 with 10 rounds), so every draw is fixed by
this text and the test vectors, not by a library's distribution code.
"""

from __future__ import annotations

import struct

import numpy as np

from expunge.core.hashing import sha256, u8, u64

ZERO_BEACON = bytes(32)
DERIVATION = "expunge/seed/1"  # how seeds of lineages are made


def lineage_seed(recipe_digest: bytes, root: bytes, beacon: bytes = ZERO_BEACON) -> bytes:
    """The seed of a run and of every run that only empties chairs in it."""
    return sha256(DERIVATION.encode("ascii"), recipe_digest, root, beacon)


def unlearning_digest(recipe_digest: bytes, parent_weights: bytes, request_seed: int) -> bytes:
    """What stands for the recipe digest when a method takes steps of its own; free of its name and fields."""
    return sha256(b"expunge/unlearn/1", recipe_digest, parent_weights, u64(request_seed))


class Stream:
    """An endless row of 64-bit words. Two streams with the same address yield the same words."""

    def __init__(self, seed: bytes, purpose: str, shard: int = 0, index: int = 0) -> None:
        name = purpose.encode("ascii")
        digest = sha256(b"expunge/stream/1", seed, u8(len(name)), name, u64(shard), u64(index))
        words = struct.unpack("<4Q", digest)
        self._generator = np.random.Philox(
            key=np.array(words[:2], dtype=np.uint64),
            counter=np.array((0, 0, words[2], words[3]), dtype=np.uint64),
        )

    def words(self, count: int) -> np.ndarray:
        """The next ``count`` raw words as uint64."""
        return np.asarray(self._generator.random_raw(count), dtype=np.uint64)

    def word(self) -> int:
        """The next raw word."""
        return int(self.words(1)[0])

    def uniform(self, count: int) -> np.ndarray:
        """float32 in [0, 1) with 24 bits, one word each."""
        return uniform_from_words(self.words(count))

    def below(self, bound: int, count: int) -> np.ndarray:
        """Integers 0 … bound−1, one word each: the high half of word × bound (bias below bound / 2⁶⁴)."""
        return below_from_words(self.words(count), bound)

    def normal(self, count: int) -> np.ndarray:
        """Standard normal draws in float64, by the inverse distribution function."""
        from scipy.special import ndtri  # here, so that schedules are read without SciPy

        return np.asarray(ndtri(((self.words(count) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53))


def uniform_from_words(words: np.ndarray) -> np.ndarray:
    """The top 24 bits of each word as float32 in [0, 1)."""
    return (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def below_from_words(words: np.ndarray, bound: int | np.ndarray) -> np.ndarray:
    """(word × bound) >> 64 without 128-bit integers, for bounds below 2³²: one bound, or one for each word."""
    low, high = words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)
    size = np.asarray(bound, dtype=np.uint64)
    return ((high * size + ((low * size) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def stable_order(keys: np.ndarray) -> np.ndarray:
    """Positions in ascending order of their keys; equal keys keep their place."""
    return np.argsort(keys, kind="stable")
