"""Student, Welch and paired intervals against SciPy and simulation; zero spread is not certainty."""

import math

import numpy as np
import pytest
from scipy import stats

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.means import StudentEstimate, mean_interval, paired, paired_interval, spread, welch
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


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_welch_interval_is_scipy_s(level):
    one = welch(A, B)
    expected = stats.ttest_ind(A, B, equal_var=False)
    interval = expected.confidence_interval(level)
    ends = one.value - one.reach(level), one.value + one.reach(level)
    assert ends == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert one.freedom == pytest.approx(expected.df, rel=1e-12)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_paired_interval_is_scipy_s(level):
    one = paired_interval(A, C, level)
    expected = stats.ttest_rel(A, C).confidence_interval(level)
    assert (one.low, one.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (one.n, one.unit) == (7, "run")


def test_tail_is_scipy_s_one_sided_p_value():
    estimate = welch(A, B)
    expected = stats.ttest_ind(A, B, equal_var=False, alternative="greater").pvalue
    assert estimate.tail(estimate.value) == pytest.approx(expected, rel=1e-9)
    assert (StudentEstimate(0.0, 0.0, 4.0).tail(1e-9), StudentEstimate(0.0, 0.0, 4.0).tail(0.0)) == (0.0, 1.0)


def test_order_of_runs_and_swap_of_sides():
    one, shuffled, turned = welch(A, B), welch(A[::-1], B[::-1]), welch(B, A)
    for other, sign in ((shuffled, 1), (turned, -1)):
        assert (sign * other.value, other.reach(0.95)) == pytest.approx((one.value, one.reach(0.95)), abs=1e-14)
    order = np.random.default_rng(1).permutation(7)
    together, before = paired_interval(A[order], C[order]), paired_interval(A, C)
    assert (together.low, together.high) == pytest.approx((before.low, before.high), abs=1e-14)


def test_independent_errors_add_and_a_known_one_is_normal():
    both = StudentEstimate(2.0, 3.0, 4.0).plus(4.0)
    assert (both.error, both.freedom) == (5.0, pytest.approx(4.0 * (5 / 3) ** 4))
    assert StudentEstimate(2.0, 3.0, 4.0).plus(0.0) == StudentEstimate(2.0, 3.0, 4.0)
    known = StudentEstimate(0.0, 0.0, 4.0).plus(2.0)
    assert known.reach(0.95) == pytest.approx(2.0 * stats.norm.ppf(0.975), rel=1e-8)


def test_a_sum_of_student_and_known_error_keeps_its_coverage():
    generator = np.random.default_rng(2)
    runs = generator.normal(size=(4_000, 6))
    noise = generator.normal(0, 0.5, 4_000)
    covered = []
    for row, extra in zip(runs, noise, strict=True):
        one = StudentEstimate(row.mean() + extra, spread(row) / math.sqrt(6), 5.0).plus(0.5)
        covered.append(abs(one.value) <= one.reach(0.95))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


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
    assert paired(A + 0.1, A).error == 0.0
    large = np.array([1e6, 3e6, 9e6, 2e7])
    assert paired(large + 1e-3, large).error == 0.0
    assert np.ptp((large + 1e-3) - large) > 1e-12
    assert paired(1e-9 * A, 1e-9 * C).error == pytest.approx(1e-9 * paired(A, C).error)


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


def test_missing_evidence_on_either_side_is_undecided():
    assert paired_interval([1.0], A) == Undecided("needs 2 runs, has 1")
    assert paired_interval(A, []) == Undecided("needs 2 runs, has 0")
    assert "not finite" in paired_interval(A, np.full(7, np.nan)).reason
    assert "needs the interval over examples" in paired_interval(np.ones(7), np.zeros(7)).reason
    assert "needs the interval over examples" in paired_interval(A + 1.0, A).reason
    assert welch(np.ones(7), A).reach(0.95) > 0


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(InvalidArgument, match="cannot be paired"):
        paired_interval(A, B)
    with pytest.raises(InvalidArgument, match="level"):
        mean_interval(A, 95)
    with pytest.raises(InvalidArgument, match="shape"):
        mean_interval([[1.0, 2.0]])
