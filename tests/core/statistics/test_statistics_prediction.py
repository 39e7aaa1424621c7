"""Prediction against confidence: SciPy, the table of factors, and how often honest and leaking models pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kstest, t

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.multiplicity import holm
from expunge.core.statistics.prediction import Prediction, Side, power_factor, smallest_claim

VALUES = [0.1, 0.4, -0.2, 0.3, 0.0, 0.25]


@pytest.mark.parametrize("own", [0.14, 0.9, -2.0])
def test_p_is_the_tail_of_one_more_draw(own: float) -> None:
    found = Prediction.of(own, VALUES)
    error = np.std(VALUES, ddof=1) * math.sqrt(1 + 1 / 6)
    score = (own - np.mean(VALUES)) / error
    assert found.p() == pytest.approx(2 * t.sf(abs(score), 5))
    assert found.p(Side.ABOVE) == pytest.approx(t.sf(score, 5))
    assert found.p(Side.BELOW) == pytest.approx(t.cdf(score, 5))
    assert found.p(Side.BELOW, beyond=0.05) == pytest.approx(t.cdf((own + 0.05 - np.mean(VALUES)) / error, 5))


@pytest.mark.parametrize("side", Side)
def test_whoever_of_the_retrained_is_called_the_unlearned_one_p_is_uniform(side: Side) -> None:
    rng = np.random.default_rng(12)
    found: list[float] = []
    for _ in range(400):
        models = rng.permutation(rng.normal(3.0, 2.0, size=9))
        found.append(Prediction.of(models[0], models[1:]).p(side))
    assert kstest(found, "uniform").pvalue > 0.01


def test_the_bound_is_one_sided_confidence() -> None:
    found = Prediction.of(-0.3, VALUES)
    mean, spread = np.mean(VALUES), np.std(VALUES, ddof=1)
    reach = t.ppf(0.95, 5) * spread / math.sqrt(6)
    assert found.bound == pytest.approx(0.3 + mean + reach)
    assert found.least == pytest.approx(-0.3 - mean - reach)


def test_a_margin_is_excluded_where_the_interval_lies_outside() -> None:
    found = Prediction(-0.5, 0.2, 6)
    error = 0.2 / math.sqrt(6)
    _, high = t.interval(0.95, 5, -0.5, error)
    assert found.outside(-high) == pytest.approx(0.05)
    assert found.outside(0.1) == pytest.approx(2 * t.sf(0.4 / error, 5))
    assert found.outside(0.6) == 1.0


def test_factors_are_those_of_the_table() -> None:
    assert [round(power_factor(n), 2) for n in (5, 8, 12, 16, 32)] == [3.14, 2.79, 2.60, 2.50, 2.33]
    assert [round(power_factor(n) / 0.25, 1) for n in (5, 8, 12, 16, 32)] == [12.6, 11.2, 10.4, 10.0, 9.3]
    assert smallest_claim(8.2, 8) == pytest.approx(0.34, abs=0.001)
    assert smallest_claim(0.0, 8) == math.inf


@pytest.mark.parametrize(("signal", "honest", "leak"), [(12, 0.89, 0.05), (20, 0.95, 0.01), (40, 0.95, 0.01)])
def test_honest_models_pass_and_those_at_the_margin_do_not(signal: float, honest: float, leak: float) -> None:
    """Three figures, correlation .3, margin a quarter, 8 references; then a quarter of the memory left."""
    rng = np.random.default_rng(7)
    mixed = np.linalg.cholesky(np.full((3, 3), 0.3) + 0.7 * np.eye(3))

    def rates(left: float, draws: int) -> tuple[float, float]:
        supported = refuted = 0
        for _ in range(draws):
            models = rng.normal(size=(9, 3)) @ mixed.T
            each = [Prediction.of(models[0, k] + left * signal, models[1:, k]) for k in range(3)]
            different = holm([one.p() for one in each]).min() <= 0.05
            refuted += different
            supported += not different and all(one.bound <= 0.25 * signal for one in each)
        return supported / draws, refuted / draws

    found = rates(0.0, 1500)
    assert found == pytest.approx((honest, 0.048), abs=0.02)
    assert rates(0.25, 600)[0] <= leak + 0.02


def test_how_many_more_would_decide() -> None:
    """The fewest at which the bound holds and retrained models would pass, by trying each."""
    found = Prediction(0.05, 0.08, 8)
    margin = 0.25
    tried = next(
        n
        for n in range(8, 1000)
        if 0.05 + t.ppf(0.95, n - 1) * 0.08 / math.sqrt(n) <= margin and margin / 0.08 >= power_factor(n)
    )
    assert found.more(margin) == 8 == tried
    assert Prediction(0.05, 0.1, 8).more(margin) == next(n for n in range(8, 99) if power_factor(n) <= 2.5)
    assert Prediction(0.3, 0.01, 8).more(margin) is None, "references do not move D"
    assert Prediction(0.0, 0.125, 8).more(margin) is None, "half of the margin is all noise"


def test_references_that_do_not_vary() -> None:
    assert Prediction.of(0.5, [0.5] * 5).p() == 1.0
    assert Prediction.of(0.6, [0.5] * 5).p() == 0.0
    assert Prediction.of(0.6, [0.5] * 5, spread_of_still=0.2).p() > 0.5
    assert Prediction.of(0.6, VALUES, spread_of_still=9.0).spread == pytest.approx(np.std(VALUES, ddof=1))
    with pytest.raises(InvalidArgument, match="1 references have no spread"):
        Prediction.of(0.1, [0.2])
