"""Guards first, then verdicts: what a trial's figures are worth.

Every guard looks for a way to seem forgotten without being so. Which probes can see anything here is decided from the
original and the references alone, before the unlearned model is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from expunge.core.statistics.comparison import LEVEL, Comparison
from expunge.core.statistics.equivalence import MINIMUM, compare
from expunge.core.statistics.multiplicity import holm
from expunge.core.statistics.tolerances import Scope
from expunge.core.values import ClaimVerdict, Figure, Measurement, Refuted, Supported, Undecided
from expunge.measure.accuracy import HoldoutAccuracy
from expunge.measure.contract import NO_HOLDOUT, NO_MARGIN, Probe, ProbeRole
from expunge.measure.mean_margin import MeanMargin
from expunge.measure.readings import SIGNALS
from expunge.measure.trial import Trial, TrialModel, Whose
from expunge.records.evaluation import Guard

FEWEST_FORGETTING_PROBES = 2
MOST_REFUTED_REFERENCES = 0.05


@dataclass(frozen=True)
class Judged:
    """One probe over an unlearned run, its original and all references."""

    probe: Probe
    original: Figure
    unlearned: Figure
    references: tuple[Figure, ...]
    verdict: ClaimVerdict
    required: bool

    @property
    def reference_mean(self) -> float | None:
        """Mean over the references; None where there is none or one of them is undecided."""
        values = [reference.value for reference in self.references if isinstance(reference, Measurement)]
        return float(np.mean(values)) if values and len(values) == len(self.references) else None


@dataclass(frozen=True)
class Judgement:
    """What the probes, the guards and the notices say of one unlearned run, and its verdict."""

    probes: tuple[Judged, ...]
    guards: tuple[Guard, ...]
    notices: tuple[str, ...]
    verdict: ClaimVerdict

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the required probes, if the whole run is Supported; else nothing was passed."""
        if not isinstance(self.verdict, Supported):
            return ()
        return tuple(judged.probe.name for judged in self.probes if judged.required)


def judge(trial: Trial, probes: Sequence[Probe]) -> tuple[Judgement, ...]:
    """Measure every probe on every model, apply the guards, and conclude: for each unlearned run by itself."""
    return tuple(_judge(trial, run, probes) for run in trial.unlearned)


def _judge(trial: Trial, run: TrialModel, probes: Sequence[Probe]) -> Judgement:
    collapse = _collapse(trial, run)
    same = _same_weights(trial, run)
    guards = [collapse, same]
    found: list[Judged] = []
    p_values: dict[str, float] = {}
    for probe in probes:
        judged, comparison, controls = _judged(probe, trial, run)
        guards.extend(controls)
        if collapse.fired:
            judged = _collapsed(judged)
        elif comparison is not None and judged.required:
            p_values[probe.name] = comparison.refutation_p
        found.append(judged)
    guards.append(_over_forgetting(found))
    return Judgement(
        probes=tuple(found),
        guards=tuple(guards),
        notices=_notices(trial, run, guards),
        verdict=_conclude(run, found, p_values, collapse, same),
    )


def _judged(probe: Probe, trial: Trial, run: TrialModel) -> tuple[Judged, Comparison | None, list[Guard]]:
    original = probe.measure(trial.original, trial)
    references = tuple(probe.measure(reference, trial) for reference in trial.references)
    controls: list[Guard] = []
    blind: str | None = None
    if probe.required and probe.role is ProbeRole.FORGETTING and len(references) >= MINIMUM:
        controls = _controls(probe, trial, original, references)
        blind = next((guard.detail for guard in controls if guard.fired), None)
    unlearned = probe.measure(run, trial)
    comparison = _compare(probe, trial, unlearned, references)
    verdict: ClaimVerdict
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
    return Judged(probe, original, unlearned, references, verdict, required), found, controls


def _compare(
    probe: Probe,
    trial: Trial,
    model: Figure,
    references: tuple[Figure, ...],
) -> Comparison | Undecided:
    if probe.quantity is None:
        return Undecided("printed beside, not judged")
    if isinstance(model, Undecided):
        return model
    values = _values(references)
    if isinstance(values, Undecided):
        return values
    unit = probe.unit(tuple(reference.answers for reference in trial.references))
    if unit is None and probe.scale == "margin":
        return Undecided("the references' margins do not vary over the forget examples: needs other references")
    # Every model was read on the same examples, so their luck is shared; it is all there is where references agree.
    examples = model if model.unit == "example" else None
    still = len(values) >= 2 and float(np.std(values)) == 0.0
    return compare([model.value], values, probe.quantity, Scope.RUN, examples=examples if still else None, unit=unit)


def _values(references: Sequence[Figure]) -> list[float] | Undecided:
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
    original: Figure,
    references: tuple[Figure, ...],
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


def _negative_control(probe: Probe, trial: Trial, references: tuple[Figure, ...]) -> list[Guard]:
    """Each reference against the others: honest retrainings must not be refuted."""
    if len(references) <= MINIMUM:
        detail = f"{probe.name}: not possible with {len(references)} references, needs {MINIMUM + 1}"
        return [Guard(name="negative control", fired=False, detail=detail)]
    verdicts: list[ClaimVerdict] = []
    for index, reference in enumerate(references):
        compared = _compare(probe, trial, reference, references[:index] + references[index + 1 :])
        verdicts.append(compared if isinstance(compared, Undecided) else compared.verdict())
    refuted = sum(isinstance(verdict, Refuted) for verdict in verdicts)
    undecided = sum(isinstance(verdict, Undecided) for verdict in verdicts)
    count = len(verdicts)
    detail = f"{probe.name}: {refuted} of {count} references refuted by the others, {undecided} undecided"
    fired = refuted > MOST_REFUTED_REFERENCES * count or undecided == count
    return [Guard(name="negative control", fired=fired, detail=detail + (": probe is disabled" if fired else ""))]


