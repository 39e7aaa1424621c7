"""Was a row known? The margins that models with it and models without it give a row, and one more model's.

Every score is Student's, of one more draw: (φ − μ) / (s·√(1 + 1/n)). The normal rule fires too often with few models:
at one in a hundred 6.5, 3.2, 2.0, 1.2 of them with 4, 8, 16, 64. Higher = more like a member.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, stdtr

from expunge.core.statistics.arrays import Array
from expunge.core.statistics.proportions import clopper_pearson

FEWEST = 8
"""Models with a row, and without it, for a score."""
OWN_SPREAD = 32
"""From so many on a row has a spread of its own; below, all rows share one."""


@dataclass(frozen=True, eq=False)
class NextDraw:
    """Mean, scale of one more draw, and degrees of freedom, for each row."""

    mean: Array
    scale: Array
    freedom: Array

    @classmethod
    def of(cls, margins: Array, chosen: np.ndarray) -> NextDraw:
        """From the margins of the models that are ``chosen`` for each row, (models, rows), two at least.

        The scale is NaN where these differ by rounding only.
        """
        count = chosen.sum(axis=0)
        mean = (margins * chosen).sum(axis=0) / count
        squares = (((margins - mean) ** 2) * chosen).sum(axis=0)
        own = count >= OWN_SPREAD
        freedom = np.where(own, count - 1, (count - 1).sum())
        spread = np.sqrt(np.where(own, squares, squares.sum()) / freedom)
        spread[spread <= 1e-12 * np.abs(margins).max()] = np.nan
        return cls(mean, spread * np.sqrt(1 + 1 / count), freedom)

    def off(self, margins: Array) -> Array:
        """By how many scales a margin lies above."""
        return (margins - self.mean) / self.scale

    def log_density(self, margins: Array) -> Array:
        """Of one more draw."""
        nu, off = self.freedom, self.off(margins)
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - np.log(nu * math.pi) / 2 - np.log(self.scale)
        return constant - (nu + 1) / 2 * np.log1p(off**2 / nu)


def against_non_members(margins: Array, inside: np.ndarray, own: Array, drawn: np.ndarray) -> tuple[Array, Array]:
    """(scores of a model, scores of a model that never saw the row) for each row: log p(φ | in) − log p(φ | out).

    ``margins`` and ``inside`` are those of half models, (models, rows), ``drawn`` is for each row the place of one that
    never saw it. Neither it nor the model that is scored enters the fit: of a model that never saw any row, both scores
    are draws from the same.
    """
    rows = np.arange(margins.shape[1])
    outside = ~inside
    outside[drawn, rows] = False
    members, others = NextDraw.of(margins, inside), NextDraw.of(margins, outside)

    def score(values: Array) -> Array:
        return members.log_density(values) - others.log_density(values)

    return score(own), score(margins[drawn, rows])


def against_outside(margins: Array, inside: np.ndarray, own: Array) -> Array:
    """P(a model that never saw the row is less sure of it), as sign·−log of the two-sided p: it never saturates."""
    out = NextDraw.of(margins, ~inside)
    off = out.off(own)
    return np.sign(off) * -np.log(2 * np.maximum(stdtr(out.freedom, -np.abs(off)), np.finfo(np.float64).tiny))


def epsilon_lower_bound(flagged: int, members: int, alarms: int, others: int, delta: float = 0.0) -> float:
    """ε that the training exceeds with 95 % confidence: log((TPR_low − δ) / FPR_high), each end at 97.5 %.

    Perfect separation of 16, 64, 512 from as many gives 1.35, 2.82, 4.93: no more can be claimed. 0 bounds nothing.
    """
    low, _ = clopper_pearson(flagged, members)
    _, high = clopper_pearson(alarms, others)
    return max(0.0, math.log((low - delta) / high)) if low > delta else 0.0
