"""RFC 6962 Merkle tree hash over leaf hashes: 00 before a leaf's entry, 01 before a pair of nodes."""

from __future__ import annotations

from collections.abc import Iterable

from expunge.core.hashing import sha256


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry."""
    return sha256(b"\x00", entry)


def tree_hash(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf hashes, in memory that grows with the logarithm of their number; H("") when there are none."""
    peaks: list[tuple[int, bytes]] = []
    for leaf in leaves:
        height, node = 0, leaf
        while peaks and peaks[-1][0] == height:
            node = sha256(b"\x01", peaks.pop()[1], node)
            height += 1
        peaks.append((height, node))
    if not peaks:
        return sha256(b"")
    _, root = peaks.pop()
    while peaks:
        root = sha256(b"\x01", peaks.pop()[1], root)
    return root
