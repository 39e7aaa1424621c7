"""The stop rule of forgetting by small steps: its area and interval against pairs, and how often it errs."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from expunge.core.statistics.stopping import FEWEST, LOOKS, LOST, MOST, TOLERANCE, StopLook, look
from expunge.core.values import Direction, Measurement, Undecided

ALWAYS = {"correct": np.ones(10)}


def sides(seed: int, rows: int, area: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Losses of rows that must go and of others, of an attack with this true area."""
    generator = np.random.default_rng(seed)
    shift = 2**0.5 * NormalDist().inv_cdf(area)
    return tuple(
        {"loss": np.exp(generator.normal(size=rows) - moved), "correct": generator.random(rows) < 0.8}
        for moved in (shift, 0.0)
    )  # type: ignore[return-value]


def share(rows: int, area: float, draws: int) -> float:
    """How many of so many draws pass."""
    return float(np.mean([look(*sides(seed, rows, area), ALWAYS).alike for seed in range(draws)]))


def of(low: float, high: float, **right: float) -> StopLook:
    measured = Measurement(
        value=(low + high) / 2, low=low, high=high, n=1600, unit="example", direction=Direction.MATCH, level=0.995
    )
    return StopLook(measured, **{"forgotten": 0.9, "matched": 0.8, "retained": 0.95, **right})


def test_the_constants_are_the_specified_ones() -> None:
    assert (LOOKS, FEWEST, MOST, TOLERANCE, LOST) == (10, 480, 800, 0.09, 0.01)


@pytest.mark.parametrize("area", [0.5, 0.53, 0.45, 0.7])
def test_area_and_interval_are_those_of_all_pairs(area: float) -> None:
    ours, theirs = sides(1, 500, area)
    wins = (ours["loss"][:, None] < theirs["loss"]).astype(float)
    value = wins.mean()
    error = (wins.mean(axis=1).var(ddof=1) / 500 + wins.mean(axis=0).var(ddof=1) / 500) ** 0.5
    normal = NormalDist()
    reach = normal.inv_cdf(1 - 0.05 / 10 / 2) * error / (value * (1 - value))
    centre = np.log(value / (1 - value))
    low, high = 1 / (1 + np.exp(reach - centre)), 1 / (1 + np.exp(-reach - centre))
    found = look(ours, theirs, ALWAYS)
    assert isinstance(found.area, Measurement)
    assert (found.area.value, found.area.low, found.area.high) == pytest.approx((value, low, high), abs=1e-12)
    assert found.alike == (low >= 0.41 and high <= 0.59)
    assert (found.forgotten, found.matched, found.retained) == (ours["correct"].mean(), theirs["correct"].mean(), 1.0)


@pytest.mark.parametrize(("rows", "passes"), [(480, 0.957), (500, 0.966), (800, 0.9994)])
def test_what_is_retrained_passes_one_look(rows: int, passes: float) -> None:
    error = (1 / 12 * 2 / rows) ** 0.5  # of an area of .5 without ties
    within = (TOLERANCE - NormalDist().inv_cdf(0.9975) * error) / error
    assert 1 - 2 * NormalDist().cdf(-within) == pytest.approx(passes, abs=1e-3)
    found = share(rows, 0.5, 300)
    assert abs(found - passes) <= 3 * (passes * (1 - passes) / 300) ** 0.5 + 1 / 300


@pytest.mark.parametrize("rows", [480, 500, 800])
def test_of_forty_retrained_thirty_six_pass_and_of_forty_known_one_at_most(rows: int) -> None:
    assert share(rows, 0.5, 40) >= 36 / 40
    assert share(rows, 0.6, 40) <= 1 / 40
    assert share(rows, 0.4, 40) <= 1 / 40


def test_fewer_rows_decide_nothing() -> None:
    ours, theirs = sides(1, 479, 0.5)
    found = look(ours, theirs, ALWAYS)
    assert found.area == Undecided("479 matched rows a side, the stop rule needs 480")
    assert not found.alike
    assert not look({**ours, "loss": np.append(ours["loss"], 1.0)}, theirs, ALWAYS).alike  # the smaller side counts


def test_losses_that_are_all_alike_decide_nothing() -> None:
    flat = {"loss": np.ones(500), "correct": np.ones(500)}
    assert isinstance(look(flat, flat, ALWAYS).area, Undecided)
    assert not look(flat, flat, ALWAYS).alike


def test_the_whole_interval_must_lie_within() -> None:
    assert of(0.41, 0.59).alike
    assert not of(0.409, 0.59).alike
    assert not of(0.41, 0.591).alike


def test_a_point_of_accuracy_may_be_lost() -> None:
    first = of(0.6, 0.7)
    assert of(0.45, 0.55, retained=0.94).passes(first)
    assert not of(0.45, 0.55, retained=0.9399).passes(first)
    assert of(0.45, 0.55, retained=1.0).passes(first)
    assert not of(0.45, 0.6).passes(first)


def test_forgotten_rows_are_harder_where_they_are_answered_worse() -> None:
    assert of(0.45, 0.55, forgotten=0.79).harder
    assert not of(0.45, 0.55, forgotten=0.8).harder
