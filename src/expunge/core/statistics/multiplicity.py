"""Many tests at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array, as_vector


def holm(p_values: npt.ArrayLike) -> Array:
    """Adjusted p-values in the order given: rejecting those ≤ α makes any false rejection no likelier than α.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure (1979); valid under any dependence.
    """
    raw = as_vector(p_values, "p_values")
    if not ((raw >= 0.0) & (raw <= 1.0)).all():
        raise InvalidArgument("p-values must lie in [0, 1]: leave undecided tests out, they are not p = 1")
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1, dtype=np.float64))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
