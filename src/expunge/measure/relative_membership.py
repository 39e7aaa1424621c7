"""Membership as an outsider with a few models of their own would attack it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.relative_membership import OFFLINE, likelihood_ratios, relative_scores
from expunge.core.statistics.roc import area_under_curve, delong_interval
from expunge.core.values import Figure
from expunge.measure.contract import Probe, ProbeRole, few_rows
from expunge.measure.trial import Answers, Beside, Ground, Whose

FEWEST_COMPARED = 500
ASKED = (Whose.FORGET, Whose.HOLDOUT)


@dataclass(frozen=True, kw_only=True)
class RelativeMembership(Probe):
    """AUC of how much likelier rows are than under references, forget set against scored holdout rows (RMIA).

    Likelihood ratios of Zarifzadeh et al. (2024), offline, against those of the attack half; their one setting is
    chosen on the first witness, which was trained with these rows, never on the run.
    """

    name = "relative-membership"
    role = ProbeRole.FORGETTING
    scale = "auc"
    references_needed = 1
    witnesses_needed = 1

    def unfit(self, own: Answers, ground: Ground) -> str | None:
        return few_rows(ground, ground.attack, FEWEST_COMPARED)

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        out = {rows: np.mean([one.confidence(rows) for one in beside.references], axis=0) for rows in ASKED}

        def scores(one: Answers, offline: float) -> tuple[np.ndarray, np.ndarray]:
            ratios = {rows: likelihood_ratios(one.confidence(rows), out[rows], offline) for rows in out}
            held_out = ratios[Whose.HOLDOUT]
            asked = (ratios[Whose.FORGET], held_out[ground.scored])
            members, others = (relative_scores(rows, held_out[ground.attack]) for rows in asked)
            return members, others

        known = beside.witnesses[0]
        chosen = max(OFFLINE, key=lambda offline: area_under_curve(*scores(known, offline)))
        return delong_interval(*scores(own, chosen))
