"""The requests that a run answers, as its log has them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from expunge.core.clock import Time
from expunge.core.errors import RecordError, RunError
from expunge.core.wording import names_case
from expunge.records.form import from_json, to_plain
from expunge.records.record import Initiator, Request
from expunge.records.run_log import Requested
from expunge.train.run import Run


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests in the order of the log. ``logged`` is False where they are taken from the forget set afterwards."""

    requests: tuple[Request, ...]
    logged: bool = True

    @property
    def slots(self) -> np.ndarray:
        """Every slot that is asked for, ascending."""
        named = [np.array(request.slots, dtype=np.int64) for request in self.requests]
        return np.unique(np.concatenate(named)) if named else np.zeros(0, dtype=np.int64)


def asked_of(run: Run, now: Time) -> Requests:
    """The requests of one run, its ancestors' not included.

    Runs of earlier versions logged none: theirs is made of the forget set, received ``now``, and says so.
    """
    model = run.told.parent and run.told.parent.weights_digest
    found = [_read(run, event, model) for event in run.log.requests()]
    if found or (run.told.operation != "unlearn" and not len(run.tombstones)):
        return Requests(requests=tuple(found))
    request = Request(
        cases=(),
        initiator=Initiator.OWNER,
        received=now,
        slots=tuple(int(slot) for slot in run.forget_set.slots),
        receipts=(),
        root=run.root,
        model=None if model is None else bytes.fromhex(model),
    )
    return Requests(requests=(request,), logged=False)


def _read(run: Run, event: Requested, model: str | None) -> Request:
    where = f"{run.log.path}: a request"
    told, known = to_plain(event), [item.name for item in fields(Request)]
    value = {name: told[name] for name in known if told[name] is not None}
    try:
        request = from_json(Request, value, where)
    except RecordError as error:
        raise RunError(f"{str(error).partition(': ')[2]}, or make the run again") from None
    if list(request.slots) != sorted(set(request.slots)) or not request.slots:
        raise RunError(f"{where} names no slots, or not in ascending order: the log was altered; make the run again")
    odd = [case for case in request.cases if not names_case(case)]
    if odd:
        raise RunError(f"{where} names a case {odd[0][:60]!r} that nobody can read: make the run again with another")
    if request.root != run.root or event.model != model:
        raise RunError(
            f"{where} is about another data set or model than {run.path}: the log was altered; make the run again"
        )
    return request
