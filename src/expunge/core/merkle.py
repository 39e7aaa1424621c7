"""RFC 6962 Merkle trees over leaf hashes: root, inclusion and consistency proofs, made and checked.

H(00 ‖ entry) is a leaf, H(01 ‖ left ‖ right) a node; the left side of a node is the largest power of two that leaves
something for the right. A proof is the row of neighbours on the way up, 32 bytes each.

What a proof binds: the leaf, its place, and the roots. It does not bind the *size*: trees of 3 and of 4 leaves give the
first leaf a way up of the same shape. Whoever needs the size takes it from where it is signed beside the root.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256 as _sha256

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256

DIGEST_BYTES = 32


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry."""
    return sha256(b"\x00", entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees."""
    return _sha256(b"\x01" + left + right).digest()


class GrowingTree:
    """A tree that takes one leaf hash after the other and keeps only its peaks: one digest per set bit of its size."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._peaks: list[bytes] = []
        for leaf in leaves:
            self.add(leaf)

    def add(self, leaf: bytes) -> None:
        """Append one leaf hash."""
        node, size = leaf, self.size
        while size & 1:
            node = node_hash(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        """Root over the leaves so far; H("") when there are none."""
        if not self._peaks:
            return sha256(b"")
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def tree_hash(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf hashes, in memory that grows with the logarithm of their number; H("") when there are none."""
    return GrowingTree(leaves).root


def _split(size: int) -> int:
    """Leaves on the left of a tree of ``size`` ≥ 2: the largest power of two below it."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_hash(leaves: Sequence[bytes], start: int, end: int) -> bytes:
    return tree_hash(leaves[at] for at in range(start, end))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Neighbours on the way from leaf ``index`` up to the root over all ``leaves``; every leaf is hashed once."""
    if not 0 <= index < len(leaves):
        raise InvalidArgument(f"leaf {index} is not in a tree of {len(leaves)} leaves: counting starts at 0")
    start, end = 0, len(leaves)
    path: list[bytes] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(leaves, middle, end))
            end = middle
        else:
            path.append(_range_hash(leaves, start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_proof(leaves: Sequence[bytes], first: int) -> tuple[bytes, ...]:
    """Subtrees that show the tree over the first ``first`` leaves to be the beginning of the one over all."""
    if not 0 <= first <= len(leaves):
        raise InvalidArgument(f"a tree of {len(leaves)} leaves has no beginning of {first} leaves")
    if first in (0, len(leaves)):
        return ()
    start, end, whole = 0, len(leaves), True
    path: list[bytes] = []
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(_range_hash(leaves, middle, end))
            end = middle
        else:
            path.append(_range_hash(leaves, start, middle))
            start, whole = middle, False
    if not whole:  # the first tree's last subtree is unknown to the checker unless it is that tree's root
        path.append(_range_hash(leaves, start, end))
    return tuple(reversed(path))


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Root that the path leads to from ``leaf``; None where a tree of that size has no such path for that place."""
    if not 0 <= index < size or not _digests(leaf, *path):
        return None
    node, last = leaf, size - 1
    for neighbour in path:
        if last == 0:
            return None  # longer than the tree is high
        if index & 1 or index == last:
            node = node_hash(neighbour, node)
            while not index & 1:  # the right edge has no neighbour on these levels
                index >>= 1
                last >>= 1
        else:
            node = node_hash(node, neighbour)
        index >>= 1
        last >>= 1
    return node if last == 0 else None


def inclusion_holds(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path shows ``leaf`` at ``index`` of the tree with that size and root; never raises on any bytes."""
    return root_from_inclusion(leaf, index, size, path) == root


def consistency_holds(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    """Whether the path shows the first tree to be the beginning of the second; never raises on any bytes."""
    if not 0 <= first <= second or not _digests(first_root, second_root, *path):
        return False
    if first in (0, second):
        return not path and (first_root == second_root if first else first_root == sha256(b""))
    one, two = first - 1, second - 1
    while one & 1:
        one >>= 1
        two >>= 1
    rest = list(path)
    if one and not rest:
        return False
    seed = rest.pop(0) if one else first_root  # a first tree of 2^k leaves is one subtree: its root is known
    left, right = seed, seed
    for neighbour in rest:
        if two == 0:
            return False
        if one & 1 or one == two:
            left, right = node_hash(neighbour, left), node_hash(neighbour, right)
            while one and not one & 1:
                one >>= 1
                two >>= 1
        else:
            right = node_hash(right, neighbour)
        one >>= 1
        two >>= 1
    return two == 0 and left == first_root and right == second_root


def _digests(*values: bytes) -> bool:
    return all(len(value) == DIGEST_BYTES for value in values)
