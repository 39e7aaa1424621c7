"""Calibration against double loops, and against what a perfect model reads."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.calibration import BINS, calibration_error, squared_errors
from expunge.core.values import Measurement, Undecided


def drawn(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A perfect model: it is right as often as it is sure."""
    generator = np.random.default_rng(seed)
    sure = generator.beta(8, 1, rows)
    return sure, (generator.random(rows) < sure).astype(float)


def by_loop(sure: np.ndarray, right: np.ndarray) -> float:
    pairs = sorted(zip(sure.tolist(), right.tolist(), strict=True))
    bins: list[list[tuple[float, float]]] = [[] for _ in range(BINS)]
    for index, pair in enumerate(pairs):
        bins[index * BINS // len(pairs)].append(pair)
    total = 0.0
    for held in bins:
        share, mean = sum(right for _, right in held) / len(held), sum(sure for sure, _ in held) / len(held)
        total += len(held) / len(pairs) * abs(share - mean)
    return total


@pytest.mark.parametrize("rows", [500, 757])
def test_it_is_the_mean_gap_over_bins_of_equally_many(rows: int) -> None:
    sure, right = np.round(drawn(rows)[0], 2), drawn(rows)[1]
    found = calibration_error(sure, right)
    assert isinstance(found, Measurement)
    assert found.value == pytest.approx(by_loop(sure, right), abs=1e-12)
    order = np.random.default_rng(1).permutation(rows)
    again = calibration_error(sure[order], right[order])
    assert isinstance(again, Measurement)
    assert again.value == pytest.approx(found.value, abs=1e-12)


@pytest.mark.parametrize(("rows", "floor"), [(1_000, 0.027), (10_000, 0.009)])
def test_a_perfect_model_reads_what_the_docstrings_say(rows: int, floor: float) -> None:
    found = [calibration_error(*drawn(rows, seed)) for seed in range(8)]
    assert np.mean([one.value for one in found if isinstance(one, Measurement)]) == pytest.approx(floor, rel=0.15)


def test_a_model_that_is_too_sure_reads_by_how_much() -> None:
    sure = np.full(2_000, 0.9) + np.linspace(0, 1e-9, 2_000)
    right = (np.random.default_rng(2).random(2_000) < 0.7).astype(float)
    found = calibration_error(sure, right)
    assert isinstance(found, Measurement)
    assert found.value == pytest.approx(0.9 - right.mean(), abs=1e-6)
    assert found.low <= 0.2 <= found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 2_000), rel=0.15)


def test_what_is_too_little_is_undecided_and_what_does_not_fit_is_refused() -> None:
    assert calibration_error(*drawn(499)) == Undecided("needs 500 examples, has 499")
    sure, right = drawn(600)
    sure[3] = np.nan
    found = calibration_error(sure, right)
    assert isinstance(found, Undecided)
    assert "1 of 600 examples are not finite" in found.reason
    with pytest.raises(InvalidArgument, match="2 confidences and 1 answers"):
        calibration_error([0.5, 0.5], [1.0])


def test_squared_errors_are_a_double_loop() -> None:
    generator = np.random.default_rng(3)
    beliefs, labels = generator.dirichlet([1, 2, 3], 20), generator.integers(0, 3, 20)
    expected = [
        sum((belief - (column == label)) ** 2 for column, belief in enumerate(row))
        for row, label in zip(beliefs, labels, strict=True)
    ]
    assert squared_errors(beliefs, labels) == pytest.approx(expected, abs=1e-14)
    assert squared_errors([[1.0, 0.0], [1.0, 0.0]], [0, 1]).tolist() == [0.0, 2.0]
