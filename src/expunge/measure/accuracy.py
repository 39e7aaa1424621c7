"""Accuracies on the retain set, the holdout and the forget set."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core.statistics.proportions import proportion
from expunge.core.statistics.tolerances import Quantity
from expunge.core.values import Direction, Measurement, Undecided
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Rows, Signals, Trial


@dataclass(frozen=True, kw_only=True)
class RetainAccuracy(Probe):
    """Share of the retain set that is answered rightly (RA)."""

    name = "retain-accuracy"
    role = ProbeRole.UTILITY
    direction = Direction.HIGH
    quantity = Quantity.FRACTION
    required = True

    def value(self, model: Signals, others: tuple[Signals, ...], trial: Trial) -> Measurement | Undecided:
        return proportion(model.correct(Rows.RETAIN), direction=self.direction)


@dataclass(frozen=True, kw_only=True)
class HoldoutAccuracy(Probe):
    """Share of the holdout that is answered rightly (TA); classes that were forgotten whole are left out."""

    name = "test-accuracy"
    role = ProbeRole.UTILITY
    direction = Direction.HIGH
    quantity = Quantity.FRACTION
    required = True

    def value(self, model: Signals, others: tuple[Signals, ...], trial: Trial) -> Measurement | Undecided:
        if len(trial.tested) == 0:
            return Undecided("no holdout row of a class that stays: needs a larger holdout")
        return proportion(model.correct(Rows.HOLDOUT)[trial.tested], direction=self.direction)


@dataclass(frozen=True, kw_only=True)
class ForgetAccuracy(Probe):
    """Share of the forget set that is answered rightly (FA = 1 − unlearning accuracy); neither 0 nor 1 is the aim."""

    name = "forget-accuracy"
    role = ProbeRole.FORGETTING
    quantity = Quantity.FRACTION

    def value(self, model: Signals, others: tuple[Signals, ...], trial: Trial) -> Measurement | Undecided:
        return proportion(model.correct(Rows.FORGET))
