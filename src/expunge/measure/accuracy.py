"""Accuracies on the retain set, the holdout and the forget set."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core.statistics.proportions import proportion
from expunge.core.values import Direction, Figure, Undecided
from expunge.measure.contract import Judging, Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground, Whose


@dataclass(frozen=True, kw_only=True)
class RetainAccuracy(Probe):
    """Share of the retain set that is answered rightly (RA)."""

    name = "retain-accuracy"
    role = ProbeRole.UTILITY
    direction = Direction.HIGH
    judging = Judging.UTILITY

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return proportion(own.of(Whose.RETAIN)["correct"], direction=self.direction)


@dataclass(frozen=True, kw_only=True)
class HoldoutAccuracy(Probe):
    """Share of the holdout that is answered rightly (TA); classes that were forgotten whole are left out."""

    name = "test-accuracy"
    role = ProbeRole.UTILITY
    direction = Direction.HIGH
    judging = Judging.UTILITY

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        correct = own.of(Whose.HOLDOUT)["correct"]
        if len(ground.tested) == 0:
            return Undecided("no holdout row of a class that stays: needs a larger holdout")
        return proportion(correct[ground.tested], direction=self.direction)


@dataclass(frozen=True, kw_only=True)
class ForgetAccuracy(Probe):
    """Share of the forget set that is answered rightly (FA = 1 − unlearning accuracy); neither 0 nor 1 is the aim."""

    name = "forget-accuracy"
    role = ProbeRole.FORGETTING
    judging = Judging.SHARE

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return proportion(own.of(Whose.FORGET)["correct"])
