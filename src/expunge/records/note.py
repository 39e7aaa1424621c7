"""Signed notes and log checkpoints, as C2SP signed-note and tlog-checkpoint describe them.

    example.com/log            origin: the log's name, and the name of its key
    3                          tree size, in leaves
    q7G8/ifLcKFPsGelXXhWeM4a   base64 of the root (shortened)

    — example.com/log Az3g…    key name, base64 of (first 4 bytes of the key's hash ‖ signature over the text above)

Lines by keys that are not on the verifier's list are ignored, as the format asks; a line that names a known key must
hold. Stricter than the format: no extension lines, no key twice, base64 in its one form.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from expunge.core.errors import InvalidArgument, RecordError
from expunge.core.hashing import LARGEST_INTEGER, sha256
from expunge.core.merkle import DIGEST_BYTES
from expunge.records.canonical import read_base64, write_base64
from expunge.records.keys import SIGNATURE_BYTES, KeyRole, SigningKey, TrustedKey, check_name, signature_holds
from expunge.records.limits import LIMITS, Code, Limits, refused

DASH = "— "
ED25519 = b"\x01"  # signature over the text
COSIGNATURE = b"\x04"  # a witness's, over a time and the text
HASH_BYTES = 4
LATEST_TIME = 2**63 - 1


@dataclass(frozen=True)
class NoteLine:
    """One signature line: who, by which key, and the bytes that follow the key's hash."""

    name: str
    key_hash: bytes
    signature: bytes

    def as_text(self) -> str:
        return f"{DASH}{self.name} {write_base64(self.key_hash + self.signature)}\n"


@dataclass(frozen=True)
class Note:
    """A text that ends in a newline, and its signature lines; nothing is verified yet."""

    text: str
    lines: tuple[NoteLine, ...]

    def as_bytes(self) -> bytes:
        return (self.text + "\n" + "".join(line.as_text() for line in self.lines)).encode("utf-8")


@dataclass(frozen=True)
class TreeHead:
    """A log's tree head: how many leaves, and the RFC 6962 root over them."""

    origin: str
    size: int
    root: bytes

    def as_text(self) -> str:
        check_name(self.origin)
        return f"{self.origin}\n{self.size}\n{write_base64(self.root)}\n"


@dataclass(frozen=True)
class Witnessed:
    """A witness on the verifier's list saw this checkpoint follow all that it saw before; seconds since 1970."""

    key: TrustedKey
    time: int


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint that the log's trusted key signed; ``unknown`` names the signers that are not on the list."""

    checkpoint: TreeHead
    key: TrustedKey
    witnesses: tuple[Witnessed, ...]
    unknown: tuple[str, ...]


def key_hash(name: str, public: bytes, kind: bytes = ED25519) -> bytes:
    """First four bytes of SHA-256(name ‖ newline ‖ kind of signature ‖ public key): a hint, never a proof."""
    return sha256(name.encode("utf-8"), b"\n", kind, public)[:HASH_BYTES]


def sign_note(text: str, name: str, key: SigningKey) -> bytes:
    """A note with one signature line."""
    check_name(name)
    if not text.endswith("\n") or any(ord(letter) < 32 and letter != "\n" for letter in text):
        raise InvalidArgument(f"a note's text ends in a newline and holds no other control characters: {text[-40:]!r}")
    line = NoteLine(name, key_hash(name, key.public), key.sign(text.encode("utf-8")))
    return Note(text, (line,)).as_bytes()


def read_note(content: bytes, what: str = "the note", limits: Limits = LIMITS) -> Note:
    """Take a note apart; whether anybody signed it is not looked at."""
    if len(content) > limits.note_bytes:
        raise refused(Code.SIZE_LIMIT, f"{what} holds {len(content)} bytes, the limit is {limits.note_bytes}")
    try:
        whole = content.decode("utf-8")
    except UnicodeDecodeError:
        raise _broken(what, "it is not UTF-8") from None
    if any(ord(letter) < 32 and letter != "\n" for letter in whole):
        raise _broken(what, "it holds control characters")
    end = whole.rfind("\n\n")
    if end < 0 or not whole.endswith("\n"):
        raise _broken(what, "a text, an empty line and signature lines are expected, each ended by a newline")
    rows = whole[end + 2 :].split("\n")[:-1]
    if not rows:
        raise _broken(what, "it bears no signature")
    if len(rows) > limits.signatures:
        raise refused(Code.SIZE_LIMIT, f"{what} bears {len(rows)} signatures, the limit is {limits.signatures}")
    lines = tuple(_line(row, what) for row in rows)
    if len({(line.name, line.key_hash) for line in lines}) != len(lines):
        raise _broken(what, "a key signs twice")
    return Note(whole[: end + 1], lines)


