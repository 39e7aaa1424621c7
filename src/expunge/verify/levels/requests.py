"""Level V1, requests: each asks this model for rows of this data set, and each emptied chair was asked for."""

from __future__ import annotations

from expunge.core.errors import RecordError
from expunge.core.wording import counted
from expunge.records.limits import Code, refused
from expunge.records.record import Initiator, Operation, RunRecord
from expunge.verify.levels.chain import links
from expunge.verify.opened import OpenedRecord

SHOWN = 5
BEGIN = (Operation.TRAIN, Operation.ADOPT)  # answer no request, but may be made without rows from the start


def asked_for(record: RunRecord) -> set[int]:
    """Slots that the requests of a record name."""
    return {slot for request in record.requests for slot in request.slots}


def check_kept(opened: OpenedRecord) -> str:
    """A chair that was emptied stays empty, in every later run."""
    for name, record, parent in links(opened):
        if parent is None:
            continue
        revived = set(parent.data.tombstones) - set(record.data.tombstones)
        if revived:
            raise refused(Code.TOMBSTONE_REVIVED, f"{name} seats {_slots(revived)} again, which its parent had emptied")
        before = parent.data.released_calibration, parent.data.released_holdout
        after = record.data.released_calibration, record.data.released_holdout
        if not all(set(one) <= set(two) for one, two in zip(before, after, strict=True)):
            raise refused(Code.TOMBSTONE_REVIVED, f"{name} names fewer released slots than its parent")
    return f"{counted(len(opened.record.data.tombstones), 'empty chair')} in the run, its ancestors' included"


def check_honoured(opened: OpenedRecord) -> str:
    """Every slot that was asked for is empty."""
    for name, record, _ in links(opened):
        missing = asked_for(record) - set(record.data.tombstones)
        if missing:
            raise refused(
                Code.REQUEST_MISSING, f"{name} has a request for {_slots(missing)} on record and does not empty them"
            )
    return (
        f"{counted(sum(len(record.requests) for _, record, _ in links(opened)), 'request')} of the chain, all honoured"
    )


def check_requested(opened: OpenedRecord) -> str:
    """No chair is empty that nobody asked for: decoys would steer the schedule."""
    for name, record, parent in links(opened):
        before = set() if parent is None else set(parent.data.tombstones)
        extra = set(record.data.tombstones) - before - asked_for(record)
        if extra:
            raise refused(Code.TOMBSTONE_UNREQUESTED, f"{name} empties {_slots(extra)}, which no request names")
    return "every empty chair has a request"


def check_binding(opened: OpenedRecord) -> str:
    """Requests name this data set, slots of it, and the model that the run came from."""
    data = opened.committed.data
    parents = (None, *opened.runs[:-1])
    for (name, record, _), own, parent in zip(links(opened), opened.runs, parents, strict=True):
        if record.operation not in BEGIN and not asked_for(record):
            raise _other(f"{name} forgets, and no request on record asks for anything")
        for at, request in enumerate(record.requests):
            where = f"request {at} of {name}"
            if request.root != data.root:
                raise _other(f"{where} is about data set {request.root.hex()[:16]}…, this is {data.root.hex()[:16]}…")
            if request.slots and request.slots[-1] >= data.count:
                raise _other(f"{where} names slot {request.slots[-1]}, the data set has {data.count}")
            if request.initiator is Initiator.PERSON and not request.cases:
                raise _other(f"{where} is called a person's and names no case: without one it is the owner's own")
            _check_model(where, record, request.model, None if parent is None else parent.digest)
            if parent is None and request.model == own.digest:
                raise _other(f"{where} names the very model that was made to answer it")
        splits = (
            (data.calibration.rows, record.data.released_calibration),
            (data.holdout.rows, record.data.released_holdout),
        )
        if any(slots and slots[-1] >= rows for rows, slots in splits):
            raise _other(f"{name} releases a slot that its split does not have")
        if not record.data.tombstones and any(slots for _, slots in splits):
            raise _other(f"{name} releases rows of people forgotten by name, and nobody was forgotten")
    return "each names this data set and the model that it asks to forget"


def _check_model(where: str, record: RunRecord, named: bytes | None, parent: bytes | None) -> None:
    """A retraining that begins a chain of its own answers requests made of models outside that chain."""
    if record.operation in BEGIN:
        if named is not None:
            raise _other(f"{where} names a model, and a training answers none")
    elif parent is None:
        if named is None:
            raise _other(f"{where} names no model: it must say which one was asked to forget")
    elif named != parent:
        shown = "no model" if named is None else f"model {named.hex()[:16]}…"
        raise _other(f"{where} names {shown}, the run came from {parent.hex()[:16]}…")


def _slots(slots: set[int]) -> str:
    shown = ", ".join(str(slot) for slot in sorted(slots)[:SHOWN])
    return f"{counted(len(slots), 'slot')} ({shown}{', …' if len(slots) > SHOWN else ''})"


def _other(reason: str) -> RecordError:
    return refused(Code.REQUEST_BINDING_MISMATCH, f"{reason}: the record answers another request than this one")
