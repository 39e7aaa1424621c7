"""How well the rows that stay are answered, tier by tier: a figure that decides nothing."""

from __future__ import annotations

import numpy as np

from expunge.core.statistics.proportions import proportion
from expunge.core.statistics.residuals import mean_absolute_error
from expunge.core.values import Direction, Figure, Measurement, Undecided
from expunge.measure.readings import SIGNALS
from expunge.measure.trial import Trial, TrialModel, Whose
from expunge.records.by_tier import TierFigure
from expunge.train.run import Run


def by_tier(trial: Trial, run: Run) -> tuple[TierFigure, ...] | None:
    """Of the first unlearned run, its original and references; none where nobody has a tier."""
    tiers = run.schedule.tiers
    if tiers is None:
        return None
    of_retained = np.delete(tiers, run.tombstones)
    return tuple(_of(tier, of_retained == tier, trial) for tier in np.unique(of_retained).tolist())


def _of(tier: int, rows: np.ndarray, trial: Trial) -> TierFigure:
    others = [_figure(one, rows) for one in trial.references]
    means = [one.value for one in others if isinstance(one, Measurement)]
    return TierFigure(
        tier=tier,
        name="accuracy" if trial.original.answers.tell("correct") else "mean absolute error",
        original=_figure(trial.original, rows),
        unlearned=_figure(trial.unlearned[0], rows),
        reference_mean=float(np.mean(means)) if means and len(means) == len(others) else None,
    )


def _figure(model: TrialModel, rows: np.ndarray) -> Figure:
    if SIGNALS not in model.answers.finite:
        return Undecided("the model's outputs are not finite: needs finite weights and inputs")
    told = model.answers.of(Whose.RETAIN)
    if model.answers.tell("correct"):
        return proportion(told["correct"][rows], direction=Direction.HIGH)
    return mean_absolute_error(told["residual"][rows], direction=Direction.LOW)
