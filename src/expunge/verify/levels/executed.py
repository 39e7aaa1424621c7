"""Level V1, what was executed: the schedule's root, the trace against it, and the work that its steps take."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.core.wording import counted
from expunge.records.bundle import TRACE
from expunge.records.catalogue import Execution
from expunge.records.limits import Code, refused
from expunge.records.record import Operation
from expunge.verify.levels.chain import links
from expunge.verify.levels.segments import layout_of
from expunge.verify.levels.steps import Departure, Scan, scan
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing, NotChecked

TRACED = "executed steps"


def check_trace_file(opened: OpenedRecord) -> str:
    """The trace is the file that was signed, and as long as the schedule."""
    record, schedule = opened.record, opened.schedule
    if record.trace is None:
        return _no_trace(opened)
    if TRACE not in opened.bundle:
        raise EvidenceMissing(f"{TRACE} is missing, so nothing states which rows each step was carried out with")
    digest = opened.bundle.digest(TRACE)
    if digest != record.trace.digest:
        raise refused(
            Code.TRACE_DIGEST_MISMATCH,
            f"{TRACE} has digest {digest.hex()[:16]}…, signed is {record.trace.digest.hex()[:16]}…: it was exchanged",
        )
    size, expected = opened.bundle.size(TRACE), layout_of(schedule, record.alive, record.trace.mode).size
    if size != expected:
        steps = sum(schedule.total_steps(shard) for shard in record.alive)
        raise refused(
            Code.SCHEDULE_LENGTH_MISMATCH,
            f"{TRACE} holds {size:,} bytes, {counted(steps, 'step')} with their epochs have {expected:,}: steps were "
            "left out or added",
        )
    return f"{counted(size, 'byte')}, digest as signed, as long as the schedule"


def _no_trace(opened: OpenedRecord) -> str:
    """A method that takes steps of its own records no trajectory, and earns nothing that would need one."""
    if TRACE in opened.bundle:
        raise refused(Code.TRACE_DIGEST_MISMATCH, f"the bundle holds {TRACE} and the record names none")
    if opened.record.checkpoints is not None or opened.by_schedule:
        raise EvidenceMissing("the record names no trace, so nothing states which rows each step was carried out with")
    if opened.record.operation is Operation.ADOPT:
        return NotChecked("the model was trained elsewhere; no trajectory is on record")
    if opened.record.came_about is Execution.SOLVE:
        return NotChecked("the weights follow from sums over the rows, and no step was taken")
    return NotChecked("the method takes steps of its own, not those of the schedule; no trajectory is on record")


def check_schedule_root(opened: OpenedRecord) -> str:
    """Every step of the schedule, computed again from recipe, data and beacon, has the root that the runs name."""
    found = opened.scanned = _scanned(opened)  # one pass for root and trace: it takes most of the time
    for name, record, _ in links(opened):
        if record.schedule.root != found.root:
            raise refused(
                Code.SCHEDULE_ROOT_MISMATCH,
                f"{name} names schedule {record.schedule.root.hex()[:16]}…, recipe, data and beacon give "
                f"{found.root.hex()[:16]}…: another schedule was carried out, or none",
            )
    return f"root of {counted(found.steps, 'step')} computed again from recipe, data and beacon"


def _scanned(opened: OpenedRecord) -> Scan:
    record, least, progress = opened.record, opened.recipe.least_present, opened.supplied.progress
    if "trace file" not in opened.passed or record.trace is None:
        return scan(opened.schedule, record=record, least_present=least, progress=progress)
    with opened.bundle.stream(TRACE) as stream:
        return scan(opened.schedule, record=record, least_present=least, trace=stream, progress=progress)


def traced(opened: OpenedRecord) -> bool:
    """Whether a trace was compared with the schedule."""
    return opened.scanned is not None and opened.record.trace is not None


def departures(opened: OpenedRecord) -> list[tuple[str, Code | None]]:
    """The codes under which the trace departs from the schedule, each a finding; one without a code where it does
    not.
    """
    assert opened.scanned is not None
    codes = dict.fromkeys(_code(departure) for departure in opened.scanned.departures)
    return [(TRACED, code) for code in codes or (None,)]


def check_steps(opened: OpenedRecord, code: Code | None) -> str:
    """Each step was carried out with the members that the schedule seats, in its place and order."""
    found = opened.scanned
    assert found is not None
    if code is not None:
        own = [departure for departure in found.departures if _code(departure) is code]
        raise refused(code, _told(code, own, slices=opened.recipe.slices))
    skipped = f"; {counted(found.skipped, 'step')} skipped" if found.skipped else ""
    empty = counted(len(opened.record.data.tombstones), "empty chair")
    return f"members of {counted(found.steps, 'step')} computed again, {empty}{skipped}"


def check_states_traced(opened: OpenedRecord) -> str:
    """Every state was signed with the running digest of this very trace."""
    assert opened.scanned is not None
    odd, kept = opened.scanned.states, opened.record.checkpoints
    if odd:
        raise refused(
            Code.TRACE_DIGEST_MISMATCH,
            f"{counted(len(odd), 'state')}, the first of shard {odd[0].shard} at step {odd[0].step:,}, were "
            "signed with another trace than the one that is shown",
        )
    return f"{counted(0 if kept is None else kept.count, 'state')} recorded along this trace"


def check_cost(opened: OpenedRecord) -> str:
    """The work that the record names is that of its steps, from the reused states to the end."""
    assert opened.scanned is not None
    named, work = opened.record.cost.thirds, opened.scanned.work
    if named != 3 * work:
        raise refused(
            Code.SCHEDULE_LENGTH_MISMATCH,
            f"the record names work of {named:,} thirds of an example-step, its steps from the reused states on take "
            f"{3 * work:,}: steps were left out or added, or a state was reused and not named",
        )
    return f"{counted(work, 'example-step')} from the reused states on, as the record says"


def _code(departure: Departure) -> Code:
    if departure.moved:
        return Code.SCHEDULE_LENGTH_MISMATCH
    if departure.same_members and departure.steps:
        return Code.SCHEDULE_ORDER_MISMATCH
    return Code.SCHEDULE_BATCH_MISMATCH


def _told(code: Code, departures: Sequence[Departure], *, slices: int) -> str:
    first, steps = departures[0], sum(departure.steps for departure in departures)
    what = {
        Code.SCHEDULE_LENGTH_MISMATCH: "a step was carried out twice or left out",
        Code.SCHEDULE_ORDER_MISMATCH: "the epoch has the right members in another order",
        Code.SCHEDULE_BATCH_MISMATCH: "other rows took part than the schedule seats, or fewer",
    }[code]
    return (
        f"{counted(steps, 'step')} {'differs' if steps == 1 else 'differ'} from the schedule, in "
        f"{counted(len(departures), 'epoch')}{' of the stages' if slices > 1 else ''}; the first is step "
        f"{first.step:,} of shard {first.shard} in epoch {first.epoch}: {what}"
    )
