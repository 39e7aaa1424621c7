"""The verdict: each judged probe against retrained references, guards against false success, and what follows.

Two questions, two tests. *Different?* by prediction: would one more retraining lie there? Holm over the judged probes.
*Small?* by confidence: how much of the memory may be left at most? Refuted by none and bounded is Supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.multiplicity import holm
from expunge.core.statistics.prediction import LEVEL, Prediction
from expunge.core.values import ClaimVerdict, Measurement, Refuted, Supported, Undecided
from expunge.core.wording import counted, in_percent
from expunge.measure.accuracy import HoldoutAccuracy
from expunge.measure.claim import Claim, strongest
from expunge.measure.contract import NO_HOLDOUT, Judging, Probe
from expunge.measure.memory import margins_of, memory_in
from expunge.measure.numbers import HoldoutShare
from expunge.measure.readings import SIGNALS
from expunge.measure.row import MINIMUM, Judged, Weighed, compared, decided, p_of
from expunge.measure.trial import Trial, TrialModel
from expunge.records.evaluation import Guard, MemoryEvidence

SAME = "same as never trained, bit for bit; nothing to estimate"
BY_RECORD = (
    "exact by its record, which verify checks; to compare bits, unlearn the same request by retrain and give that as a "
    "reference"
)
ALIKE = "models with these people and without them answer alike: there is nothing here that could be forgotten"


@dataclass(frozen=True)
class Judgement:
    """What the probes, the guards and the notices say of one unlearned run, and its verdict.

    ``outstanding`` is a p-value for each forgotten row, adjusted over all of them: small where it is still known.
    """

    probes: tuple[Judged, ...]
    guards: tuple[Guard, ...]
    notices: tuple[str, ...]
    verdict: ClaimVerdict
    claim: Claim
    same: bool = False
    memory: MemoryEvidence | None = None
    outstanding: np.ndarray | None = None

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the judged probes that support a run which is Supported; else nothing was passed."""
        if not isinstance(self.verdict, Supported):
            return ()
        supported = (one for one in self.probes if one.required and isinstance(one.verdict, Supported))
        return tuple(judged.probe.name for judged in supported)


def judge(trial: Trial, probes: Sequence[Probe], claim: Claim | None = None) -> tuple[Judgement, ...]:
    """Measure every probe on every model, apply the guards, and conclude: for each unlearned run by itself.

    Without a ``claim`` it is the strongest that original and references have the power for; no unlearned run is looked
    at for that.
    """
    before = tuple(Weighed.of(probe, trial) for probe in probes)
    chosen = claim or strongest_of(before)
    return tuple(_judge(trial, run, before, chosen) for run in trial.unlearned)


def strongest_of(before: Sequence[Weighed]) -> Claim:
    """The strongest claim that original and references have the power for."""
    return strongest(next((one.smallest for one in before if one.of_memory), np.inf))


def _judge(trial: Trial, run: TrialModel, before: Sequence[Weighed], claim: Claim) -> Judgement:
    collapse, same = _collapse(trial, run), _same_weights(trial, run)
    retrained = run.retrained or run.weights_digest in trial.retrained
    verdict: ClaimVerdict
    judged = _rows(trial, run, before, claim, collapsed=collapse.fired)
    guards = [collapse, same, *_controls(before), _over_forgetting(judged)]
    weighed = next((one for one in before if one.of_memory), None)
    memory, outstanding = _evidence(trial, run, weighed)
    if retrained:
        verdict = Supported(0.0, SAME)
    elif run.exact:
        verdict = Undecided(BY_RECORD)
    else:
        few = _of_few(trial, outstanding) if trial.ground.few else None
        verdict = _conclude(run, judged, weighed, claim, memory, collapse, same, few)
    return Judgement(
        probes=tuple(judged),
        guards=tuple(guards),
        notices=(*_notices(trial, run, weighed, memory), *_remarks(judged)),
        verdict=verdict,
        claim=claim,
        same=retrained and isinstance(verdict, Supported),
        memory=memory,
        outstanding=outstanding,
    )


