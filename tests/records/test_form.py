"""Dataclasses as canonical JSON: one text per value, and what is not exactly of its type is refused with its place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.clock import Time
from expunge.core.errors import DataError, RecordError
from expunge.core.hashing import LARGEST_INTEGER, canonical_json
from expunge.records.canonical import read_json
from expunge.records.form import camel, from_json, from_plain, to_json
from expunge.records.scalars import Large


class Colour(Enum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, kw_only=True)
class Inner:
    at: Time
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Outer:
    """Every kind of field there is."""

    count: int
    real: float
    flag: bool
    text: str
    colour: Colour
    inner_part: Inner
    numbers: tuple[int, ...]
    parts: tuple[Inner, ...]
    others: Mapping[str, Any]
    seed: Large | None = None
    maybe_digest: bytes | None = None
    maybe_parts: tuple[Inner, ...] | None = None


TIMES = st.integers(0, 253402300799).map(Time.at)
DIGESTS = st.binary(min_size=32, max_size=32)
INNER = st.builds(Inner, at=TIMES, digest=DIGESTS)
COUNTS = st.integers(0, LARGEST_INTEGER)
OUTER = st.builds(
    Outer,
    count=COUNTS,
    real=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    colour=st.sampled_from(Colour),
    inner_part=INNER,
    numbers=st.lists(COUNTS, max_size=4).map(tuple),
    parts=st.lists(INNER, max_size=3).map(tuple),
    others=st.dictionaries(st.from_regex(r"[a-z_][A-Za-z0-9_]{0,8}", fullmatch=True), st.booleans() | st.none()),
    seed=st.none() | st.integers(0, 2**64 - 1).map(Large),
    maybe_digest=st.none() | DIGESTS,
    maybe_parts=st.none() | st.lists(INNER, max_size=2).map(tuple),
)
ONE = Outer(
    count=3,
    real=0.1,
    flag=True,
    text="ä",
    colour=Colour.RED,
    inner_part=Inner(at=Time("2026-01-31T12:00:00Z"), digest=bytes(32)),
    numbers=(1, 2),
    parts=(),
    others={"free": [1, None]},
)


@given(OUTER)
def test_what_is_written_reads_back_the_same_and_has_one_text(value: Outer) -> None:
    text = canonical_json(to_json(value))
    again = from_json(Outer, read_json(text, "the value"), "the value")
    assert again == value
    assert canonical_json(to_json(again)) == text


def test_the_text_is_spelt_out() -> None:
    assert json.loads(canonical_json(to_json(ONE))) == {
        "count": 3,
        "real": "0x1.999999999999ap-4",
        "flag": True,
        "text": "ä",
        "colour": "red",
        "innerPart": {"at": "2026-01-31T12:00:00Z", "digest": "00" * 32},
        "numbers": [1, 2],
        "parts": [],
        "others": {"free": [1, None]},
    }


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("count",), -1, "value.count: a whole number from 0"),
        (("count",), True, "value.count: a whole number from 0"),
        (("count",), str(2**60), "value.count: a whole number from 0"),
        (("real",), 1, "value.real: text is expected"),
        (("real",), "0.1", "value.real: '0.1' is not a real"),
        (("flag",), 1, "value.flag: true or false"),
        (("text",), None, "value.text: text is expected"),
        (("colour",), "blue", "'blue' is not one of red, green"),
        (("innerPart", "at"), "2026-02-30T12:00:00Z", "value.innerPart.at: '2026-02-30T12:00:00Z' is no UTC second"),
        (("innerPart", "at"), "2026-01-31T12:00:00+00:00", "no UTC second"),
        (("innerPart", "at"), "2026-01-31T12:00:00Z\n", "no UTC second"),
        (("innerPart", "digest"), "00" * 31, "not a digest"),
        (("innerPart", "digest"), "AB" * 32, "not a digest"),
        (("innerPart",), [], "value.innerPart: an object is expected"),
        (("innerPart", "extra"), 1, "field 'extra' is unknown"),
        (("numbers",), {}, "value.numbers: a list is expected"),
        (("numbers", 1), "2", "value.numbers[1]: a whole number"),
        (("parts",), [{"at": "2026-01-31T12:00:00Z"}], "value.parts[0]: field 'digest' is missing"),
        (("others",), [], "value.others: an object is expected"),
        (("seed",), None, "value.seed: a whole number"),
        (("seed",), str(2**53 - 1), "no whole number from 2^53"),
        (("seed",), str(2**64), "no whole number from 2^53"),
        (("seed",), "0" + str(2**53), "no whole number from 2^53"),
        (("maybeDigest",), None, "value.maybeDigest: text is expected"),
        (("inner_part",), {}, "field 'inner_part' is unknown"),
    ],
    ids=str,
)
def test_what_is_not_of_its_type_is_refused_with_its_place(path: tuple[Any, ...], value: Any, said: str) -> None:
    whole = json.loads(canonical_json(to_json(ONE)))
    place: Any = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(RecordError) as caught:
        from_json(Outer, whole, "value")
    assert caught.value.code == "MALFORMED_JSON"
    assert said in str(caught.value)


def test_a_missing_field_is_refused_and_an_optional_one_is_none() -> None:
    whole = json.loads(canonical_json(to_json(ONE)))
    assert from_json(Outer, whole, "value").maybe_digest is None
    for name in whole:
        with pytest.raises(RecordError, match=f"field '{name}' is missing"):
            from_json(Outer, {key: inner for key, inner in whole.items() if key != name}, "value")


def test_a_number_that_should_be_text_is_no_canonical_json() -> None:
    with pytest.raises(RecordError, match="outside"):
        read_json(b'{"seed":9007199254740992}', "value")


def test_large_counts_are_text_and_small_ones_numbers() -> None:
    @dataclass(frozen=True)
    class Seeds:
        small: int
        large: int

    assert to_json(Seeds(LARGEST_INTEGER, LARGEST_INTEGER + 1)) == {"small": 2**53 - 1, "large": "9007199254740992"}


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_plain_reals_are_finite_wherever_they_came_from(number: float) -> None:
    with pytest.raises(DataError, match=r"the amount holds .* where a finite number is needed"):
        from_plain(float, number, "the amount")


@given(TIMES)
def test_times_are_seconds_in_their_order(time: Time) -> None:
    assert Time.at(time.seconds) == time
    assert Time.at(time.seconds // 2) <= time


def test_now_is_a_time_that_reads_back() -> None:
    now = Time.now()
    assert Time.at(now.seconds) == now
    assert str(now) == now.text


@pytest.mark.parametrize(("name", "expected"), [("at", "at"), ("recorded_at", "recordedAt"), ("a_b_cd", "aBCd")])
def test_names_are_camel_case(name: str, expected: str) -> None:
    assert camel(name) == expected
