"""Zip archives in the one form that ``write_archive`` gives them: the same files make the same bytes everywhere.

Stored, dated 1980-01-01, in the order given; zip64 only where a number needs it. What lies in a zip from outside is
judged by its directory before anything of it is opened, and nothing is read of one that is not byte for byte of this
form: then there is no compression to unpack, and no second name, size or place that another reader could believe.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO

from expunge.core.errors import RecordError
from expunge.records.limits import MEBIBYTE, Code, Limits, refused

LOCAL, CENTRAL, END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
END64, LOCATOR, LARGE = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL"), struct.Struct("<4s3Q")
LOCAL_MARK, CENTRAL_MARK, END_MARK, END64_MARK, LOCATOR_MARK = (
    b"PK" + mark for mark in (b"\3\4", b"\1\2", b"\5\6", b"\6\6", b"\6\7")
)
LARGE_MARK = struct.pack("<2H", 1, 24)
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
PLAIN_ATTRIBUTES = 0xA7  # DOS: read-only, hidden, system, archive, normal
FOLDER_ATTRIBUTE = 0x10
LONGEST_NAME = 255
DATE_1980 = 0x0021
UNIX_FILE = 0o100644 << 16
THRESHOLD = FULL32  # sizes and offsets from here on are written as zip64


@dataclass(frozen=True)
class Member:
    """One file of an archive, as its directory has it; ``start`` is where its bytes begin in the form written here."""

    name: str
    size: int
    check: int
    start: int


def read_directory(file: BinaryIO, what: str, limits: Limits) -> tuple[tuple[Member, ...], bool]:
    """All members, judged by the directory alone, and whether the archive is byte for byte what would be written here.

    Where it is not, nothing but names and sizes can be told of it: refuse it once these are looked at.
    """
    offset, length, count, tail = _directory(file, what)
    if count > limits.files:
        raise refused(Code.SIZE_LIMIT, f"{what} holds {count} files, the limit is {limits.files}")
    members: list[Member] = []
    heads: list[bytes] = []
    place, at, total, exact = offset, 0, 0, tail == _end(count, length, offset)
    for _ in range(count):
        row = _read(file, place, CENTRAL.size, what)
        mark, *_, check, packed, size, names, extras, comments, _, _, attributes, _ = CENTRAL.unpack(row)
        if mark != CENTRAL_MARK or names > LONGEST_NAME:
            raise _unsafe(what, f"row {len(members) + 1} of its directory is not of the right form")
        row += _read(file, place + CENTRAL.size, names + extras + comments, what)
        place += len(row)
        title, extra = row[CENTRAL.size :][:names], row[CENTRAL.size + names :]
        if len(extra) == LARGE.size and extra.startswith(LARGE_MARK):
            _, size, packed, _ = LARGE.unpack(extra)
        name = _judged(title, attributes, size, packed, what, limits)
        total += size
        if total > limits.total_bytes:
            raise refused(
                Code.SIZE_LIMIT, f"{what} unpacks to more than {limits.total_bytes} bytes, which is the limit"
            )
        local, central = _headers(title, check, size, at) if exact else (b"", b"")
        members.append(Member(name, size, check, at + len(local)))
        heads.append(local)
        at += len(local) + size
        exact = exact and row == central and at <= offset
    if place != offset + length:
        raise _unsafe(what, "its directory is longer or shorter than its rows")
    exact = exact and at == offset
    return tuple(members), exact and all(
        _read(file, member.start - len(head), len(head), what) == head
        for member, head in zip(members, heads, strict=True)
    )


def open_member(file: BinaryIO, member: Member, what: str) -> BinaryIO:
    """A stream over one member's bytes that can seek; its check sum is looked at first."""
    window = io.BufferedReader(_Window(file, member.start, member.size))
    check = 0
    while piece := window.read(MEBIBYTE):
        check = zlib.crc32(piece, check)
    if check != member.check:
        raise _unsafe(f"{what}, file {member.name!r}", "its check sum is not what it announces")
    window.seek(0)
    return window


def write_archive(target: IO[bytes], files: Sequence[tuple[str, Callable[[], BinaryIO]]]) -> None:
    """Write the files, each opened twice: for its check sum and for its bytes."""
    rows: list[bytes] = []
    at = 0
    for name, opened in files:
        check = size = 0
        with opened() as source:
            while piece := source.read(MEBIBYTE):
                check, size = zlib.crc32(piece, check), size + len(piece)
        local, central = _headers(name.encode("ascii"), check, size, at)
        target.write(local)
        copied = 0
        with opened() as source:
            while piece := source.read(MEBIBYTE):
                target.write(piece)
                copied += len(piece)
        if copied != size:
            raise _unsafe(name, "it changed while it was packed")
        rows.append(central)
        at += len(local) + size
    target.write(b"".join(rows) + _end(len(rows), sum(map(len, rows)), at))


