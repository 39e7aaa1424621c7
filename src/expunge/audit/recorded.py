"""Level V1, states: the checkpoint tree, the files that are there, what was used again, and the model made of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

import numpy as np

from expunge.audit.chain import described, links
from expunge.audit.checks import counted
from expunge.audit.limits import Code, refused
from expunge.audit.opened import MODEL, OpenedRecord, recorded_before
from expunge.audit.record import Checkpoints, Reuse, RunRecord, State, states_root
from expunge.audit.states import state_digests
from expunge.audit.structure import seats_of_steps
from expunge.audit.tensors import Tensor, TensorFile
from expunge.core.errors import RecordError
from expunge.core.hashing import text_bytes, u32, u64
from expunge.schedule.schedule import Schedule

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


def check_ends(opened: OpenedRecord, schedule: Schedule) -> str:
    """Each shard's last state is the one after its last step."""
    for name, record, _ in links(opened):
        for shard, state in last_states(record).items():
            if state.step != schedule.total_steps(shard):
                raise refused(
                    Code.SCHEDULE_LENGTH_MISMATCH,
                    f"{name} ends shard {shard} with a state after {state.step:,} steps, the schedule has "
                    f"{schedule.total_steps(shard):,}",
                )
    return "each shard's last state stands after its last step"


def check_files(opened: OpenedRecord) -> str:
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
    return f"{counted(count, 'file')} of {counted(len(states), 'state')} in the bundle, each as signed"


def check_reuse(opened: OpenedRecord, schedule: Schedule) -> str:
    """What was used again had not seen anybody who is newly gone, and is the state of the run that it came from."""
    told: list[str] = []
    for at, (name, record, _) in enumerate(links(opened)):
        source = recorded_before(opened.runs[:at])
        before = source.predicate if source is not None and isinstance(source.predicate, RunRecord) else None
        for reuse in record.reuse:
            if reuse.shard >= schedule.shards or (before is None and reuse.step):
                raise _other_leaf(f"{name} reuses a state of shard {reuse.shard} that no ancestor recorded")
            if before is not None:
                _check_one(f"{name}, shard {reuse.shard},", opened, schedule, record, before, reuse)
            if record is opened.record and reuse.step:
                told.append(f"shard {reuse.shard} up to step {reuse.step:,}")
    return f"reused: {', '.join(told[:8])}{', …' if len(told) > 8 else ''}" if told else "no earlier state was reused"


def _check_one(
    where: str, opened: OpenedRecord, schedule: Schedule, record: RunRecord, before: RunRecord, reuse: Reuse
) -> None:
    newly = np.setdiff1d(
        np.array(record.data.tombstones, dtype=np.int64), np.array(before.data.tombstones, dtype=np.int64)
    )
    touched = schedule.first_touch(reuse.shard, newly)
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


def _leaves(kept: Checkpoints | None, shard: int) -> Mapping[int, bytes]:
    return {} if kept is None else {state.step: state.leaf for state in kept.states if state.shard == shard}


def check_members(opened: OpenedRecord, model_sound: bool) -> str:
    """The model is made of the last states of the shards that are alive, in their order."""
    record, last = opened.record, last_states(opened.record)
    buffers = frozenset(() if record.checkpoints is None else record.checkpoints.buffers)
    if not model_sound:
        if opened.recipe.shards > 1 or buffers:
            return "no model file to compare with the last states"
        found = {opened.run.digest} ^ {state.weights for state in last.values()}
        if found:
            raise _other_member("the signed weights are not those of the last state")
        return "the signed weights are those of the last state"
    with opened.bundle.tensors(MODEL) as file:
        left = {tensor.name: tensor for tensor in file.tensors}
        for place, shard in enumerate(record.alive):
            prefix = f"shards.{place}." if opened.recipe.shards > 1 else ""
            names = [name for name in left if name.startswith(prefix)]
            member = {name.removeprefix(prefix): left.pop(name) for name in names}
            fixed = {name: tensor for name, tensor in member.items() if name not in buffers}
            moving = {name: tensor for name, tensor in member.items() if name in buffers}
            state = last[shard]
            if (_digest(file, fixed), _digest(file, moving)) != (state.weights, state.buffers):
                raise _other_member(f"member {place} of the model is not the last state of shard {shard}")
        if left:
            raise _other_member(f"the model holds {min(left)[:60]!r}, which is no part of a shard that is alive")
    return f"{counted(len(record.alive), 'member')}, each the last state of its shard"


def _digest(file: TensorFile, tensors: Mapping[str, Tensor]) -> bytes:
    """As ``TensorFile.digest``, over these tensors under these names."""
    state = sha256(b"expunge/tensors/1" + u32(len(tensors)))
    for name in sorted(tensors):
        tensor = tensors[name]
        state.update(text_bytes(name) + text_bytes(tensor.kind.name))
        state.update(u32(len(tensor.shape)) + b"".join(u64(length) for length in tensor.shape))
        for piece in file.chunks(tensor):
            state.update(piece)
    return state.digest()


def check_moved(opened: OpenedRecord, schedule: Schedule) -> str:
    """Where forgotten rows had sat in steps, the weights are not the parent's."""
    same = 0
    for statement, parent, (_, record, before) in zip(
        opened.runs[1:], opened.runs[:-1], list(links(opened))[1:], strict=True
    ):
        if statement.digest != parent.digest or before is None:
            continue
        newly = set(record.data.tombstones) - set(before.data.tombstones)
        if sat_anywhere(schedule, opened.recipe.least_present, before.data.tombstones, newly):
            raise refused(
                Code.WEIGHTS_UNCHANGED,
                f"{described(statement, opened)} has its parent's weights bit for bit, and forgot "
                f"{counted(len(newly), 'row')} that had sat in steps: nothing was done about them (a full replay, V3, "
                "would show an honest coincidence)",
            )
        same += 1
    if not opened.parents:
        return "the first run of its chain, compared with nothing"
    kept = f", but for {counted(same, 'run')} whose forgotten rows had sat in no step" if same else ""
    return f"each run has other weights than its parent{kept}"


def sat_anywhere(schedule: Schedule, least_present: int, emptied: Iterable[int], newly: Iterable[int]) -> bool:
    """Whether any of ``newly`` sat in a step that was carried out while only ``emptied`` were gone."""
    present, wanted = np.ones(schedule.count, dtype=np.int64), np.zeros(schedule.count, dtype=np.int64)
    present[list(emptied)] = 0
    wanted[list(newly)] = 1
    for shard in range(schedule.shards):
        if not wanted[schedule.shard_slots(shard)].any():
            continue
        for stage in schedule.stages[shard]:
            for epoch in range(stage.first_epoch, stage.first_epoch + stage.epochs):
                seats = seats_of_steps(schedule, shard, epoch, present)
                if bool(((seats >= least_present) & (seats_of_steps(schedule, shard, epoch, wanted) > 0)).any()):
                    return True
    return False


def _step(step: int | None) -> str:
    return "no step" if step is None else f"step {step:,}"


def _other_leaf(reason: str) -> RecordError:
    return refused(Code.CHECKPOINT_LEAF_MISMATCH, f"{reason}: a state was exchanged, or never recorded")


def _touched(reason: str) -> RecordError:
    return refused(Code.REUSE_AFTER_TOUCH, f"{reason}: the state holds what was to be forgotten")


def _other_member(reason: str) -> RecordError:
    return refused(Code.ENSEMBLE_MEMBER_MISMATCH, f"{reason}: a shard was exchanged, dropped or kept")
