"""Level V1, states: the checkpoint tree, the files that are there, what was used again, and the model made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from expunge.core.errors import RecordError
from expunge.core.wording import counted
from expunge.records.bundle import MODEL
from expunge.records.catalogue import Execution
from expunge.records.limits import Code, refused
from expunge.records.record import Checkpoints, Operation, Reuse, RunRecord, State, states_root
from expunge.records.states import state_digests
from expunge.records.tensors import Tensor
from expunge.schedule.seats import first_sat, sat_anywhere
from expunge.verify.levels.chain import described, links
from expunge.verify.opened import OpenedRecord, recorded_before
from expunge.verify.outcomes import EvidenceMissing, NotChecked

MEMBER = re.compile(r"shards\.(?:0|[1-9][0-9]*)\.")
CHECKPOINT = re.compile(r"checkpoints/shard-([0-9]+)-step-([0-9]+)\.safetensors")


def last_states(record: RunRecord) -> dict[int, State]:
    """By shard the recorded state with the highest step; states ascend."""
    return {} if record.checkpoints is None else {state.shard: state for state in record.checkpoints.states}


def check_tree(opened: OpenedRecord) -> str:
    """Count, order and root of every run's states."""
    total = 0
    for name, record, _ in links(opened):
        kept = record.checkpoints
        if kept is None:
            continue
        places = [(state.shard, state.step) for state in kept.states]
        if kept.count != len(places) or places != sorted(set(places)):
            raise _other_leaf(f"{name} counts {counted(kept.count, 'state')} and lists {len(places)}, shard by shard")
        if {shard for shard, _ in places} != set(record.alive):
            raise _other_leaf(f"{name} does not list states of exactly the shards that are alive")
        if states_root(kept.states) != kept.root:
            raise _other_leaf(f"{name} lists states with another root than {kept.root.hex()[:16]}…")
        total += kept.count
    return f"{counted(total, 'state')} of the chain under their signed roots"


def check_ends(opened: OpenedRecord) -> str:
    """Each shard's last state is the one after its last step."""
    schedule = opened.schedule
    for name, record, _ in links(opened):
        for shard, state in last_states(record).items():
            if state.step != schedule.total_steps(shard):
                raise refused(
                    Code.SCHEDULE_LENGTH_MISMATCH,
                    f"{name} ends shard {shard} with a state after {state.step:,} steps, the schedule has "
                    f"{schedule.total_steps(shard):,}",
                )
    return "each shard's last state stands after its last step"


def check_state_files(opened: OpenedRecord) -> str:
    """Every checkpoint file that is there is a state of the run."""
    kept = opened.record.checkpoints
    states = {} if kept is None else {(state.shard, state.step): state for state in kept.states}
    buffers = frozenset(() if kept is None else kept.buffers)
    count = 0
    for name in opened.bundle.names:
        match = CHECKPOINT.fullmatch(name)
        if match is None:
            continue
        state = states.get((int(match[1]), int(match[2])))
        if state is None:
            raise _other_leaf(f"{name} is no state that the record lists")
        with opened.bundle.tensors(name) as file:
            found = state_digests(file, buffers)
        parts = {
            "weights": (found.weights, state.weights),
            "buffers": (found.buffers, state.buffers),
            "optimiser state": (found.optimiser, state.optimiser),
        }
        odd = [part for part, (there, signed) in parts.items() if there != signed]
        if odd:
            raise _other_leaf(f"{name} holds other {' and '.join(odd)} than were signed")
        count += 1
    if kept is None:
        return NotChecked("the record lists no state that a file could be compared with")
    if not count:
        return NotChecked(f"the bundle holds none of the {counted(len(states), 'recorded state')}")
    return f"{counted(count, 'file')} of {counted(len(states), 'state')} in the bundle, each as signed"


def check_reuse(opened: OpenedRecord) -> str:
    """What was used again had not seen anybody who is newly gone, and is the state of the run that it came from."""
    told: list[str] = []
    for at, (name, record, _) in enumerate(links(opened)):
        before = recorded_before(opened.runs[:at])
        for reuse in record.reuse:
            if reuse.shard >= opened.schedule.shards or before is None or record.checkpoints is None:
                raise _other_leaf(f"{name} reuses a state of shard {reuse.shard} that no ancestor recorded")
            if reuse.shard not in record.alive or (reuse.leaf is None) != (reuse.step == 0):
                raise _other_leaf(
                    f"{name} reuses shard {reuse.shard}, where nobody is left, or a state at step 0, which is none"
                )
            _check_one(f"{name}, shard {reuse.shard},", opened, record, before, reuse)
            if record is opened.record and reuse.step:
                told.append(f"shard {reuse.shard} up to step {reuse.step:,}")
    if opened.record.operation is Operation.ADOPT:
        return NotChecked("the model was trained elsewhere; no state of a training is on record")
    if opened.solved:
        return NotChecked("the weights follow from sums over the rows; no state of a training was reused")
    if opened.record.checkpoints is None:
        return NotChecked("the method started from its parent's weights; no state of a training was reused")
    return f"reused: {', '.join(told[:8])}{', …' if len(told) > 8 else ''}" if told else "no earlier state was reused"


