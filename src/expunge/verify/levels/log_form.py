"""Level V0, the log: its checkpoint is signed, every envelope is in it, and it only grew since earlier checkpoints."""

from __future__ import annotations

from expunge.core.errors import RecordError, RunError
from expunge.core.wording import counted
from expunge.records.bundle import HEAD
from expunge.records.limits import Code, refused
from expunge.records.log import ConsistencyProof, check_grown, check_included, read_consistency, read_inclusion
from expunge.records.note import SignedCheckpoint, open_checkpoint
from expunge.verify.opened import LoggedAt, OpenedRecord
from expunge.verify.outcomes import EvidenceMissing, NotChecked

EARLIER = f"{HEAD}-"
INCLUSION = "log/inclusion-"
CONSISTENCY = "log/consistency-"


def check_head(opened: OpenedRecord) -> str:
    """A trusted key signed the log's checkpoint."""
    if HEAD not in opened.bundle:
        raise _inconsistent(f"{HEAD} is missing, so no log shows that these records were not written yesterday")
    signed = _checkpoint(opened, HEAD)
    opened.log = LoggedAt(signed)
    seen = f"cosigned by {', '.join(item.key.name for item in signed.witnesses)}" if signed.witnesses else "no witness"
    unknown = f", signers not on your list: {', '.join(signed.unknown)}" if signed.unknown else ""
    return (
        f"log {signed.checkpoint.origin} of {counted(signed.checkpoint.size, 'record')}, signed by {signed.key.name}; "
        f"{seen}{unknown[:200]}"
    )


def check_witnessed(opened: OpenedRecord) -> str:
    """As many witnesses as the verifier asks for cosigned every checkpoint that is shown."""
    assert opened.log is not None
    least, checkpoints = opened.supplied.witnesses, opened.log.checkpoints
    for signed in checkpoints:  # a line that is missing, or is of somebody unknown, refutes nothing
        seen = {witness.key.keyid for witness in signed.witnesses}
        if len(seen) < least:
            raise EvidenceMissing(
                f"the checkpoint over {counted(signed.checkpoint.size, 'record')} is cosigned by {len(seen)} of the "
                f"witnesses on your list, you ask for {least}"
            )
    return f"{counted(len(checkpoints), 'checkpoint')}, each cosigned by {least} or more witnesses on your list"


def check_logged(opened: OpenedRecord) -> str:
    """Every record of the chain is in the log."""
    assert opened.log is not None
    bundle, places = opened.bundle, dict[bytes, int]()
    expected = {f"{INCLUSION}{item.digest.hex()}.json": (item.digest, file) for file, item in opened.envelopes.items()}
    for name in bundle.names:
        if name.startswith(INCLUSION) and name not in expected:
            raise _inconsistent(f"{name} is a proof for a record that is not in the bundle")
    for name, (digest, file) in expected.items():
        if name not in bundle:
            raise _inconsistent(f"{file} has no proof that it is in the log ({name})")
        proof = read_inclusion(bundle.read(name), name, bundle.limits)
        check_included(digest, proof, opened.log.head.checkpoint)
        places[digest] = proof.index
    opened.log.places = places
    return f"{counted(len(places), 'envelope')} of the chain at {', '.join(str(at) for at in sorted(places.values()))}"


def check_only_grew(opened: OpenedRecord) -> str:
    """Earlier checkpoints, those that the verifier kept among them, are beginnings of the same log."""
    assert opened.log is not None
    known, head = _known(opened), opened.log.head.checkpoint
    proofs = _proofs(opened)
    unused, earlier = set(proofs), list[SignedCheckpoint]()
    for name in opened.bundle.names:
        if name.startswith(EARLIER):
            signed = _checkpoint(opened, name)
            size = signed.checkpoint.size
            if name != f"{EARLIER}{size}":
                raise _inconsistent(f"{name} is a checkpoint over {counted(size, 'record')}")
            check_grown(signed.checkpoint, head, proofs.get(size))
            unused.discard(size)
            earlier.append(signed)
    if known is not None:
        size = known.checkpoint.size
        if size < head.size and size not in proofs:
            raise EvidenceMissing(
                f"you kept a checkpoint over {counted(size, 'record')}, this one is over {head.size}, and no proof "
                "leads from one to the other: send the owner the one that you kept, for expunge attest "
                "`known_checkpoint`"
            )
        check_grown(known.checkpoint, head, proofs.get(size))
        unused.discard(size)
    if unused:
        raise _inconsistent(f"{CONSISTENCY}{min(unused)}.json proves a growth from a checkpoint that nobody shows")
    opened.log.earlier = tuple(sorted(earlier, key=lambda item: item.checkpoint.size))
    if not earlier and known is None:
        return NotChecked("the bundle shows one checkpoint alone, and you gave none that you kept (`known_checkpoint`)")
    kept = "" if known is None else f", one of {known.checkpoint.size} that you kept among them"
    return f"only grew since {counted(len(earlier) + (known is not None), 'earlier checkpoint')}{kept}"


def _checkpoint(opened: OpenedRecord, name: str) -> SignedCheckpoint:
    return open_checkpoint(opened.bundle.read(name), opened.supplied.keys, name, opened.bundle.limits)


def _proofs(opened: OpenedRecord) -> dict[int, ConsistencyProof]:
    """Proofs of growth by the number of records from which each begins."""
    found: dict[int, ConsistencyProof] = {}
    for name in opened.bundle.names:
        if name.startswith(CONSISTENCY):
            proof = read_consistency(opened.bundle.read(name), name, opened.bundle.limits)
            if name != f"{CONSISTENCY}{proof.first}.json":
                raise _inconsistent(f"{name} is a proof from {proof.first} records on")
            found[proof.first] = proof
    return found


def _known(opened: OpenedRecord) -> SignedCheckpoint | None:
    """The verifier's own file: one that cannot be used is no fault of the bundle."""
    content = opened.supplied.known_checkpoint
    try:
        return None if content is None else open_checkpoint(content, opened.supplied.keys, "the known checkpoint")
    except RecordError as error:
        raise RunError(
            f"the known checkpoint cannot be used ({error}): give the log/checkpoint that you kept"
        ) from None


def _inconsistent(reason: str) -> RecordError:
    return refused(Code.LOG_INCONSISTENT, f"{reason}; ask for the bundle again, and ask the log's operator")
