"""The nearest point at which weights between 0 and 1 have a given sum, with or without a cap on groups of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array

HALVINGS = 200  # of an interval of floats: it is used up long before


def project(values: npt.ArrayLike, total: float) -> Array:
    """argmin ‖w − values‖ over {0 ≤ w ≤ 1, Σw = total}: clip(values − μ, 0, 1), μ by bisection."""
    given = np.asarray(values, dtype=np.float64)
    if not 0 <= total <= len(given):
        raise InvalidArgument(f"weights between 0 and 1 of {len(given)} places cannot sum to {total:g}")
    return np.clip(given - _level(given, total, lambda level: float(np.clip(given - level, 0, 1).sum())), 0, 1)


def project_capped(values: npt.ArrayLike, total: float, groups: np.ndarray, most: np.ndarray) -> Array:
    """The same where the weights of group g may sum to ``most[g]`` at most.

    clip(values − μ − ν_g, 0, 1), ν_g ≥ 0 only where the cap binds: such a group is projected onto its cap by itself.
    """
    given = np.asarray(values, dtype=np.float64)
    allowed = np.minimum(most, np.bincount(groups, minlength=len(most))).astype(np.float64)
    if not 0 <= total <= allowed.sum():
        raise InvalidArgument(f"weights whose groups may sum to {allowed.sum():g} in all cannot sum to {total:g}")

    def sums(level: float) -> Array:
        return np.bincount(groups, np.clip(given - level, 0, 1), len(most)).astype(np.float64)

    level = _level(given, total, lambda level: float(np.minimum(sums(level), allowed).sum()))
    found = np.clip(given - level, 0, 1)
    for group in np.flatnonzero(sums(level) > allowed):
        found[groups == group] = project(given[groups == group], float(allowed[group]))
    return found


def _level(values: Array, total: float, sum_at: Callable[[float], float]) -> float:
    """μ at which the sum, which falls in μ from all places to none, is ``total``."""
    if not len(values):
        return 0.0
    low, high = float(values.min()) - 1.0, float(values.max())
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        low, high = (middle, high) if sum_at(middle) > total else (low, middle)
    return high if abs(sum_at(high) - total) <= abs(sum_at(low) - total) else low
