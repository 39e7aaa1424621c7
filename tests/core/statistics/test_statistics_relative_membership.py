"""Relative membership against nested loops, and where it must see nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from expunge.core.statistics.relative_membership import OFFLINE, likelihood_ratios, relative_scores
from expunge.core.statistics.roc import area_under_curve


@pytest.mark.parametrize("offline", [0.0, 0.3, 1.0])
def test_scores_are_nested_loops(offline: float) -> None:
    generator = np.random.default_rng(0)
    own, out = np.round(generator.random((2, 30)), 2)
    compared, outside = np.round(generator.random((2, 40)), 2)
    found = relative_scores(likelihood_ratios(own, out, offline), likelihood_ratios(compared, outside, offline))
    tiny = np.finfo(float).tiny
    for at in range(30):
        usual = max(0.5 * ((1 + offline) * out[at] + (1 - offline)), tiny)
        reached = 0
        for z in range(40):
            other = max(0.5 * ((1 + offline) * outside[z] + (1 - offline)), tiny)
            reached += own[at] / usual >= compared[z] / other
        assert found[at] == reached / 40


def areas(known: float, draws: int, offline: float = 0.5) -> np.ndarray:
    """AUC of members that a model knows by so much, beside four models that never saw anybody."""
    generator, found = np.random.default_rng(1), []
    for _ in range(draws):
        hard = generator.normal(1.0, 2.0, 900)
        out = expit(hard[:, None] + generator.normal(0, 0.5, (900, 4))).mean(axis=1)
        member = np.arange(900) < 200
        own = expit(hard + known * member + generator.normal(0, 0.5, 900))
        ratios = likelihood_ratios(own, out, offline)
        found.append(
            area_under_curve(*(relative_scores(ratios[rows], ratios[400:]) for rows in (member, slice(200, 400))))
        )
    return np.array(found)


def test_who_was_never_seen_reads_a_half_and_who_was_more() -> None:
    null = areas(0.0, 200)
    assert null.mean() == pytest.approx(0.5, abs=0.006)
    assert null.std() == pytest.approx(0.029, rel=0.2)  # that of an area of 200 against 200
    assert areas(1.0, 20).min() > 0.6


def test_a_model_that_answers_nothing_divides_by_nothing() -> None:
    assert np.isfinite(likelihood_ratios([0.0, 0.5], [0.0, 0.0], max(OFFLINE))).all()
