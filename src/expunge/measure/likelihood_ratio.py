"""Membership by models that were trained with, and without, each row (LiRA; Carlini et al., 2022)."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.likelihood_ratio import (
    FEWEST,
    against_non_members,
    against_outside,
    epsilon_lower_bound,
)
from expunge.core.statistics.roc import delong_interval
from expunge.core.streams import Stream
from expunge.core.values import Direction, Figure, Measurement, Undecided
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground, Whose

FALSE_ALARMS = 0.05
"""Share of the attack half of the holdout above the threshold, about."""
ALIKE = Undecided("half models answer a row all alike: needs a recipe whose runs vary")


@dataclass(frozen=True, kw_only=True)
class LikelihoodProbe(Probe):
    """Base of what half models say of a model."""

    role = ProbeRole.FORGETTING
    asked = "likelihood-ratio"
    scale = "auc"
    halves_needed = True

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        forgotten = len(own.of(Whose.FORGET)["margin"])
        inside = np.array([half.knew[Whose.FORGET] for half in beside.halves], dtype=bool).reshape(-1, forgotten)
        fewest = int(min(inside.sum(axis=0).min(), (~inside).sum(axis=0).min()))
        if fewest < FEWEST:
            more = 2 * FEWEST - len(inside) if len(inside) < 2 * FEWEST else 2 * (FEWEST - fewest)
            return Undecided(
                f"needs {FEWEST} half models with each row and {FEWEST} without, has {fewest} of one kind: {more} "
                f"more, at about {math.ceil(more / 2)} trainings, by `expunge halves`"
            )
        return self.of(own, beside, inside, ground)

    @abstractmethod
    def of(self, own: Answers, beside: Beside, inside: np.ndarray, ground: Ground) -> Figure:
        """The figure, where there are models enough; ``inside`` says who knew which forgotten row."""


@dataclass(frozen=True, kw_only=True)
class LikelihoodRatio(LikelihoodProbe):
    """AUC of log p(φ | in) − log p(φ | out) of the forget set, against half models that never saw the row (LiRA).

    .5 is a model like those that never saw it, but for what half the training rows make of it: read it against
    references.
    """

    name = "likelihood-ratio"

    def of(self, own: Answers, beside: Beside, inside: np.ndarray, ground: Ground) -> Figure:
        words = Stream(ground.seed, "probe/likelihood").words(inside.size).reshape(inside.shape)
        drawn = np.where(inside, np.uint64(2**64 - 1), words).argmin(axis=0)
        told = _of_halves(beside, Whose.FORGET)
        members, others = against_non_members(told, inside, own.of(Whose.FORGET)["margin"], drawn)
        return ALIKE if np.isnan((members, others)).any() else delong_interval(members, others)


@dataclass(frozen=True, kw_only=True)
class OfflineLikelihoodRatio(LikelihoodProbe):
    """AUC of Φ((φ − μ_out) / s_out), forget set against the scored half of the holdout, which no model knew (LiRA)."""

    name = "likelihood-ratio-offline"

    def of(self, own: Answers, beside: Beside, inside: np.ndarray, ground: Ground) -> Figure:
        told = _offline(own, beside, inside)
        return ALIKE if told is None else delong_interval(told[0], told[1][ground.scored])


@dataclass(frozen=True, kw_only=True)
class EpsilonLowerBound(LikelihoodProbe):
    """ε that the model exceeds with 95 % confidence, by rows above a threshold that the attack holdout sets; 0 = none.

    A bound and no estimate: it rests on the offline score at about 5 % false alarms.
    """

    name = "epsilon-lower-bound"
    direction = Direction.LOW
    scale = "epsilon"

    def of(self, own: Answers, beside: Beside, inside: np.ndarray, ground: Ground) -> Figure:
        told = _offline(own, beside, inside)
        if told is None:
            return ALIKE
        members, others = told
        known, asked = np.sort(others[ground.attack]), others[ground.scored]
        allowed = math.floor(FALSE_ALARMS * (len(known) + 1))
        if allowed < 1 or not len(asked):
            needed = math.ceil(1 / FALSE_ALARMS) - 1
            return Undecided(f"a threshold needs {needed} holdout rows in either half, has {len(known)}, {len(asked)}")
        threshold = known[len(known) - allowed]
        flagged, alarms = int((members > threshold).sum()), int((asked > threshold).sum())
        bound = epsilon_lower_bound(flagged, len(members), alarms, len(asked))
        return Measurement(
            value=bound,
            low=bound,
            high=math.inf,
            n=len(members) + len(asked),
            unit="example",
            direction=self.direction,
            scale=self.scale,
        )


def _of_halves(beside: Beside, rows: Whose) -> np.ndarray:
    """Margins, (models, rows)."""
    return np.array([half.answers.of(rows)["margin"] for half in beside.halves])


def _offline(own: Answers, beside: Beside, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Scores of the forget set, and of the holdout; None where half models answer a row all alike."""
    held = own.of(Whose.HOLDOUT)["margin"]
    told = _of_halves(beside, Whose.HOLDOUT)
    members = against_outside(_of_halves(beside, Whose.FORGET), inside, own.of(Whose.FORGET)["margin"])
    others = against_outside(told, np.zeros(told.shape, dtype=bool), held)
    return None if np.isnan(members).any() or np.isnan(others).any() else (members, others)
