"""Penalties of (A + diag P) W = B: whole numbers of at least 1, derived from the sums by integer division.

The last column is the constant, so that A holds each column's sum (its last row) and the number of terms (its last
entry). The constant's own penalty is 1, which replaces centring. ``shift`` halves the penalty so many times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from math import isqrt

import numpy as np

_BITS = 32
# 2^(1/16), 2^(3/16) … 2^(127/16) in units of 2⁻³²: half steps of the binary logarithm in eighths, by sixteenth roots
THRESHOLDS = tuple(isqrt(isqrt(isqrt(isqrt(1 << (2 * step - 1 + 16 * _BITS))))) for step in range(1, 65))


def plain(sums: np.ndarray, shift: int) -> np.ndarray:
    """The mean of A's diagonal, the same for every column."""
    return _penalty([sum(_whole(sums.diagonal())) // (len(sums) << shift)] * (len(sums) - 1))


def spread(sums: np.ndarray, shift: int) -> np.ndarray:
    """The spread of each column, so that its scale makes no difference: A_jj − s_j²/n."""
    return _penalty([spread // (_terms(sums) << shift) for spread in _spreads(sums)])


def bayes(sums: np.ndarray, targets: np.ndarray, shift: int) -> np.ndarray:
    """For presences (0 or 1) and two classes: mean(D²V) / D_j², V the spread and D the log ratio of each column.

    It is as if each column were scaled by how much it tells (Wang and Manning, 2012).
    """
    weights = [ratio**2 for ratio in log_ratios(sums, targets)]
    whole = sum(weight * spread for weight, spread in zip(weights, _spreads(sums), strict=True))
    return _penalty([whole // (_terms(sums) * len(weights) * weight << shift) for weight in weights])


def log_ratios(sums: np.ndarray, targets: np.ndarray) -> list[int]:
    """How far from 1 the ratio of the two classes' shares of presences is, column by column, in eighths of a bit.

    A share is (presences + 1) / (all presences + columns), as naive Bayes has it; from 1 to 64, without its sign.
    """
    together, apart = _whole(sums.diagonal()[:-1]), _whole(targets[:-1, 0])
    first = [max(0, both + more) // 2 for both, more in zip(together, apart, strict=True)]
    second = [max(0, both - more) // 2 for both, more in zip(together, apart, strict=True)]
    of_first, of_second = sum(first) + len(first), sum(second) + len(second)
    found: list[int] = []
    for one, other in zip(first, second, strict=True):
        high, low = (one + 1) * of_second, (other + 1) * of_first
        high, low = max(high, low), min(high, low)
        found.append(max(1, bisect_right(THRESHOLDS, (high << _BITS) // low)))
    return found


PENALTIES: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "plain": lambda sums, _, shift: plain(sums, shift),
    "spread": lambda sums, _, shift: spread(sums, shift),
    "bayes": bayes,
}


def _spreads(sums: np.ndarray) -> list[int]:
    """n A_jj − s_j² for every column but the constant."""
    squares, totals = _whole(sums.diagonal()[:-1]), _whole(sums[-1, :-1])
    return [_terms(sums) * square - total**2 for square, total in zip(squares, totals, strict=True)]


def _terms(sums: np.ndarray) -> int:
    """n: how often the constant was added; 1 where nothing was."""
    return max(1, int(sums[-1, -1]))


def _whole(values: np.ndarray) -> list[int]:
    """Numbers of any size, because products of sums are beyond 64 bits."""
    return [int(value) for value in values]


def _penalty(found: list[int]) -> np.ndarray:
    return np.array([*(max(1, value) for value in found), 1], dtype=np.int64)
