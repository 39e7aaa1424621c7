"""Whether confidences on rows that nobody was trained on fit what happens."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.calibration import calibration_error, squared_errors
from expunge.core.statistics.margins import probabilities
from expunge.core.statistics.means import mean_interval
from expunge.core.values import Direction, Figure
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground, Whose


@dataclass(frozen=True, kw_only=True)
class CalibrationError(Probe):
    """Expected calibration error on the scored half of the holdout, in 15 bins of equally many rows (ECE).

    A perfect model reads about .03 of 1,000 rows: read it beside references.
    """

    name = "calibration"
    role = ProbeRole.UTILITY
    direction = Direction.LOW

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        told = own.of(Whose.HOLDOUT)
        sure = probabilities(told["beliefs"][ground.scored]).max(axis=1)
        return calibration_error(sure, told["correct"][ground.scored])


@dataclass(frozen=True, kw_only=True)
class MeanOfScored(Probe):
    """Base of means over the scored half of the holdout, with Student's interval over its rows."""

    role = ProbeRole.UTILITY
    direction = Direction.LOW

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        rows = self.of(own, ground)[ground.scored]
        return mean_interval(rows, scale=self.scale, direction=self.direction, unit="example")

    @abstractmethod
    def of(self, own: Answers, ground: Ground) -> np.ndarray:
        """One number for each row of the holdout."""


@dataclass(frozen=True, kw_only=True)
class BrierScore(MeanOfScored):
    """Mean of Σ (p − 1[right class])² over the scored half of the holdout (Brier, 1950); 0 = sure and right."""

    name = "brier-score"
    scale = "brier"

    def of(self, own: Answers, ground: Ground) -> np.ndarray:
        return squared_errors(probabilities(own.of(Whose.HOLDOUT)["beliefs"]), ground.labels[Whose.HOLDOUT])


@dataclass(frozen=True, kw_only=True)
class HoldoutLoss(MeanOfScored):
    """Mean loss on the scored half of the holdout."""

    name = "test-loss"
    scale = "loss"

    def of(self, own: Answers, ground: Ground) -> np.ndarray:
        return own.of(Whose.HOLDOUT)["loss"]
