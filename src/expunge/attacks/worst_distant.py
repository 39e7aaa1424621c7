"""``distant``: rows that a retrained model would answer most differently, by a ridge regression in its place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from expunge.attacks.contract import Candidates, Chooser, Chosen, check
from expunge.core.errors import UnsupportedEver
from expunge.core.selection.ridge import Ridge, class_codes, fall, ridge_greedy
from expunge.train.run import Run


class Proxy(Enum):
    """What stands in for a retraining."""

    RIDGE = "ridge"


@dataclass(frozen=True, kw_only=True)
class Distant(Chooser):
    """Refit the last layer as a ridge regression; take, round by round, rows whose margin falls most when left out.

    Features are those of the original, each scaled to standard deviation 1, with a constant; classes are told apart one
    against all. One forward pass and no training: what it says must be confirmed by references that it never saw.
    """

    name = "distant"
    finds = "the examples whose answers a retraining would change most: their margin falls furthest when left out"
    measured = "fall of the margin by the proxy"
    proxy: Proxy = Proxy.RIDGE
    penalty: float = 4.0
    rounds: int = 10

    def __post_init__(self) -> None:
        check(0 < self.penalty < np.inf, f"penalty {self.penalty} must be a finite number above 0")
        check(self.rounds >= 1, f"rounds {self.rounds} must be a whole number from 1")

    def refuse(self, run: Run, *, whole_classes: bool) -> None:
        if whole_classes:
            raise UnsupportedEver(
                "`objective` distant with `by` class: a model retrained without a class never answers with it, so all "
                "classes are as distant; choose hidden"
            )

    def choose(self, candidates: Candidates) -> Chosen:
        labels = candidates.labels
        rows = standardised(candidates.features)
        fit = Ridge.fit(rows, class_codes(labels, len(candidates.run.recipe.classes)), self.penalty)
        places, tied = ridge_greedy(
            fit, labels, candidates.count, candidates.keys, rounds=self.rounds, room=candidates.most
        )
        return Chosen(places=places, tied=tied, value=lambda chosen: fall(fit, labels, chosen))


def standardised(features: np.ndarray) -> np.ndarray:
    """Columns of standard deviation 1, those that never move left out, and a constant one."""
    spread = features.std(axis=0)
    moving = features[:, spread > 0] / spread[spread > 0]
    return np.concatenate([moving, np.ones((len(features), 1))], axis=1)
