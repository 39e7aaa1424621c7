"""What tests do with a log: enter a whole chain at once, and cosign its head as a witness would."""

from __future__ import annotations

import struct

from expunge.core.errors import InvalidArgument
from expunge.records.draft import Draft, Signed, enter, sign
from expunge.records.keys import SigningKey, check_name
from expunge.records.log import LogWriter
from expunge.records.note import COSIGNATURE, LATEST_TIME, Note, NoteLine, key_hash, read_note


def cosign(note: bytes, name: str, key: SigningKey, time: int) -> bytes:
    """The checkpoint with a witness's line (in place of an earlier one); the caller saw that the log only grew."""
    check_name(name)
    if not 0 <= time <= LATEST_TIME:
        raise InvalidArgument(f"time {time} must be seconds since 1970, from 0 to 2^63 − 1")
    found = read_note(note)
    own = NoteLine(
        name,
        key_hash(name, key.public, COSIGNATURE),
        struct.pack(">Q", time) + key.sign(f"cosignature/v1\ntime {time}\n{found.text}".encode()),
    )
    others = tuple(line for line in found.lines if (line.name, line.key_hash) != (own.name, own.key_hash))
    return Note(found.text, (*others, own)).as_bytes()


def sign_and_log(draft: Draft, key: SigningKey, log: LogWriter) -> Signed:
    """Sign what is not signed yet and enter the chain into the log."""
    signed = sign(draft, key)
    enter(signed, key, log)
    return signed
