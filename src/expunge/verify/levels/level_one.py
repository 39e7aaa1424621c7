"""Level V1, all checks in order: what one of them refuses, those that build on it leave alone."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.core.wording import counted
from expunge.records.bundle import TRACE, Bundle
from expunge.records.catalogue import EXACT_METHODS
from expunge.records.limits import Code, refused
from expunge.records.verdict import refused_finding
from expunge.schedule.schedule import Schedule
from expunge.verify.levels.chain import links, open_chain
from expunge.verify.levels.checks import Checks, EvidenceMissing, NotChecked
from expunge.verify.levels.earned import claim_checks
from expunge.verify.levels.form import Form
from expunge.verify.levels.lineage import check_seed, lineage_checks
from expunge.verify.levels.recorded import (
    check_ends,
    check_files,
    check_members,
    check_moved,
    check_reuse,
    check_states_moved,
    check_tree,
)
from expunge.verify.levels.requests import request_checks
from expunge.verify.levels.steps import Departure, Moved, Scan, scan, trace_bytes
from expunge.verify.levels.structure import (
    check_alive,
    check_figures,
    check_lengths,
    check_size,
    data_checks,
    open_schedule,
)
from expunge.verify.opened import OpenedRecord

TRACED = "executed steps"


def check_structure(bundle: Bundle, form: Form, checks: Checks, progress: Moved | None = None) -> OpenedRecord | None:
    """Every check of V1; the opened record, or None where its chain or its recipe cannot be read."""
    opened = open_chain(bundle, form, checks)
    if opened is None:
        return None
    recipe = lineage_checks(opened, form.logged, checks)
    data = data_checks(opened, checks)
    request_checks(opened, checks)
    claim_checks(opened, checks)
    tree = checks.run("checkpoint tree", lambda: check_tree(opened))
    checks.run("checkpoint files", lambda: check_files(opened))
    if recipe and data:
        checks.run("lineage seed", lambda: check_seed(opened))
        shaped = checks.run("schedule shape", lambda: check_figures(opened))
        if checks.run("schedule size", lambda: check_size(opened)) and shaped:
            _check_schedule(opened, form, checks, tree=tree, progress=progress)
    return opened


def _check_schedule(opened: OpenedRecord, form: Form, checks: Checks, *, tree: bool, progress: Moved | None) -> None:
    schedules: list[Schedule] = []

    def made() -> str:
        schedules.append(open_schedule(opened))
        sizes = [len(schedules[0].shard_slots(shard)) for shard in range(schedules[0].shards)]
        return f"slots dealt out again: {min(sizes):,} to {max(sizes):,} in each of {counted(len(sizes), 'shard')}"

    if not checks.run("shard map", made):
        return
    schedule = schedules[0]
    checks.run("schedule length", lambda: check_lengths(opened, schedule))
    alive = checks.run("alive shards", lambda: check_alive(opened, schedule))
    scanned = _check_steps(opened, schedule, checks, alive=alive, progress=progress)
    ends = tree and checks.run("last states", lambda: check_ends(opened, schedule))
    reused = tree and checks.run("reuse", lambda: check_reuse(opened, schedule))
    if ends and alive and opened.record.checkpoints is not None:
        checks.run("model members", lambda: check_members(opened, form.model_sound))
    again = opened.record.algorithm.name in EXACT_METHODS  # a method's own steps, carried out again, are still its own
    checks.run("weights moved", lambda: check_moved(opened, schedule, own=True), until_replayed=again)
    states = ends and alive and reused
    if states:
        checks.run("states moved", lambda: check_states_moved(opened, schedule, own=True), until_replayed=again)
    if len(opened.runs) > 2:  # the first of a chain has nothing to be compared with
        checks.run("weights moved before", lambda: check_moved(opened, schedule, own=False), until_replayed=again)
    if len(opened.runs) > 2 and states:
        checks.run("states moved before", lambda: check_states_moved(opened, schedule, own=False), until_replayed=again)
    if scanned is not None and all(finding.stands for finding in checks.findings):
        checks.run("cost", lambda: check_cost(opened, scanned))


def _check_steps(
    opened: OpenedRecord, schedule: Schedule, checks: Checks, *, alive: bool, progress: Moved | None
) -> Scan | None:
    """The schedule's root, and the trace where it can be read; both in one pass, which takes most of the time.

    What the pass found is returned where it compared a trace.
    """
    again = opened.record.algorithm.name in EXACT_METHODS
    traced = alive and checks.run("trace file", lambda: _trace_file(opened, schedule), until_replayed=again)
    found: list[Scan] = []

    def root() -> str:
        found.append(_scanned(opened, schedule, traced=traced, progress=progress))
        for name, record, _ in links(opened):
            if record.schedule.root != found[0].root:
                raise refused(
                    Code.SCHEDULE_ROOT_MISMATCH,
                    f"{name} names schedule {record.schedule.root.hex()[:16]}…, recipe, data and beacon give "
                    f"{found[0].root.hex()[:16]}…: another schedule was carried out, or none",
                )
        return f"root of {counted(found[0].steps, 'step')} computed again from recipe, data and beacon"

    checks.run("schedule root", root)
    if not found or not traced or opened.record.trace is None:
        return None
    _report_steps(opened, found[0], checks)
    return found[0]


def check_cost(opened: OpenedRecord, scanned: Scan) -> str:
    """The work that the record names is that of its steps, from the reused states to the end."""
    named = opened.record.cost.thirds
    if named != 3 * scanned.work:
        raise refused(
            Code.SCHEDULE_LENGTH_MISMATCH,
            f"the record names work of {named:,} thirds of an example-step, its steps from the reused states on take "
            f"{3 * scanned.work:,}: steps were left out or added, or a state was reused and not named",
        )
    return f"{counted(scanned.work, 'example-step')} from the reused states on, as the record says"


def _scanned(opened: OpenedRecord, schedule: Schedule, *, traced: bool, progress: Moved | None) -> Scan:
    least = opened.recipe.least_present
    if not traced or opened.record.trace is None:
        return scan(schedule, record=opened.record, least_present=least, progress=progress)
    with opened.bundle.stream(TRACE) as stream:
        return scan(schedule, record=opened.record, least_present=least, trace=stream, progress=progress)


def _trace_file(opened: OpenedRecord, schedule: Schedule) -> str:
    record = opened.record
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
    size, expected = opened.bundle.size(TRACE), trace_bytes(schedule, record.trace.mode, record.alive)
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
    record = opened.record
    if TRACE in opened.bundle:
        raise refused(Code.TRACE_DIGEST_MISMATCH, f"the bundle holds {TRACE} and the record names none")
    if record.checkpoints is not None or record.algorithm.name in EXACT_METHODS:
        raise EvidenceMissing("the record names no trace, so nothing states which rows each step was carried out with")
    return NotChecked("the method takes steps of its own, not those of the schedule; no trajectory is on record")


def _report_steps(opened: OpenedRecord, found: Scan, checks: Checks) -> None:
    """Departures from the schedule under their codes, and the running digests of the states."""
    by_code: dict[Code, list[Departure]] = {}
    for departure in found.departures:
        by_code.setdefault(_code(departure), []).append(departure)
    for code, departures in by_code.items():
        checks.add(refused_finding(TRACED, checks.level, code, _told(code, departures, slices=opened.recipe.slices)))
    if not found.departures:
        skipped = f"; {counted(found.skipped, 'step')} skipped" if found.skipped else ""
        empty = counted(len(opened.record.data.tombstones), "empty chair")
        checks.run(TRACED, lambda: f"members of {counted(found.steps, 'step')} computed again, {empty}{skipped}")

    def running() -> str:
        if found.states:
            state = found.states[0]
            raise refused(
                Code.TRACE_DIGEST_MISMATCH,
                f"{counted(len(found.states), 'state')}, the first of shard {state.shard} at step {state.step:,}, were "
                "signed with another trace than the one that is shown",
            )
        kept = opened.record.checkpoints
        return f"{counted(0 if kept is None else kept.count, 'state')} recorded along this trace"

    checks.run("trace of states", running)


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
