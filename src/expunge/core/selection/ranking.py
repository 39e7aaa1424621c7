"""The highest of many scores, with ties broken by keys and counted, and no group beyond its cap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Highest:
    """Places ascending, and how many of them have the score of a place that was left out: the keys chose those."""

    places: np.ndarray
    tied: int


def highest(
    scores: np.ndarray,
    count: int,
    keys: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    room: np.ndarray | None = None,
) -> Highest:
    """The ``count`` places of highest score; of group g no more than ``room[g]``, the next ones then."""
    order = np.lexsort((keys, -scores))
    if groups is not None and room is not None:
        listed = groups[order]
        by_group = np.argsort(listed, kind="stable")
        firsts = np.searchsorted(listed[by_group], listed[by_group])
        within = np.empty(len(order), dtype=np.int64)  # how many of its group come before
        within[by_group] = np.arange(len(order)) - firsts
        order = order[within < room[listed]]
    chosen = np.sort(order[:count])
    left = np.delete(scores, chosen)
    return Highest(chosen, int(np.isin(scores[chosen], left).sum()))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The share of the smaller of two sets that is in both; 0 where one is empty."""
    smaller = min(len(one), len(other))
    return len(np.intersect1d(one, other)) / smaller if smaller else 0.0