def _check_one(where: str, opened: OpenedRecord, record: RunRecord, before: RunRecord, reuse: Reuse) -> None:
    newly = np.setdiff1d(
        np.array(record.data.tombstones, dtype=np.int64), np.array(before.data.tombstones, dtype=np.int64)
    )
    touched = opened.schedule.first_touch(reuse.shard, newly)
    if reuse.first_touched != touched:
        raise _touched(f"{where} names {_step(reuse.first_touched)} as first touched, it is {_step(touched)}")
    if reuse.step == 0:
        return
    if touched is not None and reuse.step > touched:
        raise _touched(f"{where} starts from step {reuse.step:,}, forgotten rows sat in step {touched:,}")
    if opened.recipe.perturbation and len(newly):
        raise _touched(f"{where} starts from step {reuse.step:,}, and noise in the loss weighs by the rows present")
    theirs = _leaves(before.checkpoints, reuse.shard)
    if reuse.leaf is None or theirs.get(reuse.step) != reuse.leaf:
        raise _other_leaf(f"{where} starts from a state at step {reuse.step:,} that its ancestor did not record")
    ours = _leaves(record.checkpoints, reuse.shard)
    for step, leaf in ours.items():
        if step <= reuse.step and theirs.get(step) != leaf:
            raise _other_leaf(f"{where} has a state at step {step:,} that is not its ancestor's, before the reused one")
    if reuse.step not in ours:
        raise _other_leaf(f"{where} does not list the state at step {reuse.step:,} that it starts from")


def check_states_moved(opened: OpenedRecord) -> str:
    """A state behind a step that was carried out without rows that sat there before is never the ancestor's."""
    return _states_moved(opened, own=True)


def check_states_moved_before(opened: OpenedRecord) -> str:
    """The same of each run before this one."""
    return _states_moved(opened, own=False)


def _states_moved(opened: OpenedRecord, *, own: bool) -> str:
    compared = 0
    for at, (name, record, _) in enumerate(links(opened)):
        if own != (record is opened.record):
            continue
        before = recorded_before(opened.runs[:at])
        if before is None or record.checkpoints is None:
            continue
        gone = before.data.tombstones
        newly = sorted(set(record.data.tombstones) - set(gone))
        for shard in record.alive:
            touched = first_sat(opened.schedule, shard, opened.recipe.least_present, gone, newly)
            theirs = {state.step: _tensors(state) for state in _states(before.checkpoints, shard)}
            for state in _states(record.checkpoints, shard):
                if touched is None or state.step <= touched or state.step not in theirs:
                    continue
                compared += 1
                if theirs[state.step] == _tensors(state):
                    raise _unmoved(
                        opened,
                        record,
                        f"{name} has its ancestor's state bit for bit at step {state.step:,} of shard {shard}, and "
                        f"rows that were forgotten since sat in step {touched:,}",
                    )
    if not compared:
        return NotChecked("no state of both runs stands behind a step that forgotten rows sat in")
    return f"{counted(compared, 'state')} behind forgotten rows, none of them the ancestor's"


def _states(kept: Checkpoints | None, shard: int) -> list[State]:
    return [] if kept is None else [state for state in kept.states if state.shard == shard]


def _tensors(state: State) -> tuple[bytes, bytes, bytes]:
    return state.weights, state.buffers, state.optimiser


def _leaves(kept: Checkpoints | None, shard: int) -> Mapping[int, bytes]:
    return {} if kept is None else {state.step: state.leaf for state in kept.states if state.shard == shard}


