"""The verdict on a method: runs of several originals of other training seeds, each unlearned once.

No number of unlearning seeds replaces them: what one training left behind, every unlearning of it starts from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import bdtrc

from expunge.core.statistics.means import spread
from expunge.core.statistics.prediction import LEVEL, Prediction
from expunge.core.values import ClaimVerdict, Exact, Refuted, Supported, Undecided
from expunge.core.wording import in_percent
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure.claim import Claim
from expunge.measure.company import references_of
from expunge.measure.evaluate import trial_of
from expunge.measure.judgement import ALIKE, SAME, strongest_of
from expunge.measure.memory import MemoryLeft
from expunge.measure.readings import Kept
from expunge.measure.row import Weighed
from expunge.records.evaluation import Evaluation
from expunge.records.over_trainings import FEWEST_TRAININGS, MemoryOverTrainings, OverTrainings
from expunge.train.profile import pinned
from expunge.train.run import Run

MOST_TRAININGS = 1000


def claim_beside(
    run: Run,
    original: Run,
    references: Sequence[Run],
    witnesses: Sequence[Run],
    rows: Mapping[Split, Dataset],
    kept: Kept,
) -> Claim:
    """The strongest claim that another original of the same recipe has the power for; the run is not looked at."""
    beside, _, _ = references_of(run, run.parent, list(references))
    with pinned(run.recipe):
        trial = trial_of([run], original, beside, rows, (MemoryLeft,), witnesses=witnesses, kept=kept)
        return strongest_of([Weighed.of(MemoryLeft(), trial)])


def over_trainings(evaluations: Sequence[Evaluation]) -> OverTrainings:
    """From the evaluations of one method's runs, one a training; under the weakest of their claims, should they differ.

    The claims were fixed before any unlearned run was looked at.
    """
    claims = [Claim.of(one.claim) for one in evaluations if one.claim is not None]
    claim = max(claims, key=lambda one: one.share, default=None)
    left = [one.memory.left for one in evaluations if one.memory is not None]
    mean = None
    if len(left) == len(evaluations) > 1:
        mean = Prediction(float(np.mean(left)), spread(left), len(left))
    return OverTrainings(
        verdict=_verdict(evaluations, mean, claim),
        trainings=len(evaluations),
        claim=None if claim is None else str(claim),
        allowed=None if claim is None else claim.share,
        memory=None if mean is None else _told(mean),
    )


def _told(mean: Prediction) -> MemoryOverTrainings:
    reach = mean.luck.reach(1.0 - LEVEL)
    return MemoryOverTrainings(
        mean=mean.difference, low=mean.difference - reach, high=mean.difference + reach, bound=mean.bound
    )


def _verdict(evaluations: Sequence[Evaluation], mean: Prediction | None, claim: Claim | None) -> ClaimVerdict:
    runs = len(evaluations)
    if all(one.same_as is not None for one in evaluations):
        return Supported(0.0, SAME)
    for one in evaluations:
        if isinstance(one.guarantee, Exact) and isinstance(one.verdict, Undecided):
            return one.verdict  # no statistic speaks for what shares the original's luck
    missing = next((one for one in evaluations if one.memory is None), None)
    if missing is not None:
        probe = missing.probe("memory")
        unknown = Undecided(f"memory: {missing.verdict.detail if probe is None else probe.verdict.detail}")
        return _mostly_refuted(evaluations) or unknown
    if runs < FEWEST_TRAININGS or mean is None or claim is None:
        words = Counter(one.verdict.word for one in evaluations)
        counts = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
        return Undecided(f"needs {FEWEST_TRAININGS} trainings, has {runs}; of these {counts}")
    return _of_enough(evaluations, mean, claim)


def _of_enough(evaluations: Sequence[Evaluation], mean: Prediction, claim: Claim) -> ClaimVerdict:
    runs, off = len(evaluations), abs(mean.difference)
    if not mean.spread:
        return Undecided(f"all {runs} runs read the same: needs trainings that vary")
    outside = mean.outside(claim.share)
    if outside <= LEVEL:
        over = mean.difference < 0
        told = f"{'over-forgotten:' if over else 'about'} {in_percent(mean.difference)} of the memory is left"
        return Refuted(f"{told}, over {runs} trainings", outside, over_forgotten=over)
    mostly = _mostly_refuted(evaluations)
    if mostly is not None:
        return mostly
    if any(_alike(one) for one in evaluations):
        return Undecided(ALIKE)
    refuted = _refuted(evaluations)
    if _by_luck(len(refuted), runs) <= LEVEL:
        return Undecided(f"{len(refuted)} of {runs} runs are refuted, retraining itself would be in one of twenty")
    barred = next((notice for one in evaluations for notice in one.notices if notice.startswith("oracle-tuned")), None)
    if barred is not None:
        return Undecided(barred)
    if mean.bound <= claim.share:
        return Supported(
            mean.luck.tail(claim.share - off),
            f"at most {in_percent(mean.bound)} of the memory is left, over {runs} trainings",
        )
    more = _deciding(mean, claim)
    helps = "more would not help" if more is None else f"about {more} would decide"
    told = f"up to {mean.bound:.0%} of the memory may be left over {runs} trainings"
    return Undecided(f"{told}, the claim allows {claim.share:.0%}: {helps}")


def _refuted(evaluations: Sequence[Evaluation]) -> list[Refuted]:
    return [one.verdict for one in evaluations if isinstance(one.verdict, Refuted)]


def _by_luck(refuted: int, runs: int) -> float:
    """Chance that so many retrainings, or more, are refuted."""
    return float(bdtrc(refuted - 1, runs, LEVEL)) if refuted else 1.0


def _mostly_refuted(evaluations: Sequence[Evaluation]) -> Refuted | None:
    """Where most runs fail by whatever is judged, the method does; memory need not be known for that."""
    runs, refuted = len(evaluations), _refuted(evaluations)
    if runs < FEWEST_TRAININGS or 2 * len(refuted) <= runs:
        return None
    return Refuted(f"{len(refuted)} of {runs} runs are refuted: {refuted[0].reason}", _by_luck(len(refuted), runs))


def _alike(one: Evaluation) -> bool:
    """Whether its original is answered as a retrained model is: then there is nothing that could be forgotten."""
    memory = one.memory
    return memory is not None and Prediction(memory.original, memory.spread, memory.references).p() > LEVEL


def _deciding(mean: Prediction, claim: Claim) -> int | None:
    """The fewest trainings that would support or refute, mean and spread held."""
    for count in range(mean.references + 1, MOST_TRAININGS + 1):
        held = Prediction(mean.difference, mean.spread, count)
        if held.bound <= claim.share or held.outside(claim.share) <= LEVEL:
            return count
    return None
