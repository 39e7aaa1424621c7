"""Edges between a least and a greatest value, by single IEEE operations: sixteenths of the range, and powers of two."""

from __future__ import annotations

import numpy as np

PARTS = 16
POWERS = 8
MOST_EDGES = PARTS - 1 + 4 * POWERS + 1


def bounds_of(values: np.ndarray) -> np.ndarray:
    """(2, columns): least and greatest of each column of finite float64 values; there is a row at least."""
    return np.stack([values.min(axis=0), values.max(axis=0)]) + 0.0  # −0 and 0 are one number, and one digest


def edges_of(low: float, high: float) -> np.ndarray:
    """The edges inside (low, high], ascending."""
    span, size = high - low, max(abs(low), abs(high))
    found = [low + span * part / PARTS for part in range(1, PARTS)]
    for power in range(POWERS):
        scaled = size * 2.0**-power
        found += [scaled, -scaled, scaled * 181 / 256, -(scaled * 181 / 256)]
    if low < 0 < high:
        found.append(0.0)
    return np.array(sorted({edge + 0.0 for edge in found if low < edge <= high}))


def table_of_edges(bounds: np.ndarray) -> np.ndarray:
    """(columns, MOST_EDGES): the edges of every column, filled with infinity, which no value reaches."""
    table = np.full((bounds.shape[1], MOST_EDGES), np.inf)
    for column, (low, high) in enumerate(bounds.T):
        edges = edges_of(float(low), float(high))
        table[column, : len(edges)] = edges
    return table
