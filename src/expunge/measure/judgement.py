"""Guards first, then verdicts: what a trial's figures are worth.

Every guard looks for a way to seem forgotten without being so. Which probes can see anything here is decided from the
original and the references alone, before the unlearned model is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.comparison import LEVEL, Comparison
from expunge.core.statistics.equivalence import MINIMUM, compare
from expunge.core.statistics.multiplicity import holm
from expunge.core.statistics.tolerances import Scope
from expunge.core.values import Measurement, Refuted, Supported, Undecided, Verdict
from expunge.measure.accuracy import HoldoutAccuracy
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.mean_margin import MeanMargin
from expunge.measure.trial import Trial
from expunge.records.evaluation import Guard

FEWEST_FORGETTING_PROBES = 2
MOST_REFUTED_REFERENCES = 0.05


@dataclass(frozen=True)
class Reading:
    """One probe over all models of a trial."""

    probe: Probe
    original: Measurement | Undecided
    unlearned: Measurement | Undecided
    references: tuple[Measurement | Undecided, ...]
    verdict: Verdict
    required: bool

    @property
    def reference_mean(self) -> float | None:
        """Mean over the references; None where there is none or one of them is undecided."""
        values = [reference.value for reference in self.references if isinstance(reference, Measurement)]
        return float(np.mean(values)) if values and len(values) == len(self.references) else None


@dataclass(frozen=True)
class Judgement:
    """Readings, guards, notices, and the trial's verdict."""

    readings: tuple[Reading, ...]
    guards: tuple[Guard, ...]
    notices: tuple[str, ...]
    verdict: Verdict

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the required probes, if the whole trial is Supported; else nothing was passed."""
        if not isinstance(self.verdict, Supported):
            return ()
        return tuple(reading.probe.name for reading in self.readings if reading.required)


def judge(trial: Trial, probes: Sequence[Probe]) -> Judgement:
    """Measure every probe on every model, apply the guards, and conclude."""
    collapse = _collapse(trial)
    same = _same_weights(trial)
    guards = [collapse, same]
    readings: list[Reading] = []
    p_values: dict[str, float] = {}
    for probe in probes:
        reading, comparison, controls = _read(probe, trial)
        guards.extend(controls)
        if collapse.fired:
            reading = _collapsed(reading)
        elif comparison is not None and reading.required:
            p_values[probe.name] = comparison.refutation_p
        readings.append(reading)
    guards.append(_over_forgetting(readings))
    return Judgement(
        readings=tuple(readings),
        guards=tuple(guards),
        notices=_notices(trial, guards),
        verdict=_conclude(trial, readings, p_values, collapse, same),
    )


def _read(probe: Probe, trial: Trial) -> tuple[Reading, Comparison | None, list[Guard]]:
    original = probe.measure(trial.original, trial)
    references = tuple(probe.measure(reference, trial) for reference in trial.references)
    controls: list[Guard] = []
    blind: str | None = None
    if probe.required and probe.role is ProbeRole.FORGETTING and len(references) >= MINIMUM:
        controls = _controls(probe, trial, original, references)
        blind = next((guard.detail for guard in controls if guard.fired), None)
    unlearned = probe.measure(trial.unlearned, trial)
    comparison = _compare(probe, trial, unlearned, references)
    verdict: Verdict
    if probe.quantity is None:
        verdict = Undecided("printed beside, not judged")
    elif blind is not None:
        verdict, comparison = Undecided(blind), None
    elif isinstance(comparison, Undecided):
        verdict, comparison = comparison, None
    else:
        verdict = _sided(comparison, _compare(probe, trial, original, references), probe)
    found = comparison if isinstance(comparison, Comparison) else None
    required = probe.required and blind is None
    return Reading(probe, original, unlearned, references, verdict, required), found, controls


def _compare(
    probe: Probe,
    trial: Trial,
    model: Measurement | Undecided,
    references: tuple[Measurement | Undecided, ...],
) -> Comparison | Undecided:
    if probe.quantity is None:
        return Undecided("printed beside, not judged")
    if isinstance(model, Undecided):
        return model
    values = _values(references)
    if isinstance(values, Undecided):
        return values
    unit = probe.unit(trial)
    if unit is None and probe.scale == "margin":
        return Undecided("the references' margins do not vary over the forget examples: needs other references")
    # Every model was read on the same examples, so their luck is shared; it is all there is where references agree.
    examples = model if model.unit == "example" else None
    still = len(values) >= 2 and float(np.std(values)) == 0.0
    return compare([model.value], values, probe.quantity, Scope.RUN, examples=examples if still else None, unit=unit)


def _values(references: Sequence[Measurement | Undecided]) -> list[float] | Undecided:
    values: list[float] = []
    for reference in references:
        if isinstance(reference, Undecided):
            return Undecided(f"a reference: {reference.reason}")
        values.append(reference.value)
    if len(values) < MINIMUM:
        return Undecided(f"needs {MINIMUM} references, has {len(values)}")
    return values


def _controls(
    probe: Probe,
    trial: Trial,
    original: Measurement | Undecided,
    references: tuple[Measurement | Undecided, ...],
) -> list[Guard]:
    """Can this probe see anything here? It must refute the original and leave honest retrainings alone."""
    comparison = _compare(probe, trial, original, references)
    if isinstance(comparison, Undecided):
        return [
            Guard(
                name="positive control", fired=True, detail=f"{probe.name}: probe is blind here ({comparison.reason})"
            )
        ]
    inner, _ = comparison.margins
    difference = comparison.runs.value
    headroom = abs(difference) < 2 * inner
    positive = comparison.verdict()
    found = [
        Guard(
            name="headroom",
            fired=headroom,
            detail=f"{probe.name}: nothing to forget on this scale (original and references differ by "
            f"{difference:.3g}, 2δ = {2 * inner:.3g})"
            if headroom
            else f"{probe.name}: original and references differ by {difference:.3g}, 2δ = {2 * inner:.3g}",
        ),
        Guard(
            name="positive control",
            fired=not isinstance(positive, Refuted),
            detail=f"{probe.name}: the original is refuted"
            if isinstance(positive, Refuted)
            else f"{probe.name}: probe is blind here (it does not refute the original)",
        ),
    ]
    return [*found, *_negative_control(probe, trial, references)]


def _negative_control(probe: Probe, trial: Trial, references: tuple[Measurement | Undecided, ...]) -> list[Guard]:
    """Each reference against the others: honest retrainings must not be refuted."""
    if len(references) <= MINIMUM:
        detail = f"{probe.name}: not possible with {len(references)} references, needs {MINIMUM + 1}"
        return [Guard(name="negative control", fired=False, detail=detail)]
    verdicts: list[Verdict] = []
    for index, reference in enumerate(references):
        compared = _compare(probe, trial, reference, references[:index] + references[index + 1 :])
        verdicts.append(compared if isinstance(compared, Undecided) else compared.verdict())
    refuted = sum(isinstance(verdict, Refuted) for verdict in verdicts)
    undecided = sum(isinstance(verdict, Undecided) for verdict in verdicts)
    count = len(verdicts)
    detail = f"{probe.name}: {refuted} of {count} references refuted by the others, {undecided} undecided"
    fired = refuted > MOST_REFUTED_REFERENCES * count or undecided == count
    return [Guard(name="negative control", fired=fired, detail=detail + (": probe is disabled" if fired else ""))]


def _sided(comparison: Comparison, original: Comparison | Undecided, probe: Probe) -> Verdict:
    """A refutation on the far side of retraining, seen from the original, is called what it is."""
    verdict = comparison.verdict()
    if (
        isinstance(verdict, Refuted)
        and probe.role is ProbeRole.FORGETTING
        and isinstance(original, Comparison)
        and original.runs.value * comparison.runs.value < 0
    ):
        return Refuted(f"over-forgotten: {verdict.reason}", verdict.p)
    return verdict


def _collapse(trial: Trial) -> Guard:
    probe = HoldoutAccuracy()
    own = probe.measure(trial.unlearned, trial)
    if isinstance(own, Undecided):
        return Guard(name="collapse", fired=not trial.unlearned.finite, detail=own.reason)
    found = [probe.measure(reference, trial) for reference in trial.references]
    values = [item.value for item in found if isinstance(item, Measurement)]
    if not values:
        return Guard(name="collapse", fired=False, detail="no reference to compare with")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    least = float(np.mean(values)) - max(0.05, 5 * spread)
    if own.value < least:
        return Guard(name="collapse", fired=True, detail=f"test accuracy {own.value:.3f} lies below {least:.3f}")
    classes = float(np.mean([reference.effective_classes for reference in trial.references]))
    if trial.unlearned.effective_classes < classes / 2:
        detail = f"{trial.unlearned.effective_classes:.1f} effective classes, the references have {classes:.1f}"
        return Guard(name="collapse", fired=True, detail=detail)
    return Guard(name="collapse", fired=False, detail=f"test accuracy {own.value:.3f} is not below {least:.3f}")


def _collapsed(reading: Reading) -> Reading:
    verdict: Verdict = (
        Refuted("collapsed") if reading.probe.role is ProbeRole.UTILITY else Undecided("collapsed: utility is gone")
    )
    if reading.probe.role is ProbeRole.COST:
        verdict = reading.verdict
    return Reading(reading.probe, reading.original, reading.unlearned, reading.references, verdict, reading.required)


def _same_weights(trial: Trial) -> Guard:
    same = trial.unlearned.weights_digest == trial.original.weights_digest
    detail = "the weights are the original's, bit for bit" if same else "the weights differ from the original's"
    return Guard(name="same weights", fired=same and not trial.exact, detail=detail)


def _over_forgetting(readings: Sequence[Reading]) -> Guard:
    over = [
        reading.probe.name
        for reading in readings
        if isinstance(reading.verdict, Refuted) and reading.verdict.reason.startswith("over-forgotten")
    ]
    return Guard(name="over-forgetting", fired=bool(over), detail=", ".join(over) or "no probe lies beyond retraining")


def _notices(trial: Trial, guards: Sequence[Guard]) -> tuple[str, ...]:
    notices = list(trial.flags)
    if len(trial.references) < MINIMUM:
        notices.append(f"{len(trial.references)} references: a verdict needs {MINIMUM}, values are not calibrated")
    if any(reference.weights_digest == trial.unlearned.weights_digest for reference in trial.references):
        notices.append("the weights are bit for bit those of a retrained reference")
    if trial.excluded_holdout:
        notices.append(f"{trial.excluded_holdout} holdout rows of forgotten subjects are left out")
    if trial.dropped_classes:
        notices.append(f"test accuracy leaves out the forgotten classes {', '.join(trial.dropped_classes)}")
    left = sorted({guard.detail.split(":", 1)[0] for guard in guards if guard.fired and ":" in guard.detail})
    if left:
        notices.append(f"not in the required list here: {', '.join(left)}")
    return tuple(notices)


def _conclude(
    trial: Trial, readings: Sequence[Reading], p_values: dict[str, float], collapse: Guard, same: Guard
) -> Verdict:
    if collapse.fired:
        return Refuted(f"collapsed: {collapse.detail}")
    if same.fired:
        return Refuted(f"same weights: {same.detail}")
    if p_values:
        for name, p in zip(p_values, holm(list(p_values.values())), strict=True):
            reading = next(item for item in readings if item.probe.name == name)
            if p <= LEVEL and isinstance(reading.verdict, Refuted):
                return Refuted(f"{name}: {reading.verdict.reason}", float(p))
    required = [reading for reading in readings if reading.required]
    undecided = [reading for reading in required if not isinstance(reading.verdict, Supported)]
    if undecided:
        first = undecided[0]
        reason = first.verdict.reason if isinstance(first.verdict, Undecided | Refuted) else ""
        more = f" (and {len(undecided) - 1} more)" if len(undecided) > 1 else ""
        return Undecided(f"{first.probe.name}: {reason}{more}")
    forgetting = [reading for reading in required if reading.probe.role is ProbeRole.FORGETTING]
    if len(forgetting) < FEWEST_FORGETTING_PROBES or not any(
        isinstance(reading.probe, MeanMargin) for reading in forgetting
    ):
        return Undecided(
            f"{len(forgetting)} forgetting probes can see anything here: {FEWEST_FORGETTING_PROBES} are needed, the "
            "mean margin among them"
        )
    if trial.unsupportable is not None:
        return Undecided(trial.unsupportable)
    worst = max((reading.verdict.p for reading in required if isinstance(reading.verdict, Supported)), default=1.0)
    return Supported(worst, f"all {len(required)} required probes are supported")
