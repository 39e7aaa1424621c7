"""What whoever holds both versions can tell from how their answers differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.roc import delong_interval
from expunge.core.values import Figure, Measurement
from expunge.measure.contract import Probe, ProbeRole, few_rows
from expunge.measure.trial import Answers, Beside, Ground, Whose


@dataclass(frozen=True, kw_only=True)
class DifferenceOfVersions(Probe):
    """AUC of how much surer the original is of a row, forget set against the scored half of the holdout.

    Exact removal shows here too: the references' own value is the aim, and what it exceeds .5 by is exposure.
    """

    name = "difference"
    role = ProbeRole.FORGETTING
    scale = "auc"
    original_needed = True

    def unfit(self, own: Answers, ground: Ground) -> str | None:
        return few_rows(ground, ground.scored, 2)

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        before = beside.original
        assert before is not None

        def lost(rows: Whose) -> np.ndarray:
            return before.of(rows)["margin"] - own.of(rows)["margin"]

        forgotten, held_out = lost(Whose.FORGET), lost(Whose.HOLDOUT)[ground.scored]
        if not forgotten.any() and not held_out.any():  # the same model twice: known, and nothing to estimate
            count = len(forgotten) + len(held_out)
            return Measurement(
                value=0.5, low=0.5, high=0.5, n=count, unit="example", direction=self.direction, scale=self.scale
            )
        return delong_interval(forgotten, held_out)

    def remark(self, unlearned: Figure) -> str | None:
        if not isinstance(unlearned, Measurement):
            return None
        if unlearned.low == unlearned.high:
            return "difference: this run answers every row as the original does, to the last bit"
        if unlearned.low <= 0.5:
            return None
        return (
            "do not publish both versions: whoever holds the original too tells forgotten rows from others by what "
            f"changed (AUC {unlearned.value:.2f}), as they would after a retraining"
        )