def _sided(comparison: Comparison, original: Comparison | Undecided, probe: Probe) -> ClaimVerdict:
    """A refutation on the far side of retraining, seen from the original, is called what it is."""
    verdict = comparison.verdict()
    if (
        isinstance(verdict, Refuted)
        and probe.role is ProbeRole.FORGETTING
        and isinstance(original, Comparison)
        and original.runs.value * comparison.runs.value < 0
    ):
        return Refuted(f"over-forgotten: {verdict.reason}", verdict.p, over_forgotten=True)
    return verdict


def _collapse(trial: Trial, run: TrialModel) -> Guard:
    probe = HoldoutAccuracy()
    own = probe.measure(run, trial)
    if isinstance(own, Undecided):
        return Guard(name="collapse", fired=SIGNALS not in run.answers.finite, detail=own.reason)
    found = [probe.measure(reference, trial) for reference in trial.references]
    values = [item.value for item in found if isinstance(item, Measurement)]
    if not values:
        return Guard(name="collapse", fired=False, detail="no reference to compare with")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    least = float(np.mean(values)) - max(0.05, 5 * spread)
    if own.value < least:
        return Guard(name="collapse", fired=True, detail=f"test accuracy {own.value:.3f} lies below {least:.3f}")
    classes = float(np.mean([reference.answers.effective_classes for reference in trial.references]))
    if run.answers.effective_classes < classes / 2:
        detail = f"{run.answers.effective_classes:.1f} effective classes, the references have {classes:.1f}"
        return Guard(name="collapse", fired=True, detail=detail)
    return Guard(name="collapse", fired=False, detail=f"test accuracy {own.value:.3f} is not below {least:.3f}")


def _collapsed(judged: Judged) -> Judged:
    if judged.probe.role is ProbeRole.COST:
        return judged
    if judged.probe.role is ProbeRole.UTILITY:
        return replace(judged, verdict=Refuted("collapsed"))
    return replace(judged, verdict=Undecided("collapsed: utility is gone"))


def _same_weights(trial: Trial, run: TrialModel) -> Guard:
    same = run.weights_digest == trial.original.weights_digest
    detail = "the weights are the original's, bit for bit" if same else "the weights differ from the original's"
    return Guard(name="same weights", fired=same and not run.exact, detail=detail)


def _over_forgetting(found: Sequence[Judged]) -> Guard:
    over = [
        judged.probe.name for judged in found if isinstance(judged.verdict, Refuted) and judged.verdict.over_forgotten
    ]
    return Guard(name="over-forgetting", fired=bool(over), detail=", ".join(over) or "no probe lies beyond retraining")


def _notices(trial: Trial, run: TrialModel, guards: Sequence[Guard]) -> tuple[str, ...]:
    notices = list(run.flags)
    if len(trial.references) < MINIMUM:
        notices.append(f"{len(trial.references)} references: a verdict needs {MINIMUM}, values are not calibrated")
    if any(reference.weights_digest == run.weights_digest for reference in trial.references):
        notices.append("the weights are bit for bit those of a retrained reference")
    if trial.ground.excluded_holdout:
        notices.append(f"{trial.ground.excluded_holdout} holdout rows of forgotten subjects are left out")
    if trial.ground.dropped_classes:
        notices.append(f"test accuracy leaves out the forgotten classes {', '.join(trial.ground.dropped_classes)}")
    left = sorted({guard.detail.split(":", 1)[0] for guard in guards if guard.fired and ":" in guard.detail})
    if left:
        notices.append(f"not in the required list here: {', '.join(left)}")
    return tuple(notices)


def _conclude(
    run: TrialModel, found: Sequence[Judged], p_values: dict[str, float], collapse: Guard, same: Guard
) -> ClaimVerdict:
    if collapse.fired:
        return Refuted(f"collapsed: {collapse.detail}")
    if same.fired:
        return Refuted(f"same weights: {same.detail}")
    if "margin" not in run.answers.of(Whose.FORGET):
        return Undecided(NO_MARGIN)
    if p_values:
        for name, p in zip(p_values, holm(list(p_values.values())), strict=True):
            judged = next(item for item in found if item.probe.name == name)
            if p <= LEVEL and isinstance(judged.verdict, Refuted):
                return Refuted(f"{name}: {judged.verdict.reason}", float(p))
    required = [judged for judged in found if judged.required]
    undecided = [judged for judged in required if not isinstance(judged.verdict, Supported)]
    if undecided:
        missing = (one for one in undecided if one.verdict == Undecided(NO_HOLDOUT))  # no more references mend that
        first = next(missing, undecided[0])
        reason = first.verdict.reason if isinstance(first.verdict, Undecided | Refuted) else ""
        more = f" (and {len(undecided) - 1} more)" if len(undecided) > 1 else ""
        return Undecided(f"{first.probe.name}: {reason}{more}")
    forgetting = [judged for judged in required if judged.probe.role is ProbeRole.FORGETTING]
    if len(forgetting) < FEWEST_FORGETTING_PROBES or not any(
        isinstance(judged.probe, MeanMargin) for judged in forgetting
    ):
        return Undecided(
            f"{len(forgetting)} forgetting probes can see anything here: {FEWEST_FORGETTING_PROBES} are needed, the "
            "mean margin among them"
        )
    if run.unsupportable is not None:
        return Undecided(run.unsupportable)
    worst = max((judged.verdict.p for judged in required if isinstance(judged.verdict, Supported)), default=1.0)
    return Supported(worst, f"all {len(required)} required probes are supported")
