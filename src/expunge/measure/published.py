"""Figures as unlearning papers print them. They decide nothing, and stand where nothing else can be said, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.membership_classifier import published_share
from expunge.core.values import Direction, Measurement
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure.readings import SIGNALS
from expunge.measure.trial import Trial, TrialModel, Whose
from expunge.records.published import GAP, PARTS, PublishedFigure
from expunge.train.run import Run

PublishedValues = Mapping[str, float | None]


def require(run: Run, rows: Mapping[Split, Dataset]) -> None:
    """Refuse where papers would have nothing to print."""
    lacks = "classes" if rows[Split.TRAIN].of_numbers else "a holdout" if not len(rows[Split.HOLDOUT]) else None
    if lacks is not None:
        raise InvalidArgument(
            f"`as_published` prints accuracies and an attack against test rows, and {run.path} has no such thing, for "
            f"lack of {lacks}: leave it out"
        )


def as_published(trial: Trial, run: TrialModel) -> tuple[PublishedFigure, ...]:
    """UA, RA, TA, MIA-SVC and Avg. Gap of the original and a run, beside the references' mean: one of them is enough.

    MIA-SVC is fitted as the authors of SalUn do (Fan et al., 2024): on the first |test| retain rows and the whole test
    set.
    """
    original, own = _told(trial.original, trial), _told(run, trial)
    others = [_told(one, trial) for one in trial.references]
    means = {name: _mean([one[name] for one in others]) for name in PARTS}
    parts = [
        PublishedFigure(name=name, original=original[name], unlearned=own[name], reference_mean=means[name])
        for name in PARTS
    ]
    gap = PublishedFigure(name=GAP, original=_gap(original, means), unlearned=_gap(own, means), reference_mean=None)
    return (*parts, gap)


def _told(model: TrialModel, trial: Trial) -> PublishedValues:
    """What papers print of one model; nothing where it answers nothing finite."""
    if SIGNALS not in model.answers.finite:
        return dict.fromkeys(PARTS)
    right = {rows: model.answers.of(rows)["correct"] for rows in Whose}
    tested = right[Whose.HOLDOUT][trial.ground.tested]
    return {
        "unlearning-accuracy": 1.0 - float(right[Whose.FORGET].mean()),
        "retain-accuracy": float(right[Whose.RETAIN].mean()),
        "test-accuracy": float(tested.mean()) if len(tested) else None,
        "membership-classifier": _attack(model, trial),
    }


def _attack(model: TrialModel, trial: Trial) -> float | None:
    """Found once for each model, as figures of probes are."""
    key = (published_share, trial.ground.digest, model.weights_digest)
    if key not in trial.figures:
        forgotten, retained, tested = (model.answers.confidence(rows) for rows in Whose)
        value = published_share(retained[: len(tested)], tested, forgotten)
        trial.figures[key] = Measurement(
            value=value, low=value, high=value, n=len(forgotten), unit="example", direction=Direction.MATCH
        )
    found = trial.figures[key]
    return found.value if isinstance(found, Measurement) else None


def _gap(own: PublishedValues, means: PublishedValues) -> float | None:
    pairs = [(own[name], means[name]) for name in PARTS]
    return _mean([None if one is None or mean is None else abs(one - mean) for one, mean in pairs])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
