"""Are runs that unlearned some rows told from runs that never had them? An attack with many models of either kind.

U-LiRA: Hayes et al., Inexact Unlearning Needs More Careful Evaluations (2024). .5 = no; far below .5 is a leak as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array
from expunge.core.statistics.means import mean_interval, missing_runs
from expunge.core.statistics.proportions import clopper_pearson
from expunge.core.statistics.roc import area_under_curve, true_positive_rate
from expunge.core.values import Direction, Figure, Measurement, Undecided

FEWEST = 8
"""Runs a side, below which nothing is said."""
SURE = 0.9
ALPHA = 0.01


def leave_one_out(sides: Array) -> Array:
    """log N(φ; U) − log N(φ; O) of every run, row by row, of margins (2, runs, rows): U first, those that unlearned.

    N is fitted to all but the k-th run of both sides, of which the k-th are scored: a run that enters its own fit looks
    known, and so does one whose side is fitted on fewer. NaN where a side does not vary.
    """
    scores = np.empty_like(sides)
    for target in range(sides.shape[1]):
        others = np.delete(sides, target, axis=1)
        mean, spread = others.mean(axis=1), others.std(axis=1, ddof=1)
        spread[spread == 0.0] = np.nan
        off = (sides[:, None, target] - mean) / spread  # of either run, from either fit
        density = -(off**2) / 2.0 - np.log(spread)
        scores[:, target] = density[:, 0] - density[:, 1]
    return scores


@dataclass(frozen=True, eq=False)
class UnlearningLikelihoodRatio:
    """``scores`` of runs, those that unlearned first: above 0 one is taken for such a run."""

    scores: Array

    @classmethod
    def of(cls, unlearned: npt.ArrayLike, never: npt.ArrayLike) -> UnlearningLikelihoodRatio | Undecided:
        """From margins φ of the forgotten rows, (runs, rows): unlearned after training, and never trained on.

        As many runs are taken of either side: the first.
        """
        had, had_not = _margins(unlearned, "unlearned"), _margins(never, "never")
        if had.shape[1] != had_not.shape[1]:
            raise InvalidArgument(f"{had.shape[1]} and {had_not.shape[1]} rows: both sides must answer the same rows")
        count = min(len(had), len(had_not))
        if count < FEWEST:
            return Undecided(f"needs {FEWEST} runs a side, has {count}")
        sides = np.stack([had[:count], had_not[:count]])
        reason = missing_runs(sides.ravel(), name="margin")
        if reason is not None:
            return Undecided(reason)
        scores = leave_one_out(sides)
        if np.isnan(scores).any():
            return Undecided("all runs of a side answer a row alike: needs runs that vary")
        return cls(scores)

    @property
    def runs(self) -> int:
        """A side."""
        return self.scores.shape[1]

    @cached_property
    def right(self) -> Array:
        """1 where a run is called what it is, ½ where it cannot be told, 0 elsewhere: (2n, rows)."""
        calls = np.concatenate([self.scores[0], -self.scores[1]])
        return (np.sign(calls) + 1.0) / 2.0

    @property
    def accuracy(self) -> Figure:
        """Share of right calls, with Student's interval over the 2n runs; where all are right, over whole runs."""
        each = self.right.mean(axis=1)
        if (each == each[0]).all() and each[0] in (0.0, 1.0):
            low, high = clopper_pearson(int(each.sum()), each.size)
            value = float(each[0])
            return Measurement(value=value, low=low, high=high, n=each.size, unit="run", direction=Direction.MATCH)
        return mean_interval(each)

    @property
    def area(self) -> float:
        """Area under the curve of all scores: P(of a run that unlearned > of one that never had the row)."""
        return area_under_curve(self.scores[0].ravel(), self.scores[1].ravel())

    @property
    def caught(self) -> Figure:
        """Share of scores of runs that unlearned above all but 1 % of the others'."""
        return true_positive_rate(self.scores[0].ravel(), self.scores[1].ravel(), ALPHA)

    @cached_property
    def by_row(self) -> Array:
        """Share of right calls of each row: averages hide the few that leak."""
        return self.right.mean(axis=0)

    @property
    def worst(self) -> float:
        """95th percentile over rows."""
        return float(np.quantile(self.by_row, 0.95))

    @property
    def sure(self) -> int:
        """Rows whose runs are told apart in more than nine of ten cases."""
        return int((self.by_row > SURE).sum())


def _margins(values: npt.ArrayLike, name: str) -> Array:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 2 or not found.shape[1]:
        raise InvalidArgument(f"{name} has shape {found.shape}; (runs, rows) with 1 or more rows is needed")
    return found
