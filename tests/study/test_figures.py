"""Figures over seeds against SciPy, gaps against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from expunge.core.values import Direction, Measurement, Undecided
from expunge.records.evaluation import Probed
from expunge.records.form import to_plain
from expunge.study.figures import (
    Mean,
    as_figure,
    figure,
    gap_of_margins,
    noise_of_margins,
    shared_references,
    widened,
)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9).filter(lambda values: np.std(values) > 1e-6))
def test_the_interval_is_students(values: list[float]) -> None:
    found = to_plain(Mean(tuple(values)).estimate())
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["low"] == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert found["high"] == pytest.approx(high, rel=1e-9, abs=1e-9)
    assert found["values"] == values


def test_one_value_has_no_interval() -> None:
    assert to_plain(Mean((3.0,)).estimate()) == {"mean": 3.0, "n": 1, "values": [3.0]}
    assert to_plain(Mean((3.0,), references=(1.0, 2.0)).estimate()) == {"mean": 3.0, "n": 1, "values": [3.0]}


@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=6).filter(lambda values: np.std(values) > 1e-3),
    st.lists(st.floats(-10, 10), min_size=2, max_size=9).filter(lambda values: np.std(values) > 1e-3),
)
def test_with_shared_references_the_interval_is_welchs(own: list[float], references: list[float]) -> None:
    differences = tuple(value - float(np.mean(references)) for value in own)
    found = to_plain(Mean(differences, references=tuple(references)).estimate())
    welch = stats.ttest_ind(own, references, equal_var=False).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((welch.low, welch.high), rel=1e-9, abs=1e-9)


def test_shared_references_keep_their_promise() -> None:
    """Over many studies of three seeds and six references, the interval holds the truth in about 95 %."""
    draws = np.random.default_rng(5)
    held = alone = 0
    for _ in range(2000):
        own, references = draws.normal(0.0, 1.0, 3), draws.normal(0.0, 1.0, 6)
        differences = tuple(own - references.mean())
        with_references = to_plain(Mean(differences, references=tuple(references)).estimate())
        without = to_plain(Mean(differences).estimate())
        held += with_references["low"] <= 0.0 <= with_references["high"]
        alone += without["low"] <= 0.0 <= without["high"]
    assert held / 2000 > 0.94
    assert alone < held


def test_references_are_shared_where_they_are_the_same_for_every_seed() -> None:
    one, same, other = (probe(0.0, values, 2.0) for values in ([2.0, 4.0], [2.0, 4.0], [2.0, 5.0]))
    assert shared_references([one, same]) == (1.0, 2.0)
    assert shared_references([one, other]) == ()
    assert shared_references([]) == ()


def test_what_is_shared_beside_widens() -> None:
    measured = [measurement(value, value - 3.0, value + 5.0) for value in (1.0, 2.0, 4.0)]
    plain, wide = Mean((1.0, 2.0, 4.0)).reach(), widened(measured)
    assert isinstance(wide, Mean)
    assert plain is not None
    assert wide.reach() == pytest.approx(np.hypot(plain, 4.0))
    assert widened([Undecided("why")]) == Undecided("why")


def test_nothing_is_no_figure() -> None:
    assert as_figure([]) == Undecided("nothing was measured")


def test_one_undecided_seed_leaves_no_figure() -> None:
    assert figure([1.0, Undecided("needs 20")]) == Undecided("needs 20")
    assert figure([1.0, 3.0]) == Mean((1.0, 3.0))


def measurement(value: float, low: float | None = None, high: float | None = None) -> Measurement:
    return Measurement(
        value=value,
        low=value if low is None else low,
        high=value if high is None else high,
        level=0.95,
        n=9,
        unit="example",
        direction=Direction.MATCH,
        scale="margin",
    )


def probe(own: float | Undecided, references: list[float], unit: float | None) -> Probed:
    return Probed(
        name="mean-margin",
        role="forgetting",
        required=True,
        direction="match",
        scale="margin",
        one_unit=unit,
        summary="",
        original=None,
        unlearned=own if isinstance(own, Undecided) else measurement(own),
        references=tuple(measurement(value) for value in references),
        reference_mean=float(np.mean(references)) if references else None,
        verdict=Undecided("not asked"),
    )


def gap(own: float | Undecided, references: list[float], unit: float | None) -> float | Undecided:
    found = probe(own, references, unit)
    return gap_of_margins(found, found.unlearned)


def test_the_gap_is_in_units_of_the_references() -> None:
    assert gap(1.0, [3.0, 5.0], 2.0) == 1.5
    assert gap(7.0, [3.0, 5.0], 2.0) == 1.5
    assert isinstance(gap(1.0, [], None), Undecided)
    assert isinstance(gap(1.0, [3.0], 0.0), Undecided)
    assert gap(Undecided("why"), [3.0], 1.0) == Undecided("why")


def test_the_noise_is_each_reference_against_the_others() -> None:
    values = [1.0, 2.0, 6.0]
    slow = np.mean([abs(value - np.mean(values[:at] + values[at + 1 :])) for at, value in enumerate(values)]) / 2.0
    assert noise_of_margins(probe(0.0, values, 2.0)) == pytest.approx(slow)
    assert noise_of_margins(probe(0.0, [1.0], 2.0)) is None
    assert noise_of_margins(probe(0.0, values, None)) is None


def test_a_distance_is_never_below_nothing() -> None:
    assert to_plain(Mean((0.1, 0.4)).estimate())["low"] < 0
    assert to_plain(Mean((0.1, 0.4), least=0.0).estimate())["low"] == 0.0
    assert figure([0.1, 0.4], least=0.0) == Mean((0.1, 0.4), least=0.0)
