"""Level V0, figures of a record: what cannot be what it is called, whatever else is true of the run.

Lists ascend, counts count something, a name can be read. Nothing here looks at another record or at a file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from expunge.core.errors import DataError, InvalidArgument, RecordError
from expunge.core.wording import names_case, says_why
from expunge.data.source import BUILT_IN, Source
from expunge.records.limits import Code, refused
from expunge.records.record import Commit, RunRecord
from expunge.records.statement import LONGEST_NAME, Statement

MOST_SHARDS = 4096
DAY = 86_400  # seconds
TREE = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")


def check_figures(name: str, statement: Statement) -> None:
    """Refuse a record whose figures cannot be; ``name`` is its file's."""
    record = statement.predicate
    if not isinstance(record, RunRecord):
        _check_source(name, record)
        return
    _check_lists(name, record)
    _check_shards(name, record)
    _check_algorithm(name, record)
    kept = record.checkpoints
    if kept is not None and kept.interval < 1:
        raise _odd(name, "it names states without a step between them")
    if record.cost.seconds < 0:
        raise _odd(name, f"it took {record.cost.seconds:g} seconds")
    _check_declared(name, statement.digest, record)


def _check_source(name: str, commit: Commit) -> None:
    """How the committed rows are read is a way in which rows can be read; where they lie is not said."""
    try:
        if "location" in commit.data.source:
            raise DataError("it names the place where the rows lie, which is no part of a commitment")
        Source.from_json({**commit.data.source, "location": BUILT_IN})
    except (DataError, InvalidArgument) as error:
        raise _odd(name, f"it does not say how its rows are read: {str(error)[:300]}") from None


def _check_lists(name: str, record: RunRecord) -> None:
    """Lists of numbers ascend, each number once; a request asks for something."""
    lists: dict[str, Sequence[int] | Sequence[str]] = {
        "tombstones": record.data.tombstones,
        "released calibration slots": record.data.released_calibration,
        "released holdout slots": record.data.released_holdout,
        "alive shards": record.alive,
        "shards of reuse": tuple(reuse.shard for reuse in record.reuse),
        "names of buffers": () if record.checkpoints is None else record.checkpoints.buffers,
        **{f"slots of request {at}": request.slots for at, request in enumerate(record.requests)},
    }
    for what, items in lists.items():
        if any(one >= two for one, two in pairwise(items)):  # pyright: ignore[reportOperatorIssue]
            raise _odd(name, f"the {what} do not ascend, each once")
    if any(not request.slots for request in record.requests):
        raise _odd(name, "it has a request that names no slot")
    unreadable = [case for request in record.requests for case in request.cases if not names_case(case)]
    if unreadable:
        raise _odd(name, f"a request names a case {unreadable[0][:60]!r} that nobody can read")


def _check_shards(name: str, record: RunRecord) -> None:
    states = () if record.checkpoints is None else record.checkpoints.states
    shards = (*record.alive, *(state.shard for state in states), *(reuse.shard for reuse in record.reuse))
    if max(shards, default=0) >= MOST_SHARDS:
        raise _odd(name, f"it names shard {max(shards)}, no training has more than {MOST_SHARDS}")


def _check_algorithm(name: str, record: RunRecord) -> None:
    """What certificates print of the algorithm can be read by people."""
    algorithm = record.algorithm
    for what, text in (("name", algorithm.name), ("version", algorithm.version)):
        if not text or len(text) > LONGEST_NAME or not text.isprintable():
            raise _odd(name, f"the algorithm's {what} {text[:40]!r} is not 1 to {LONGEST_NAME} printable letters")
    if algorithm.tree is not None and not TREE.match(algorithm.tree):
        raise _odd(name, f"{algorithm.tree[:40]!r} is the name of no git tree")
    if algorithm.budget is not None and algorithm.budget <= 0:
        raise _odd(name, f"the algorithm had a budget of {algorithm.budget:g} of the training's work")


def _check_declared(name: str, model: bytes, record: RunRecord) -> None:
    """What is declared of old state can be so at the record's date, and is not of this run's own."""
    window, signed = record.audit_window, record.recorded_at
    if window is not None and window.days < 1:
        raise _odd(name, f"it names an audit window of {window.days} days")
    if window is not None and window.until.seconds < signed.seconds:
        raise _odd(name, f"its audit window ended at {window.until}, before its date {signed}, and keeps nothing")
    if window is not None and window.until.seconds > signed.seconds + window.days * DAY:
        raise _odd(name, f"an audit window of {window.days} days until {window.until} begins after the record's date")
    if record.kept_state is not None and not says_why(record.kept_state):
        raise _odd(name, f"it says why old state is kept, and {record.kept_state[:40]!r} is no reason in words")
    states = () if record.checkpoints is None else record.checkpoints.states
    own = {model, *(digest for state in states for digest in (state.leaf, state.weights))}
    mine = [item for item in record.retired if item.digest in own]
    if mine:
        raise _odd(name, f"it declares {mine[0].what[:60]!r} destroyed, which is its own model or one of its states")


def _odd(name: str, reason: str) -> RecordError:
    return refused(Code.MALFORMED_JSON, f"{name}: {reason}: it was altered or badly written; ask for the record again")
