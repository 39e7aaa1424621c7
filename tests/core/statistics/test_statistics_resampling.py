"""Bootstrap and permutation against enumeration and SciPy: fixed draws, no order, no normality."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from expunge.core.statistics.resampling import bootstrap_interval, permutation_p
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


def test_permutation_is_the_enumeration_of_all_splits():
    a, b = np.array([0.3, 0.9, 1.4, 1.4]), np.array([0.1, 0.2, 0.9, 0.4, 0.6])
    pool, seen, extreme, total = np.concatenate([a, b]), abs(a.mean() - b.mean()), 0, 0
    for chosen in combinations(range(9), 4):
        rest = [index for index in range(9) if index not in chosen]
        extreme += abs(pool[list(chosen)].mean() - pool[rest].mean()) >= seen - 1e-12
        total += 1
    assert permutation_p(a, b) == extreme / total


def test_permutation_counts_ties_that_rounding_would_part():
    generator = np.random.default_rng(5)
    for _ in range(40):
        a, b = generator.integers(0, 6, 5), generator.integers(0, 6, 6)
        assert permutation_p(0.1 * a, 0.1 * b) == permutation_p(a, b)


def test_permutation_with_many_runs_is_drawn_and_near_the_t_test():
    generator = np.random.default_rng(3)
    a, b = generator.normal(0.6, 1, 30), generator.normal(0.0, 1, 30)
    p = permutation_p(a, b)
    assert p == pytest.approx(stats.ttest_ind(a, b).pvalue, rel=0.2)
    assert p == permutation_p(a[::-1], b) == pytest.approx(permutation_p(b, a), rel=0.2)
    assert permutation_p(a + 100.0, b) == 1 / 10_000


def test_permutation_has_its_size_without_normality():
    rows = np.random.default_rng(4).exponential(size=(800, 12))
    assert np.mean([permutation_p(row[:6], row[6:]) <= 0.05 for row in rows]) <= 0.07


def test_permutation_extremes():
    assert permutation_p([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]) == 2 / 70
    assert permutation_p([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert permutation_p([1.0], [1.0, 2.0]) == Undecided("needs 2 runs, has 1")
    assert "not finite" in permutation_p([1.0, 2.0], [np.inf, 1.0]).reason
    assert isinstance(bootstrap_interval([1.0, 2.0]), Measurement)