def check_members(opened: OpenedRecord) -> str:
    """The model is made of the last states of the shards that are alive, in their order."""
    _check_ancestors(opened)
    record, last = opened.record, last_states(opened.record)
    buffers = frozenset(() if record.checkpoints is None else record.checkpoints.buffers)
    if "model file" not in opened.passed:
        if opened.recipe.shards > 1 or buffers:
            return NotChecked("no model file as signed that could be compared with the last states")
        found = {opened.run.digest} ^ {state.weights for state in last.values()}
        if found:
            raise _other_member("the signed weights are not those of the last state")
        return "the signed weights are those of the last state"
    with opened.bundle.tensors(MODEL) as file:
        members = _members(file.tensors, sharded=opened.recipe.shards > 1)
        for place, shard in enumerate(record.alive):
            member = members.pop(f"shards.{place}." if opened.recipe.shards > 1 else "", {})
            if not buffers <= set(member):
                raise _other_member(
                    f"the record calls {min(buffers - set(member))[:60]!r} a buffer, and member {place} has none"
                )
            fixed = {name: tensor for name, tensor in member.items() if name not in buffers}
            moving = {name: tensor for name, tensor in member.items() if name in buffers}
            state = last[shard]
            if (file.digest_of(fixed), file.digest_of(moving)) != (state.weights, state.buffers):
                raise _other_member(f"member {place} of the model is not the last state of shard {shard}")
        if members:
            odd = min(prefix + name for prefix, member in members.items() for name in member)
            raise _other_member(f"the model holds {odd[:60]!r}, which is no part of a shard that is alive")
    return f"{counted(len(record.alive), 'member')}, each the last state of its shard"


def _check_ancestors(opened: OpenedRecord) -> None:
    """An ancestor's model is not in the bundle; where it is one shard without buffers, its last state names it."""
    for statement, (name, record, _) in zip(opened.parents, links(opened), strict=False):
        kept = record.checkpoints
        if opened.recipe.shards > 1 or kept is None or kept.buffers:
            continue
        if {state.weights for state in last_states(record).values()} != {statement.digest}:
            raise _other_member(f"{name} is signed for other weights than those of its last state")


def _members(tensors: Iterable[Tensor], *, sharded: bool) -> dict[str, dict[str, Tensor]]:
    """Tensors by the prefix of their member and their names behind it; without shards there is one member."""
    found: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        match = MEMBER.match(tensor.name) if sharded else None
        prefix = match[0] if match else ""
        found.setdefault(prefix, {})[tensor.name.removeprefix(prefix)] = tensor
    return found


def check_moved(opened: OpenedRecord) -> str:
    """Where forgotten rows had sat in steps, the weights are not the parent's."""
    return _moved(opened, own=True)


def check_moved_before(opened: OpenedRecord) -> str:
    """The same of each run before this one."""
    return _moved(opened, own=False)


def _moved(opened: OpenedRecord, *, own: bool) -> str:
    same = 0
    runs = [(statement, record) for statement, (_, record, _) in zip(opened.runs, links(opened), strict=True)]
    for at, (statement, record) in enumerate(runs):
        if own != (record is opened.record):
            continue
        for earlier, before in runs[:at]:  # not the parent alone: weights may come back after a run in between
            if statement.digest != earlier.digest:
                continue
            newly = set(record.data.tombstones) - set(before.data.tombstones)
            if sat_anywhere(opened.schedule, opened.recipe.least_present, before.data.tombstones, newly):
                whose = "its parent's weights" if earlier is runs[at - 1][0] else "the weights of an earlier ancestor"
                raise _unmoved(
                    opened,
                    record,
                    f"{described(statement, opened)} has {whose} bit for bit, and since then "
                    f"{counted(len(newly), 'row')} that had sat in steps were forgotten: nothing was done about them",
                )
            same += earlier is runs[at - 1][0]
    if not opened.parents:
        return NotChecked("the first run of its chain, so there is none to compare it with")
    kept = f", but for {counted(same, 'run')} whose forgotten rows had sat in no step" if same else ""
    return f"{'the run has' if own else 'each run before it has'} other weights than its parent{kept}"


def _unmoved(opened: OpenedRecord, record: RunRecord, found: str) -> RecordError | EvidenceMissing:
    """Steps of the schedule may come to the same bits by chance, which a full replay shows; a method's own cannot."""
    if record.came_about is not Execution.SCHEDULE:
        return refused(Code.WEIGHTS_UNCHANGED, found)
    if record is not opened.record and not opened.by_schedule:
        return EvidenceMissing(f"{found}, or it is an honest coincidence: a full replay, V3, of that record tells")
    return refused(Code.WEIGHTS_UNCHANGED, f"{found} (a full replay, V3, would show an honest coincidence)")


def _step(step: int | None) -> str:
    return "no step" if step is None else f"step {step:,}"


def _other_leaf(reason: str) -> RecordError:
    return refused(Code.CHECKPOINT_LEAF_MISMATCH, f"{reason}: a state was exchanged, or never recorded")


def _touched(reason: str) -> RecordError:
    return refused(Code.REUSE_AFTER_TOUCH, f"{reason}: the state holds what was to be forgotten")


def _other_member(reason: str) -> RecordError:
    return refused(Code.ENSEMBLE_MEMBER_MISMATCH, f"{reason}: a shard was exchanged, dropped or kept")