def _headers(name: bytes, check: int, size: int, offset: int) -> tuple[bytes, bytes]:
    """A file's own header and its row of the directory."""
    large = max(size, offset) >= THRESHOLD
    version, shown = (45, FULL32) if large else (20, size)
    middle = (version, 0, 0, 0, DATE_1980, check, shown, shown, len(name))
    extra = struct.pack("<2H2Q", 1, 16, size, size) if large else b""
    extra_row = LARGE.pack(LARGE_MARK, size, size, offset) if large else b""
    row = (3 << 8 | version, *middle, len(extra_row), 0, 0, 0, UNIX_FILE, FULL32 if large else offset)
    return (
        LOCAL.pack(LOCAL_MARK, *middle, len(extra)) + name + extra,
        CENTRAL.pack(CENTRAL_MARK, *row) + name + extra_row,
    )


def _end(count: int, length: int, offset: int) -> bytes:
    if count < FULL16 and max(length, offset) < THRESHOLD:
        return END.pack(END_MARK, 0, 0, count, count, length, offset, 0)
    large = END64.pack(END64_MARK, END64.size - 12, 3 << 8 | 45, 45, 0, 0, count, count, length, offset)
    locator = LOCATOR.pack(LOCATOR_MARK, 0, offset + length, 1)
    return large + locator + END.pack(END_MARK, 0, 0, FULL16, FULL16, FULL32, FULL32, 0)


def _directory(file: BinaryIO, what: str) -> tuple[int, int, int, bytes]:
    """Offset, length and rows of the directory, and the archive's last bytes, which describe it."""
    end = file.seek(0, os.SEEK_END) - END.size
    tail = _read(file, end, END.size, what) if end >= 0 else b""
    if not tail.startswith(END_MARK):
        raise _unsafe(what, "no zip directory stands at its end (a comment or other bytes behind it are refused too)")
    _, _, _, _, count, length, offset, _ = END.unpack(tail)
    front = end - LOCATOR.size - END64.size
    if count == FULL16 or FULL32 in (length, offset):
        large = _read(file, front, END64.size + LOCATOR.size, what) if front >= 0 else b""
        if not large.startswith(END64_MARK):
            raise _unsafe(what, "its zip64 directory is missing")
        *_, count, length, offset = END64.unpack(large[: END64.size])
        tail, end = large + tail, front
    if offset + length != end:
        raise _unsafe(what, "its directory does not reach from its last file to its end")
    return offset, length, count, tail


def _judged(raw: bytes, attributes: int, size: int, packed: int, what: str, limits: Limits) -> str:
    """The name of a plain file that does not unpack to far more than it takes, or a folder's; else a refusal."""
    try:
        name = raw.decode("ascii")
    except UnicodeDecodeError:
        raise refused(Code.UNSAFE_PATH, f"{what} holds a file named {raw!r}: names are plain ASCII") from None
    where, folder = f"{what}, file {name[:80]!r}", name.endswith("/")
    if attributes >> 28 not in (0, 0o04 if folder else 0o10):
        raise refused(Code.UNSAFE_PATH, f"{where} is a link, a device or not what its name says: pack plain files only")
    if attributes & FULL16 & ~(PLAIN_ATTRIBUTES | (FOLDER_ATTRIBUTE if folder else 0)):
        raise refused(Code.UNSAFE_PATH, f"{where} has attributes of a link or device: pack plain files only")
    if size > limits.zip_ratio * packed:
        raise refused(
            Code.SIZE_LIMIT,
            f"{where} unpacks from {packed} to {size} bytes, the limit is {limits.zip_ratio} times: "
            "pack it without compression",
        )
    return name


def _read(file: BinaryIO, at: int, length: int, what: str) -> bytes:
    file.seek(at)
    found = file.read(length)
    if len(found) != length:
        raise _unsafe(what, "it was cut short")
    return found


def _unsafe(what: str, reason: str) -> RecordError:
    return refused(
        Code.UNSAFE_FILE, f"{what} is refused: {reason}; unpack it yourself and give the folder, or ask again"
    )


class _Window(io.RawIOBase):
    """A part of a file as a stream of its own."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = min(max(0, base + offset), self._size)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._file.seek(self._start + self._at)
        piece = self._file.read(min(len(buffer), self._size - self._at))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
