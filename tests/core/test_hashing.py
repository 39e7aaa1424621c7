"""Canonical bytes and JSON against the standards' vectors and by hand."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.hashing import array_bytes, canonical_json, example_bytes, field_bytes, parse_json, sha256
from expunge.core.merkle import leaf_hash, tree_hash

STANDARD_ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]


def test_example_vector() -> None:
    image = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    found = example_bytes({"id": "img-0007", "image": image, "label": 3, "subject": "person-42"})
    assert len(found) == 160
    assert sha256(found).hex() == "80b1fcd35120921245c053bf63e86bf841af984935cd7c20e86dd3d5d632cfdc"


def test_canonical_json_vector() -> None:
    found = canonical_json({"b": 1, "a": ['€\u0007\n"\\/', True, None]})
    assert sha256(found).hex() == "6d9585dd2331ee50595cff2eef32766a8a43b96e58a5921b13c744c6bcaea114"


def test_canonical_json_writes_reals_as_hex() -> None:
    assert canonical_json({"rate": 0.1}) == b'{"rate":"0x1.999999999999ap-4"}'


@pytest.mark.parametrize("value", [{"A": 1}, {"a b": 1}, 2**53, float("nan"), "\ud800", {"a": object()}])
def test_canonical_json_refuses(value: object) -> None:
    with pytest.raises((InvalidArgument, DataError)):
        canonical_json(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a":1,"a":2}', "repeats a key"),
        (b'{"a":NaN}', "not a number"),
        (b'{"a":1e999}', "1e999, which is not a number"),
        (b"9" * 5000, "too many digits"),
        (b"[" * 40 + b"]" * 40, "deeper than 32"),
        (b"[" * 100_000, "deeper than 32|not readable"),
        (b"{", "not readable as JSON"),
        (b"\xff", "not readable as JSON"),
    ],
)
def test_parse_json_refuses(text: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_json(text)


def test_parse_json_refuses_the_too_large() -> None:
    with pytest.raises(DataError, match="exceeds the limit"):
        parse_json(b"[1,2,3]", largest=3)


@given(
    st.recursive(st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(), st.lists, max_leaves=8)
)
def test_canonical_json_reads_back(value: object) -> None:
    try:
        written = canonical_json(value)
    except DataError:
        return  # a lone surrogate
    assert json.loads(written) == value


def test_field_bytes_by_hand() -> None:
    assert field_bytes(None) == b"\x00"
    assert field_bytes("a") == b"\x01" + struct.pack("<Q", 1) + b"a"
    assert field_bytes(b"a") == b"\x02" + struct.pack("<Q", 1) + b"a"
    assert field_bytes(-2) == b"\x03" + struct.pack("<q", -2)
    assert field_bytes(-0.0) == b"\x04" + struct.pack("<d", -0.0)


def test_arrays_hash_alike_in_any_memory_order() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3)
    assert array_bytes(array) == array_bytes(np.asfortranarray(array.astype("<i4")))
    assert array_bytes(array) != array_bytes(array.reshape(3, 2))


@pytest.mark.parametrize("value", [float("nan"), np.array([1.0, np.nan]), np.array(["text"]), object()])
def test_uncommittable_values_are_refused(value: object) -> None:
    with pytest.raises(DataError):
        field_bytes(value)


def test_missing_mandatory_field_is_refused() -> None:
    with pytest.raises(DataError, match="mandatory"):
        example_bytes({"id": "a", "label": 1})


def naive_tree(leaves: list[bytes]) -> bytes:
    """RFC 6962 by its own recursive definition."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01", naive_tree(leaves[:split]), naive_tree(leaves[split:]))


def test_tree_vectors() -> None:
    hashed = [leaf_hash(entry) for entry in STANDARD_ENTRIES]
    assert tree_hash(hashed).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert tree_hash(hashed[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"


@given(st.lists(st.binary(max_size=3), max_size=40))
def test_tree_equals_its_recursive_definition(entries: list[bytes]) -> None:
    hashed = [leaf_hash(entry) for entry in entries]
    assert tree_hash(hashed) == naive_tree(hashed)
