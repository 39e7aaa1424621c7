"""From statements to a bundle: sign them along the chain, log them, and lay the files out. No torch.

A draft is a whole bundle before it is signed. Whoever changes a field of it and has it signed gets a bundle that is
well formed and says something else: that is how the attack fixtures are made, and why form alone proves little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from expunge.core.errors import InvalidArgument
from expunge.records.bundle import COMMIT, ENVELOPE, HEAD
from expunge.records.envelope import envelope_digest, seal
from expunge.records.keys import SigningKey
from expunge.records.log import Log, LogWriter
from expunge.records.note import read_checkpoint, read_note
from expunge.records.record import RunRecord
from expunge.records.statement import Statement, write_statement


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The chain of a model's life, the commitment first and the run itself last, and the other files of the bundle.

    A link is a statement that is still to be signed, or the bytes of an envelope that was signed before.
    """

    chain: tuple[Statement | bytes, ...]
    files: Mapping[str, bytes | Path]

    @property
    def commit(self) -> Statement | bytes:
        return self.chain[0]

    @property
    def run(self) -> Statement | bytes:
        return self.chain[-1]


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A draft whose every link is an envelope in the log."""

    envelopes: tuple[bytes, ...]
    files: Mapping[str, bytes | Path]

    @property
    def digests(self) -> tuple[bytes, ...]:
        return tuple(envelope_digest(envelope) for envelope in self.envelopes)


def sign(draft: Draft, key: SigningKey) -> Signed:
    """Sign what is not signed yet, each link naming the one before it. Nothing is written anywhere."""
    if len(draft.chain) < 2:
        raise InvalidArgument("a chain needs a commitment and a run at least")
    envelopes: list[bytes] = []
    for link in draft.chain:
        envelopes.append(link if isinstance(link, bytes) else seal(write_statement(_linked(link, envelopes)), key))
    return Signed(envelopes=tuple(envelopes), files=draft.files)


def enter(signed: Signed, key: SigningKey, log: LogWriter) -> bytes:
    """Enter every envelope of a chain into the log, those that stand there already once; the log's signed head."""
    for digest in signed.digests:
        log.append(digest)
    return log.sign(key)


def _linked(statement: Statement, before: Sequence[bytes]) -> Statement:
    """The statement with the digests of its commitment and of its parent."""
    predicate = statement.predicate
    if not isinstance(predicate, RunRecord):
        return statement
    commit, parent = envelope_digest(before[0]), envelope_digest(before[-1])
    return replace(statement, predicate=replace(predicate, commit=commit, parent=parent))


def bundle_files(signed: Signed, log: Log, head: bytes, earlier: Sequence[bytes] = ()) -> dict[str, bytes | Path]:
    """Every file of the bundle, by name.

    ``head`` is the log's signed checkpoint; ``earlier`` are checkpoints of the same log that somebody may have kept,
    each of which gets a proof that the log only grew since.
    """
    size = read_checkpoint(read_note(head).text).size
    found = dict(signed.files)
    found[COMMIT], found[ENVELOPE] = signed.envelopes[0], signed.envelopes[-1]
    for digest in signed.digests:
        found[f"log/inclusion-{digest.hex()}.json"] = log.inclusion(digest, size).as_bytes()
    for envelope, digest in list(zip(signed.envelopes, signed.digests, strict=True))[1:-1]:
        found[f"parents/{digest.hex()}.json"] = envelope
    found[HEAD] = head
    for note in earlier:
        before = read_checkpoint(read_note(note).text).size
        if before < size:
            found[f"{HEAD}-{before}"] = note
            found[f"log/consistency-{before}.json"] = log.consistency(before, size).as_bytes()
    return found
