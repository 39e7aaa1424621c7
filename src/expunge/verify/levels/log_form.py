"""Level V0, the log: its checkpoint is signed, every envelope is in it, and it only grew since earlier checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expunge.core.errors import RecordError, RunError
from expunge.core.wording import counted
from expunge.records.bundle import Bundle
from expunge.records.keys import TrustedKey
from expunge.records.limits import Code, refused
from expunge.records.log import ConsistencyProof, check_grown, check_included, read_consistency, read_inclusion
from expunge.records.note import SignedCheckpoint, open_checkpoint
from expunge.verify.levels.checks import Checks, EvidenceMissing, NotChecked

HEAD = "log/checkpoint"
EARLIER = "log/checkpoint-"
INCLUSION = "log/inclusion-"
CONSISTENCY = "log/consistency-"


@dataclass(frozen=True)
class LoggedAt:
    """A log whose checkpoints fit together: the last one, earlier ones by size, and each envelope's place."""

    head: SignedCheckpoint
    earlier: tuple[SignedCheckpoint, ...]
    places: Mapping[bytes, int]

    @property
    def checkpoints(self) -> tuple[SignedCheckpoint, ...]:
        return (*self.earlier, self.head)


def log_form(
    bundle: Bundle,
    checks: Checks,
    keys: Sequence[TrustedKey],
    names: Mapping[bytes, str],
    known_checkpoint: bytes | None,
    witnesses: int = 0,
) -> LoggedAt | None:
    """Check the log's part of a bundle; ``names`` are the envelopes' files by their digests. None where it fails.

    So many ``witnesses`` from the list of keys must have signed every checkpoint that is shown.
    """
    head: list[SignedCheckpoint] = []
    if not checks.run("log checkpoint", lambda: _head(bundle, keys, head)):
        return None
    places: dict[bytes, int] = {}
    earlier: list[SignedCheckpoint] = []
    known = None if known_checkpoint is None else _known(known_checkpoint, keys)
    included = checks.run("log inclusion", lambda: _included(bundle, names, head[0], places))
    grown = checks.run("log consistency", lambda: _grown(bundle, keys, head[0], known, earlier))
    if not (included and grown):
        return None
    logged = LoggedAt(head[0], tuple(earlier), places)
    if witnesses:
        checks.run("witnesses", lambda: _witnessed(logged, witnesses))
    return logged


def _head(bundle: Bundle, keys: Sequence[TrustedKey], found: list[SignedCheckpoint]) -> str:
    if HEAD not in bundle:
        raise _inconsistent(f"{HEAD} is missing, so no log shows that these records were not written yesterday")
    signed = open_checkpoint(bundle.read(HEAD), keys, HEAD, bundle.limits)
    found.append(signed)
    seen = f"cosigned by {', '.join(item.key.name for item in signed.witnesses)}" if signed.witnesses else "no witness"
    unknown = f", signers not on your list: {', '.join(signed.unknown)}" if signed.unknown else ""
    return (
        f"log {signed.checkpoint.origin} of {counted(signed.checkpoint.size, 'record')}, signed by {signed.key.name}; "
        f"{seen}{unknown[:200]}"
    )


def _witnessed(logged: LoggedAt, least: int) -> str:
    """A line that is missing, or is of somebody unknown, refutes nothing; it fails to show what was asked for."""
    for signed in logged.checkpoints:
        seen = {witness.key.keyid for witness in signed.witnesses}
        if len(seen) < least:
            raise EvidenceMissing(
                f"the checkpoint over {counted(signed.checkpoint.size, 'record')} is cosigned by {len(seen)} of the "
                f"witnesses on your list, you ask for {least}"
            )
    return f"{counted(len(logged.checkpoints), 'checkpoint')}, each cosigned by {least} or more witnesses on your list"


def _included(bundle: Bundle, names: Mapping[bytes, str], head: SignedCheckpoint, places: dict[bytes, int]) -> str:
    expected = {f"{INCLUSION}{digest.hex()}.json": digest for digest in names}
    for name in bundle.names:
        if name.startswith(INCLUSION) and name not in expected:
            raise _inconsistent(f"{name} is a proof for a record that is not in the bundle")
    for name, digest in expected.items():
        if name not in bundle:
            raise _inconsistent(f"{names[digest]} has no proof that it is in the log ({name})")
        proof = read_inclusion(bundle.read(name), name, bundle.limits)
        check_included(digest, proof, head.checkpoint)
        places[digest] = proof.index
    return f"{counted(len(places), 'envelope')} of the chain at {', '.join(str(at) for at in sorted(places.values()))}"


def _grown(
    bundle: Bundle,
    keys: Sequence[TrustedKey],
    head: SignedCheckpoint,
    known: SignedCheckpoint | None,
    earlier: list[SignedCheckpoint],
) -> str:
    proofs: dict[int, ConsistencyProof] = {}
    for name in bundle.names:
        if name.startswith(CONSISTENCY):
            proof = read_consistency(bundle.read(name), name, bundle.limits)
            if name != f"{CONSISTENCY}{proof.first}.json":
                raise _inconsistent(f"{name} is a proof from {proof.first} records on")
            proofs[proof.first] = proof
    unused = set(proofs)
    for name in bundle.names:
        if name.startswith(EARLIER):
            signed = open_checkpoint(bundle.read(name), keys, name, bundle.limits)
            size = signed.checkpoint.size
            if name != f"{EARLIER}{size}":
                raise _inconsistent(f"{name} is a checkpoint over {counted(size, 'record')}")
            check_grown(signed.checkpoint, head.checkpoint, proofs.get(size))
            unused.discard(size)
            earlier.append(signed)
    if known is not None:
        size = known.checkpoint.size
        if size < head.checkpoint.size and size not in proofs:
            raise EvidenceMissing(
                f"you kept a checkpoint over {counted(size, 'record')}, this one is over {head.checkpoint.size}, and "
                "no proof leads from one to the other: send the owner the one that you kept, for "
                "`expunge attest --known-checkpoint`"
            )
        check_grown(known.checkpoint, head.checkpoint, proofs.get(size))
        unused.discard(size)
    if unused:
        raise _inconsistent(f"{CONSISTENCY}{min(unused)}.json proves a growth from a checkpoint that nobody shows")
    earlier.sort(key=lambda item: item.checkpoint.size)
    if not earlier and known is None:
        return NotChecked("the bundle shows one checkpoint alone, and you gave none that you kept (--known-checkpoint)")
    kept = "" if known is None else f", one of {known.checkpoint.size} that you kept among them"
    return f"only grew since {counted(len(earlier) + (known is not None), 'earlier checkpoint')}{kept}"


def _known(content: bytes, keys: Sequence[TrustedKey]) -> SignedCheckpoint:
    """The verifier's own file: one that cannot be used is no fault of the bundle."""
    try:
        return open_checkpoint(content, keys, "the known checkpoint")
    except RecordError as error:
        raise RunError(
            f"the known checkpoint cannot be used ({error}): give the log/checkpoint that you kept"
        ) from None


def _inconsistent(reason: str) -> RecordError:
    return refused(Code.LOG_INCONSISTENT, f"{reason}; ask for the bundle again, and ask the log's operator")
