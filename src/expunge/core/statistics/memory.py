"""How much of the memory of a forget set is left in a model, and whether its rows are answered as by a retrained one.

Everything is read off *bounded margins* ψ = 4·tanh(φ/4) of the forgotten rows: in easy rows with large margins the
scale of a whole run's logits would drown what is remembered. Higher = more like a member.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array
from expunge.core.statistics.multiplicity import holm

BOUND = 4.0
"""Where a margin counts as sure, in nats."""
PRIOR = 4.0
"""Degrees of freedom by which the spread of one row leans on that of all rows."""


def bounded(margins: npt.ArrayLike) -> Array:
    """ψ = 4·tanh(φ/4)."""
    return BOUND * np.tanh(np.asarray(margins, dtype=np.float64) / BOUND)


@dataclass(frozen=True, eq=False)
class Memory:
    """Bounded margins of the forgotten rows as retrained models answer them, (n, rows), and as witnesses do, (K, rows).

    Witnesses were trained with these rows, under seeds that nobody else has: they say in which direction remembering
    lies. Rows of several requests may stand side by side, model by model: that is their pool.
    """

    references: Array
    witnesses: Array

    def __post_init__(self) -> None:
        shapes = self.references.shape, self.witnesses.shape
        if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
            raise InvalidArgument(f"margins of shapes {shapes} must be (models, rows), over the same rows")
        if len(self.references) < 2 or not len(self.witnesses):
            raise InvalidArgument(f"{shapes[0][0]} references and {shapes[1][0]} witnesses: 2 and 1 are the fewest")
        if not (np.isfinite(self.references).all() and np.isfinite(self.witnesses).all()):
            raise InvalidArgument("margins of references and witnesses must be finite")

    @cached_property
    def mean(self) -> Array:
        """m: what a retrained model answers to each row, on average."""
        return self.references.mean(axis=0)

    @cached_property
    def direction(self) -> Array:
        """d: how much more sure of each row those are that were trained with it."""
        return self.witnesses.mean(axis=0) - self.mean

    @cached_property
    def spread(self) -> Array:
        """s̃: standard deviation of each row over references, drawn towards that of all rows."""
        variance = self.references.var(axis=0, ddof=1)
        freedom = len(self.references) - 1
        return np.sqrt((freedom * variance + PRIOR * variance.mean()) / (freedom + PRIOR))

    @property
    def effective_rows(self) -> float:
        """(Σd²)² ÷ Σd⁴: how many rows carry the memory; 0 where there is none."""
        squares = self.direction**2
        return float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else 0.0

    def left(self, own: Array) -> float:
        """ρ: the share of the memory that is left; 0 retrained, 1 untouched, < 0 over-forgotten, NaN without any."""
        scale = float((self.direction**2).sum())
        return float(((own - self.mean) * self.direction).sum()) / scale if scale else np.nan

    def outstanding(self, own: Array) -> Array:
        """e: by how many standard deviations of one more retraining each row lies off. Student, n + 3 freedoms."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (own - self.mean) / (self.spread * np.sqrt(1.0 + 1.0 / len(self.references)))

    def distance(self, own: Array) -> float:
        """τ = log of the mean of e²: how far from all retrained models the rows are answered, in whatever direction."""
        with np.errstate(divide="ignore"):
            return float(np.log(np.mean(self.outstanding(own) ** 2)))

    def who_stands_out(self, own: Array) -> Array:
        """p of every row, two-sided, adjusted by Holm over all of them: small says that a row is still known."""
        freedom = len(self.references) - 1 + PRIOR
        return holm(2.0 * stdtr(freedom, -np.abs(self.outstanding(own))))

    def without(self, reference: int) -> Memory:
        """As if one reference had not been trained."""
        return Memory(np.delete(self.references, reference, axis=0), self.witnesses)

    @cached_property
    def null(self) -> tuple[Array, Array]:
        """ρ and τ of every reference against the others: what retraining itself reads."""
        each = [(self.without(index), own) for index, own in enumerate(self.references)]
        lefts = [others.left(own) for others, own in each]
        return np.array(lefts), np.array([others.distance(own) for others, own in each])
