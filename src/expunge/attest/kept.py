"""Envelopes that a run folder keeps: signed once, they are used again byte for byte.

``record/envelope.json`` is the run's own record; ``record/commit.json`` lies with the run that began the lineage, and
beside it ``record/commit-checkpoint``, the log's signed head right after it, if it was entered before the training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from expunge.attest.described import beacon_of, committed_data
from expunge.core.errors import RecordError, RunError
from expunge.core.files import read_bytes, write_bytes
from expunge.records.bundle import COMMIT, ENVELOPE
from expunge.records.canonical import checked_list, read_object
from expunge.records.documents import SIGNED
from expunge.records.envelope import open_envelope
from expunge.records.form import to_json
from expunge.records.keys import KeyRole, SigningKey
from expunge.records.limits import Code
from expunge.records.log import Log
from expunge.records.note import SignedCheckpoint, open_checkpoint
from expunge.records.record import Commit, RunRecord
from expunge.records.statement import Statement, read_statement
from expunge.train.run import Run

CHECKPOINT = "commit-checkpoint"
ANEW = "remove it to have a new one signed"


@dataclass(frozen=True, kw_only=True)
class KeptEnvelope:
    """An envelope from a run folder and what it says."""

    envelope: bytes
    statement: Statement


def place_of(run: Run, name: str) -> Path:
    """Where a run keeps an envelope or a checkpoint of the log."""
    return run.path / SIGNED / name


def kept_commit(run: Run, key: SigningKey) -> KeptEnvelope | None:
    """The commitment that a run's folder keeps, which must be the one to its data and recipe; None without one."""
    found = _opened(place_of(run, COMMIT), key)
    if found is None:
        return None
    path, commit = place_of(run, COMMIT), found.statement.predicate
    if not isinstance(commit, Commit):
        raise RunError(f"{path} is no commitment but the record of a run: put the right file back, or {ANEW}")
    said = (commit.recipe, to_json(commit.data), commit.noise_commitment)
    announced = run.told.noise_commitment
    noise = None if announced is None else bytes.fromhex(announced)
    if said != (run.recipe.digest, to_json(committed_data(run)), noise):
        raise RunError(f"{path} commits to another recipe, other data or other noise than those of {run.path}: {ANEW}")
    return found


def kept_record(run: Run, key: SigningKey) -> KeptEnvelope | None:
    """The record that a run's folder keeps, which must be one of this run; None without one."""
    found = _opened(place_of(run, ENVELOPE), key)
    if found is None:
        return None
    path, record = place_of(run, ENVELOPE), found.statement.predicate
    if not isinstance(record, RunRecord):
        raise RunError(f"{path} is a commitment and no record of a run: put the right file back, or {ANEW}")
    said = (found.statement.digest.hex(), record.recipe, record.data.tombstones, record.randomness.beacon)
    tombstones = tuple(int(slot) for slot in run.tombstones)
    if said != (run.weights_digest, run.recipe.digest, tombstones, beacon_of(run)):
        raise RunError(f"{path} is the record of another run than {run.path}, or run.json was altered: {ANEW}")
    return found


def keep(path: Path, content: bytes) -> None:
    """Write an envelope into a run folder; one that is there already must be the same."""
    if not path.exists():
        write_bytes(path, content)
    elif read_bytes(path, "the record") != content:
        raise RunError(f"{path} was written by another process in the meantime: run the same command again")


def commit_checkpoint(run: Run, key: SigningKey, log: Log) -> bytes | None:
    """The log's head from when the commitment was entered; it must be of the log that is written to now."""
    path = place_of(run, CHECKPOINT)
    if not path.is_file():
        return None
    note = read_bytes(path, "the log's checkpoint")
    signed = _signed_head(note, key, path, log)
    head = signed.checkpoint
    if head.size > log.size or log.head(head.size).root != head.root:
        raise RunError(
            f"{path} covers {head.size} entries of log {head.origin}, which are not those of the log given: the "
            "commitment was entered into another copy of it; name that with `log`"
        )
    return note


def _signed_head(note: bytes, key: SigningKey, path: Path, log: Log) -> SignedCheckpoint:
    try:
        return open_checkpoint(note, [key.trusted(log.origin, KeyRole.LOG)], str(path))
    except RecordError:
        raise RunError(
            f"{path} is no head of log {log.origin} signed with the key given: the commitment was entered into another "
            "log, or with another key; name them with `log` and `key`"
        ) from None


def _opened(path: Path, key: SigningKey) -> KeptEnvelope | None:
    if not path.is_file():
        return None
    envelope = read_bytes(path, "the record")
    try:
        opened = open_envelope(envelope, [key.trusted("owner")], str(path))
        return KeptEnvelope(envelope=envelope, statement=read_statement(opened.payload, str(path)))
    except RecordError as error:
        if error.code != Code.KEY_NOT_TRUSTED.value:
            raise
        raise RunError(
            f"{path} was signed with key {_signer(envelope)[:16]}…, the key given is {key.keyid[:16]}…: one life of a "
            f"model is signed with one key, so give that one with `key`, or {ANEW}"
        ) from None


def _signer(envelope: bytes) -> str:
    """Id of the first key that an envelope names."""
    entries = checked_list(
        read_object(envelope, "the record", ("payload", "payloadType", "signatures"))["signatures"], ""
    )
    return str(entries[0]["keyid"])