def _rows(trial: Trial, run: TrialModel, before: Sequence[Weighed], claim: Claim, *, collapsed: bool) -> list[Judged]:
    """What each probe says of it. Of those that may refute, by Holm's correction over all of them."""
    found = [(one, *compared(one, trial, run, collapsed=collapsed)) for one in before]
    p_values = iter(holm([p_of(one, off) for one, _, off in found if off is not None]))
    return [row if off is None else decided(one, row, off, next(p_values), claim) for one, row, off in found]


def _controls(before: Sequence[Weighed]) -> list[Guard]:
    found: list[Guard] = []
    for one in before:
        if one.probe.judging is not None and len(one.references) >= MINIMUM:
            detail = one.blind or f"{one.probe.name}: the references do not refute each other"
            found.append(Guard(name="negative control", fired=one.blind is not None, detail=detail))
    return found


def _evidence(
    trial: Trial, run: TrialModel, weighed: Weighed | None
) -> tuple[MemoryEvidence | None, np.ndarray | None]:
    """The headline in numbers, and who still stands out; the latter at any number of rows."""
    memory = memory_in(trial)
    if memory is None or SIGNALS not in run.answers.finite:
        return None, None
    outstanding = memory.who_stands_out(margins_of(run.answers)) if memory.spread.all() else None
    if weighed is None or weighed.blind is not None:
        return None, outstanding
    off, there = (weighed.against(weighed.probe.measure(model, trial)) for model in (run, trial.original))
    if isinstance(off, Undecided) or isinstance(there, Undecided):
        return None, outstanding
    evidence = MemoryEvidence(
        left=off.difference,
        bound=off.bound,
        original=there.difference,
        spread=off.spread,
        references=off.references,
        witnesses=len(trial.witnesses),
        effective_rows=memory.effective_rows,
        smallest_claim=weighed.smallest if weighed.smallest <= 1 else None,
        stands_out=0 if outstanding is None else int((outstanding <= LEVEL).sum()),
    )
    return evidence, outstanding


def _collapse(trial: Trial, run: TrialModel) -> Guard:
    numbers = run.answers.tell("residual")
    probe, what = (HoldoutShare(), "test R²") if numbers else (HoldoutAccuracy(), "test accuracy")
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
        return Guard(name="collapse", fired=True, detail=f"{what} {own.value:.3f} lies below {least:.3f}")
    holds = Guard(name="collapse", fired=False, detail=f"{what} {own.value:.3f} is not below {least:.3f}")
    if numbers:
        return holds
    classes = float(np.mean([reference.answers.effective_classes for reference in trial.references]))
    if run.answers.effective_classes < classes / 2:
        detail = f"{run.answers.effective_classes:.1f} effective classes, the references have {classes:.1f}"
        return Guard(name="collapse", fired=True, detail=detail)
    return holds


def _same_weights(trial: Trial, run: TrialModel) -> Guard:
    own, before = ({model.weights_digest, *model.members} for model in (run, trial.original))
    same = bool(own & before)
    detail = "the weights are the original's, bit for bit" if same else "the weights differ from the original's"
    return Guard(name="same weights", fired=same and not run.exact, detail=detail)


def _over_forgetting(found: Sequence[Judged]) -> Guard:
    over = [
        judged.probe.name for judged in found if isinstance(judged.verdict, Refuted) and judged.verdict.over_forgotten
    ]
    return Guard(name="over-forgetting", fired=bool(over), detail=", ".join(over) or "no probe lies beyond retraining")


