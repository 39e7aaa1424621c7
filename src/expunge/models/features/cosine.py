"""Small images and real arrays: cosines of random sums of their pixels (Rahimi and Recht, 2007), in whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from expunge.core.streams import Stream
from expunge.models.features.contract import Constants, Encoded
from expunge.models.features.pixels import PixelMap

TURN = 1024  # steps of a full turn
HEIGHT = 127
BYTES = 12
STEEP = 48  # chosen on calibration rows of the digits

BITS = 80  # of a fixed point


@cache
def cosines() -> np.ndarray:
    """HEIGHT · cos(2π·k / TURN), rounded, for each step k of a turn: in whole numbers alone, by Taylor's row."""
    one = 1 << BITS
    quarter = [_cosine(one, step) for step in range(TURN // 4 + 1)]
    quarter = [(HEIGHT * value + one // 2) // one for value in quarter]
    half = [*quarter, *[-value for value in reversed(quarter[:-1])]]
    return np.array([*half, *reversed(half[1:-1])], dtype=np.int32)


def _cosine(one: int, step: int) -> int:
    angle = 2 * _pi(one) * step // TURN
    term = total = one
    for power in range(2, 40, 2):
        term = -term * angle // one * angle // one // (power * (power - 1))
        total += term
    return total


@cache
def _pi(one: int) -> int:
    """π by Machin's formula: 16·arctan(1/5) − 4·arctan(1/239)."""

    def arctan(inverse: int) -> int:
        return sum((-1) ** at * one // ((2 * at + 1) * inverse ** (2 * at + 1)) for at in range(60))

    return 16 * arctan(5) - 4 * arctan(239)


@dataclass(frozen=True)
class CosineMap(PixelMap):
    """127·cos of (sum of pixels × weights ÷ a constant, plus a phase), read from a table of 1,024 steps of a turn.

    Weights are sums of 12 bytes of the stream, centred and cut to 8 bits: near normal. The constant grows with the root
    of the number of pixels, as the sums do.
    """

    name = "cosine"
    usual_width: ClassVar[int] = 1024
    usual_penalty: ClassVar[tuple[str, int]] = ("plain", 16)

    def drawn(self, seed: bytes) -> Constants:
        drawn = self.width - 1
        size = math.prod(self.encoding.shape)
        words = Stream(seed, "features").words(drawn + -(-drawn * size * BYTES // 8))
        found = words[drawn:].astype("<u8").view(np.uint8)[: drawn * size * BYTES].reshape(drawn, size, BYTES)
        weights = (found.sum(axis=2, dtype=np.int64) - BYTES * 255 // 2) >> 4
        return {"weights": weights.astype(np.int8), "phases": (words[:drawn] >> np.uint64(54)).astype(np.int64)}

    def work(self, rows: Encoded) -> float:
        return 2.0 * math.prod(self.encoding.shape) * self.width

    def _of_pixels(self, pixels: np.ndarray, constants: Constants) -> np.ndarray:
        flat = pixels.reshape(len(pixels), -1).astype(np.float64)
        sums = (flat @ constants["weights"].T.astype(np.float64)).astype(np.int64)
        steps = sums // (STEEP * math.isqrt(flat.shape[1])) + constants["phases"]
        return np.concatenate([cosines()[steps % TURN], np.ones((len(flat), 1), dtype=np.int32)], axis=1)
