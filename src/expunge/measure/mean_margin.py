"""How sure the model is of the forget set's true labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.means import mean_interval
from expunge.core.values import Figure, Measurement, Undecided
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground, Whose


@dataclass(frozen=True, kw_only=True)
class MeanMargin(Probe):
    """Mean margin φ = log(p / (1 − p)) of the forget set's true labels, against the references' mean."""

    name = "mean-margin"
    role = ProbeRole.FORGETTING
    scale = "margin"

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        found = mean_interval(own.of(Whose.FORGET)["margin"], scale=self.scale)
        if isinstance(found, Undecided):
            return found
        return Measurement(
            value=found.value,
            low=found.low,
            high=found.high,
            n=found.n,
            unit="example",
            direction=self.direction,
            scale=self.scale,
        )

    def unit(self, references: tuple[Answers, ...]) -> float | None:
        """The references' standard deviation of φ over the forget examples, averaged over references."""
        if not references or "margin" not in references[0].of(Whose.FORGET):
            return None
        spread = float(np.mean([reference.of(Whose.FORGET)["margin"].std(ddof=1) for reference in references]))
        return spread if np.isfinite(spread) and spread > 0 else None
