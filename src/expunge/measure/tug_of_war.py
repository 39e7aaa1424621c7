"""Forgetting and keeping in one number."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from expunge.core.statistics.resampling import bootstrap_interval
from expunge.core.values import Figure, Measurement, Undecided
from expunge.measure.accuracy import ForgetAccuracy, HoldoutAccuracy, RetainAccuracy
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground

PARTS: tuple[Probe, ...] = (ForgetAccuracy(), RetainAccuracy(), HoldoutAccuracy())


@dataclass(frozen=True, kw_only=True)
class TugOfWar(Probe):
    """Mean over references of Π (1 − |FA, RA, TA − the reference's|) (ToW; Zhao et al., 2024); 1 = alike.

    Retrained models are not alike either: read it beside the references' own, about .97.
    """

    name = "tug-of-war"
    role = ProbeRole.FORGETTING
    references_needed = 1
    reads = ()
    parts = PARTS

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        products = np.ones(len(beside.references))
        for part in PARTS:
            told = (own.figures[part], *(one.figures[part] for one in beside.references))
            values = [figure.value for figure in told if isinstance(figure, Measurement)]
            if len(values) < len(told):
                reason = next(figure.reason for figure in told if isinstance(figure, Undecided))
                return Undecided(f"{part.name}: {reason}")
            products *= 1.0 - np.abs(values[0] - np.array(values[1:]))
        found = bootstrap_interval(products, draws=2000, direction=self.direction)
        if isinstance(found, Measurement):
            return replace(found, unit="reference")
        value, count = float(products.mean()), len(products)  # of one reference, or of several that are all alike
        return Measurement(
            value=value, low=value, high=value, n=count, unit="reference", direction=self.direction, scale=self.scale
        )
