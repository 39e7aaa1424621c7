"""A method in one cell of a study: the verdict on it, and attacks that look at its runs together.

Both sides of these attacks are runs of the study, and what they answered lies in its store: nothing is asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from expunge.core.errors import DataError, RunError
from expunge.core.statistics.margin_divergence import MarginDivergence
from expunge.core.statistics.multiplicity import holm
from expunge.core.statistics.prediction import LEVEL
from expunge.core.statistics.unlearning_likelihood_ratio import FEWEST, UnlearningLikelihoodRatio
from expunge.core.values import ClaimVerdict, Figure, Measurement, Undecided
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure.evaluate import holdout_rows
from expunge.measure.over_trainings import over_trainings
from expunge.measure.readings import SIGNALS
from expunge.measure.trial import Whose
from expunge.records.evaluation import Evaluation
from expunge.records.figures import Estimate, MeanFigure
from expunge.records.over_trainings import DIVERGING, TOLD_APART, Divergence, Divergences, OverTrainings, ToldApart
from expunge.records.results import Row
from expunge.records.scalars import raw
from expunge.study.readings import StoredReadings
from expunge.train.run import Run

MINIMUM = 16
"""Runs a side of an attack that is printed; 64 for a headline."""


class Damaged(DataError):
    """A result that is no longer what its job wrote."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{message}: remove its folder, and the same command makes it again")
        self.key = key


def among(told: ClaimVerdict, found: Sequence[ClaimVerdict]) -> ClaimVerdict:
    """A verdict that stands after Holm's correction over those of its kind, those of all methods; else Undecided."""
    if told.p is None:
        return told
    values = [other.p for other in found if isinstance(other, type(told)) and other.p is not None]
    adjusted = float(holm(values)[values.index(told.p)])
    if adjusted <= LEVEL:
        return told
    beside = f"not among {len(values)} methods (Holm: {adjusted:.3g})"
    return Undecided(f"{told.word} alone (p = {told.p:.3g}), {beside}: {raw(told.detail)}")


def held(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows whose verdicts on methods are held to Holm over those of all."""
    found = [row.concluded.verdict for row in rows if row.concluded is not None]
    return tuple(
        row
        if row.concluded is None
        else replace(row, concluded=replace(row.concluded, verdict=among(row.concluded.verdict, found)))
        for row in rows
    )


@dataclass(frozen=True)
class Found:
    """What the attacks say of some runs: a figure each, and what stands behind it where there is one."""

    figures: Mapping[str, MeanFigure] = field(default_factory=dict[str, MeanFigure])
    told_apart: ToldApart | None = None
    divergences: Divergences | None = None

    def beside(self, evaluations: Sequence[Evaluation]) -> OverTrainings | None:
        """The verdict on the method of these evaluations, with what was found beside it; of no run there is none."""
        if not evaluations:
            return None
        return replace(over_trainings(evaluations), told_apart=self.told_apart, divergences=self.divergences)


class Together:
    """Margins that runs of one cell gave to the same rows, each read once; beside its references."""

    def __init__(self, rows: Mapping[Split, Dataset], request: Run, references: Sequence[Run]) -> None:
        train, gone = rows[Split.TRAIN], request.tombstones
        self.rows, self.references = rows, references
        self.slots = {
            Whose.FORGET: (Split.TRAIN, request.forget_set.slots),
            Whose.RETAIN: (Split.TRAIN, np.setdiff1d(np.flatnonzero(train.present), gone)),
            Whose.HOLDOUT: (Split.HOLDOUT, holdout_rows(train, rows[Split.HOLDOUT], gone)),
        }
        self._margins: dict[str, Mapping[Whose, np.ndarray]] = {}

    def margins(self, runs: Sequence[Run], whose: Whose) -> np.ndarray:
        """(runs, rows)."""
        return np.array([self._of(run)[whose] for run in runs])

    def _of(self, run: Run) -> Mapping[Whose, np.ndarray]:
        if run.weights_digest not in self._margins:
            try:
                told = StoredReadings([run], self.rows).get((SIGNALS, run.weights_digest, b""))
            except RunError as error:
                raise Damaged(run.path.name, str(error)) from None
            assert told is not None
            self._margins[run.weights_digest] = {
                whose: told[split]["margin"][at] for whose, (split, at) in self.slots.items()
            }
        return self._margins[run.weights_digest]

    @cached_property
    def null(self) -> Mapping[str, MeanFigure]:
        """What the attack reads of one half of the references against the other."""
        margins = self.margins(self.references, Whose.FORGET)
        found = UnlearningLikelihoodRatio.of(margins[::2], margins[1::2])
        return {} if isinstance(found, Undecided) else {TOLD_APART: _figure(found.accuracy)}

    def found(self, runs: Sequence[Run]) -> Found:
        """Of runs that were trained with the forget set, against the references; nothing of fewer than 8."""
        if min(len(runs), len(self.references)) < FEWEST:
            return Found()
        own, theirs = (self.margins(models, Whose.FORGET) for models in (runs, self.references))
        ratio, diverging = UnlearningLikelihoodRatio.of(own, theirs), MarginDivergence.of(own, theirs)
        if isinstance(ratio, UnlearningLikelihoodRatio) and ratio.runs < MINIMUM:
            ratio = Undecided(f"needs {MINIMUM} runs a side, has {ratio.runs}")
        return Found(
            {
                TOLD_APART: ratio if isinstance(ratio, Undecided) else _figure(ratio.accuracy),
                DIVERGING: diverging if isinstance(diverging, Undecided) else _figure(diverging.interval()),
            },
            None if isinstance(ratio, Undecided) else _told_apart(ratio),
            None if isinstance(diverging, Undecided) else self._divergences(runs, diverging),
        )

    def _divergences(self, runs: Sequence[Run], forgotten: MarginDivergence) -> Divergences:
        def of(whose: Whose) -> Divergence | None:
            if not len(self.slots[whose][1]):
                return None
            found = MarginDivergence.of(*(self.margins(models, whose) for models in (runs, self.references)))
            return None if isinstance(found, Undecided) else _divergence(found)

        return Divergences(
            runs=forgotten.runs,
            forget=_divergence(forgotten),
            retain=of(Whose.RETAIN),
            holdout=of(Whose.HOLDOUT),
        )


def attacked(together: Together | None, runs: Sequence[Run]) -> Found:
    """What attacks say of some runs, where there is anything to look at together."""
    return Found() if together is None else together.found(runs)


def _figure(found: Figure) -> MeanFigure:
    return Estimate(found.value, found.low, found.high, found.n) if isinstance(found, Measurement) else found


def _told_apart(found: UnlearningLikelihoodRatio) -> ToldApart:
    caught = found.caught
    return ToldApart(
        runs=found.runs,
        area=found.area,
        worst=found.worst,
        sure=found.sure,
        caught=caught.value if isinstance(caught, Measurement) else None,
    )


def _divergence(found: MarginDivergence) -> Divergence:
    mean, worst, null_mean, null_worst = (
        float(value) for one in (found.own, found.null) for value in (one.mean(), np.quantile(one, 0.95))
    )
    return Divergence(mean=mean, worst=worst, null_mean=null_mean, null_worst=null_worst)
