"""The mean distance of four figures from retraining."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.core.values import Direction, Figure, Measurement, Undecided
from expunge.measure.accuracy import ForgetAccuracy, HoldoutAccuracy, RetainAccuracy
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.membership_classifier import MembershipClassifier
from expunge.measure.trial import Answers, Beside, Ground

PARTS: tuple[Probe, ...] = (ForgetAccuracy(), RetainAccuracy(), HoldoutAccuracy(), MembershipClassifier())


@dataclass(frozen=True, kw_only=True)
class AverageGap(Probe):
    """Mean of |model − references' mean| over UA, RA, TA and MIA-SVC (Avg. Gap; Fan et al., 2024).

    A retrained model has a gap above 0 as well: read it beside the references' own, each against the others.
    """

    name = "average-gap"
    role = ProbeRole.FORGETTING
    direction = Direction.LOW
    references_needed = 2
    reads = ()
    parts = PARTS

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        values: list[float] = []
        theirs: list[list[float]] = []
        for part in PARTS:
            measured = own.figures[part]
            if isinstance(measured, Undecided):
                return Undecided(f"{part.name}: {measured.reason}")
            values.append(measured.value)
            theirs.append([])
            for reference in beside.references:
                found = reference.figures[part]
                if isinstance(found, Undecided):
                    return Undecided(f"{part.name} of a reference: {found.reason}")
                theirs[-1].append(found.value)
        return _gap(np.array(values), np.array(theirs))


def _gap(own: np.ndarray, theirs: np.ndarray) -> Measurement | Undecided:
    """Value over all references; interval by resampling them."""
    value = float(np.abs(own - theirs.mean(axis=1)).mean())
    draws = np.random.Generator(np.random.Philox(key=0)).integers(0, theirs.shape[1], (2000, theirs.shape[1]))
    resampled = np.abs(own[:, None] - theirs[:, draws].mean(axis=2)).mean(axis=0)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Measurement(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        n=theirs.shape[1],
        unit="reference",
        direction=Direction.LOW,
    )