def _notices(trial: Trial, run: TrialModel, weighed: Weighed | None, memory: MemoryEvidence | None) -> tuple[str, ...]:
    notices = list(run.flags)
    if len(trial.references) < MINIMUM and not trial.ground.few:
        notices.append(f"{len(trial.references)} references: a verdict needs {MINIMUM}, values are not calibrated")
    if run.weights_digest in trial.retrained:
        notices.append("the weights are bit for bit those of a retrained reference")
    if memory is not None:
        notices.append(power_line(memory))
    elif weighed is not None and weighed.blind is not None:
        standing = _standing(len(trial.references), len(trial.witnesses))
        notices.append(f"{standing} this trial can support no claim: {weighed.blind}")
    if trial.ground.excluded_holdout:
        notices.append(
            f"{trial.ground.excluded_holdout} holdout rows of forgotten subjects, or like a forgotten row, are left out"
        )
    if trial.ground.dropped_classes:
        notices.append(f"test accuracy leaves out the forgotten classes {', '.join(trial.ground.dropped_classes)}")
    return tuple(notices)


def _remarks(judged: Sequence[Judged]) -> tuple[str, ...]:
    told = (one.probe.remark(one.unlearned) for one in judged)
    return tuple(remark for remark in told if remark is not None)


def _standing(references: int, witnesses: int) -> str:
    return f"with {references} references and {counted(witnesses, 'witness')}"


def power_line(memory: MemoryEvidence) -> str:
    """What a trial can show at all, whatever the run."""
    with_these = _standing(memory.references, memory.witnesses)
    if memory.smallest_claim is None:
        return f"{with_these} this trial can support no claim: models with these people and without them are too alike"
    return f"{with_these} this trial can support at-most:{100 * memory.smallest_claim:.0f}% or weaker"


def _conclude(
    run: TrialModel,
    found: Sequence[Judged],
    weighed: Weighed | None,
    claim: Claim,
    memory: MemoryEvidence | None,
    collapse: Guard,
    same: Guard,
    few: ClaimVerdict | None,
) -> ClaimVerdict:
    """``few`` is what the rows say one by one, where they are too few to say more."""
    if collapse.fired:
        return Refuted(f"collapsed: {collapse.detail}")
    if same.fired:
        return Refuted(f"same weights: {same.detail}")
    refuted = _first_refuted(found)
    if refuted is not None:
        return refuted
    if few is not None:
        return few
    undecided = [judged for judged in found if judged.required and not isinstance(judged.verdict, Supported)]
    there = None if weighed is None else weighed.against(weighed.original)
    if isinstance(there, Prediction) and there.p() > LEVEL:
        return Undecided(ALIKE)
    if memory is not None and (memory.smallest_claim or 1.0) > claim.share:
        return Undecided(f"{power_line(memory)}, the claim is {claim}")
    if undecided:
        missing = (one for one in undecided if one.verdict == Undecided(NO_HOLDOUT))  # no more references mend that
        first = next(missing, min(undecided, key=lambda one: one.probe.judging is not Judging.MEMORY))
        return Undecided(f"{first.probe.name}: {first.verdict.detail}")
    if memory is None:
        return Undecided("memory: not measured, and every verdict rests on it")
    if run.unsupportable is not None:
        return Undecided(run.unsupportable)
    bounded = [one for one in found if one.required and one.probe.judging is not Judging.DISTANCE]
    worst = max(one.verdict.p for one in bounded if one.verdict.p is not None)
    return Supported(worst, f"at most {in_percent(memory.bound)} of the memory is left")


def _of_few(trial: Trial, outstanding: np.ndarray | None) -> ClaimVerdict:
    """Rows that stand out refute, however few there are; that none does is no sign."""
    reason = str(trial.ground.unfit())
    if outstanding is None:
        return Undecided(reason)
    out, rows = int((outstanding <= LEVEL).sum()), counted(len(outstanding), "row")
    if not out:
        return Undecided(f"{reason}; that none of them stands out is no sign of forgetting")
    stands = "stands" if out == 1 else "stand"
    return Refuted(f"{out} of {rows} still {stands} out from what retrained models answer", float(outstanding.min()))


def _first_refuted(found: Sequence[Judged]) -> Refuted | None:
    """What refutes the run: the memory first, it says most."""
    certain = [
        (judged.probe.judging is not Judging.MEMORY, judged.verdict.p or 0.0, judged.verdict)
        for judged in found
        if isinstance(judged.verdict, Refuted)
    ]
    return min(certain, key=lambda one: one[:2])[2] if certain else None
