"""An append-only log of envelope digests: an RFC 6962 tree, signed checkpoints, and proofs that need no folder.

A leaf is H(00 ‖ digest of an envelope, 32 bytes); records of several models may stand in one log. A log's folder holds
``log.json`` (its origin), ``entries`` (one digest per line, 64 hexadecimal digits) and ``checkpoint`` (the last signed
one). What the last checkpoint covers can never change again: a folder that does not fit it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from expunge.core.errors import InvalidArgument, RecordError, RunError
from expunge.core.files import append_bytes, clear_unfinished, read_bytes, unfinished_name, write_bytes
from expunge.core.hashing import canonical_json
from expunge.core.merkle import (
    DIGEST_BYTES,
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
    tree_hash,
)
from expunge.records.canonical import checked_count, checked_list, checked_text, read_digest, read_object
from expunge.records.keys import KeyRole, SigningKey, check_name
from expunge.records.limits import LIMITS, Code, Limits, refused
from expunge.records.note import TreeHead, open_checkpoint, read_checkpoint, read_note, sign_checkpoint

try:
    import fcntl
except ImportError:  # no advisory locks on this system: two writers are not told apart
    fcntl = None

FORMAT = "expunge/log/1"
INCLUSION = "expunge/log-inclusion/1"
CONSISTENCY = "expunge/log-consistency/1"
HEADER, ENTRIES, CHECKPOINT = "log.json", "entries", "checkpoint"
LINE = re.compile(rb"[0-9a-f]{64}\n")
LINE_BYTES = 65
LONGEST_PATH = 64


@dataclass(frozen=True)
class InclusionProof:
    """That the envelope with ``digest`` stands at ``index`` of the log's first ``size`` entries."""

    digest: bytes
    index: int
    size: int
    path: tuple[bytes, ...]

    def as_bytes(self) -> bytes:
        return canonical_json(
            {
                "format": INCLUSION,
                "digest": self.digest.hex(),
                "index": self.index,
                "size": self.size,
                "path": [node.hex() for node in self.path],
            }
        )


@dataclass(frozen=True)
class ConsistencyProof:
    """That the log's first ``first`` entries are the beginning of its first ``second`` entries."""

    first: int
    second: int
    path: tuple[bytes, ...]

    def as_bytes(self) -> bytes:
        return canonical_json(
            {
                "format": CONSISTENCY,
                "first": self.first,
                "second": self.second,
                "path": [node.hex() for node in self.path],
            }
        )


@dataclass(frozen=True)
class Log:
    """A log as it stands: its origin and the envelope digests in their order."""

    origin: str
    digests: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return len(self.digests)

    @cached_property
    def leaves(self) -> tuple[bytes, ...]:
        return tuple(leaf_hash(digest) for digest in self.digests)

    def grown(self, digests: Sequence[bytes]) -> Log:
        """The log as it stands once these are entered, those that are there already once."""
        return Log(self.origin, (*self.digests, *(new for new in dict.fromkeys(digests) if new not in self.digests)))

    def head(self, size: int | None = None) -> TreeHead:
        """The tree head over the first ``size`` entries, all of them by default."""
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise InvalidArgument(f"log {self.origin} has {self.size} entries, a head over {size} does not exist")
        return TreeHead(self.origin, size, tree_hash(self.leaves[:size]))

    def inclusion(self, digest: bytes, size: int | None = None) -> InclusionProof:
        """The proof of an envelope's first entry, against the head over the first ``size`` entries."""
        size = self.head(size).size
        if digest not in self.digests[:size]:
            raise InvalidArgument(f"log {self.origin} holds no envelope {digest.hex()[:16]}… among its first {size}")
        index = self.digests.index(digest)
        return InclusionProof(digest, index, size, inclusion_proof(self.leaves[:size], index))

    def consistency(self, first: int, second: int | None = None) -> ConsistencyProof:
        """The proof that the head over ``first`` entries is the beginning of the one over ``second``."""
        second = self.head(second).size
        return ConsistencyProof(first, second, consistency_proof(self.leaves[:second], first))


