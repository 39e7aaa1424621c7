"""Holm against the closed family of Bonferroni tests, and the fixture of the specification."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.multiplicity import holm

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=7)


def closed(p_values):
    """The closure of Bonferroni: a hypothesis falls at α when every family that holds it does."""
    indices = range(len(p_values))
    families = list(chain.from_iterable(combinations(indices, size) for size in range(1, len(p_values) + 1)))
    bonferroni = {family: min(1.0, len(family) * min(p_values[i] for i in family)) for family in families}
    return [max(bonferroni[family] for family in families if index in family) for index in indices]


def test_fixture():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == [0.03, 0.06, 0.06, 0.02]


@given(P_VALUES)
def test_holm_is_the_closed_bonferroni_test(p_values):
    assert holm(p_values) == pytest.approx(closed(p_values), abs=1e-15)


@given(P_VALUES, st.randoms(use_true_random=False))
def test_order_does_not_matter(p_values, random):
    order = list(range(len(p_values)))
    random.shuffle(order)
    assert np.array_equal(holm(p_values)[order], holm(np.array(p_values)[order]))


def test_false_rejections_stay_below_the_level():
    draws = np.random.default_rng(0).random((20_000, 6))
    assert np.mean([holm(draw).min() <= 0.05 for draw in draws]) == pytest.approx(0.05, abs=0.005)


def test_nothing_and_what_is_no_probability():
    assert holm([]).size == 0
    for wrong in ([0.1, 1.1], [-0.1], [np.nan]):
        with pytest.raises(InvalidArgument, match="must lie in"):
            holm(wrong)
