"""Membership by the loss alone."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core.statistics.roc import delong_interval
from expunge.core.values import Figure
from expunge.measure.contract import Probe, ProbeRole, few_rows
from expunge.measure.trial import Answers, Beside, Ground, Whose


@dataclass(frozen=True, kw_only=True)
class LossThreshold(Probe):
    """AUC of −loss, forget set against the scored half of the holdout (MIA; Yeom et al., 2018); higher = member.

    .5 is the aim only where the forget set is a random sample; else the references' AUC is.
    """

    name = "loss-threshold"
    role = ProbeRole.FORGETTING
    scale = "auc"

    def unfit(self, own: Answers, ground: Ground) -> str | None:
        return few_rows(ground, ground.scored, 2)

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return delong_interval(-own.of(Whose.FORGET)["loss"], -own.of(Whose.HOLDOUT)["loss"][ground.scored])
