"""Readings, probes and verdicts. ``PROBES`` is the one visible table; where labels are numbers, ``OF_NUMBERS`` stand
in the place of ``OF_CLASSES``.

Those of ``ASKED`` cost more than a forward pass: they are measured where somebody asks for them by name.
"""

from __future__ import annotations

from expunge.measure.accuracy import ForgetAccuracy, HoldoutAccuracy, RetainAccuracy
from expunge.measure.average_gap import AverageGap
from expunge.measure.calibration import BrierScore, CalibrationError, HoldoutLoss
from expunge.measure.class_accuracy import ClassAccuracy
from expunge.measure.contract import Probe
from expunge.measure.cost import ExampleSteps, Seconds
from expunge.measure.difference import DifferenceOfVersions
from expunge.measure.head_refit import HeadRefit, HeadRefitMargin
from expunge.measure.likelihood_ratio import EpsilonLowerBound, LikelihoodRatio, OfflineLikelihoodRatio
from expunge.measure.loss_threshold import LossThreshold
from expunge.measure.mean_margin import MarginAboveHoldout, MeanMargin
from expunge.measure.membership_classifier import MembershipClassifier
from expunge.measure.memory import MemoryLeft, Typicality
from expunge.measure.numbers import ForgetError, ForgetShare, HoldoutError, HoldoutShare, RetainError, RetainShare
from expunge.measure.relative_membership import RelativeMembership
from expunge.measure.relearn import Relearn, RelearnLogRank, RelearnTransfer
from expunge.measure.representation import ActivationDistance, FeatureSimilarity, WeightDistance
from expunge.measure.tug_of_war import TugOfWar

PROBES: tuple[type[Probe], ...] = (
    MemoryLeft,
    Typicality,
    RetainAccuracy,
    HoldoutAccuracy,
    ForgetAccuracy,
    MeanMargin,
    MarginAboveHoldout,
    LossThreshold,
    RelativeMembership,
    MembershipClassifier,
    AverageGap,
    TugOfWar,
    DifferenceOfVersions,
    ClassAccuracy,
    CalibrationError,
    BrierScore,
    HoldoutLoss,
    ExampleSteps,
    Seconds,
)

OF_CLASSES: tuple[type[Probe], ...] = (
    RetainAccuracy,
    HoldoutAccuracy,
    ForgetAccuracy,
    MembershipClassifier,
    AverageGap,
    TugOfWar,
    ClassAccuracy,
    CalibrationError,
    BrierScore,
)

OF_NUMBERS: tuple[type[Probe], ...] = (
    RetainError,
    RetainShare,
    HoldoutError,
    HoldoutShare,
    ForgetError,
    ForgetShare,
)

ASKED: tuple[type[Probe], ...] = (
    HeadRefit,
    HeadRefitMargin,
    Relearn,
    RelearnLogRank,
    RelearnTransfer,
    LikelihoodRatio,
    OfflineLikelihoodRatio,
    EpsilonLowerBound,
    WeightDistance,
    FeatureSimilarity,
    ActivationDistance,
)


__all__ = ["ASKED", "OF_CLASSES", "OF_NUMBERS", "PROBES", "Probe"]
