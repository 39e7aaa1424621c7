"""Likelihood ratios against a naive loop, their tails by simulation, and the log-rank test against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import CensoredData, logrank, norm, t

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.likelihood_ratio import (
    NextDraw,
    against_non_members,
    against_outside,
    epsilon_lower_bound,
)
from expunge.core.statistics.roc import area_under_curve
from expunge.core.statistics.survival import log_rank


def made(models: int, rows: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(margins, who knew which row, a model's own margins, one for each row that never saw it)."""
    generator = np.random.default_rng(seed)
    pairs = generator.random((models // 2, rows)) < 0.5
    inside = np.concatenate([pairs, ~pairs])
    margins = generator.normal(size=(models, rows)) + inside
    drawn = np.array([generator.choice(np.flatnonzero(~inside[:, row])) for row in range(rows)])
    return margins, inside, generator.normal(size=rows), drawn


def naive(values: list[list[float]], own: float, row: int, least: int) -> tuple[float, float]:
    """(Student's log density, its distribution function) of one more draw, one model after another."""
    means = [sum(some) / len(some) for some in values]
    squares = [sum((value - mean) ** 2 for value in some) for some, mean in zip(values, means, strict=True)]
    count = len(values[row])
    if count >= least:
        freedom, variance = count - 1, squares[row] / (count - 1)
    else:
        freedom = sum(len(some) - 1 for some in values)
        variance = sum(squares) / freedom
    scale = math.sqrt(variance * (1 + 1 / count))
    off = (own - means[row]) / scale
    return float(t.logpdf(off, freedom) - math.log(scale)), float(t.cdf(off, freedom))


@pytest.mark.parametrize("models", [16, 64])
def test_scores_are_those_of_a_naive_loop(models: int) -> None:
    margins, inside, own, drawn = made(models)
    scores, others = against_non_members(margins, inside, own, drawn)
    offline = against_outside(margins, inside, own)
    places = range(margins.shape[1])
    known = [[margins[k, row] for k in range(models) if inside[k, row]] for row in places]
    strange = [[margins[k, row] for k in range(models) if not inside[k, row] and k != drawn[row]] for row in places]
    unseen = [[margins[k, row] for k in range(models) if not inside[k, row]] for row in places]
    for row in places:
        for found, value in ((scores[row], own[row]), (others[row], margins[drawn[row], row])):
            assert found == pytest.approx(naive(known, value, row, 32)[0] - naive(strange, value, row, 32)[0])
        share = naive(unseen, own[row], row, 32)[1]
        tail = min(share, 1 - share)
        assert offline[row] == pytest.approx(math.copysign(-math.log(2 * tail), share - 0.5))


def test_own_non_members_are_told_from_a_retraining_by_chance() -> None:
    """Neither enters its own fit: with few models the area stays .5."""
    areas = []
    for seed in range(300):
        margins, inside, own, drawn = made(16, rows=60, seed=seed)
        areas.append(area_under_curve(*against_non_members(margins, inside, own, drawn)))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.01)


def test_the_normal_rule_fires_too_often_and_students_does_not() -> None:
    """At one in a hundred: 6.5, 3.2, 2.0, 1.2 of them with 4, 8, 16, 64 models, against 1.0."""
    generator = np.random.default_rng(1)
    for models, normal in ((4, 0.065), (8, 0.032), (16, 0.020), (64, 0.012)):
        values = generator.normal(size=(models + 1, 100_000))
        shadows, own = values[:-1], values[-1]
        plain = (own - shadows.mean(axis=0)) / shadows.std(axis=0, ddof=1)
        side = NextDraw(
            mean=shadows.mean(axis=0),
            scale=shadows.std(axis=0, ddof=1) * math.sqrt(1 + 1 / models),
            freedom=np.full(100_000, models - 1),
        )
        assert np.mean(plain > norm.isf(0.01)) == pytest.approx(normal, abs=0.002)
        assert np.mean(side.off(own) > t.isf(0.01, models - 1)) == pytest.approx(0.01, abs=0.002)
        if models == 64:
            whole = NextDraw.of(shadows, np.ones(shadows.shape, dtype=bool))
            np.testing.assert_allclose(whole.scale, side.scale)
            np.testing.assert_array_equal(whole.freedom, side.freedom)


def test_perfect_separation_bounds_no_more_than_its_numbers_allow() -> None:
    for count, bound in ((16, 1.35), (64, 2.82), (512, 4.93)):
        assert epsilon_lower_bound(count, count, 0, count) == pytest.approx(bound, abs=0.005)
    assert epsilon_lower_bound(5, 100, 5, 100) == 0.0
    assert epsilon_lower_bound(64, 64, 0, 64, delta=0.1) < epsilon_lower_bound(64, 64, 0, 64)
    assert epsilon_lower_bound(0, 64, 0, 64) == 0.0


def test_a_bound_holds_as_often_as_it_says() -> None:
    """Scores of a mechanism with ε = 1: the bound lies above it in five of a hundred draws at most."""
    generator = np.random.default_rng(2)
    truth, alarm = 1.0, 0.05
    flagged, alarms = generator.binomial(200, math.e**truth * alarm, 2000), generator.binomial(200, alarm, 2000)
    above = [
        epsilon_lower_bound(int(one), 200, int(two), 200) > truth for one, two in zip(flagged, alarms, strict=True)
    ]
    assert np.mean(above) <= 0.05


def test_the_log_rank_test_is_scipys() -> None:
    generator = np.random.default_rng(3)
    for sizes in ((1, 6), (5, 8), (30, 20)):
        times = [generator.integers(1, 12, size).astype(float) for size in sizes]
        ended = [generator.random(size) < 0.7 for size in sizes]
        ended[1][0] = True
        given = [CensoredData(uncensored=time[end], right=time[~end]) for time, end in zip(times, ended, strict=True)]
        z = log_rank(times[0], ended[0], times[1], ended[1])
        assert -z == pytest.approx(logrank(*given).statistic)
    assert log_rank([3.0], [False], [4.0, 5.0], [False, False]) == 0.0
    assert log_rank([9.0], [False], [1.0, 2.0, 3.0], [True] * 3) > 0
    with pytest.raises(InvalidArgument, match="whether it ended there"):
        log_rank([3.0], [True, False], [4.0], [True])
