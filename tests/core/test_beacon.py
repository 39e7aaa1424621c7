"""The beacon: read from digits or a file, one value and one way to say where it is from, refusals in one sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from expunge.core.beacon import ZERO, Beacon, read_beacon
from expunge.core.clock import is_utc_second, utc_now
from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.streams import ZERO_BEACON

VALUE = "0123456789abcdef" * 4


def written(path: Path, **fields: object) -> Path:
    path.write_text(json.dumps({"source": "drand", "value": VALUE, **fields}), encoding="utf-8")
    return path


def test_without_one_there_are_zeros_and_that_is_said():
    assert ZERO.value == ZERO_BEACON
    assert ZERO.note == "zero beacon: schedule not protected against grinding"
    assert ZERO.as_json() == {"source": "zero", "value": "00" * 32, "round": None, "not_before": None}
    assert Beacon.from_json(ZERO.as_json()) == ZERO


def test_digits_are_public_from_now_on():
    before = utc_now()
    for text in (VALUE, VALUE.upper()):
        found = read_beacon(text)
        assert found.value.hex() == VALUE
        assert (found.source, found.round) == ("given", None)
        assert found.not_before is not None
        assert before <= found.not_before <= utc_now()
        assert found.note == f"beacon given, not before {found.not_before}"


def test_a_file_says_more(tmp_path):
    found = read_beacon(written(tmp_path / "b.json", round=7, not_before="2026-01-31T12:00:00Z"))
    assert found == Beacon(value=bytes.fromhex(VALUE), source="drand", round=7, not_before="2026-01-31T12:00:00Z")
    assert found.note == "beacon from drand, round 7, not before 2026-01-31T12:00:00Z"
    assert Beacon.from_json(found.as_json()) == found
    assert read_beacon(str(written(tmp_path / "c.json"))).not_before is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"value": "00" * 32}, "a beacon of zeros is what a run has without one: leave it out"),
        ({"value": VALUE[:-1]}, "must be 64 hexadecimal digits"),
        ({"value": VALUE[:-1] + "g"}, "must be 64 hexadecimal digits"),
        ({"value": 7}, "beacon field value holds 7: it is of another type"),
        ({"source": ""}, "1 to 200 printable characters"),
        ({"source": "x" * 201}, "1 to 200 printable characters"),
        ({"source": "two\nlines"}, "1 to 200 printable characters"),
        ({"source": "zero"}, "stands for no beacon at all"),
        ({"source": None}, "beacon field source holds None"),
        ({"round": -1}, "beacon round -1 must be a whole number"),
        ({"round": 2**53}, "must be a whole number from 0 to 2^53 − 1"),
        ({"round": True}, "beacon field round holds True"),
        ({"round": 1.0}, "beacon field round holds 1.0"),
        ({"not_before": "2026-02-30T00:00:00Z"}, "must be a second in UTC"),
        ({"not_before": "2026-01-31 12:00:00"}, "must be a second in UTC"),
        ({"not_before": 5}, "beacon field not_before holds 5"),
        ({"pulse": 1}, "beacon fields ['pulse'] are unknown or missing"),
    ],
)
def test_what_no_beacon_is(fields, words, tmp_path):
    with pytest.raises(InvalidArgument, match=re.escape(words)) as refused:
        read_beacon(written(tmp_path / "b.json", **fields))
    assert str(refused.value).startswith(f"the beacon in {tmp_path / 'b.json'} cannot be used: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"source":"a","source":"b"}', b"\xff", b"{}" + b" " * 70_000])
def test_a_file_that_is_none(content, tmp_path):
    (tmp_path / "b.json").write_bytes(content)
    with pytest.raises(InvalidArgument, match="cannot be used: "):
        read_beacon(tmp_path / "b.json")


@pytest.mark.parametrize("given", ["nowhere.json", VALUE[:-1], VALUE + "0", "", "/"])
def test_neither_digits_nor_a_file(given):
    with pytest.raises(InvalidArgument, match="is neither 64 hexadecimal digits nor a JSON file"):
        read_beacon(given)


def test_a_value_of_another_length_is_refused():
    with pytest.raises(InvalidArgument, match="a beacon of 31 bytes is none"):
        Beacon(value=bytes(31), source="given")
    with pytest.raises(DataError, match=r"beacon fields \['value'\] are unknown or missing"):
        Beacon.from_json({"source": "given"})


def test_a_file_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    path = written(tmp_path / "b.json")

    def fail(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(RunError, match="could not be read"):
        read_beacon(path)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2026-01-31T12:00:00Z", True),
        ("2024-02-29T23:59:59Z", True),
        ("2026-02-29T00:00:00Z", False),
        ("2026-01-31T24:00:00Z", False),
        ("2026-01-31T12:00:60Z", False),
        ("2026-01-31T12:00:00", False),
        ("2026-01-31T12:00:00z", False),
        ("2026-1-31T12:00:00Z", False),
        ("2026-01-31T12:00:00Z\n", False),
        ("", False),
    ],
)
def test_seconds_have_one_text(text, is_one):
    assert is_utc_second(text) is is_one
    assert is_utc_second(utc_now())
