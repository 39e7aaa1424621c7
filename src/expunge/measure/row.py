"""What one probe says of one unlearned run, held against the original and retrained references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from expunge.core.statistics.prediction import LEVEL, Prediction, Side, power_factor, smallest_claim
from expunge.core.values import ClaimVerdict, Figure, Measurement, Refuted, Supported, Undecided
from expunge.core.wording import in_percent
from expunge.measure.claim import Claim
from expunge.measure.contract import Judging, Probe, ProbeRole
from expunge.measure.memory import OfMemory, too_few_rows
from expunge.measure.trial import Trial, TrialModel
from expunge.records.evaluation import BESIDE

MINIMUM = 5
"""Fewest references for a verdict."""
ODD, MOST_ODD = 0.01, 2
"""So many references may be refuted by the others at this level."""
NOTHING_LOST, MOST_LOST = 0.005, 0.02
"""Of accuracy on people who stay: up to the first is nothing, beyond the second nothing is Supported."""
LEAST_SHARE = 0.02
"""Of the forget set answered rightly: no smaller difference is ever asked to be excluded."""
NOT_JUDGED = Undecided(BESIDE)
NOT_CALIBRATED = Undecided("not calibrated: needs 1 reference, because the forget set is no random sample")
SIDES = {
    Judging.MEMORY: Side.BOTH,
    Judging.SHARE: Side.BOTH,
    Judging.FEATURES: Side.BOTH,
    Judging.DISTANCE: Side.ABOVE,
    Judging.UTILITY: Side.BELOW,
}


@dataclass(frozen=True)
class Judged:
    """One probe over an unlearned run, its original and all references."""

    probe: Probe
    original: Figure
    unlearned: Figure
    references: tuple[Figure, ...]
    verdict: ClaimVerdict
    required: bool
    gap_left: float | None = None  # share of the original's distance from the references

    @property
    def reference_mean(self) -> float | None:
        """Mean over the references; None where there is none or one of them is undecided."""
        values = [reference.value for reference in self.references if isinstance(reference, Measurement)]
        return float(np.mean(values)) if values and len(values) == len(self.references) else None


@dataclass(frozen=True)
class Weighed:
    """A probe on original and references: all that is known before an unlearned run is looked at."""

    probe: Probe
    original: Figure
    references: tuple[Figure, ...]
    blind: str | None

    @classmethod
    def of(cls, probe: Probe, trial: Trial) -> Weighed:
        original = probe.measure(trial.original, trial)
        references = tuple(probe.measure(reference, trial) for reference in trial.references)
        blind = None
        if probe.judging is not None and trial.ground.unfit() is None:
            blind = (too_few_rows(trial) if isinstance(probe, OfMemory) else None) or _blind(probe, references)
        return cls(probe, original, references, blind)

    @property
    def lacking(self) -> Undecided:
        return self.probe.lacking(len(self.references))

    @property
    def of_memory(self) -> bool:
        return self.probe.judging is Judging.MEMORY

    @property
    def values(self) -> list[float] | Undecided:
        """Of the references, as many as a verdict needs."""
        undecided = next((one for one in self.references if isinstance(one, Undecided)), None)
        if len(self.references) < MINIMUM:
            return Undecided(f"needs {MINIMUM} references, has {len(self.references)}")
        if undecided is not None:
            return Undecided(f"a reference: {undecided.reason}")
        return [one.value for one in self.references if isinstance(one, Measurement)]

    def against(self, model: Figure) -> Prediction | Undecided:
        """How far a model lies from the references."""
        values = self.values
        if isinstance(model, Undecided):  # a verdict asks for more references than the figure itself
            return values if isinstance(values, Undecided) and model == self.lacking else model
        if isinstance(values, Undecided):
            return values
        still = (model.high - model.low) / 2 / 1.96  # over examples: all the luck there is where references do not vary
        found = Prediction.of(model.value, values, spread_of_still=still)
        return found if found.spread else Undecided("the references do not vary: needs a recipe whose runs do")

    def gap_left(self, model: Figure) -> float | None:
        """(u − r̄) ÷ (o − r̄), where the original lies off retraining at all: 1 untouched, 0 as retrained."""
        off, there = self.against(model), self.against(self.original)
        if isinstance(off, Undecided) or isinstance(there, Undecided) or there.p() > LEVEL:
            return None
        return off.difference / there.difference

    @property
    def smallest(self) -> float:
        """The smallest share of the memory that retrained models could be shown to keep within."""
        found = self.against(self.original)
        if isinstance(found, Undecided):
            return np.inf
        return smallest_claim(abs(found.difference) / found.spread, found.references)


def _blind(probe: Probe, references: Sequence[Figure]) -> str | None:
    """The negative control: why a probe that refutes honest retrainings is switched off, if it does."""
    assert probe.judging is not None
    values = [one.value for one in references if isinstance(one, Measurement)]
    if len(values) < len(references) or len(values) < MINIMUM:
        return None
    odd = 0
    for index, value in enumerate(values):
        others = Prediction.of(value, values[:index] + values[index + 1 :])
        odd += bool(others.spread) and others.p(SIDES[probe.judging]) < ODD
    if odd <= MOST_ODD:
        return None
    return f"{probe.name}: {odd} of {len(values)} references are refuted by the others, so it is switched off"


def compared(one: Weighed, trial: Trial, run: TrialModel, *, collapsed: bool) -> tuple[Judged, Prediction | None]:
    """Where the run lies. What a probe that may refute says of it is ``decided`` once all of them were asked."""
    probe, measured = one.probe, one.probe.measure(run, trial)
    found = Judged(probe, one.original, measured, one.references, NOT_JUDGED, required=False)
    if probe.judging is None:
        return _printed(found, one, trial, collapsed=collapsed), None
    off = one.against(measured)
    told = found if isinstance(off, Undecided) else _shifted(found, off)
    if collapsed:
        lost = probe.role is ProbeRole.UTILITY
        verdict = Refuted("collapsed") if lost else Undecided("collapsed: utility is gone")
        return replace(told, verdict=verdict, required=True), None
    if one.blind is not None:
        off = Undecided(one.blind)
    return (replace(told, verdict=off, required=True), None) if isinstance(off, Undecided) else (told, off)


def p_of(one: Weighed, off: Prediction) -> float:
    """Of a difference as large as this, by retraining alone."""
    assert one.probe.judging is not None
    return off.p(SIDES[one.probe.judging], NOTHING_LOST if one.probe.judging is Judging.UTILITY else 0.0)


def decided(one: Weighed, found: Judged, off: Prediction, p: float, claim: Claim) -> Judged:
    """What one probe says of the run; ``p`` is corrected for all that were asked beside it."""
    if p <= LEVEL:
        return replace(found, verdict=_refuted(one, off, found.unlearned, p), required=True)
    margin = _margin(one, claim)
    powerless = one.probe.judging is Judging.SHARE and margin < power_factor(off.references) * off.spread
    return replace(found, verdict=_bounded(one, off, margin), required=not powerless)


def _printed(found: Judged, one: Weighed, trial: Trial, *, collapsed: bool) -> Judged:
    """Of what decides nothing: why it has no value, what the value lacks, or how much of the original's gap is left."""
    if isinstance(found.unlearned, Undecided):
        return replace(found, verdict=found.unlearned)
    if found.probe.scale == "auc" and not trial.references and not trial.ground.random:
        return replace(found, verdict=NOT_CALIBRATED)
    told = found.probe.role is ProbeRole.FORGETTING and not collapsed
    return replace(found, gap_left=one.gap_left(found.unlearned)) if told else found


