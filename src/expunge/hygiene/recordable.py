"""Which runs still need a signed record before their states go: without states none can be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from expunge.core.errors import ExpungeError, RunError
from expunge.hygiene.places import Kinship, Place
from expunge.hygiene.strays import is_read_off, may_stray
from expunge.hygiene.survey import Survey
from expunge.records.bundle import MODEL
from expunge.records.documents import RECORD
from expunge.schedule.seats import sat_anywhere
from expunge.train.run import Run


def check_recorded(found: Survey) -> None:
    """Refuse where a parent has no signed record, or a run beside, whose only answer to somebody would go."""
    for place in found.places:
        if place.kinship is Kinship.PARENT and _unsigned(place):
            _refuse_parent(found, place)
    beside = list(_unsigned_beside(found))
    if beside:
        one, several = beside[0], len(beside) > 1
        all_of_them = ", ".join(f"{run.path} ({_what_it_is(run)})" for run in beside)
        raise RunError(
            f"{all_of_them} {'have' if several else 'has'} no signed record, and none can be made without states: run "
            f"`expunge attest {one.path}`{' and so on' if several else ''} first, or leave it alone with `keep` "
            f"{one.path}, or give `unrecorded` if no record is needed"
        )


def unsigned(found: Survey) -> list[Path]:
    """Runs whose states would go although no record of them is signed: parents, and answers beside."""
    parents = [place.path for place in found.places if place.kinship is Kinship.PARENT and _unsigned(place)]
    return [*parents, *(run.path for run in _unsigned_beside(found))]


def changed_nothing(run: Run) -> bool:
    """Whether a method left its parent's weights as they were, although what it forgot had sat in steps."""
    parent = run.told.parent
    if parent is None or parent.weights_digest != run.told.weights_digest:
        return False
    newly = run.forget_set.slots.tolist()
    before = set(run.tombstones.tolist()) - set(newly)
    return sat_anywhere(run.schedule, run.recipe.least_present, before, newly)


def _unsigned(place: Place) -> bool:
    """Whether something would go that a record can still be made of."""
    if (place.path / RECORD).is_file() or not (place.path / MODEL).is_file():
        return False
    run = Run.open_any(place.path)
    names = [holding.path.relative_to(place.path).as_posix() for holding in place.ours]
    return any(not is_read_off(name) and not may_stray(run, name) for name in names)


def _refuse_parent(found: Survey, place: Place) -> None:
    idle = _idle(Run.open_any(place.path))
    if idle is None:
        raise RunError(
            f"{place.path} has no signed record, and none can be made without its states: run `expunge attest "
            f"{place.path}` first, or give `unrecorded` if the chain of {found.run.path} needs no record"
        )
    at = "it" if idle.path == place.path else str(idle.path)
    origin = "" if idle.told.parent is None else idle.told.parent.path
    raise RunError(
        f"{place.path} has no signed record and can have none, since the method that made {at} changed nothing: give "
        f"`unrecorded`, as no record of {found.run.path} can name it, or forget anew from {origin}"
    )


def _unsigned_beside(found: Survey) -> Iterator[Run]:
    tunings = {place.path for place in found.places if place.kinship is Kinship.TUNING}
    for place in found.places:
        if place.kinship is Kinship.BESIDE and place.path.parent not in tunings and _unsigned(place):
            run = Run.open_any(place.path)
            if run.told.status == "finished" and _idle(run) is None:
                yield run


def _what_it_is(run: Run) -> str:
    if run.told.operation != "unlearn":
        return "a training of its own"
    return f"which answers {', '.join(run.told.rules or ())}"


def _idle(run: Run) -> Run | None:
    """The run itself or its nearest ancestor that changed nothing: no record can be made of it or of what follows."""
    at = run
    while at.told.operation == "unlearn":
        try:
            if changed_nothing(at):
                return at
            at = at.parent
        except ExpungeError:
            return None
    return None
