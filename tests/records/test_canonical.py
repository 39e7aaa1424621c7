"""Canonical JSON from outside: the vectors of the standard, a foreign implementation, and refusals with their code."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import InvalidArgument, RecordError
from expunge.core.hashing import canonical_json, sha256
from expunge.records.canonical import (
    checked_count,
    checked_list,
    checked_text,
    read_base64,
    read_digest,
    read_json,
    read_object,
    read_real,
    write_base64,
)
from expunge.records.limits import LIMITS, Code, Limits

KEYS = st.from_regex(r"[a-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def code_of(text: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(RecordError) as caught:
        read_json(text, "the record", limits)
    assert "the record" in str(caught.value)
    assert len(str(caught.value)) < 500  # however long the text is
    return caught.value.code


def test_the_vector_of_the_specification() -> None:
    text = '{"a":["€\\u0007\\n\\"\\\\/",true,null],"b":1}'.encode()
    assert sha256(text).hex() == "6d9585dd2331ee50595cff2eef32766a8a43b96e58a5921b13c744c6bcaea114"
    assert read_json(text, "the vector") == {"a": ['€\u0007\n"\\/', True, None], "b": 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [  # RFC 8785, sections 3.2.2 and 3.2.3 and appendix B, as far as they lie in the subset
        (['€$\x0f\nA\'B"\\\\"/'], '["€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"]'),
        ([None, True, False], "[null,true,false]"),
        ({"b": 1, "a": 2, "a_b": 3, "aB": 4}, '{"a":2,"aB":4,"a_b":3,"b":1}'),
        (["\b\t\f\r\x1f\x7f</script>"], '["\\b\\t\\f\\r\\u001f\x7f</script>"]'),
        (["A\u030a", "\U0001f602", "דּ"], '["A\u030a","\U0001f602","דּ"]'),
        ([9007199254740991, -9007199254740991, 0], "[9007199254740991,-9007199254740991,0]"),
    ],
)
def test_vectors_of_rfc_8785(value: Any, text: str) -> None:
    assert canonical_json(value) == text.encode()
    assert read_json(text.encode(), "the vector") == value


@given(VALUES)
@settings(deadline=None)
def test_a_foreign_implementation_writes_the_same_bytes(value: Any) -> None:
    rfc8785 = pytest.importorskip("rfc8785")
    assert canonical_json(value) == rfc8785.dumps(value)
    assert read_json(rfc8785.dumps(value), "foreign") == value


@given(VALUES.filter(lambda value: isinstance(value, dict | list) and bool(value)))
@settings(deadline=None)
def test_any_other_writing_of_the_same_value_is_refused(value: Any) -> None:
    canonical = canonical_json(value)
    others = {
        json.dumps(value).encode(),
        json.dumps(value, indent=1).encode(),
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode(),
        canonical + b"\n",
        b" " + canonical,
        b"\xef\xbb\xbf" + canonical,
    }
    for other in others - {canonical}:
        assert code_of(other) == "MALFORMED_JSON"


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":1}',
        b'{"a":NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"[1.0]",
        b"[1e3]",
        b"[1e999]",
        b"[-0]",
        b"[0.1]",
        b"[9007199254740992]",
        b"[" + b"9" * 5000 + b"]",
        b'{"A":1}',
        b'{"a b":1}',
        b'{"a-b":1}',
        '{"é":1}'.encode(),
        b'{"":1}',
        b'{"b":1,"a":1}',
        b'["\\/"]',
        b'["\\u00e9"]',
        b'["\\ud800"]',
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
        b"['a']",
        b"[1,]",
        b"[1]x",
        b"[01]",
        b"",
        b"\x00",
        b"/**/[]",
        b'["' + b"\\ud800" * 5000 + b'"]',
        b'{"' + b"A" * 5000 + b'":1}',
        b"[" + b"9" * 4000 + b"]",
        b"[" * 34 + b"]" * 34,
        b"[" * 100_000,
        b'{"a":' * 200_000,
    ],
)
def test_refused_as_malformed(text: bytes) -> None:
    assert code_of(text) == "MALFORMED_JSON"


def test_depth_is_allowed_up_to_its_limit() -> None:
    for deepest in (1, 5, 32):
        limits = Limits(json_depth=deepest)
        text = b"[" * deepest + b"1" + b"]" * deepest
        read_json(text, "deep", limits)
        assert code_of(b"[" + text + b"]", limits) == "MALFORMED_JSON"


def test_size_is_allowed_up_to_its_limit() -> None:
    limits = Limits(json_bytes=10)
    assert read_json(b'["123456"]', "short", limits) == ["123456"]
    assert code_of(b'["1234567"]', limits) == "SIZE_LIMIT"


def test_the_camel_case_of_the_predicate_is_allowed() -> None:
    text = b'{"_type":"x","notClaimed":["N1"],"predicateType":"y"}'
    assert read_json(text, "the statement")["notClaimed"] == ["N1"]


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(text: bytes) -> None:
    try:
        value = read_json(text, "noise")
    except RecordError as error:
        value, code = None, error.code
    else:
        code = "MALFORMED_JSON"
    assert code == "MALFORMED_JSON"
    assert text == canonical_json(value) or value is None


@given(VALUES, st.data())
@settings(deadline=None)
def test_one_changed_byte_is_another_value_or_refused(value: Any, data: st.DataObject) -> None:
    text = bytearray(canonical_json(value))
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = read_json(bytes(text), "altered")
    except RecordError:
        return
    assert canonical_json(read) == bytes(text) != canonical_json(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_reals_come_back_exactly(number: float) -> None:
    found = read_real(number.hex(), "rate")
    assert found == number
    assert math.copysign(1, found) == math.copysign(1, number)


@pytest.mark.parametrize(
    "text",
    [
        "0.1",
        "0x1p-3",
        "0X1.0000000000000p+0",
        "0x1.8p+0",
        " 0x1.8000000000000p+0",
        "inf",
        "nan",
        "0x1p+99999",
        "",
        1,
        None,
        "0x1.8000000000000p+00",
        "0x3.0000000000000p-1",
        "1" * 10_000,
        "0x0p+0",
        "٣",
    ],
)
def test_other_writings_of_reals_are_refused(text: Any) -> None:
    with pytest.raises(RecordError, match="MALFORMED_JSON"):
        read_real(text, "rate")


@given(st.binary(max_size=70))
def test_base64_comes_back(content: bytes) -> None:
    assert read_base64(write_base64(content), "payload", len(content)) == content


@pytest.mark.parametrize(
    "text", ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "Q Q==", "-_-_", "QQ==QQ==", "é", "====", "QUJ=", 7]
)
def test_other_base64_is_refused(text: Any) -> None:
    with pytest.raises(RecordError, match="MALFORMED_JSON"):
        read_base64(text, "payload")


def test_a_length_that_is_known_is_checked() -> None:
    with pytest.raises(RecordError, match="holds 3 bytes, 64 are expected"):
        read_base64("QUJD", "sig", 64)


@pytest.mark.parametrize("text", ["", "A" * 64, "g" * 64, "0" * 63, "0" * 64 + "\n", 5])
def test_other_digests_are_refused(text: Any) -> None:
    with pytest.raises(RecordError, match="MALFORMED_JSON"):
        read_digest(text, "root")
    assert read_digest("0f" * 32, "root") == b"\x0f" * 32


def test_fields_are_exactly_those_asked_for() -> None:
    assert read_object(b'{"a":1}', "it", ("a",), ("b",)) == {"a": 1}
    assert read_object(b'{"a":1,"b":2}', "it", ("a",), ("b",)) == {"a": 1, "b": 2}
    for text, words in (
        (b'{"a":1,"c":2}', "'c' is unknown"),
        (b"{}", "'a' is missing"),
        (b"[]", "object is expected"),
        (b'{"a":1,"' + b"x" * 900 + b'":1}', "'x{60}' is unknown"),
    ):
        with pytest.raises(RecordError, match=words):
            read_object(text, "it", ("a",), ("b",))


@pytest.mark.parametrize("value", [True, -1, "1", None, [], {}])
def test_counts_are_whole_numbers(value: Any) -> None:
    with pytest.raises(RecordError, match="whole number from 0"):
        checked_count(value, "size")
    with pytest.raises(RecordError, match="MALFORMED_JSON"):
        checked_text([value], "name")
    with pytest.raises(RecordError, match="a list is expected"):
        checked_list({"a": value}, "path")


def test_limits_are_checked() -> None:
    with pytest.raises(InvalidArgument, match="whole number from 1"):
        Limits(files=0)
    with pytest.raises(InvalidArgument, match="exceeds 32"):
        Limits(json_depth=33)
    assert str(Code.SIZE_LIMIT) == "SIZE_LIMIT"
