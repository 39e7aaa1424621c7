"""Areas against pair counts, DeLong against the bootstrap and simulation, thresholds against their definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.roc import (
    area_under_curve,
    delong_interval,
    delong_standard_error,
    true_positive_rate,
)
from expunge.core.values import Direction, Measurement, Undecided

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=12)


def pairs(members, others):
    """The definition, one pair at a time."""
    return [[1.0 if a > b else 0.5 if a == b else 0.0 for b in others] for a in members]


@given(SCORES, SCORES)
def test_area_is_the_brute_force_pair_count_with_ties(members, others):
    assert area_under_curve(members, others) == pytest.approx(np.mean(pairs(members, others)), abs=1e-14)


@given(SCORES, SCORES)
def test_turning_the_score_round_turns_the_area_round(members, others):
    area = area_under_curve(members, others)
    assert area_under_curve(np.negative(members), np.negative(others)) == pytest.approx(1.0 - area, abs=1e-14)
    assert area_under_curve(others, members) == pytest.approx(1.0 - area, abs=1e-14)
    assert area_under_curve(np.exp(members), np.exp(others)) == area


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=8), st.lists(st.integers(-3, 3), min_size=2, max_size=8))
def test_standard_error_is_delong_s_double_loop(members, others):
    table = np.array(pairs(members, others))
    expected = np.var(table.mean(axis=1), ddof=1) / len(members) + np.var(table.mean(axis=0), ddof=1) / len(others)
    assert delong_standard_error(members, others) == pytest.approx(math.sqrt(expected), abs=1e-12)


def test_standard_error_agrees_with_the_bootstrap():
    generator = np.random.default_rng(0)
    members, others = np.round(generator.normal(0.7, 1, 80), 1), np.round(generator.normal(0, 1, 120), 1)
    table = np.array(pairs(members, others))
    rows = generator.multinomial(80, np.full(80, 1 / 80), size=10_000) / 80
    columns = generator.multinomial(120, np.full(120, 1 / 120), size=10_000) / 120
    areas = np.einsum("di,ij,dj->d", rows, table, columns, optimize=True)
    assert delong_standard_error(members, others) == pytest.approx(areas.std(), rel=0.03)


@pytest.mark.parametrize(("n", "spread"), [(200, 0.029), (1_000, 0.013)])
def test_null_spread_of_the_area(n, spread):
    generator = np.random.default_rng(1)
    draws = generator.normal(size=(400, 2, n))
    areas = np.array([area_under_curve(*draw) for draw in draws])
    errors = np.array([delong_standard_error(*draw) for draw in draws[:100]])
    assert math.sqrt((2 * n + 1) / (12 * n * n)) == pytest.approx(spread, abs=5e-4)
    assert areas.std() == pytest.approx(spread, rel=0.12)
    assert errors.mean() == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize(("area", "n"), [(0.5, 50), (0.8, 50), (0.95, 50), (0.5, 200)])
def test_interval_covers_the_true_area(area, n):
    generator = np.random.default_rng(2)
    shift = math.sqrt(2) * norm.ppf(area)
    found = [delong_interval(generator.normal(shift, 1, n), generator.normal(0, 1, n)) for _ in range(1_500)]
    covered = np.mean([one.low <= area <= one.high for one in found if isinstance(one, Measurement)])
    assert 0.93 <= covered <= 0.98
    assert len(found) == sum(isinstance(one, Measurement) for one in found)


def test_measurement_says_what_it_is():
    one = delong_interval([1.0, 2.0, 3.0], [0.0, 2.0, 2.5, 1.0])
    assert isinstance(one, Measurement)
    assert (one.n, one.unit, one.direction, one.scale, one.level) == (7, "example", Direction.MATCH, "auc", 0.95)
    assert one.value == np.mean(pairs([1.0, 2.0, 3.0], [0.0, 2.0, 2.5, 1.0]))
    assert 0.0 < one.low < one.value < one.high < 1.0


def test_interval_turns_round_and_widens_with_the_level():
    generator = np.random.default_rng(3)
    members, others = generator.normal(1, 1, 30), generator.normal(0, 1, 40)
    one, turned = delong_interval(members, others), delong_interval(others, members)
    wide = delong_interval(members, others, level=0.99)
    assert (turned.low, turned.high) == pytest.approx((1 - one.high, 1 - one.low), abs=1e-12)
    assert wide.low < one.low < one.high < wide.high
    shuffled = delong_interval(generator.permutation(members), generator.permutation(others))
    assert (shuffled.value, shuffled.low, shuffled.high) == pytest.approx((one.value, one.low, one.high), abs=1e-13)


@pytest.mark.parametrize(("m", "n"), [(2, 2), (10, 40), (64, 64)])
def test_perfect_separation_is_a_bound_and_not_certainty(m, n):
    best = delong_interval(np.arange(m) + 1_000.0, np.arange(n))
    worst = delong_interval(np.arange(m) - 1_000.0, np.arange(n))
    bound = 0.025 ** (1 / min(m, n))
    assert (best.value, best.high, worst.value, worst.low) == (1.0, 1.0, 0.0, 0.0)
    assert (best.low, worst.high) == pytest.approx((bound, 1.0 - bound), rel=1e-9)


def test_perfect_bound_is_not_broken_more_often_than_it_says():
    """With a true area just below the bound, perfect separation comes up in less than 2.5 % of draws."""
    n, generator = 5, np.random.default_rng(4)
    shift = math.sqrt(2) * norm.ppf(0.025 ** (1 / n) - 1e-9)
    perfect = np.mean(
        generator.normal(shift, 1, (20_000, n)).min(axis=1) > generator.normal(0, 1, (20_000, n)).max(axis=1)
    )
    assert 0.0 < perfect <= 0.025


def test_swapping_members_and_others_at_random_centres_the_null():
    generator = np.random.default_rng(5)
    pool = np.concatenate([generator.normal(2, 1, 30), generator.normal(0, 1, 50)])
    assert area_under_curve(pool[:30], pool[30:]) > 0.85
    shuffled = [generator.permutation(pool) for _ in range(1_000)]
    assert np.mean([area_under_curve(one[:30], one[30:]) for one in shuffled]) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("members", "others", "words"),
    [
        ([], [1.0, 2.0], "needs at least 2 members and 2 others, has 0 and 2"),
        ([1.0], [1.0, 2.0], "has 1 and 2"),
        ([1.0, 2.0], [], "has 2 and 0"),
        ([1.0, 1.0], [1.0, 1.0], "scores constant"),
        ([1.0, np.nan], [np.nan, 1.0], "2 scores are NaN"),
    ],
)
def test_missing_evidence_is_undecided(members, others, words):
    for answer in (delong_interval(members, others), true_positive_rate(members, others, alpha=0.5)):
        assert isinstance(answer, Undecided)
        assert "needs" in answer.reason
    assert words in delong_interval(members, others).reason


@pytest.mark.parametrize(("members", "others"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0])])
def test_a_bare_area_of_nothing_is_refused(members, others):
    with pytest.raises(InvalidArgument, match="needs scores that are numbers"):
        area_under_curve(members, others)
    with pytest.raises(InvalidArgument, match="needs at least 2"):
        delong_standard_error(members, others)


def test_infinite_scores_are_ranked():
    assert area_under_curve([np.inf, 0.0], [-np.inf, 1.0]) == 0.75


@given(
    st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=12),
    st.lists(st.integers(-4, 4).map(float), min_size=3, max_size=30),
    st.sampled_from([0.05, 0.1, 0.25, 0.5]),
)
def test_true_positive_rate_is_its_definition(members, others, alpha):
    answer = true_positive_rate(members, others, alpha)
    k = int(alpha * (len(others) + 1))
    if k < 1 or len(set(members + others)) == 1:
        assert isinstance(answer, Undecided)
    else:
        threshold = sorted(others, reverse=True)[k - 1]
        assert answer.value == sum(member > threshold for member in members) / len(members)
        assert (answer.n, answer.unit, answer.scale) == (len(members), "example", "fraction")


def test_rounding_of_the_rate_loses_no_rank():
    """.29 × 100 is 28.999999999999996 in floating point; the 29th largest of 0 … 98 is 70."""
    assert true_positive_rate([70.5, 69.5, 70.0], np.arange(99.0), 0.29).value == pytest.approx(1 / 3)


@pytest.mark.parametrize(("alpha", "n"), [(0.1, 25), (0.05, 39), (0.5, 10)])
def test_expected_false_positive_rate_is_kept(alpha, n):
    generator = np.random.default_rng(6)
    rates = [true_positive_rate(generator.random(50), generator.random(n), alpha).value for _ in range(2_000)]
    expected = math.floor(alpha * (n + 1)) / (n + 1)
    assert expected <= alpha
    assert np.mean(rates) == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize(("alpha", "needed"), [(0.1, 9), (0.01, 99), (0.001, 999), (0.3, 3)])
def test_smallest_sample_that_reaches_the_rate(alpha, needed):
    enough = true_positive_rate(np.arange(5.0), np.arange(float(needed)), alpha)
    short = true_positive_rate(np.arange(5.0), np.arange(needed - 1.0), alpha)
    assert isinstance(enough, Measurement)
    assert short == Undecided(f"a false positive rate of {alpha:g} needs {needed} others, has {needed - 1}")


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_outside_its_range_is_refused(alpha):
    with pytest.raises(InvalidArgument, match="false positive rate"):
        true_positive_rate([1.0, 2.0], [1.0, 2.0], alpha)
