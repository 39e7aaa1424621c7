"""Penalties against the same formulas in fractions of rows, and against logarithms."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from expunge.core.penalties import PENALTIES, THRESHOLDS, bayes, log_ratios, plain, spread
from expunge.core.rounded import solve


def rows(seed: int, count: int = 30, width: int = 6, most: int = 2047) -> np.ndarray:
    found = np.random.default_rng(seed).integers(-most, most + 1, (count, width))
    found[:, -1] = 1
    return found


def presences(seed: int, count: int = 200, width: int = 9) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    sides = generator.choice([-1, 1], count)
    shares = generator.uniform(0.02, 0.9, (2, width))
    found = (generator.uniform(size=(count, width)) < shares[(sides + 1) // 2]).astype(np.int64)
    found[:, -1] = 1
    return found, sides[:, None]


def spreads(features: np.ndarray) -> list[Fraction]:
    """The sum of squared distances from the mean, by its definition."""
    columns = [[Fraction(int(value)) for value in column] for column in features[:, :-1].T]
    means = [sum(column) / len(column) for column in columns]
    return [
        sum((value - mean) ** 2 for value in column) for column, mean in zip(columns, means, strict=True)
    ]  # Fraction: sum of an iterable of fractions


@pytest.mark.parametrize("shift", [0, 3, 10])
@pytest.mark.parametrize("seed", range(5))
def test_plain_and_spread_are_the_fractions_rounded_down(seed: int, shift: int) -> None:
    features = rows(seed)
    sums = features.T @ features
    mean = Fraction(sum(int(value) ** 2 for value in features.ravel()), features.shape[1])
    assert plain(sums, shift).tolist() == [*[max(1, math.floor(mean / 2**shift))] * 5, 1]
    assert spread(sums, shift).tolist() == [*(max(1, math.floor(own / 2**shift)) for own in spreads(features)), 1]


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("seed", range(5))
def test_bayes_is_the_fraction_rounded_down(seed: int, shift: int) -> None:
    features, sides = presences(seed)
    sums, targets = features.T @ features, features.T @ sides
    squared = [ratio**2 for ratio in log_ratios(sums, targets)]
    each = spreads(features)
    mean = sum((own * ratio for own, ratio in zip(each, squared, strict=True)), Fraction(0)) / len(each)
    wanted = [max(1, math.floor(mean / 2**shift / ratio)) for ratio in squared]
    assert bayes(sums, targets, shift).tolist() == [*wanted, 1]
    assert len(set(wanted)) > 1


@pytest.mark.parametrize("seed", range(5))
def test_log_ratios_are_logarithms_in_eighths_of_a_bit(seed: int) -> None:
    features, sides = presences(seed)
    words = features[:, :-1]
    counts = [words[sides[:, 0] == side].sum(axis=0) for side in (1, -1)]
    shares = [(count + 1) / (count.sum() + len(count)) for count in counts]
    exact = np.abs(np.log2(shares[0] / shares[1])) * 8
    assert (np.abs(exact - np.rint(exact)) < 0.4999).all()  # none on a threshold
    found = log_ratios(features.T @ features, features.T @ sides)
    assert found == np.clip(np.rint(exact), 1, 64).astype(int).tolist()


def test_thresholds_are_the_rational_ones_below_the_powers() -> None:
    for step, threshold in enumerate(THRESHOLDS, 1):
        power = 2 ** (2 * step - 1)
        assert Fraction(threshold, 2**32) ** 16 <= power < Fraction(threshold + 1, 2**32) ** 16
    assert len(THRESHOLDS) == 64


def test_a_ratio_on_a_threshold_counts_as_beyond_it() -> None:
    """A word in each of 15 rows of the one class and in none of the other, 16 : 1, beside one that balances."""
    features = np.array([[1, 0, 1]] * 15 + [[0, 1, 1]] * 15)
    sides = np.array([[1]] * 15 + [[-1]] * 15)
    assert log_ratios(features.T @ features, features.T @ sides) == [32, 32]
    assert log_ratios(features.T @ features, -features.T @ sides) == [32, 32]
    always = np.array([[1, 1, 1]] * 2**14 + [[0, 0, 1]])
    assert log_ratios(always.T @ always, always.T @ np.array([[1]] * 2**14 + [[-1]])) == [1, 1]


def test_every_penalty_is_whole_at_least_one_and_follows_the_rows() -> None:
    features, sides = presences(7)
    features[:, 2] = 0
    features[:, 3] = 1
    sums, targets = features.T @ features, features.T @ sides
    less, fewer = features[5:].T @ features[5:], features[5:].T @ sides[5:]
    for name, penalty in PENALTIES.items():
        found = penalty(sums, targets, 0)
        assert found.dtype == np.int64
        assert found[-1] == 1
        assert (found >= 1).all()
        assert (penalty(less, fewer, 0) != found).any(), name
        assert (penalty(np.zeros_like(sums), np.zeros_like(targets), 4) == 1).all()
        solve(sums, found, targets)
    assert spread(sums, 0)[2:4].tolist() == [1, 1]


def test_sums_beyond_64_bits_and_forged_ones_are_taken() -> None:
    sums = np.full((3, 3), 2**52)
    assert plain(sums, 10).tolist() == [2**42, 2**42, 1]
    assert spread(sums, 0).tolist() == [1, 1, 1]
    forged = np.array([[-5, 0, 9], [0, -5, 9], [9, 9, 1]])
    for penalty in PENALTIES.values():
        assert (penalty(forged, np.array([[40], [-70], [3]]), 0) >= 1).all()
