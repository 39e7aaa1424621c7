"""The bound of forging against Monte Carlo: expectation, its correction for small data, Markov, and many candidates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from studies.forging_bound import (
    chance_beyond,
    chance_of_none,
    covariance_trace,
    expected_rms,
    expected_square,
)

from expunge.core.errors import InvalidArgument

DRAWS = 40_000


@pytest.fixture(scope="module")
def gradients() -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=1))
    return generator.standard_normal((60, 5)) * [1.0, 2.0, 0.5, 3.0, 0.1] + generator.standard_normal(5)


def squares(gradients: np.ndarray, batch: int, *, replaced: bool, draws: int = DRAWS) -> np.ndarray:
    """‖ḡ_B − ḡ_B′‖² of many pairs of batches."""
    generator = np.random.Generator(np.random.Philox(key=2))
    count = len(gradients)

    def means() -> np.ndarray:
        if replaced:
            rows = generator.integers(count, size=(draws, batch))
        else:
            rows = np.argsort(generator.random((draws, count)), axis=1)[:, :batch]
        return gradients[rows].mean(axis=1)

    return np.square(means() - means()).sum(axis=1)


def test_the_trace_is_the_sum_of_population_variances(gradients: np.ndarray) -> None:
    assert covariance_trace(gradients) == pytest.approx(np.var(gradients, axis=0).sum())
    assert covariance_trace(gradients) == pytest.approx(np.trace(np.cov(gradients.T, ddof=0)))
    assert covariance_trace(gradients[:1]) == 0.0


@pytest.mark.parametrize("batch", [1, 7, 30, 59])
@pytest.mark.parametrize("replaced", [True, False])
def test_the_expectation_is_that_of_many_pairs(gradients: np.ndarray, batch: int, replaced: bool) -> None:
    measured = float(squares(gradients, batch, replaced=replaced).mean())
    population = None if replaced else len(gradients)
    assert measured == pytest.approx(
        expected_square(covariance_trace(gradients), batch, population=population), rel=0.02
    )


def test_a_batch_of_everybody_leaves_nothing_to_forge(gradients: np.ndarray) -> None:
    assert expected_square(covariance_trace(gradients), 60, population=60) == 0.0
    assert expected_rms(0.1, covariance_trace(gradients), 60, population=60) == 0.0
    assert float(squares(gradients, 60, replaced=False, draws=100).max()) < 1e-20


@pytest.mark.parametrize("batch", [4, 16])
def test_markov_is_never_exceeded_and_is_not_empty(gradients: np.ndarray, batch: int) -> None:
    rate, trace = 0.3, covariance_trace(gradients)
    distances = rate * np.sqrt(squares(gradients, batch, replaced=True))
    for share in (0.5, 1.0, 1.5, 2.5):
        distance = share * expected_rms(rate, trace, batch)
        bound = chance_beyond(distance, rate, trace, batch)
        assert float((distances >= distance).mean()) <= bound + 0.01
        assert bound == pytest.approx(min(1.0, 2 * rate**2 * trace / (batch * distance**2)))
    assert chance_beyond(10 * expected_rms(rate, trace, batch), rate, trace, batch) == pytest.approx(0.01)


def test_many_candidates_all_miss_as_often_as_is_said() -> None:
    generator = np.random.Generator(np.random.Philox(key=4))
    for chance, candidates in ((0.01, 100), (0.2, 7), (0.0, 5), (1.0, 1)):
        missed = (generator.random((20_000, candidates)) >= chance).all(axis=1).mean()
        assert float(missed) == pytest.approx(chance_of_none(chance, candidates), abs=0.012)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1e6), st.integers(1, 500), st.integers(2, 1000))
@example(152867.79807667137, 1, 879)  # multiplied and then divided, it came out an ulp above
def test_less_data_or_more_rows_never_take_batches_further_apart(trace: float, batch: int, population: int) -> None:
    assert expected_square(trace, batch + 1) <= expected_square(trace, batch)
    if batch <= population:
        assert 0 <= expected_square(trace, batch, population=population) <= expected_square(trace, batch)
    assert expected_rms(-0.5, trace, batch) == pytest.approx(0.5 * math.sqrt(2 * trace / batch))


def test_what_has_no_meaning_is_refused() -> None:
    for wrong in (
        lambda: expected_square(-1.0, 4),
        lambda: expected_square(math.nan, 4),
        lambda: expected_square(1.0, 0),
        lambda: expected_square(1.0, 9, population=8),
        lambda: chance_beyond(0.0, 0.1, 1.0, 4),
        lambda: chance_of_none(1.2, 4),
        lambda: chance_of_none(0.5, 0),
        lambda: covariance_trace([1.0, 2.0]),
        lambda: covariance_trace(np.zeros((0, 3))),
    ):
        with pytest.raises(InvalidArgument):
            wrong()
