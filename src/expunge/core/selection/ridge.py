"""Ridge regression of class codes on features, and what leaving rows out of it does to their margins.

In place of a retraining: weights without a set of rows come from the sums without them, those without a single row
from one division each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from expunge.core.selection.ranking import highest
from expunge.core.statistics.arrays import Array


@dataclass(frozen=True, eq=False)
class Ridge:
    """θ = (XᵀX + λI)⁻¹XᵀT over the rows that are not left out; rows and targets are those of everybody."""

    rows: Array
    targets: Array
    penalty: float
    gram: Array
    cross: Array

    @classmethod
    def fit(cls, rows: Array, targets: Array, penalty: float) -> Ridge:
        return cls(rows, targets, penalty, rows.T @ rows, rows.T @ targets)

    def without(self, left_out: np.ndarray) -> Ridge:
        """The fit without some rows that are in it."""
        rows = self.rows[left_out]
        return replace(self, gram=self.gram - rows.T @ rows, cross=self.cross - rows.T @ self.targets[left_out])

    @cached_property
    def _inverse(self) -> Array:
        """(XᵀX + λI)⁻¹; the penalty keeps it far from singular."""
        return np.linalg.inv(self.gram + self.penalty * np.eye(len(self.gram))).astype(np.float64)

    @property
    def weights(self) -> Array:
        return self._inverse @ self.cross

    @property
    def scores(self) -> Array:
        """S: what the fit answers to every row, (rows, targets)."""
        return self.rows @ self.weights

    @property
    def leave_one_out(self) -> Array:
        """What the fit without it would answer to each row of the fit: S − h/(1 − h)·(T − S)."""
        leverage = np.einsum("nd,nd->n", self.rows @ self._inverse, self.rows)[:, None]
        scores = self.scores
        return scores - leverage / (1.0 - leverage) * (self.targets - scores)


def standardised(features: Array, like: Array | None = None) -> Array:
    """Columns of standard deviation 1 over the rows ``like``, or over themselves, and a constant one.

    Those that never move there are left out.
    """
    spread = (features if like is None else like).std(axis=0)
    moving = features[:, spread > 0] / spread[spread > 0]
    return np.concatenate([moving, np.ones((len(features), 1))], axis=1)


def class_codes(labels: np.ndarray, classes: int) -> Array:
    """+1 in the column of the row's class, −1 elsewhere."""
    return 2.0 * np.eye(classes)[labels] - 1.0


def lead(scores: Array, labels: np.ndarray) -> Array:
    """Score of the true class less the best of the others."""
    places = np.arange(len(labels)), labels
    others = scores.copy()
    others[places] = -np.inf
    return scores[places] - others.max(axis=1)


def fall(fit: Ridge, labels: np.ndarray, left_out: np.ndarray) -> float:
    """By how much the rows of a set lose their lead when all of them are left out, on average."""
    before, after = (lead(one.scores[left_out], labels[left_out]) for one in (fit, fit.without(left_out)))
    return float((before - after).mean())


def ridge_greedy(
    fit: Ridge, labels: np.ndarray, count: int, keys: np.ndarray, *, rounds: int, room: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """Rows that lose most lead by being left out, with how many the keys chose.

    Each round refits without the set so far and adds its share of rows: a set is not the sum of its members.
    """
    chosen, tied = np.zeros(0, dtype=np.int64), 0
    for share in np.diff(np.linspace(0, count, min(rounds, count) + 1).round().astype(np.int64)):
        now = fit.without(chosen)
        drops = lead(now.scores, labels) - lead(now.leave_one_out, labels)
        there = np.setdiff1d(np.arange(len(labels)), chosen)
        left = None if room is None else room - np.bincount(labels[chosen], minlength=len(room))
        found = highest(drops[there], int(share), keys[there], groups=labels[there], room=left)
        chosen, tied = np.union1d(chosen, there[found.places]), tied + found.tied
    return chosen, tied
