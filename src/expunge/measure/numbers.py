"""How far off answers are where labels are numbers: printed in the place of accuracies, judged by nothing so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from expunge.core.statistics.residuals import mean_absolute_error, r_squared
from expunge.core.values import Direction, Figure
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground, Whose


@dataclass(frozen=True, kw_only=True)
class AbsoluteError(Probe):
    """Base of mean absolute errors, in the labels' units."""

    scale = "error"
    rows: ClassVar[Whose]

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return mean_absolute_error(own.of(self.rows)["residual"], direction=self.direction)


@dataclass(frozen=True, kw_only=True)
class VarianceShare(Probe):
    """Base of R²: 0 is always answering the mean of these labels, 1 every label exactly."""

    scale = "r2"
    rows: ClassVar[Whose]

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        told = own.of(self.rows)
        return r_squared(told["answer"], told["residual"], direction=self.direction)


@dataclass(frozen=True, kw_only=True)
class RetainError(AbsoluteError):
    """Mean absolute error on the retain set, in the labels' units."""

    name = "retain-error"
    role = ProbeRole.UTILITY
    direction = Direction.LOW
    rows = Whose.RETAIN


@dataclass(frozen=True, kw_only=True)
class RetainShare(VarianceShare):
    """R² on the retain set: the share of its labels' variance that answers explain."""

    name = "retain-r2"
    role = ProbeRole.UTILITY
    direction = Direction.HIGH
    rows = Whose.RETAIN


@dataclass(frozen=True, kw_only=True)
class HoldoutError(AbsoluteError):
    """Mean absolute error on the holdout, in the labels' units."""

    name = "test-error"
    role = ProbeRole.UTILITY
    direction = Direction.LOW
    rows = Whose.HOLDOUT


@dataclass(frozen=True, kw_only=True)
class HoldoutShare(VarianceShare):
    """R² on the holdout: the share of its labels' variance that answers explain."""

    name = "test-r2"
    role = ProbeRole.UTILITY
    direction = Direction.HIGH
    rows = Whose.HOLDOUT


@dataclass(frozen=True, kw_only=True)
class ForgetError(AbsoluteError):
    """Mean absolute error on the forget set, in the labels' units; neither 0 nor large is the aim."""

    name = "forget-error"
    role = ProbeRole.FORGETTING
    rows = Whose.FORGET


@dataclass(frozen=True, kw_only=True)
class ForgetShare(VarianceShare):
    """R² on the forget set: the share of its labels' variance that answers explain."""

    name = "forget-r2"
    role = ProbeRole.FORGETTING
    rows = Whose.FORGET
