"""Readings, probes and verdicts. ``PROBES`` is the one visible table; where labels are numbers, others stand beside.

Those of ``ASKED`` cost more than a forward pass: they are measured where somebody asks for them by name.
"""

from __future__ import annotations

from expunge.measure.accuracy import ForgetAccuracy, HoldoutAccuracy, RetainAccuracy
from expunge.measure.average_gap import AverageGap
from expunge.measure.contract import Probe
from expunge.measure.cost import ExampleSteps, Seconds
from expunge.measure.head_refit import HeadRefit, HeadRefitMargin
from expunge.measure.likelihood_ratio import EpsilonLowerBound, LikelihoodRatio, OfflineLikelihoodRatio
from expunge.measure.loss_threshold import LossThreshold
from expunge.measure.mean_margin import MeanMargin
from expunge.measure.membership_classifier import MembershipClassifier
from expunge.measure.memory import MemoryLeft, Typicality
from expunge.measure.numbers import ForgetError, ForgetShare, HoldoutError, HoldoutShare, RetainError, RetainShare
from expunge.measure.relearn import Relearn, RelearnLogRank, RelearnTransfer
from expunge.measure.representation import ActivationDistance, FeatureSimilarity, WeightDistance

PROBES: tuple[type[Probe], ...] = (
    MemoryLeft,
    Typicality,
    RetainAccuracy,
    HoldoutAccuracy,
    ForgetAccuracy,
    MeanMargin,
    LossThreshold,
    MembershipClassifier,
    AverageGap,
    ExampleSteps,
    Seconds,
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


__all__ = ["ASKED", "OF_NUMBERS", "PROBES", "Probe"]
