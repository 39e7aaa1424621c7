"""Straw men: answers that no training gave, made to pass where a test looks at less than it should."""

from __future__ import annotations

import numpy as np
import torch

from expunge.measure.trial import TrialModel, Whose
from studies.verdicts_pool import Draw, Pool


def random_head(pool: Pool, draw: Draw) -> TrialModel:
    """The original with another last layer, drawn anew."""
    model = pool.run.model()
    last = [one for one in model.modules() if isinstance(one, torch.nn.Linear)][-1]
    bound = last.in_features**-0.5
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(draw.luck.uniform(-bound, bound, tuple(last.weight.shape))))
        last.bias.zero_()
    return pool.asked(model)


def constant(pool: Pool, draw: Draw) -> TrialModel:
    """One answer to everybody: the mean one of a reference."""
    beliefs = pool.beliefs(draw.references[0])
    mean = beliefs[Whose.HOLDOUT].mean(axis=0)
    return pool.answering({rows: np.tile(mean, (len(said), 1)) for rows, said in beliefs.items()})


def shifted_to_mean(pool: Pool, draw: Draw) -> TrialModel:
    """The original, less sure of every forgotten row by the same amount: on average as sure as the references."""
    aim = np.mean([one.answers.of(Whose.FORGET)["margin"].mean() for one in draw.references])
    return _lowered(pool, float(pool.original.answers.of(Whose.FORGET)["margin"].mean() - aim))


def shifted_to_accuracy(pool: Pool, draw: Draw) -> TrialModel:
    """The same, until it answers as many of them rightly as the references do."""
    lead = np.sort(_lead(pool))
    wrong = len(lead) - _rightly(draw)
    return _lowered(pool, float(lead[max(0, wrong - 1) : wrong + 1].mean()))


def flipped_to_accuracy(pool: Pool, draw: Draw) -> TrialModel:
    """The original with some forgotten rows answered by its second choice, as many as that takes."""
    beliefs = pool.beliefs(pool.original)
    said = beliefs[Whose.FORGET].copy()
    right = draw.luck.permutation(np.flatnonzero(_lead(pool) > 0))
    for row in right[: max(0, len(right) - _rightly(draw))]:
        first, second = np.argsort(said[row])[[-1, -2]]
        said[row, [first, second]] = said[row, [second, first]]
    return pool.answering({**beliefs, Whose.FORGET: said})


def _lead(pool: Pool) -> np.ndarray:
    """By how much the true label of each forgotten row leads all others, as the original answers it."""
    others = pool.beliefs(pool.original)[Whose.FORGET].copy()
    at = np.arange(len(others)), pool.ground.labels[Whose.FORGET]
    true = others[at]
    others[at] = -np.inf
    return true - others.max(axis=1)


def _rightly(draw: Draw) -> int:
    """How many forgotten rows a reference answers rightly, on average."""
    return round(float(np.mean([one.answers.of(Whose.FORGET)["correct"].sum() for one in draw.references])))


def _lowered(pool: Pool, by: float) -> TrialModel:
    beliefs = pool.beliefs(pool.original)
    said = beliefs[Whose.FORGET].copy()
    said[np.arange(len(said)), pool.ground.labels[Whose.FORGET]] -= by
    return pool.answering({**beliefs, Whose.FORGET: said})
