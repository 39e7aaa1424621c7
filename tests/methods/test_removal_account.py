"""What certified removals may spend, and how it is written down."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from expunge.methods.removal_account import allowance, profile, rounded_up


def test_the_allowance_and_the_theorem_behind_it() -> None:
    """σε/c with c = √(2 ln(1.5/δ)): shifting a Gaussian by so much stays within (ε, δ), by its exact profile."""
    assert allowance(2.0, 1.0, 1e-4, 1) == pytest.approx(2.0 / math.sqrt(2 * math.log(15000)))
    assert allowance(2.0, 1.0, 1e-4, 10) == pytest.approx(2.0 * 0.1 / math.sqrt(2 * math.log(150000)))
    for epsilon, delta, classes in itertools.product(
        (0.01, 0.5, 1.0, 10.0, 50.0, 300.0), (1e-5, 1e-2, 0.5), (1, 3, 10)
    ):
        shift = allowance(1.0, epsilon, delta, classes)
        own = epsilon / classes
        found = stats.norm.cdf(shift / 2 - own / shift) - np.exp(own + stats.norm.logcdf(-shift / 2 - own / shift))
        assert found <= delta / classes * (1 + 1e-9)
        assert found == pytest.approx(profile(shift, own), abs=1e-12)


def test_the_usual_formula_is_false_for_large_epsilon() -> None:
    """σε/c at ε 50 has a true δ of almost 1; the allowance is the largest shift that the exact profile grants."""
    usual = 50.0 / math.sqrt(2 * math.log(1.5e4))
    assert profile(usual, 50.0) > 0.5
    granted = allowance(1.0, 50.0, 1e-4, 1)
    assert granted < 0.8 * usual
    assert profile(granted, 50.0) <= 1e-4 < profile(1.0001 * granted, 50.0)


def test_accounts_are_rounded_up() -> None:
    for value in (3.34e-6, 9.91e-3, 0.1, 1.0, 12345.0):
        said = rounded_up(value)
        assert value * (1 - 1e-9) <= said <= 1.1 * value
    assert rounded_up(0.0) == 0.0
    assert math.isnan(rounded_up(math.nan))
    assert rounded_up(math.inf) == math.inf
