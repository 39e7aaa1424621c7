"""Zip archives from outside, read by hand, and written in one deterministic form.

Refused: comments, gaps, overlaps, bytes before the first or behind the last part, encryption, spanned disks, streamed
sizes, links and devices, methods other than stored and deflate, and any difference between a file's own header and the
directory's. What is written is stored, dated 1980-01-01, in the order given; zip64 only where a number needs it.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, cast

from expunge.core.errors import RecordError
from expunge.records.limits import MEBIBYTE, Code, Limits, refused

LOCAL, CENTRAL, END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
END64, LOCATOR = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
LOCAL_MARK, CENTRAL_MARK, END_MARK, END64_MARK, LOCATOR_MARK = (
    b"PK" + mark for mark in (b"\3\4", b"\1\2", b"\5\6", b"\6\6", b"\6\7")
)
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
STORED, DEFLATED = 0, 8
HARMLESS_FLAGS = 0x0806  # how hard deflate tried; names in UTF-8
UNICODE_PATH = 0x7075  # an extra field with a second name
PLAIN_ATTRIBUTES = 0xA7  # DOS: read-only, hidden, system, archive, normal
FOLDER_ATTRIBUTE = 0x10
LONGEST_NAME, LONGEST_EXTRA = 255, 1024
DATE_1980 = 0x0021
UNIX_FILE = 0o100644 << 16
SPOOL_BYTES = 64 * MEBIBYTE
THRESHOLD = FULL32  # sizes and offsets from here on are written as zip64


@dataclass(frozen=True)
class Member:
    """One file of an archive; ``start`` is where its packed bytes begin."""

    name: str
    size: int
    packed: int
    deflated: bool
    check: int
    start: int


@dataclass(frozen=True)
class _Entry:
    """A row of the central directory, with its raw bytes up to the name."""

    raw: bytes
    name: bytes
    extra: bytes
    size: int
    packed: int
    offset: int


def read_directory(file: BinaryIO, what: str, limits: Limits) -> tuple[tuple[Member, ...], bool]:
    """All members, checked against their own headers, and whether the archive is byte for byte what we would write."""
    entries, end, exact = _entries(file, what, limits)
    members: list[Member] = []
    at = total = 0
    for entry in entries:
        member = _member(file, entry, at, what, limits)
        total += member.size
        if total > limits.total_bytes:
            raise refused(
                Code.SIZE_LIMIT, f"{what} unpacks to more than {limits.total_bytes} bytes, which is the limit"
            )
        exact = exact and _as_written(entry, member)
        members.append(member)
        at = member.start + member.packed
    if at != end:
        raise _unsafe(what, "bytes lie between its last file and its directory")
    return tuple(members), exact


def open_member(file: BinaryIO, member: Member, what: str) -> BinaryIO:
    """A stream over one member's bytes that can seek; its length and check sum are checked first.

    Stored members are read in place. Deflated ones are unpacked into memory, or, where larger than 64 MiB, into a
    temporary file without a name.
    """
    if not member.deflated:
        window = io.BufferedReader(_Window(file, member.start, member.size))
        _check(window, member, what)
        window.seek(0)
        return window
    target = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  # handed to the caller
    try:
        _inflate(file, member, target, what)
    except BaseException:
        target.close()
        raise
    target.seek(0)
    return cast("BinaryIO", target)


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
    middle = (version, 0, STORED, 0, DATE_1980, check, shown, shown, len(name))
    extra = struct.pack("<2H2Q", 1, 16, size, size) if large else b""
    extra_row = struct.pack("<2H3Q", 1, 24, size, size, offset) if large else b""
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


def _directory_start(file: BinaryIO, what: str) -> tuple[int, int, int, bytes]:
    """Offset, length and rows of the directory, and the archive's last bytes, which describe it."""
    size = file.seek(0, os.SEEK_END)
    tail = _read(file, max(0, size - END.size), min(size, END.size), what)
    if len(tail) < END.size or not tail.startswith(END_MARK):
        raise _unsafe(what, "no zip directory stands at its end (a comment or other bytes behind it are refused too)")
    _, disk, first_disk, here, count, length, offset, comment = END.unpack(tail)
    end = size - END.size
    if FULL16 in (here, count) or FULL32 in (length, offset):
        front = end - LOCATOR.size - END64.size
        if front < 0:
            raise _unsafe(what, "its zip64 directory is missing")
        tail = _read(file, front, size - front, what)
        mark, _, _, _, disk64, first64, here, count, length, offset = END64.unpack(tail[: END64.size])
        locator = LOCATOR.unpack(tail[END64.size : END64.size + LOCATOR.size])
        if mark != END64_MARK or locator != (LOCATOR_MARK, 0, front, 1) or disk64 or first64:
            raise _unsafe(what, "its zip64 directory is not of the right form")
        end = front
    if disk or first_disk or comment or here != count or offset + length != end:
        raise _unsafe(what, "its directory does not reach from its last file to its end")
    return offset, length, count, tail


