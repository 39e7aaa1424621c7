"""The projection against the exact solution, a solver of quadratic programmes, and the conditions of the optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from expunge.core.errors import InvalidArgument
from expunge.core.selection.projection import project, project_capped


def by_breakpoints(values: np.ndarray, total: float) -> np.ndarray:
    """The sum falls along a line between the levels at which a place reaches 0 or 1: sort them and solve on one."""
    levels = np.sort(np.concatenate([values, values - 1.0]))
    sums = np.array([np.clip(values - level, 0, 1).sum() for level in levels])
    at = int(np.searchsorted(-sums, -total))
    if at == 0:
        return np.clip(values - levels[0], 0, 1)
    high, low = sums[at - 1], sums[min(at, len(sums) - 1)]
    share = 0.0 if high == low else (high - total) / (high - low)
    return np.clip(values - (levels[at - 1] + share * (levels[min(at, len(sums) - 1)] - levels[at - 1])), 0, 1)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2])
def test_it_is_the_exact_solution(scale: float) -> None:
    random = np.random.default_rng(3)
    for count in (1, 2, 7, 60):
        for _ in range(15):
            values = scale * random.normal(size=count)
            total = random.integers(0, count + 1) if count > 2 else random.uniform(0, count)
            found = project(values, float(total))
            np.testing.assert_allclose(found, by_breakpoints(values, float(total)), rtol=0, atol=1e-12)
            assert abs(found.sum() - total) < 1e-9
    np.testing.assert_array_equal(project([3.0, -1.0], 0), [0, 0])
    np.testing.assert_array_equal(project([3.0, -1.0], 2), [1, 1])


def solved(values: np.ndarray, total: float, caps: list[tuple[np.ndarray, float]]) -> np.ndarray:
    """min ½‖w − values‖² by a general solver."""
    limits = [{"type": "eq", "fun": lambda w: w.sum() - total}]
    limits += [{"type": "ineq", "fun": lambda w, of=of, cap=cap: cap - w[of].sum()} for of, cap in caps]
    start = np.full(len(values), total / len(values))
    found = minimize(
        lambda w: 0.5 * ((w - values) ** 2).sum(),
        start,
        jac=lambda w: w - values,
        bounds=[(0, 1)] * len(values),
        constraints=limits,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    return found.x


def test_a_solver_of_quadratic_programmes_finds_the_same() -> None:
    random = np.random.default_rng(5)
    bound = 0
    for _ in range(8):
        values = random.normal(size=12)
        np.testing.assert_allclose(project(values, 4.0), solved(values, 4.0, []), rtol=0, atol=1e-6)
        groups, most = np.arange(12) % 3, np.array([1.0, 2.0, 4.0])
        found = project_capped(values, 5.0, groups, most)
        caps = [(np.flatnonzero(groups == group), most[group]) for group in range(3)]
        np.testing.assert_allclose(found, solved(values, 5.0, caps), rtol=0, atol=1e-6)
        sums = np.bincount(groups, found)
        assert (sums <= most + 1e-9).all()
        bound += int((sums >= most - 1e-9).sum())
        np.testing.assert_allclose(
            project_capped(values, 5.0, groups, np.full(3, 12)), project(values, 5.0), atol=1e-15
        )
    assert bound >= 8


VALUES = st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.0, 0.25, 1.0, 30.0]) | st.floats(-5, 5), min_size=1, max_size=30)


@settings(deadline=None, max_examples=100)
@given(VALUES, st.floats(0, 1))
def test_the_conditions_of_the_optimum_hold(values: list[float], share: float) -> None:
    """Of two places the one with less weight than it may give never pulls harder: no exchange comes nearer."""
    given_values = np.array(values)
    found = project(given_values, share * len(values))
    pull = given_values - found
    may_rise, may_fall = found < 1 - 1e-12, found > 1e-12
    if may_rise.any() and may_fall.any():
        assert pull[may_rise].max() <= pull[may_fall].min() + 1e-9
    assert ((found >= 0) & (found <= 1)).all()


def test_sums_that_cannot_be_are_refused(refused) -> None:
    with refused(InvalidArgument, "2 places", "sum to 3"):
        project([0.0, 1.0], 3)
    with refused(InvalidArgument, "3 in all", "sum to 4"):
        project_capped(np.zeros(6), 4, np.arange(6) % 3, np.ones(3))