def _shifted(found: Judged, off: Prediction) -> Judged:
    """Shares of memory are told from where retraining reads, with the interval over references."""
    if found.probe.judging is not Judging.MEMORY:
        return found
    mean = found.reference_mean or 0.0
    spread = off.luck.reach(0.95)

    def told(figure: Figure, reach: float = 0.0) -> Figure:
        if isinstance(figure, Undecided):
            return figure
        value = figure.value - mean
        return replace(figure, value=value, low=value - reach, high=value + reach, n=off.references)

    return replace(
        found,
        original=told(found.original, spread),
        unlearned=told(found.unlearned, spread),
        references=tuple(map(told, found.references)),
    )


def _margin(one: Weighed, claim: Claim) -> float:
    """How large a difference the claim allows."""
    if one.probe.judging not in (Judging.SHARE, Judging.FEATURES):
        return claim.share
    there = one.against(one.original)
    return LEAST_SHARE if isinstance(there, Undecided) else max(LEAST_SHARE, claim.share * abs(there.difference))


def _refuted(one: Weighed, off: Prediction, measured: Figure, p: float) -> Refuted:
    """In the reader's words: too little, too much, or otherwise."""
    judging, difference = one.probe.judging, off.difference
    there = one.against(one.original)
    beyond = not isinstance(there, Undecided) and there.difference * difference < 0
    if judging is Judging.DISTANCE:
        return Refuted("it answers their rows as no retrained model does", p)
    if judging is Judging.UTILITY:
        whom = "people who stayed" if one.probe.name.startswith("retain") else "people it never saw"
        return Refuted(f"it lost {_points(one.probe, -difference)} on {whom}", p)
    if judging is Judging.MEMORY:
        told = f"{in_percent(difference)} of the memory is left"
        return Refuted(f"{'over-forgotten:' if beyond else 'about'} {told}", p, over_forgotten=beyond)
    own = measured.value if isinstance(measured, Measurement) else np.nan
    where = "under a new last layer " if judging is Judging.FEATURES else ""
    told = f"{where}it answers {own:.0%} of their rows rightly, retrained models {own - difference:.0%}"
    return Refuted(f"over-forgotten: {told}" if beyond else told, p, over_forgotten=beyond)


