"""Membership by a classifier fitted on the model's own confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.membership_classifier import Feature, features, membership_classifier
from expunge.core.values import Figure
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground, Whose


@dataclass(frozen=True, kw_only=True)
class MembershipClassifier(Probe):
    """Share of the forget set that an SVC on one feature takes for non-members (MIA-SVC; Fan et al., 2024).

    Fitted on equally many retain and attack-holdout rows. Read it against references; .5 has no meaning here.
    """

    name = "membership-classifier"
    role = ProbeRole.FORGETTING
    feature: Feature = Feature.CONFIDENCE

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        members, outsiders = ground.attack_rows()

        def of(rows: Whose) -> np.ndarray:
            return features(own.of(rows)["beliefs"], ground.labels[rows], self.feature)

        retained, held_out = of(Whose.RETAIN)[members], of(Whose.HOLDOUT)[outsiders]
        return membership_classifier(retained, held_out, of(Whose.FORGET), self.feature)
