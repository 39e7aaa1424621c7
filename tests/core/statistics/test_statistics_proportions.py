"""Exact intervals of shares against SciPy, and their coverage summed over the binomial distribution."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.proportions import clopper_pearson, proportion
from expunge.core.values import Direction, Measurement, Undecided


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_interval_is_scipy_s_exact_one(counts, level):
    expected = binomtest(*counts).proportion_ci(confidence_level=level, method="exact")
    assert clopper_pearson(*counts, level) == pytest.approx((expected.low, expected.high), abs=1e-7)


@pytest.mark.parametrize("n", [20, 200])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.5])
def test_coverage_is_at_least_the_level(n, share):
    intervals = np.array([clopper_pearson(k, n) for k in range(n + 1)])
    inside = (intervals[:, 0] <= share) & (share <= intervals[:, 1])
    covered = binom.pmf(np.arange(n + 1), n, share)[inside].sum()
    assert covered >= 0.95
    assert inside.sum() < n + 1


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 29), (0.01, 299), (0.001, 2_995)])
def test_false_alarm_rates_that_no_false_alarm_can_claim(alpha, n):
    """95 % confidence, one side: the 90 % two-sided interval."""
    assert clopper_pearson(0, n, 0.9)[1] <= alpha < clopper_pearson(0, n - 1, 0.9)[1]


@pytest.mark.parametrize(("n", "bound"), [(16, 1.35), (64, 2.82), (512, 4.93)])
def test_largest_epsilon_that_perfect_separation_supports(n, bound):
    low, high = clopper_pearson(n, n)[0], clopper_pearson(0, n)[1]
    assert math.log(low / high) == pytest.approx(bound, abs=0.005)


@pytest.mark.parametrize(
    ("successes", "n", "level"), [(-1, 5, 0.95), (6, 5, 0.95), (0, 0, 0.95), (1, 5, 1.0), (1, 5, 0)]
)
def test_what_is_no_share_is_refused(successes, n, level):
    with pytest.raises(InvalidArgument, match=r"share|level"):
        clopper_pearson(successes, n, level)


def test_proportion_counts_flags_in_any_order():
    flags = np.array([True, False, True, True, False])
    one = proportion(flags, direction=Direction.HIGH)
    assert isinstance(one, Measurement)
    assert (one.value, one.n, one.unit, one.direction, one.scale) == (0.6, 5, "example", Direction.HIGH, "fraction")
    assert (one.low, one.high) == clopper_pearson(3, 5)
    assert proportion(flags[::-1].astype(float), direction=Direction.HIGH) == one
    assert proportion(flags).direction is Direction.MATCH


@pytest.mark.parametrize(("flags", "end"), [([1.0] * 7, 1.0), ([0.0] * 7, 0.0)])
def test_a_share_of_none_or_all_keeps_an_interval(flags, end):
    one = proportion(flags)
    assert one.value == end
    assert one.high - one.low == pytest.approx(1 - 0.025 ** (1 / 7), rel=1e-9)


def test_missing_flags_are_undecided():
    assert proportion([]) == Undecided("no example to take a share of: needs at least 1, has 0")
    assert "1 of 3 flags are NaN" in proportion([1.0, np.nan, 0.0]).reason


def test_what_is_not_a_flag_is_refused():
    with pytest.raises(InvalidArgument, match="0 or 1"):
        proportion([0.0, 0.5])
    with pytest.raises(InvalidArgument, match="shape"):
        proportion([[1.0, 0.0]])
