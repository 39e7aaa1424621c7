"""``distant``: rows that a retrained model would answer most differently, by what stands in for a retraining."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from expunge.attacks.contract import Candidates, Chooser, Chosen, check
from expunge.attacks.halves import MAKE
from expunge.core.errors import InvalidArgument, UnsupportedEver
from expunge.core.selection.halves import memorised
from expunge.core.selection.ridge import Ridge, class_codes, fall, ridge_greedy, standardised
from expunge.train.run import Run


class Proxy(Enum):
    """What stands in for a retraining."""

    RIDGE = "ridge"
    LIRA = "lira"


@dataclass(frozen=True, kw_only=True)
class Distant(Chooser):
    """``ridge`` refits the last layer and takes, round by round, rows whose margin falls most when they are left out.

    Features are those of the original, each scaled to standard deviation 1, with a constant; classes are told apart one
    against all. One forward pass and no training. ``lira`` takes the rows that half models with them are surest of
    against those without (Carlini et al., 2022). What either says must be confirmed by references that it never saw.
    """

    name = "distant"
    finds = "the examples whose answers a retraining would change most"
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

    @property
    def label(self) -> str:
        return self.name if self.proxy is Proxy.RIDGE else f"{self.name} {self.proxy.value}"

    def choose(self, candidates: Candidates) -> Chosen:
        return self._by_halves(candidates) if self.proxy is Proxy.LIRA else self._by_ridge(candidates)

    def _by_halves(self, candidates: Candidates) -> Chosen:
        if candidates.halves is None:
            raise InvalidArgument(
                "`proxy` lira reads models that were trained without half of the rows, and `halves` names none: "
                f"{MAKE}, 32 of them, or choose by ridge"
            )
        margins, inside = candidates.halves.read(candidates.examples, candidates.slots)
        candidates.meter.forwards(margins.size)
        scores = memorised(margins, inside)
        found = candidates.highest(scores)
        return Chosen(
            places=found.places,
            tied=found.tied,
            measured="fall of the margin between half models, in standard deviations",
            value=lambda places: float(scores[places].mean()),
        )

    def _by_ridge(self, candidates: Candidates) -> Chosen:
        labels = candidates.labels
        rows = standardised(candidates.features)
        fit = Ridge.fit(rows, class_codes(labels, len(candidates.run.recipe.classes)), self.penalty)
        places, tied = ridge_greedy(
            fit, labels, candidates.count, candidates.keys, rounds=self.rounds, room=candidates.most
        )
        return Chosen(
            places=places,
            tied=tied,
            measured="fall of the margin in a ridge regression",
            value=lambda chosen: fall(fit, labels, chosen),
        )
