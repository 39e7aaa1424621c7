"""The in-toto statement around a record: what is signed, and reading it back from untrusted bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from expunge.core.hashing import canonical_json
from expunge.records.bundle import Bundle
from expunge.records.canonical import (
    checked_list,
    checked_object,
    checked_text,
    malformed,
    read_base64,
    read_digest,
    read_object,
)
from expunge.records.envelope import PAYLOAD_TYPE
from expunge.records.form import from_json, to_json
from expunge.records.limits import LIMITS, Limits
from expunge.records.record import Commit, Operation, RunRecord

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://expunge.invalid/run-record/v2"  # of runs, which name their execution
FIRST_PREDICATE = "https://expunge.invalid/run-record/v1"  # of commitments, and of runs in records of the first form
LONGEST_NAME = 200


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A name and a digest, and what is said of them.

    The digest of a run is that of its model's canonical weights (``expungeTensors1``), never of a file; that of a
    commitment is the root over its training leaves (``merkleRoot``).
    """

    name: str
    digest: bytes
    predicate: Commit | RunRecord


def _digest_key(predicate: Commit | RunRecord) -> str:
    return "merkleRoot" if isinstance(predicate, Commit) else "expungeTensors1"


def write_statement(statement: Statement) -> bytes:
    """The payload of an envelope."""
    predicate, told = statement.predicate, to_json(statement.predicate)
    subject = {"name": statement.name, "digest": {_digest_key(predicate): statement.digest.hex()}}
    return canonical_json(
        {"_type": STATEMENT, "subject": [subject], "predicateType": _predicate_type(told), "predicate": told}
    )


def read_statement(payload: bytes, what: str = "the record", limits: Limits = LIMITS) -> Statement:
    """The statement of a payload, every field of the type its place asks for."""
    found = read_object(payload, what, ("_type", "subject", "predicateType", "predicate"), limits=limits)
    for field, expected in (("_type", STATEMENT), ("predicateType", _predicate_type(found["predicate"]))):
        if checked_text(found[field], f"{what}, {field}") != expected:
            raise malformed(what, f"{field} is {found[field]!r:.80}, {expected!r} is expected")
    predicate = _predicate(found["predicate"], what)
    subjects = checked_list(found["subject"], f"{what}, subject")
    if len(subjects) != 1:
        raise malformed(what, f"it has {len(subjects)} subjects, one is expected")
    subject = checked_object(subjects[0], f"{what}, subject", ("name", "digest"))
    name = checked_text(subject["name"], f"{what}, subject name")
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise malformed(what, f"the subject's name must be 1 to {LONGEST_NAME} printable letters")
    key = _digest_key(predicate)
    digest = checked_object(subject["digest"], f"{what}, subject digest", (key,))
    return Statement(name=name, digest=read_digest(digest[key], f"{what}, subject digest"), predicate=predicate)


def _predicate_type(told: Any) -> str:
    """The one form that a predicate of this JSON has."""
    return PREDICATE if isinstance(told, dict) and "execution" in told else FIRST_PREDICATE


def _predicate(value: Any, what: str) -> Commit | RunRecord:
    operation = value.get("operation") if isinstance(value, dict) else None
    if operation == Operation.COMMIT.value:
        return from_json(Commit, value, what)
    return from_json(RunRecord, value, what)


def read_unchecked(content: bytes, what: str, bundle: Bundle) -> Statement:
    """The statement of an envelope whose signatures nobody has looked at."""
    fields = read_object(content, what, ("payload", "payloadType", "signatures"), limits=bundle.limits)
    if checked_text(fields["payloadType"], f"{what}, payloadType") != PAYLOAD_TYPE:
        raise malformed(what, f"its payload type must be {PAYLOAD_TYPE!r}")
    return read_statement(read_base64(fields["payload"], f"{what}, payload"), what, bundle.limits)
