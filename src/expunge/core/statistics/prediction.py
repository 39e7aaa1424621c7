"""Two questions about one model among n retrained ones: is it different, and if not, how large may the difference be?

Differences are asked by *prediction*: would one more retraining lie there? Bounds are asked by confidence. Both are
Student's, over runs; no multiple of the spread is ever called equal, so that a noisy figure loses power and no margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import as_vector
from expunge.core.statistics.means import StudentEstimate, spread

LEVEL = 0.05
MOST_REFERENCES = 10_000
"""The most references that anybody is told to train."""
SURE = 2.0
"""Standard deviations of one more retraining inside which it must pass the bound: 95 % of them."""


class Side(Enum):
    """Where being different counts."""

    BOTH = "both"
    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True)
class Prediction:
    """D = own − mean of the references, and what their spread s says of it."""

    difference: float
    spread: float
    references: int

    @classmethod
    def of(cls, own: float, references: npt.ArrayLike, *, spread_of_still: float = 0.0) -> Prediction:
        """``spread_of_still`` stands for s where the references do not vary at all."""
        values = as_vector(references, "references")
        if values.size < 2:
            raise InvalidArgument(f"{values.size} references have no spread: at least 2 are needed")
        return cls(own - float(values.mean()), spread(values) or spread_of_still, values.size)

    def p(self, side: Side = Side.BOTH, beyond: float = 0.0) -> float:
        """Chance that one more retraining lies as far off; up to ``beyond`` on the side asked about is nothing."""
        error = self.spread * math.sqrt(1.0 + 1.0 / self.references)
        lies = {Side.BOTH: abs(self.difference), Side.ABOVE: self.difference, Side.BELOW: -self.difference}
        off = lies[side] - beyond
        if error == 0.0:
            return 0.0 if off > 0.0 else 1.0
        one = float(stdtr(self.references - 1, -off / error))
        return min(1.0, 2.0 * one) if side is Side.BOTH else one

    @property
    def luck(self) -> StudentEstimate:
        """Of D, as far as the references' mean may lie from where retraining centres."""
        return StudentEstimate(self.difference, self.spread / math.sqrt(self.references), float(self.references - 1))

    @property
    def reach(self) -> float:
        """t·s/√n, one-sided at 95 %."""
        return self.luck.reach(1.0 - 2.0 * LEVEL)

    @property
    def bound(self) -> float:
        """|D| may be that large at most."""
        return abs(self.difference) + self.reach

    @property
    def least(self) -> float:
        """D may be that low."""
        return self.difference - self.reach

    def outside(self, margin: float) -> float:
        """p of a truth within a margin: ≤ .05 where the two-sided 95 % interval of D lies outside it."""
        return min(1.0, 2.0 * self.luck.tail(abs(self.difference) - margin))

    def more(self, margin: float) -> int | None:
        """The fewest references with which |D| would lie inside a margin, D and s held; None if none would help."""
        if abs(self.difference) > margin or (self.spread and margin / self.spread <= SURE):
            return None
        for count in range(self.references, MOST_REFERENCES + 1):
            held = Prediction(self.difference, self.spread, count)
            if held.bound <= margin and margin >= power_factor(count) * self.spread:
                return count
        return None


def power_factor(references: int) -> float:
    """c: a margin of c·s is passed by 95 % of retrained models. 3.14, 2.79, 2.50 with 5, 8, 16 references."""
    quantile = float(stdtrit(references - 1, 1.0 - LEVEL))
    return quantile / math.sqrt(references) + SURE * math.sqrt(1.0 + 1.0 / references)


def smallest_claim(signal_to_noise: float, references: int) -> float:
    """The smallest share of the memory that a trial with so many references can bound for retrained models."""
    return power_factor(references) / signal_to_noise if signal_to_noise > 0.0 else math.inf