def _entries(file: BinaryIO, what: str, limits: Limits) -> tuple[list[_Entry], int, bool]:
    """The directory's rows, where it begins, and whether its end is as we would write it."""
    offset, length, count, tail = _directory_start(file, what)
    if count > limits.files:
        raise refused(Code.SIZE_LIMIT, f"{what} holds {count} files, the limit is {limits.files}")
    entries: list[_Entry] = []
    at, end = offset, offset + length
    for _ in range(count):
        raw = _read(file, at, CENTRAL.size, what)
        mark, *_, packed, size, names, extras, comments, _, _, _, place = CENTRAL.unpack(raw)
        if mark != CENTRAL_MARK or names > LONGEST_NAME or extras > LONGEST_EXTRA or comments:
            raise _unsafe(what, f"row {len(entries) + 1} of its directory is not of the right form")
        rest = _read(file, at + CENTRAL.size, names + extras, what)
        extra = rest[names:]
        numbers = _zip64(extra, (size, packed, place), what)
        entries.append(_Entry(raw, rest[:names], extra, *numbers))
        at += CENTRAL.size + names + extras
    if at != end:
        raise _unsafe(what, "its directory is longer or shorter than its rows")
    return entries, offset, tail == _end(count, length, offset)


def _zip64(extra: bytes, numbers: tuple[int, ...], what: str) -> tuple[int, ...]:
    """The numbers with those that are full replaced from the zip64 field; every field of ``extra`` must be whole."""
    at, large = 0, b""
    while at < len(extra):
        kind, length = struct.unpack("<2H", extra[at : at + 4]) if len(extra) - at >= 4 else (0, FULL32)
        content = extra[at + 4 : at + 4 + length]
        if len(content) != length or kind == UNICODE_PATH or (kind == 1 and large):
            raise _unsafe(what, "an extra field is cut short, doubled or gives a file a second name")
        large = content if kind == 1 else large
        at += 4 + length
    full = [number == FULL32 for number in numbers]
    if len(large) != 8 * sum(full):
        raise _unsafe(what, "a zip64 field does not hold the numbers that are left out elsewhere")
    rest = iter(struct.unpack(f"<{sum(full)}Q", large))
    return tuple(next(rest) if is_full else number for number, is_full in zip(numbers, full, strict=True))


