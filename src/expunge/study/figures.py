"""A figure over seeds: its mean and 95 % interval, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from expunge.core.values import Measurement, Undecided
from expunge.records.evaluation import Evaluation, Probed
from expunge.records.figures import NOT_MEASURED, Estimate, MeanFigure, Means
from expunge.records.published import PublishedFigure

LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """Mean of one value a seed, with Student's interval; one value alone has none.

    Where every seed is read against the same references, ``references`` holds what each of them would be in the
    value's unit: their luck is shared by all seeds, and the interval is Welch's over seeds and references. ``beside``
    is half the width of an interval of what else is shared, and widens it. ``least`` is what no such value falls below.
    """

    values: tuple[float, ...]
    references: tuple[float, ...] = ()
    beside: float = 0.0
    least: float = -math.inf

    def estimate(self) -> Estimate:
        """As it is written."""
        mean, reach = float(np.mean(self.values)), self.reach()
        if reach is None:
            return Estimate(mean, values=self.values)
        return Estimate(mean, max(self.least, mean - reach), mean + reach, len(self.values), self.values)

    def reach(self) -> float | None:
        """Half the width of the 95 % interval; None below two seeds."""
        groups = [group for group in (self.values, self.references) if len(group) > 1]
        if len(self.values) < 2:
            return None
        parts = [float(np.var(group, ddof=1)) / len(group) for group in groups]
        weight = sum(part**2 / (len(group) - 1) for part, group in zip(parts, groups, strict=True))
        own = 0.0
        if weight > 0:
            own = float(stdtrit(sum(parts) ** 2 / weight, (1 + LEVEL) / 2)) * sum(parts) ** 0.5
        return math.hypot(own, self.beside)


SeedFigure = Mean | Undecided
Measured = Measurement | Undecided


def written(figures: Mapping[str, SeedFigure]) -> dict[str, MeanFigure]:
    """As they are written."""
    return {name: found if isinstance(found, Undecided) else found.estimate() for name, found in figures.items()}


def as_figure(values: Sequence[float], references: Sequence[float] = (), least: float = -math.inf) -> SeedFigure:
    """A figure of plain values."""
    return Mean(tuple(values), tuple(references), least=least) if values else Undecided("nothing was measured")


def figure(
    measured: Sequence[float | Undecided], references: Sequence[float] = (), least: float = -math.inf
) -> SeedFigure:
    """A figure of what was found for each seed; where one is undecided, so is the whole."""
    undecided = next((found for found in measured if isinstance(found, Undecided)), None)
    if undecided is not None:
        return undecided
    return as_figure([found for found in measured if not isinstance(found, Undecided)], references, least)


def value_of(measured: Measured | None) -> float | Undecided:
    """A measurement without its interval."""
    if measured is None:
        return NOT_MEASURED
    return measured if isinstance(measured, Undecided) else measured.value


def widened(measured: Sequence[Measured]) -> SeedFigure:
    """A distance whose single values carry an interval over references that all seeds share."""
    found = figure([value_of(item) for item in measured])
    if isinstance(found, Undecided):
        return found
    reaches = [(item.high - item.low) / 2 for item in measured if isinstance(item, Measurement)]
    return Mean(found.values, least=0.0, beside=float(np.mean(reaches)))


def published(evaluations: Sequence[Evaluation], whose: Callable[[PublishedFigure], float | None]) -> Means | None:
    """Figures as papers print them, each a mean over seeds without an interval; None where nobody asked for them."""
    told = [one for evaluation in evaluations for one in evaluation.as_published or ()]
    means: dict[str, MeanFigure] = {}
    for name in dict.fromkeys(one.name for one in told):
        values = [whose(one) for one in told if one.name == name]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            means[name] = Estimate(float(np.mean(known)))
    return Means.of(means) if told else None


def shared_references(probes: Sequence[Probed]) -> tuple[float, ...]:
    """Values of the references, where those of every seed are the same models; of margins in their unit."""
    found = [_values(probe) for probe in probes]
    if not found or len(set(found)) > 1:
        return ()
    unit = probes[0].one_unit or 1.0
    return tuple(value / unit for value in found[0])


def gap_of_margins(probe: Probed, model: Measured | None) -> float | Undecided:
    """|mean margin − the references' mean| in units of the references' spread over the forget examples."""
    own, mean, unit = value_of(model), probe.reference_mean, probe.one_unit
    if isinstance(own, Undecided):
        return own
    if mean is None or not unit:
        return Undecided("there are no references to compare with, or their margins do not vary")
    return abs(own - mean) / unit


def difference(probe: Probed, sign: float) -> float | Undecided:
    """Own figure minus the references' mean."""
    own = value_of(probe.unlearned)
    if isinstance(own, Undecided):
        return own
    if probe.reference_mean is None:
        return Undecided("there is no reference to compare with")
    return sign * (own - probe.reference_mean)


def noise_of_margins(probe: Probed) -> float | None:
    """What honest retrainings differ by: the mean gap of each to the others; None below two references."""
    values = _values(probe)
    if len(values) < 2 or len(values) < len(probe.references) or not probe.one_unit:
        return None
    total = sum(values)
    gaps = [abs(value - (total - value) / (len(values) - 1)) for value in values]
    return sum(gaps) / len(gaps) / probe.one_unit


def _values(probe: Probed) -> tuple[float, ...]:
    return tuple(item.value for item in probe.references if isinstance(item, Measurement))
