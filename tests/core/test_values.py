"""Guarantees, measurements and verdicts as values."""

from __future__ import annotations

import pytest

from expunge.core.errors import DataError, InvalidArgument, RecordError
from expunge.core.values import (
    Certified,
    Direction,
    Empirical,
    Exact,
    Guarantee,
    Measurement,
    Undecided,
)
from expunge.records.form import from_plain, to_plain
from expunge.records.values import WrittenFigure, WrittenGuarantee, WrittenVerdict


@pytest.mark.parametrize("guarantee", [Exact(), Certified(1.0, 1e-4), Empirical(), Empirical(("a", "b"), 0.95)])
def test_guarantees_read_back(guarantee: Guarantee) -> None:
    assert from_plain(WrittenGuarantee, to_plain(guarantee, WrittenGuarantee), "it") == guarantee


def test_an_unknown_guarantee_is_refused() -> None:
    with pytest.raises(DataError, match="one of exact, certified, empirical is needed"):
        from_plain(WrittenGuarantee, {"kind": "forgotten for sure"}, "it")


def test_guarantees_are_ranked() -> None:
    assert Exact.rank > Certified.rank > Empirical.rank


@pytest.mark.parametrize(("value", "low", "high"), [(float("nan"), 0, 1), (2.0, 0, 1), (float("inf"), 0, float("inf"))])
def test_a_measurement_lies_in_its_interval(value: float, low: float, high: float) -> None:
    with pytest.raises(InvalidArgument, match="missing evidence is Undecided"):
        Measurement(value=value, low=low, high=high, n=1, unit="example", direction=Direction.MATCH)


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="must be example, run or reference"):
        Measurement(value=0.5, low=0, high=1, n=1, unit="epoch", direction=Direction.MATCH)


def test_unbounded_sides_are_null_in_json() -> None:
    found = Measurement(value=0.5, low=0, high=float("inf"), n=1, unit="run", direction=Direction.LOW)
    assert to_plain(found, WrittenFigure)["high"] is None
    assert from_plain(WrittenFigure, to_plain(found, WrittenFigure), "it") == found
    assert to_plain(Undecided("why"), WrittenVerdict) == {"verdict": "undecided", "p": None, "detail": "why"}


def test_a_record_error_carries_its_code() -> None:
    error = RecordError("KEY_NOT_TRUSTED", "the key is not on the list")
    assert error.code == "KEY_NOT_TRUSTED"
    assert str(error) == "KEY_NOT_TRUSTED: the key is not on the list"