class LogWriter:
    """The one writer of a log folder; made by ``writing``."""

    def __init__(self, folder: Path, log: Log) -> None:
        self.folder = folder
        self.log = log

    def append(self, digest: bytes) -> int:
        """Enter an envelope's digest, synced to disk, and return its index; one that is there is not entered again."""
        if len(digest) != DIGEST_BYTES:
            raise InvalidArgument(f"an envelope's digest has {DIGEST_BYTES} bytes, {len(digest)} were given")
        if digest in self.log.digests:
            return self.log.digests.index(digest)
        _cut(self.folder / ENTRIES, self.log.size * LINE_BYTES)  # what an append that failed may have left
        append_bytes(self.folder / ENTRIES, digest.hex().encode("ascii") + b"\n")
        self.log = Log(self.log.origin, (*self.log.digests, digest))
        return self.log.size - 1

    def sign(self, key: SigningKey) -> bytes:
        """Sign the head over all entries and keep it; an equal head that is signed already is kept as it is."""
        content = self.signed(self.log, key)
        if not (self.folder / CHECKPOINT).exists() or read_bytes(self.folder / CHECKPOINT, "the log") != content:
            write_bytes(self.folder / CHECKPOINT, content)
        return content

    def signed(self, log: Log, key: SigningKey) -> bytes:
        """The signed head of this log as it is to stand; nothing is written."""
        path, head = self.folder / CHECKPOINT, log.head()
        if path.exists():
            before = read_bytes(path, "the log")
            own = key.trusted(self.log.origin, KeyRole.LOG)
            try:
                signed = open_checkpoint(before, [own], str(path)).checkpoint
            except RecordError:
                raise _inconsistent(f"{path} is not signed by the key given: sign with the log's own key") from None
            if signed == head:
                return before
        return sign_checkpoint(head, key)


def read_log(folder: Path, limits: Limits = LIMITS) -> Log:
    """A log's folder, checked against its last checkpoint; a last line that was cut short is left out."""
    log, _ = _read(folder, limits)
    return log


@contextmanager
def writing(folder: Path, origin: str | None = None) -> Generator[LogWriter]:
    """Hold a log's folder against other writers; ``origin`` names a log that is to be begun, or must be its name."""
    begun = (folder / HEADER).exists()
    if not begun:
        _check_new(folder, origin)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("ab")
    except OSError as error:
        raise RunError(f"{folder} cannot hold a log ({error.strerror or error}): choose another place") from error
    with handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(f"{folder} is being written by another process: wait for it, then try again") from None
        for name in (HEADER, CHECKPOINT):
            clear_unfinished(folder / name)
        if not begun and not (folder / HEADER).exists():
            write_bytes(folder / HEADER, canonical_json({"format": FORMAT, "origin": origin}))
        log, good = _read(folder, LIMITS)
        if origin not in (None, log.origin):
            raise RunError(f"{folder} holds the log {log.origin!r}, not {origin!r}: choose another folder")
        _cut(folder / ENTRIES, good)
        yield LogWriter(folder, log)


def read_inclusion(text: bytes, what: str = "the inclusion proof", limits: Limits = LIMITS) -> InclusionProof:
    """An inclusion proof from a bundle."""
    value = read_object(text, what, ("format", "digest", "index", "size", "path"), limits=limits)
    _check_format(value, INCLUSION, what)
    return InclusionProof(
        read_digest(value["digest"], f"{what}, digest"),
        checked_count(value["index"], f"{what}, index"),
        checked_count(value["size"], f"{what}, size"),
        _path(value["path"], what),
    )


def read_consistency(text: bytes, what: str = "the consistency proof", limits: Limits = LIMITS) -> ConsistencyProof:
    """A consistency proof from a bundle."""
    value = read_object(text, what, ("format", "first", "second", "path"), limits=limits)
    _check_format(value, CONSISTENCY, what)
    return ConsistencyProof(
        checked_count(value["first"], f"{what}, first"),
        checked_count(value["second"], f"{what}, second"),
        _path(value["path"], what),
    )


def check_included(digest: bytes, proof: InclusionProof, head: TreeHead) -> None:
    """Refuse unless the proof shows the envelope with ``digest`` in the log that ``head`` describes."""
    if proof.digest != digest:
        raise _inconsistent(f"the proof is for envelope {proof.digest.hex()[:16]}…, this one is {digest.hex()[:16]}…")
    if proof.size != head.size:
        raise _inconsistent(
            f"the proof is for {proof.size} entries of log {head.origin}, its checkpoint has {head.size}"
        )
    if not inclusion_holds(leaf_hash(digest), proof.index, head.size, proof.path, head.root):
        raise _inconsistent(
            f"envelope {digest.hex()[:16]}… is not entry {proof.index} of the {head.size} that log {head.origin} signed"
        )


