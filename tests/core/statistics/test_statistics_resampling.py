"""The bootstrap against enumeration and SciPy: fixed draws, no order, no normality."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from expunge.core.statistics.resampling import bootstrap_interval
from expunge.core.values import Measurement, Undecided


def test_bootstrap_approaches_the_enumeration_of_all_draws():
    values = np.array([0.1, 0.4, 0.5, 1.2, 2.0])
    means = np.array([np.mean(draw) for draw in product(values, repeat=5)])
    one = bootstrap_interval(values, draws=40_000)
    assert (one.low, one.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.03)
    assert (one.value, one.n, one.unit) == (pytest.approx(values.mean()), 5, "run")


def test_bootstrap_is_scipy_s_percentile_interval():
    values = np.random.default_rng(0).exponential(size=25)
    one = bootstrap_interval(values, 0.9, draws=30_000)
    expected = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, n_resamples=30_000, method="percentile", rng=1
    ).confidence_interval
    assert (one.low, one.high) == pytest.approx((expected.low, expected.high), rel=0.02)


def test_bootstrap_gives_the_same_bits_in_any_order_and_other_bits_for_another_key():
    values = np.random.default_rng(1).normal(size=9)
    one = bootstrap_interval(values)
    assert bootstrap_interval(values) == one == bootstrap_interval(values[::-1])
    assert bootstrap_interval(values, key=1).low != one.low


@pytest.mark.parametrize(("n", "covered"), [(5, 0.83), (12, 0.91)])
def test_bootstrap_covers_what_its_docstring_says(n, covered):
    rows = np.random.default_rng(2).normal(size=(1_500, n))
    found = [bootstrap_interval(row, draws=800) for row in rows]
    assert np.mean([one.low <= 0.0 <= one.high for one in found]) == pytest.approx(covered, abs=0.03)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "needs 2 runs, has 0"),
        ([1.0], "needs 2 runs, has 1"),
        ([1.0, np.nan], "not finite"),
        ([0.3, 0.1 + 0.2], "needs the interval over examples"),
    ],
)
def test_missing_evidence_is_undecided(values, words):
    answer = bootstrap_interval(values)
    assert isinstance(answer, Undecided)
    assert words in answer.reason
    assert isinstance(bootstrap_interval([1.0, 2.0]), Measurement)
