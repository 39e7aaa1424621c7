"""Student's intervals against SciPy and simulation; zero spread is not certainty."""

import math

import numpy as np
import pytest
from scipy import stats

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.means import StudentEstimate, difference_of_means, mean_interval, spread
from expunge.core.statistics.proportions import clopper_pearson
from expunge.core.values import Direction, Undecided

GENERATOR = np.random.default_rng(0)
A, B, C = GENERATOR.normal(1.0, 0.3, 7), GENERATOR.normal(0.5, 1.2, 12), GENERATOR.normal(0.9, 0.3, 7)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_mean_interval_is_scipy_s(level):
    one = mean_interval(A, level, scale="nats", direction=Direction.LOW)
    expected = stats.ttest_1samp(A, 0.0).confidence_interval(level)
    assert (one.low, one.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (one.value, one.n, one.unit, one.level) == (A.mean(), 7, "run", level)
    assert (one.scale, one.direction) == ("nats", Direction.LOW)


def test_tail_is_scipy_s_one_sided_p_value():
    estimate = StudentEstimate(A.mean(), spread(A) / math.sqrt(len(A)), len(A) - 1.0)
    expected = stats.ttest_1samp(A, 0.0, alternative="greater").pvalue
    assert estimate.tail(estimate.value) == pytest.approx(expected, rel=1e-9)
    assert (StudentEstimate(0.0, 0.0, 4.0).tail(1e-9), StudentEstimate(0.0, 0.0, 4.0).tail(0.0)) == (0.0, 1.0)


def test_run_level_and_pooled_intervals_under_a_run_effect():
    """Two numbers that pool 16 runs × 200 examples reject a true null in about 70 %, run means in 5 %."""
    generator = np.random.default_rng(3)
    shares = stats.norm.cdf(0.5 * generator.normal(size=(1_500, 16)))
    counts = generator.binomial(200, shares)
    pooled = [clopper_pearson(int(total), 16 * 200) for total in counts.sum(axis=1)]
    by_run = [mean_interval(row / 200) for row in counts]
    assert np.mean([not low <= 0.5 <= high for low, high in pooled]) == pytest.approx(0.70, abs=0.04)
    assert np.mean([not one.low <= 0.5 <= one.high for one in by_run]) == pytest.approx(0.055, abs=0.02)


def test_spread_ignores_rounding_and_nothing_else():
    assert spread([0.1 + 0.2, 0.3, 0.3]) == 0.0
    assert spread([0.3, 0.3 + 1e-9]) == pytest.approx(1e-9 / math.sqrt(2), rel=1e-6)
    assert spread(B) == np.std(B, ddof=1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "needs 2 runs, has 0"),
        ([0.5], "needs 2 runs, has 1"),
        ([0.5, np.nan, 1.0], "1 of 3 runs are not finite"),
        ([0.5, np.inf], "1 of 2 runs are not finite"),
        ([0.1, 0.1, 0.1], "all 3 runs give the same: needs the interval over examples"),
    ],
)
def test_missing_evidence_is_undecided(values, words):
    answer = mean_interval(values)
    assert isinstance(answer, Undecided)
    assert words in answer.reason


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(InvalidArgument, match="level"):
        mean_interval(A, 95)
    with pytest.raises(InvalidArgument, match="shape"):
        mean_interval([[1.0, 2.0]])


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_a_difference_of_means_is_welch_s(level):
    generator = np.random.default_rng(3)
    first, second = generator.normal(2, 1, 12), generator.normal(0, 4, 40)
    found = difference_of_means(first, second, level, scale="margin")
    theirs = stats.ttest_ind(first, second, equal_var=False).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert (found.value, found.n, found.unit) == (pytest.approx(first.mean() - second.mean()), 52, "example")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([], [1.0, 2.0], "needs 2 examples, has 0"),
        ([1.0, 2.0], [1.0], "needs 2 examples, has 1"),
        ([1.0, np.nan], [1.0, 2.0], "1 of 2 examples are not finite"),
        ([1.0, 1.0], [2.0, 2.0], "give the same"),
    ],
)
def test_a_difference_of_what_is_missing_is_undecided(first, second, words):
    found = difference_of_means(first, second)
    assert isinstance(found, Undecided)
    assert words in found.reason
