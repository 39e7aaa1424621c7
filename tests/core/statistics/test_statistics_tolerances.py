"""Margins against SciPy's χ², the factor table, and what the factors promise."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.tolerances import (
    SPREADS,
    TOLERANCES,
    TOLERANCES_VERSION,
    Quantity,
    Scope,
    equivalence_margins,
    margin_factors,
)


@pytest.mark.parametrize(
    ("n", "inner", "outer"),
    [(5, 0.817, 1.558), (8, 0.845, 1.353), (12, 0.867, 1.255), (16, 0.881, 1.206), (32, 0.911, 1.131)],
)
def test_factor_table(n, inner, outer):
    assert margin_factors(n) == pytest.approx((inner, outer), abs=5e-4)
    exact = tuple(math.sqrt((n - 1) / chi2.ppf(share, n - 1)) for share in (0.8, 0.2))
    assert margin_factors(n) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 16])
def test_luck_widens_the_inner_and_narrows_the_outer_margin_in_a_fifth_of_cases(n):
    spreads = np.random.default_rng(0).normal(size=(20_000, n)).std(axis=1, ddof=1)
    inner, outer = margin_factors(n)
    assert np.mean(spreads * inner > 1.0) == pytest.approx(0.2, abs=0.012)
    assert np.mean(spreads * outer < 1.0) == pytest.approx(0.2, abs=0.012)


def test_margins_are_multiples_of_the_spread_and_never_below_the_floor():
    inner, outer = margin_factors(8)
    assert SPREADS == {Scope.METHOD: 2.0, Scope.RUN: 3.0}
    for scope, kappa in SPREADS.items():
        wide = equivalence_margins(0.1, 8, scope, 0.01)
        assert wide == pytest.approx((kappa * 0.1 * inner, kappa * 0.1 * outer))
        assert equivalence_margins(0.0, 8, scope, 0.01) == (0.01, 0.01)
    between = 0.01 / (2.0 * math.sqrt(inner * outer))
    assert equivalence_margins(between, 8, Scope.METHOD, 0.01)[0] == 0.01
    assert equivalence_margins(between, 8, Scope.METHOD, 0.01)[1] > 0.01


def test_one_reference_has_no_spread():
    with pytest.raises(InvalidArgument, match="at least 2"):
        margin_factors(1)


def test_table_of_version_one_has_not_moved():
    """Whoever changes a number raises the version: evaluations under both must stay apart."""
    assert TOLERANCES_VERSION == 1
    assert {quantity.value: (one.floor, one.cap) for quantity, one in TOLERANCES.items()} == {
        "fraction": (0.005, 0.03),
        "area": (0.01, 0.05),
        "margin": (0.1, 0.5),
        "divergence": (0.1, 1.0),
        "relearn": (math.log(1.1), math.log(1.5)),
        "tug-of-war": (0.005, 0.05),
    }
    assert set(TOLERANCES) == set(Quantity)
    with pytest.raises(TypeError):
        TOLERANCES[Quantity.AREA] = TOLERANCES[Quantity.FRACTION]