def check_grown(older: TreeHead, newer: TreeHead, proof: ConsistencyProof | None = None) -> None:
    """Refuse unless ``newer`` is the same log as ``older`` with nothing taken away or changed.

    ``proof`` may be missing where both have one size: then their roots must be equal.
    """
    if older.origin != newer.origin:
        raise _inconsistent(f"the checkpoints are those of two logs, {older.origin!r} and {newer.origin!r}")
    if newer.size < older.size:
        raise _inconsistent(
            f"log {newer.origin} was rolled back from {older.size} entries to {newer.size}, or the smaller one was "
            "only signed earlier: ask for what is there with a checkpoint of today"
        )
    if newer.size == older.size and newer.root != older.root:
        raise _inconsistent(f"log {newer.origin} was forked: two roots over {newer.size} entries are signed")
    if proof is None:
        if newer.size != older.size:
            raise _inconsistent(f"no proof shows that log {newer.origin} only grew from {older.size} to {newer.size}")
        return
    if (proof.first, proof.second) != (older.size, newer.size):
        raise _inconsistent(
            f"the proof leads from {proof.first} to {proof.second} entries, the checkpoints from {older.size} to "
            f"{newer.size}"
        )
    if not consistency_holds(older.size, newer.size, proof.path, older.root, newer.root):
        raise _inconsistent(
            f"log {newer.origin} was forked: its first {older.size} entries are not those signed earlier"
        )


def _check_new(folder: Path, origin: str | None) -> None:
    if folder.is_dir():
        names = sorted(item.name for item in folder.iterdir() if item.name != ".lock")
        there = [name for name in names if unfinished_name(name) != HEADER]
        if there:
            raise RunError(f"{folder} is no log (it holds {there[0]!r} and no {HEADER}): choose an empty folder")
    if origin is None:
        raise RunError(f"{folder} holds no log yet: name the one to begin, for example 'example.com/unlearning'")
    check_name(origin)


def _read(folder: Path, limits: Limits) -> tuple[Log, int]:
    """The log, and how many bytes of its entries are whole lines."""
    what = str(folder / HEADER)
    header = read_object(read_bytes(folder / HEADER, "the log"), what, ("format", "origin"), limits=limits)
    _check_format(header, FORMAT, what)
    origin = checked_text(header["origin"], f"{what}, origin")
    try:
        check_name(origin)
    except InvalidArgument as error:
        raise refused(Code.MALFORMED_JSON, f"{what}, origin: {error}") from None
    path = folder / ENTRIES
    content = read_bytes(path, "the log") if path.exists() else b""
    good = len(content) - len(content) % LINE_BYTES
    digests: list[bytes] = []
    for start in range(0, good, LINE_BYTES):
        line = content[start : start + LINE_BYTES]
        if not LINE.fullmatch(line):
            if start + LINE_BYTES < good:
                raise _inconsistent(f"{path}: line {start // LINE_BYTES + 1} is no digest, so the log was altered")
            good = start  # a crash can leave the last line with its length and without its content
            break
        digests.append(bytes.fromhex(line[:-1].decode("ascii")))
    log = Log(origin, tuple(digests))
    _check_checkpoint(folder / CHECKPOINT, log, limits)
    return log, good


def _check_checkpoint(path: Path, log: Log, limits: Limits) -> None:
    """The entries must still be those that the last checkpoint covers; who signed it is the reader's question."""
    if not path.exists():
        return
    signed = read_checkpoint(read_note(read_bytes(path, "the log"), str(path), limits).text, str(path))
    if signed.origin != log.origin:
        raise _inconsistent(f"{path} is a checkpoint of log {signed.origin!r}, this folder is log {log.origin!r}")
    if signed.size > log.size:
        raise _inconsistent(f"{path} covers {signed.size} entries, the folder has {log.size}: entries were taken away")
    if log.head(signed.size).root != signed.root:
        raise _inconsistent(f"{path} does not fit the first {signed.size} entries: one of them was altered")


def _cut(path: Path, good: int) -> None:
    try:
        if path.exists() and path.stat().st_size > good:
            with path.open("r+b") as handle:
                handle.truncate(good)
    except OSError as error:
        raise RunError(f"{path} could not be written ({error.strerror or error}): make room, then try again") from error


def _check_format(value: dict[str, Any], expected: str, what: str) -> None:
    if value["format"] != expected:
        raise refused(Code.MALFORMED_JSON, f"{what} has format {value['format']!r:.60}, {expected!r} is expected")


def _path(value: Any, what: str) -> tuple[bytes, ...]:
    nodes: Sequence[Any] = checked_list(value, f"{what}, path")
    if len(nodes) > LONGEST_PATH:
        raise _inconsistent(f"{what} has a path of {len(nodes)} nodes, no log is higher than {LONGEST_PATH}")
    return tuple(read_digest(node, f"{what}, path") for node in nodes)


def _inconsistent(reason: str) -> RecordError:
    return refused(Code.LOG_INCONSISTENT, f"{reason}; keep both versions and ask the log's operator")
