"""Level V1, the chain: from the commitment to the run without a gap, each operation where it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from expunge.core.errors import RecordError
from expunge.core.wording import counted
from expunge.records.bundle import COMMIT, ENVELOPE
from expunge.records.catalogue import EXACT_FIELDS, Execution
from expunge.records.limits import Code, refused
from expunge.records.record import Commit, Operation, RunRecord
from expunge.records.statement import Statement
from expunge.schedule.recipe import Recipe
from expunge.verify.opened import OpenedRecord


def described(statement: Statement, opened: OpenedRecord) -> str:
    """A run of the chain as findings name it."""
    return "the run" if statement is opened.run else f"its ancestor {statement.name[:60]!r}"


def links(opened: OpenedRecord) -> Iterator[tuple[str, RunRecord, RunRecord | None]]:
    """Every run of the chain, oldest first: how findings name it, its record, its parent's record if that is a run."""
    before: RunRecord | None = None
    for statement in opened.runs:
        record = cast("RunRecord", statement.predicate)
        yield described(statement, opened), record, before
        before = record


def check_chain(opened: OpenedRecord) -> str:
    """Each record names the one before it, back to the commitment, and each operation stands where it belongs."""
    statements, first = opened.statements, opened.envelopes[COMMIT].digest
    at = opened.envelopes[ENVELOPE].digest
    found = [(at, statements[at])]
    while at != first:  # ends: every envelope names one that was there before it
        record = cast("RunRecord", statements[at].predicate)
        if record.commit != first:
            raise _broken(f"record {at.hex()[:16]}… belongs to commitment {record.commit.hex()[:16]}…, not to this one")
        if record.parent not in statements:
            raise _broken(f"the parent {record.parent.hex()[:16]}… of record {at.hex()[:16]}… is missing")
        _check_operation(record, is_first=record.parent == first)
        _check_fields(record, opened.recipe_read)
        if opened.committed.recorded_afterwards and not record.recorded_afterwards:
            raise _broken("the commitment says that it was written afterwards, a record after it says that it was not")
        _check_times(record, statements[record.parent].predicate)
        at = record.parent
        found.insert(0, (at, statements[at]))
    unused = set(statements) - {digest for digest, _ in found}
    if unused:
        raise _broken(f"envelope {min(unused).hex()[:16]}… belongs to no ancestor of the run")
    _check_origin([cast("RunRecord", statement.predicate) for _, statement in found[1:]])
    opened.links = tuple(found)
    names = " → ".join(statement.predicate.operation.value for _, statement in found)
    return f"{counted(len(found), 'record')}: {names}, each naming the one before it"


def check_known(opened: OpenedRecord) -> str:
    """The run comes from every record that the verifier kept: what was forgotten there stays forgotten here."""
    known = opened.supplied.known_records
    missing = [digest for digest in known if digest not in opened.digests]
    if missing:
        raise refused(
            Code.REQUEST_MISSING,
            f"{counted(len(missing), 'record')} that you kept ({missing[0].hex()[:16]}…) is no ancestor of this run: "
            "it branched off before, and whoever was forgotten there may sit here again; ask for a run that comes from "
            "it, or, where a retraining began a chain of its own, compare its requests with those that you know",
        )
    return f"{counted(len(known), 'record')} that you kept, each in the chain of this run"


def _check_operation(record: RunRecord, *, is_first: bool) -> None:
    """What was trained begins a chain; an unlearning never does; the algorithm is what the operation says."""
    operation, algorithm = record.operation, record.algorithm.name
    fields, budget = record.algorithm.fields, record.algorithm.budget
    begins = operation in (Operation.TRAIN, Operation.ADOPT)
    if begins and not is_first:
        what = "a training" if operation is Operation.TRAIN else "an adopted model"
        raise _broken(f"{what} stands behind another run: it begins a chain of its own")
    if operation is Operation.UNLEARN and is_first:
        raise _broken("an unlearning follows the commitment directly: nothing was there to unlearn")
    ours = (Operation.TRAIN, Operation.RETRAIN, Operation.ADOPT)
    if any((algorithm == one.value) != (operation is one) for one in ours):
        raise _broken(f"operation {operation.value!r} was carried out by the algorithm {algorithm[:60]!r}")
    if begins and (fields or budget is not None or record.algorithm.source is not None):
        raise _broken("a training names fields, a budget or sources of a method, and has none: its recipe says it all")
    if operation is Operation.RETRAIN and any(reuse.step for reuse in record.reuse):
        raise _broken("a retraining starts from earlier states: it begins with the initial weights")


def _check_origin(records: list[RunRecord]) -> None:
    """Behind a model that was trained elsewhere no step of a schedule can be redone."""
    redone = [record.algorithm.name for record in records[1:] if record.came_about is not Execution.OWN_STEPS]
    if records[0].operation is Operation.ADOPT and redone:
        raise _broken(
            f"{redone[0][:60]!r} follows a model that was trained elsewhere, whose steps nobody knows: there are none "
            "that it could have carried out again"
        )


def _check_fields(record: RunRecord, recipe: Recipe | None) -> None:
    """An exact method has the fields that it declares: of others nobody could tell whether it ran with them."""
    algorithm = record.algorithm
    if algorithm.name not in EXACT_FIELDS:
        return
    extra = sorted(set(algorithm.fields) - EXACT_FIELDS[algorithm.name])
    if extra:
        raise _broken(f"the algorithm {algorithm.name!r} has no field {extra[0][:60]!r}, and the record gives it one")
    seed = algorithm.fields.get("training_seed")
    if recipe is not None and seed is not None and (type(seed) is not int or seed != recipe.seed):
        raise _broken(f"{algorithm.name!r} under the training seed {seed!r:.60} is another recipe's training, not this")


def _check_times(record: RunRecord, before: Commit | RunRecord) -> None:
    """A record holds the digest of the one before it and answers its requests, so it is younger than both."""
    if record.recorded_at.seconds < before.recorded_at.seconds:
        raise _broken(f"a record of {record.recorded_at} names one of {before.recorded_at}, which was signed before it")
    for request in record.requests:
        if request.received.seconds > record.recorded_at.seconds:
            raise refused(
                Code.REQUEST_BINDING_MISMATCH,
                f"a record of {record.recorded_at} answers a request of {request.received}: nobody had asked by then",
            )


def _broken(reason: str) -> RecordError:
    return refused(Code.CHAIN_BROKEN, f"{reason}; ask for the whole chain of records, from its commitment on")
