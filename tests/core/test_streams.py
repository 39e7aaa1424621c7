"""Streams against the vectors, and Philox against a twin in plain Python."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from expunge.core.hashing import sha256, slot_bytes
from expunge.core.streams import Stream, below_from_words, lineage_seed, stable_order

MASK = 2**64 - 1
SEED = lineage_seed(sha256(b"recipe"), sha256(b"dataset"))


def block(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x64, 10 rounds."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (high >> 64) ^ c1 ^ k0, high & MASK, (low >> 64) ^ c3 ^ k1, low & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


def twin(key: tuple[int, int], counter: tuple[int, int, int, int], count: int) -> list[int]:
    """The counter is increased before each block of four words."""
    number = sum(word << (64 * place) for place, word in enumerate(counter))
    words: list[int] = []
    while len(words) < count:
        number = (number + 1) % 2**256
        words.extend(block(tuple((number >> (64 * place)) & MASK for place in range(4)), key))  # type: ignore[arg-type]
    return words[:count]


def address(seed: bytes, purpose: str, shard: int, index: int) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    name = purpose.encode()
    digest = sha256(b"expunge/stream/1", seed, bytes([len(name)]), name, struct.pack("<QQ", shard, index))
    a, b, c, d = struct.unpack("<4Q", digest)
    return (a, b), (0, 0, c, d)


def test_lineage_seed_vector() -> None:
    assert SEED.hex() == "de9e7b5ac8120af5303b9f4a07de3140b663fcf059c5235bd14c96cc2e42e02d"


def test_block_vector() -> None:
    assert [f"{word:016x}" for word in block((0, 0, 0, 0), (0, 0))] == [
        "16554d9eca36314c",
        "db20fe9d672d0fdc",
        "d7e772cee186176b",
        "7e68b68aec7ba23b",
    ]


def test_carry_vector() -> None:
    generator = np.random.Philox(
        key=np.array([1, 2], dtype=np.uint64), counter=np.array([MASK, MASK, 5, 6], dtype=np.uint64)
    )
    assert [f"{int(word):016x}" for word in generator.random_raw(2)] == ["5f48c7f3eb171f81", "72b715c1fe6850ca"]
    assert twin((1, 2), (MASK, MASK, 5, 6), 2) == [0x5F48C7F3EB171F81, 0x72B715C1FE6850CA]


@pytest.mark.parametrize(
    ("purpose", "shard", "index", "words"),
    [
        ("order", 0, 0, "8d33697d8eb8ab23 d95277a019c425d3 0679248d0152b58c 78bbe861ea3bf07a 982b6cc6aa5bad46"),
        ("order", 3, 1, "8cb434d7db17d0d9 851e01b82b301812"),
        ("dropout", 0, 1234567, "af1fa819979a64ed a0ae61290cd1ac97"),
        ("init", 0, 0, "174f9df6292e3e32 af0a8bf77b38759c"),
    ],
)
def test_first_words(purpose: str, shard: int, index: int, words: str) -> None:
    expected = [int(word, 16) for word in words.split()]
    assert [int(word) for word in Stream(SEED, purpose, shard, index).words(len(expected))] == expected


def test_uniform_vector() -> None:
    assert [float(value).hex() for value in Stream(SEED, "init").uniform(2)] == [
        "0x1.74f9d00000000p-4",
        "0x1.5e15160000000p-1",
    ]


def test_order_vectors() -> None:
    first = stable_order(Stream(SEED, "order", 0, 0).words(100))
    assert first[:10].tolist() == [79, 15, 46, 2, 51, 62, 13, 71, 66, 32]
    assert sha256(slot_bytes(first)).hex() == "f25fd94e5e16991b1db24aa57d496cc17874d5e7e473e4f73ebd1796167e23e4"
    second = stable_order(Stream(SEED, "order", 0, 1).words(100))
    assert second[:10].tolist() == [65, 96, 62, 64, 69, 86, 49, 2, 42, 22]
    assert sha256(slot_bytes(second)).hex() == "aa9b420b97de512a8d87b885f14e6810ef7c754a637240c1539115339855ace4"


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.text("abc/-", min_size=1), st.integers(0, 2**40), st.integers(0, 2**63))
def test_streams_equal_the_plain_python_twin(seed: bytes, purpose: str, shard: int, index: int) -> None:
    key, counter = address(seed, purpose, shard, index)
    assert [int(word) for word in Stream(seed, purpose, shard, index).words(9)] == twin(key, counter, 9)


def test_words_do_not_depend_on_how_they_are_asked_for() -> None:
    stream = Stream(SEED, "order")
    parts = np.concatenate([stream.words(3), stream.words(1), stream.words(7)])
    assert parts.tolist() == Stream(SEED, "order").words(11).tolist()


@given(st.integers(1, 2**32 - 1), st.lists(st.integers(0, MASK), min_size=1, max_size=5))
def test_below_equals_wide_multiplication(bound: int, words: list[int]) -> None:
    found = below_from_words(np.array(words, dtype=np.uint64), bound)
    assert found.tolist() == [word * bound >> 64 for word in words]


def test_draws_have_their_laws() -> None:
    assert chisquare(np.bincount(Stream(SEED, "x").below(10, 20_000), minlength=10)).pvalue > 1e-4
    assert kstest(Stream(SEED, "y").normal(20_000), "norm").pvalue > 1e-4
    assert kstest(Stream(SEED, "z").uniform(20_000), "uniform").pvalue > 1e-4
