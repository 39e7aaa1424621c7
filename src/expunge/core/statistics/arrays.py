"""What every statistic takes: float64 vectors, and integer labels that fit their rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from expunge.core.errors import InvalidArgument

Array = npt.NDArray[np.float64]


def as_vector(values: npt.ArrayLike, name: str) -> Array:
    """``values`` in one dimension and float64; a single number is a vector of one."""
    vector = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if vector.ndim != 1:
        raise InvalidArgument(f"{name} has shape {vector.shape}; one number per example or run is needed")
    return vector


def as_rows(values: npt.ArrayLike, labels: npt.ArrayLike, name: str) -> tuple[Array, npt.NDArray[np.int64]]:
    """(n, C) values with C ≥ 2 in float64, and n integer labels in [0, C)."""
    rows, targets = np.asarray(values, dtype=np.float64), np.asarray(labels)
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise InvalidArgument(f"{name} has shape {rows.shape}; (n, classes) with 2 or more classes is needed")
    if targets.size == 0:
        targets = targets.astype(np.int64)
    if targets.shape != rows.shape[:1] or not np.issubdtype(targets.dtype, np.integer):
        raise InvalidArgument(
            f"labels have shape {targets.shape} and type {targets.dtype}; one integer for each of the "
            f"{len(rows)} rows is needed"
        )
    if targets.size and not 0 <= int(targets.min()) <= int(targets.max()) < rows.shape[1]:
        raise InvalidArgument(
            f"labels lie in [{targets.min()}, {targets.max()}]; the {rows.shape[1]} columns of {name} allow "
            f"0 to {rows.shape[1] - 1}"
        )
    return rows, targets.astype(np.int64)


def check_level(level: float) -> None:
    """A confidence level is a number strictly between 0 and 1, such as .95."""
    if not 0.0 < level < 1.0:
        raise InvalidArgument(f"level {level} must lie strictly between 0 and 1, such as 0.95")
