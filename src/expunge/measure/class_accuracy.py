"""Whether one class paid for the forgetting of others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.proportions import clopper_pearson
from expunge.core.values import Direction, Figure, Measurement
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground, Whose

LEVEL = 0.95
FEWEST_ROWS = 30  # of a class


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy(Probe):
    """Test accuracy minus the references' mean, in the class where that is lowest; forgotten classes are left out.

    Clopper–Pearson over its rows, at a level adjusted over all classes. Some class is the worst of a retrained model
    too: read it beside the references' own, each against the others.
    """

    name = "per-class-accuracy"
    role = ProbeRole.UTILITY
    direction = Direction.HIGH
    references_needed = 4

    def unfit(self, own: Answers, ground: Ground) -> str | None:
        own.of(Whose.HOLDOUT)["correct"]  # there must be classes, and a holdout
        if len(ground.tested) == 0:
            return "no holdout row of a class that stays: needs a larger holdout"
        smallest = int(np.unique(ground.labels[Whose.HOLDOUT][ground.tested], return_counts=True)[1].min())
        if smallest >= FEWEST_ROWS:
            return None
        return f"needs {FEWEST_ROWS} holdout rows of every class, the smallest has {smallest}"

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        labels = ground.labels[Whose.HOLDOUT][ground.tested]
        classes, at, counts = np.unique(labels, return_inverse=True, return_counts=True)

        def right(one: Answers) -> np.ndarray:
            return np.bincount(at, one.of(Whose.HOLDOUT)["correct"][ground.tested])

        usual = np.mean([right(one) for one in beside.references], axis=0) / counts
        gaps = right(own) / counts - usual
        worst = int(gaps.argmin())
        level = 1.0 - (1.0 - LEVEL) / len(classes)
        low, high = clopper_pearson(round(right(own)[worst]), int(counts[worst]), level)
        value = float(gaps[worst])
        return Measurement(
            value=value,
            low=min(low - float(usual[worst]), value),
            high=max(high - float(usual[worst]), value),
            n=int(counts[worst]),
            unit="example",
            direction=self.direction,
        )
