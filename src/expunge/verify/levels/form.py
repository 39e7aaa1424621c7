"""Level V0: files are what their names promise, trusted keys signed the chain, the model is the one that was signed."""

from __future__ import annotations

from collections.abc import Iterator

from expunge.core.wording import counted
from expunge.records.bundle import COMMIT, ENVELOPE, MODEL, RECIPE, FileKind, kind_of
from expunge.records.canonical import json_values
from expunge.records.envelope import open_envelope
from expunge.records.limits import Code, refused
from expunge.records.record import Commit
from expunge.records.statement import Statement, read_statement
from expunge.schedule.recipe_file import read_recipe
from expunge.verify.levels.figures import check_figures
from expunge.verify.opened import Envelope, OpenedRecord

PARENTS = "parents/"
LONGEST = 20  # letters of an envelope's file name in a finding; those of parents are digests


def check_files(opened: OpenedRecord) -> str:
    """Every file is canonical JSON or a safetensors file, as its name promises."""
    bundle = opened.bundle  # sizes, names and kinds were checked when it was opened
    for name in bundle.names:
        kind = kind_of(name)
        if kind is FileKind.JSON:
            bundle.json(name)
        elif kind is FileKind.TENSORS:
            with bundle.tensors(name):
                pass
    total = sum(bundle.size(name) for name in bundle.names)
    return f"{counted(len(bundle.names), 'file')} of {counted(total, 'byte')}, each of the form that its name promises"


def envelopes(opened: OpenedRecord) -> Iterator[tuple[str, str]]:
    """The files that must be envelopes: the run's, the commitment's, and those of the runs between."""
    names = opened.bundle.names
    for name in (ENVELOPE, COMMIT, *(name for name in names if name.startswith(PARENTS))):
        yield f"signature of {name}" if len(name) < LONGEST else f"signature of {name[:24]}…", name


def check_signature(opened: OpenedRecord, name: str) -> str:
    """A trusted key signed each record of the chain, and its figures can be what they are called."""
    bundle = opened.bundle
    if name not in bundle:
        raise refused(Code.CHAIN_BROKEN, f"{name} is missing, so nothing says what was committed: ask for it")
    envelope = open_envelope(bundle.read(name), opened.supplied.keys, name, bundle.limits)
    if name.startswith(PARENTS) and name != f"{PARENTS}{envelope.digest.hex()}.json":
        raise refused(Code.CHAIN_BROKEN, f"{name} holds the envelope {envelope.digest.hex()[:16]}…: rename it")
    twin = next((file for file, known in opened.envelopes.items() if known.digest == envelope.digest), None)
    if twin is not None:
        raise refused(
            Code.CHAIN_BROKEN, f"{name} is a second copy of {twin}: a record stands in one place; take it out"
        )
    opened.values += json_values(envelope.payload)
    if opened.values > bundle.limits.chain_values:
        raise refused(
            Code.SIZE_LIMIT,
            f"with {name} the records of the chain hold up to {opened.values:,} values, the limit is "
            f"{bundle.limits.chain_values:,}: raise limit chain values, or refuse it",
        )
    statement = read_statement(envelope.payload, name, bundle.limits)
    _check_kind(name, statement)
    check_figures(name, statement)
    opened.envelopes[name] = Envelope(envelope.digest, statement, tuple(envelope.keys))
    return f"signed by {', '.join(key.name for key in envelope.keys)}; envelope {envelope.digest.hex()[:16]}…"


def _check_kind(name: str, statement: Statement) -> None:
    """A commitment where one belongs, a run everywhere else."""
    if isinstance(statement.predicate, Commit) != (name == COMMIT):
        found = statement.predicate.operation.value
        raise refused(Code.CHAIN_BROKEN, f"{name} is a record of operation {found!r}, which does not belong there")


def check_recipe_file(opened: OpenedRecord) -> str:
    """The recipe is one that a training can have."""
    found = read_recipe(opened.bundle.read(RECIPE), RECIPE, opened.bundle.limits)
    opened.recipe_read = found
    if found.inputs.preparation is not None:  # its epochs and batches are place-holders where nothing was told
        return f"model {found.model!r:.60}, trained elsewhere"
    return f"model {found.model!r:.60}, {counted(found.epochs, 'epoch')}, batches of {found.batch_size}"


def check_model_file(opened: OpenedRecord) -> str:
    """The weights in the bundle are those that were signed."""
    with opened.bundle.tensors(MODEL) as file:
        count, found = len(file.tensors), file.digest()
    if found != opened.run.digest:
        raise refused(
            Code.SUBJECT_DIGEST_MISMATCH,
            f"{MODEL} holds weights {found.hex()[:16]}…, the record is signed for {opened.run.digest.hex()[:16]}…: "
            "these are other weights; ask for those of the record",
        )
    return f"{counted(count, 'tensor')} with digest {found.hex()[:16]}…, which is the one signed"