def _line(row: str, what: str) -> NoteLine:
    name, gap, code = row.removeprefix(DASH).partition(" ")
    if not row.startswith(DASH) or not gap or not name or "+" in name or name.split() != [name]:
        raise _broken(what, f"{row[:60]!r} is not a signature line ('— name base64')")
    try:
        content = read_base64(code, what)
    except RecordError:
        raise _broken(what, f"the signature of {name[:60]!r} is not canonical base64") from None
    if len(content) <= HASH_BYTES:
        raise _broken(what, f"the signature of {name[:60]!r} is too short")
    return NoteLine(name, content[:HASH_BYTES], content[HASH_BYTES:])


def read_checkpoint(text: str, what: str = "the checkpoint") -> TreeHead:
    """A note's text as a tree head: three lines, no more."""
    rows = text.split("\n")
    if len(rows) != 4 or rows[3]:
        raise _broken(what, "three lines are expected: origin, size, root")
    origin, size, code = rows[:3]
    if not size.isascii() or not size.isdigit() or len(size) > 16 or str(int(size)) != size:
        raise _broken(what, f"the size {size[:40]!r} is not a whole number without leading zeros")
    if int(size) > LARGEST_INTEGER:
        raise _broken(what, f"the size {size} exceeds 2^53 − 1")
    try:
        root = read_base64(code, what, DIGEST_BYTES)
        check_name(origin)
    except (RecordError, InvalidArgument):
        raise _broken(what, f"the origin {origin[:60]!r} or the root {code[:60]!r} is not of the right form") from None
    return TreeHead(origin, int(size), root)


def sign_checkpoint(checkpoint: TreeHead, key: SigningKey) -> bytes:
    """The signed note of a tree head, under the log's own name."""
    return sign_note(checkpoint.as_text(), checkpoint.origin, key)


def open_checkpoint(
    content: bytes, trusted: Sequence[TrustedKey], what: str = "the log's checkpoint", limits: Limits = LIMITS
) -> SignedCheckpoint:
    """A checkpoint signed by the log that its first line names, if that log's key is on the verifier's list."""
    note = read_note(content, what, limits)
    checkpoint = read_checkpoint(note.text, what)
    own: list[TrustedKey] = []
    witnesses: list[Witnessed] = []
    unknown: list[str] = []
    for line in note.lines:
        log = _named(line, trusted, KeyRole.LOG, ED25519)
        witness = _named(line, trusted, KeyRole.WITNESS, COSIGNATURE)
        if log:
            own += [_holds(line, log, note.text, what)] if line.name == checkpoint.origin else []
        elif witness:
            witnesses.append(_saw(line, witness, note.text, what))
        else:
            unknown.append(line.name)
    if not own:
        logs = sorted({key.name for key in trusted if key.role is KeyRole.LOG})
        raise _broken(
            what,
            f"log {checkpoint.origin!r} has not signed it with a key of your list (logs on it: "
            f"{', '.join(logs) or 'none'}); another log or another key says nothing here",
        )
    return SignedCheckpoint(checkpoint, own[0], tuple(witnesses), tuple(unknown))


def _named(line: NoteLine, trusted: Sequence[TrustedKey], role: KeyRole, kind: bytes) -> list[TrustedKey]:
    return [
        key
        for key in trusted
        if key.role is role and key.name == line.name and key_hash(key.name, key.public, kind) == line.key_hash
    ]


def _holds(line: NoteLine, keys: Sequence[TrustedKey], text: str, what: str) -> TrustedKey:
    for key in keys:
        if signature_holds(key.public, text.encode("utf-8"), line.signature):
            return key
    raise _broken(what, f"{line.name!r} did not sign this text")


def _saw(line: NoteLine, keys: Sequence[TrustedKey], text: str, what: str) -> Witnessed:
    if len(line.signature) == 8 + SIGNATURE_BYTES:
        (time,) = struct.unpack(">Q", line.signature[:8])
        for key in keys:
            if time <= LATEST_TIME and signature_holds(key.public, _cosigned(text, time), line.signature[8:]):
                return Witnessed(key, time)
    raise _broken(what, f"witness {line.name!r} did not sign this text")


def _cosigned(text: str, time: int) -> bytes:
    """What a witness signs (C2SP tlog-cosignature, version 1)."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _broken(what: str, reason: str) -> RecordError:
    return refused(Code.LOG_INCONSISTENT, f"{what}: {reason}; ask the log's operator for it again")
