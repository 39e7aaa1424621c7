"""Where labels are numbers: how far off answers are, in the place of accuracies, and how sure margins say they are."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from expunge.core.hashing import sha256
from expunge.core.statistics.residuals import margins_of_numbers, mean_absolute_error, r_squared, residual_unit
from expunge.core.values import Direction, Figure
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure.contract import Judging, Probe, ProbeRole
from expunge.measure.readings import SIGNALS, read
from expunge.measure.trial import Answers, Beside, Ground, Trial, Whose
from expunge.train.profile import find_device
from expunge.train.run import Run


def residuals_of_calibration(run: Run, rows: Mapping[Split, Dataset], device: str) -> np.ndarray:
    """What a run misses by on rows that nobody is trained on; none where there are no such rows, or no numbers."""
    if not rows[Split.TRAIN].of_numbers or not rows[Split.CALIBRATION].present.any():
        return np.zeros(0)
    told = read(run, [SIGNALS], rows, find_device(device), splits=[Split.CALIBRATION])[SIGNALS][Split.CALIBRATION]
    return told["residual"][rows[Split.CALIBRATION].present]


def with_margins(trial: Trial, alone: Sequence[np.ndarray]) -> Trial:
    """A trial whose models tell margins where labels are numbers: −|residual| ÷ the unit of ``residual_unit``.

    That is of the references on the scored half of the holdout; where there is none, of the residuals that are given.
    """
    if not trial.original.answers.tell("residual"):
        return trial
    told = [one.answers.read[SIGNALS][Whose.HOLDOUT]["residual"][trial.ground.scored] for one in trial.references]
    unit = residual_unit(told or alone)
    if unit is None:
        return trial

    def margined(own: Answers) -> Answers:
        by_rows = own.read[SIGNALS]
        signals = {
            rows: {**told, "margin": margins_of_numbers(told["residual"], unit)} for rows, told in by_rows.items()
        }
        return replace(own, read={**own.read, SIGNALS: signals})

    digest = sha256(trial.ground.digest, struct.pack("<d", unit))
    return trial.answering(margined, replace(trial.ground, digest=digest))


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
    judging = Judging.UTILITY
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
    judging = Judging.UTILITY
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
