"""Merkle roots and proofs against the standard vectors and against RFC 6962 read word by word."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import InvalidArgument
from expunge.core.merkle import (
    GrowingTree,
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
    root_from_inclusion,
    tree_hash,
)

ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
# The certificate-transparency vectors, as in transparency-dev/merkle; (index, size, path).
INCLUSION = [
    (0, 1, ()),
    (
        0,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        5,
        8,
        (
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (2, 3, ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",)),
    (
        1,
        5,
        (
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
]
CONSISTENCY = [
    (1, 1, ()),
    (
        1,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        6,
        8,
        (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (
        2,
        5,
        (
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
    (
        6,
        7,
        (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
]


def some_leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


# The slow twins: sections 2.1, 2.1.1 and 2.1.2 of RFC 6962, word by word.
def split_at(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def slow_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split_at(len(leaves))
    return hashlib.sha256(b"\x01" + slow_root(leaves[:k]) + slow_root(leaves[k:])).digest()


def slow_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split_at(len(leaves))
    if m < k:
        return [*slow_path(m, leaves[:k]), slow_root(leaves[k:])]
    return [*slow_path(m - k, leaves[k:]), slow_root(leaves[:k])]


def slow_subproof(m: int, leaves: list[bytes], complete: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if complete else [slow_root(leaves)]
    k = split_at(len(leaves))
    if m <= k:
        return [*slow_subproof(m, leaves[:k], complete), slow_root(leaves[k:])]
    return [*slow_subproof(m - k, leaves[k:], False), slow_root(leaves[:k])]


def sides(index: int, size: int) -> list[str]:
    """The shape of a way up: on which side the neighbour stands, from the leaf to the root."""
    if size == 1:
        return []
    k = split_at(size)
    return [*sides(index, k), "right"] if index < k else [*sides(index - k, size - k), "left"]


def test_roots_of_the_standard_entries() -> None:
    assert tree_hash([]) == hashlib.sha256(b"").digest()
    assert [tree_hash(LEAVES[:size]) for size in range(1, 9)] == ROOTS


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_standard_inclusion_proofs(index: int, size: int, path: tuple[str, ...]) -> None:
    known = tuple(bytes.fromhex(text) for text in path)
    assert inclusion_proof(LEAVES[:size], index) == known
    assert inclusion_holds(LEAVES[index], index, size, known, ROOTS[size - 1])


@pytest.mark.parametrize(("first", "second", "path"), CONSISTENCY)
def test_standard_consistency_proofs(first: int, second: int, path: tuple[str, ...]) -> None:
    known = tuple(bytes.fromhex(text) for text in path)
    assert consistency_proof(LEAVES[:second], first) == known
    assert consistency_holds(first, second, known, ROOTS[first - 1], ROOTS[second - 1])


def test_every_proof_of_every_small_tree_equals_the_definition_and_checks() -> None:
    leaves = some_leaves(33)
    roots = [slow_root(leaves[:size]) for size in range(34)]
    for size in range(1, 34):
        assert tree_hash(leaves[:size]) == roots[size]
        for index in range(size):
            path = inclusion_proof(leaves[:size], index)
            assert list(path) == slow_path(index, leaves[:size])
            assert inclusion_holds(leaves[index], index, size, path, roots[size])
        for first in range(1, size + 1):
            path = consistency_proof(leaves[:size], first)
            assert list(path) == slow_subproof(first, leaves[:size], True)
            assert consistency_holds(first, size, path, roots[first], roots[size])


def test_a_growing_tree_knows_every_root_on_the_way() -> None:
    leaves = some_leaves(70)
    tree = GrowingTree()
    for size, leaf in enumerate(leaves):
        assert (tree.size, tree.root) == (size, slow_root(leaves[:size]))
        tree.add(leaf)


def test_many_leaves_need_little_memory() -> None:
    tracemalloc.start()
    try:
        tree = GrowingTree(at.to_bytes(32, "little") for at in range(200_000))
        root, (_, most) = tree.root, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200_000  # bytes: nothing per leaf is kept
    assert root == slow_root([at.to_bytes(32, "little") for at in range(200_000)])


def flip(data: bytes, bit: int) -> bytes:
    at, shift = divmod(bit % (8 * len(data)), 8)
    return data[:at] + bytes([data[at] ^ (1 << shift)]) + data[at + 1 :]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_altered_inclusion_proofs_are_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    index = data.draw(st.integers(0, size - 1))
    leaves = some_leaves(size)
    root, path = tree_hash(leaves), inclusion_proof(leaves, index)
    assert inclusion_holds(leaves[index], index, size, path, root)
    bit = data.draw(st.integers(0, 255))
    assert not inclusion_holds(flip(leaves[index], bit), index, size, path, root)
    assert not inclusion_holds(leaves[index], index, size, path, flip(root, bit))
    for at in range(len(path)):
        assert not inclusion_holds(leaves[index], index, size, (*path[:at], flip(path[at], bit), *path[at + 1 :]), root)
        assert not inclusion_holds(leaves[index], index, size, path[:at] + path[at + 1 :], root)
        assert not inclusion_holds(leaves[index], index, size, (*path[:at], path[at][:31], *path[at + 1 :]), root)
    for extra in (root, leaves[index], b"", bytes(32)):
        assert not inclusion_holds(leaves[index], index, size, (*path, extra), root)
        assert not inclusion_holds(leaves[index], index, size, (extra, *path), root)
    for other in {index - 1, index + 1, index ^ 1, index ^ 2, -1, size, 2**70} - {index}:
        assert not inclusion_holds(leaves[index], other, size, path, root)
    other_size = data.draw(st.integers(-1, 400).filter(lambda found: found != size))
    same_shape = 0 <= index < other_size and sides(index, other_size) == sides(index, size)
    assert inclusion_holds(leaves[index], index, other_size, path, root) == same_shape  # see the module: sizes


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_altered_consistency_proofs_are_refused(data: st.DataObject) -> None:
    second = data.draw(st.integers(1, 150))
    first = data.draw(st.integers(1, second))
    leaves = some_leaves(second)
    old, new, path = tree_hash(leaves[:first]), tree_hash(leaves), consistency_proof(leaves, first)
    assert consistency_holds(first, second, path, old, new)
    bit = data.draw(st.integers(0, 255))
    assert not consistency_holds(first, second, path, flip(old, bit), new)
    assert not consistency_holds(first, second, path, old, flip(new, bit))
    for at in range(len(path)):
        changed = (*path[:at], flip(path[at], bit), *path[at + 1 :])
        assert not consistency_holds(first, second, changed, old, new)
        assert not consistency_holds(first, second, path[:at] + path[at + 1 :], old, new)
        assert not consistency_holds(first, second, (*path[:at], path[at] + b"x", *path[at + 1 :]), old, new)
    for extra in (old, new, b"", bytes(32)):
        assert not consistency_holds(first, second, (*path, extra), old, new)
        assert not consistency_holds(first, second, (extra, *path), old, new)
    if first != second:
        assert not consistency_holds(first, second, path, new, old)
        assert not consistency_holds(second, first, path, new, old)
        assert not consistency_holds(first, second, (), old, new)
    for other in {0, -1, second + 1, 2**70} - {first}:
        assert not consistency_holds(other, second, path, old, new)
    other = data.draw(st.integers(1, second))
    if other != first:  # another beginning has another root, which this path does not lead to
        assert not consistency_holds(other, second, path, tree_hash(leaves[:other]), new)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-5, 2**66),
    st.integers(-5, 2**66),
    st.lists(st.binary(max_size=40) | st.binary(min_size=32, max_size=32), max_size=90),
    st.binary(max_size=40),
    st.binary(max_size=40),
)
def test_hostile_proofs_are_answered(first: int, second: int, path: list[bytes], one: bytes, two: bytes) -> None:
    assert not consistency_holds(first, second, path, one, two) or (first == second and one == two)
    found = root_from_inclusion(one, first, second, path)
    assert found is None or len(found) == 32


def test_the_empty_tree_begins_every_tree() -> None:
    nothing = hashlib.sha256(b"").digest()
    assert consistency_proof(LEAVES, 0) == ()
    assert consistency_holds(0, 8, (), nothing, ROOTS[7])
    assert consistency_holds(0, 0, (), nothing, nothing)
    assert not consistency_holds(0, 8, (), ROOTS[0], ROOTS[7])
    assert not consistency_holds(0, 8, (nothing,), nothing, ROOTS[7])


@pytest.mark.parametrize("index", [-1, 8, 2**64])
def test_no_proof_outside_the_tree(index: int) -> None:
    with pytest.raises(InvalidArgument, match="leaves"):
        inclusion_proof(LEAVES, index)
    with pytest.raises(InvalidArgument, match="leaves"):
        consistency_proof(LEAVES, index if index != 8 else 9)