def _points(probe: Probe, lost: float) -> str:
    return f"{100 * lost:.1f} points{' of R²' if probe.scale == 'r2' else ''}"


def _rounded_up(bound: float, digits: int) -> float:
    """No bound is told as smaller than it is."""
    return math.ceil(bound * 10**digits - 1e-9) / 10**digits


def _helps(more: int | None) -> str:
    return "more references would not help" if more is None else f"about {more} references would decide"


def _bounded(one: Weighed, off: Prediction, margin: float) -> ClaimVerdict:
    """What is not refuted is Supported as far as its bound holds."""
    judging = one.probe.judging
    if judging is Judging.DISTANCE:
        return Supported(1.0 - p_of(one, off), "no farther off than retrained models are")
    if judging is Judging.UTILITY:
        lost = _points(one.probe, _rounded_up(max(0.0, -off.least), 3))
        if off.least >= -MOST_LOST:
            return Supported(off.luck.tail(MOST_LOST + off.difference), f"at most {lost} lost")
        helps = _helps(replace(off, difference=min(0.0, off.difference)).more(MOST_LOST))
        return Undecided(f"up to {lost} may be lost, {100 * MOST_LOST:g} may be at most: {helps}")
    if off.bound <= margin:
        what = "of the memory is left" if judging is Judging.MEMORY else "of their rows are answered otherwise"
        return Supported(off.luck.tail(margin - abs(off.difference)), f"at most {in_percent(off.bound)} {what}")
    what = "of the memory may be left" if judging is Judging.MEMORY else "of their rows may be answered otherwise"
    most = in_percent(_rounded_up(off.bound, 2))
    return Undecided(f"up to {most} {what}, the claim allows {margin:.0%}: {_helps(off.more(margin))}")