def _member(file: BinaryIO, entry: _Entry, at: int, what: str, limits: Limits) -> Member:
    _, _, _, flags, method, _, _, check, _, _, _, _, _, disk, _, attributes, _ = CENTRAL.unpack(entry.raw)
    try:
        name = entry.name.decode("ascii")
    except UnicodeDecodeError:
        raise refused(Code.UNSAFE_PATH, f"{what} holds a file named {entry.name!r}: names are plain ASCII") from None
    where = f"{what}, file {name[:80]!r}"
    _check_attributes(name, attributes, where)
    if flags & ~HARMLESS_FLAGS or method not in (STORED, DEFLATED) or disk:
        raise _unsafe(where, "it is encrypted, streamed or packed in a way other than stored or deflate")
    if entry.offset != at:
        raise _unsafe(where, "it does not begin where the one before it ends")
    local = _read(file, at, LOCAL.size, what)
    mark, *_, names, extras = LOCAL.unpack(local)
    if mark != LOCAL_MARK or local[4:26] != entry.raw[6:28] or names != len(entry.name) or extras > LONGEST_EXTRA:
        raise _unsafe(where, "its own header differs from the directory's")
    rest = _read(file, at + LOCAL.size, names + extras, what)
    own = struct.unpack_from("<2L", local, 18)
    if rest[:names] != entry.name or _zip64(rest[names:], own[::-1], what) != (entry.size, entry.packed):
        raise _unsafe(where, "its own header differs from the directory's")
    if method == STORED and entry.size != entry.packed:
        raise _unsafe(where, "it is stored, and its two sizes differ")
    if entry.size > limits.zip_ratio * entry.packed:
        raise refused(
            Code.SIZE_LIMIT,
            f"{where} unpacks from {entry.packed} to {entry.size} bytes, the limit is {limits.zip_ratio} times: "
            "pack it without compression",
        )
    return Member(name, entry.size, entry.packed, method == DEFLATED, check, at + LOCAL.size + len(rest))


def _check_attributes(name: str, attributes: int, where: str) -> None:
    """A plain file, or a folder whose name says so; anything that could point elsewhere is refused."""
    kind, folder = attributes >> 28, name.endswith("/")
    if kind not in (0, 0o04 if folder else 0o10):
        raise refused(Code.UNSAFE_PATH, f"{where} is a link, a device or not what its name says: pack plain files only")
    if attributes & FULL16 & ~(PLAIN_ATTRIBUTES | (FOLDER_ATTRIBUTE if folder else 0)):
        raise refused(Code.UNSAFE_PATH, f"{where} has attributes of a link or device: pack plain files only")


def _as_written(entry: _Entry, member: Member) -> bool:
    local, central = _headers(entry.name, member.check, member.size, entry.offset)
    return central == entry.raw + entry.name + entry.extra and member.start == entry.offset + len(local)


def _inflate(file: BinaryIO, member: Member, target: IO[bytes], what: str) -> None:
    where = f"{what}, file {member.name!r}"
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    left, written, check, pending = member.packed, 0, 0, b""
    try:
        while not stream.eof:
            if not pending:
                if not left:
                    raise _unsafe(where, "its packed bytes end too early")
                pending = _read(file, member.start + member.packed - left, min(left, MEBIBYTE), what)
                left -= len(pending)
            piece = stream.decompress(pending, MEBIBYTE)
            pending = stream.unconsumed_tail
            written, check = written + len(piece), zlib.crc32(piece, check)
            if written > member.size:
                raise refused(
                    Code.SIZE_LIMIT, f"{where} unpacks to more than the {member.size} bytes that it announces"
                )
            target.write(piece)
    except zlib.error:
        raise _unsafe(where, "its packed bytes are broken") from None
    if left or stream.unused_data or written != member.size or check != member.check:
        raise _unsafe(where, "its length or check sum is not what it announces")


def _check(stream: BinaryIO, member: Member, what: str) -> None:
    check = 0
    while piece := stream.read(MEBIBYTE):
        check = zlib.crc32(piece, check)
    if check != member.check:
        raise _unsafe(f"{what}, file {member.name!r}", "its check sum is not what it announces")


def _read(file: BinaryIO, at: int, length: int, what: str) -> bytes:
    size = file.seek(0, os.SEEK_END)
    if at + length > size:
        raise _unsafe(what, "it was cut short")
    file.seek(at)
    return file.read(length)


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
