"""How sure the model is of the forget set's true labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.means import difference_of_means, mean_interval
from expunge.core.values import Figure
from expunge.measure.contract import Probe, ProbeRole, few_rows
from expunge.measure.trial import Answers, Beside, Ground, Whose


@dataclass(frozen=True, kw_only=True)
class MeanMargin(Probe):
    """Mean margin φ = log(p / (1 − p)) of the forget set's true labels, against the references' mean.

    Where labels are numbers φ is minus the size of a residual, in the spread of residuals on the holdout.
    """

    name = "mean-margin"
    role = ProbeRole.FORGETTING
    scale = "margin"

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return mean_interval(own.of(Whose.FORGET)["margin"], scale=self.scale, unit="example")

    def unit(self, references: tuple[Answers, ...]) -> float | None:
        """The references' standard deviation of φ over the forget examples, averaged over references."""
        if not references or not references[0].tell("margin"):
            return None
        spread = float(np.mean([reference.of(Whose.FORGET)["margin"].std(ddof=1) for reference in references]))
        return spread if np.isfinite(spread) and spread > 0 else None


@dataclass(frozen=True, kw_only=True)
class MarginAboveHoldout(Probe):
    """Mean margin of the forget set minus that of the scored half of the holdout, against the references' mean.

    Welch's interval over rows.
    """

    name = "margin-above-holdout"
    role = ProbeRole.FORGETTING
    scale = "margin"

    def unfit(self, own: Answers, ground: Ground) -> str | None:
        return few_rows(ground, ground.scored, 2)

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return difference_of_means(
            own.of(Whose.FORGET)["margin"], own.of(Whose.HOLDOUT)["margin"][ground.scored], scale=self.scale
        )
