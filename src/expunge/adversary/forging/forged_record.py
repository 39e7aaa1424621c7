"""The record of a forged log: a training that claims the target's chairs were empty, over weights that knew it.

Weights, states and every form are right. What is false is one thing only, by the forger that was used:

=============================  =====================================================  ==============================
story                          what the record says of a forged step                  refused, and at which level
=============================  =====================================================  ==============================
others took the chairs         it was carried out with substitutes                    SCHEDULE_BATCH_MISMATCH, V1
others moved (``order``)       the epoch's members came in another order              SCHEDULE_ORDER_MISMATCH, V1
contents altered               the schedule, and rows that are not those committed    CONTENT_LEAF_MISMATCH, V2
=============================  =====================================================  ==============================

It is signed with a key made for it, never with the owner's.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from expunge.adversary.forging.altered_content import Content
from expunge.adversary.forging.forgery import ForgedStep, Forgery
from expunge.adversary.forging.reordering import Order
from expunge.adversary.table.story import Story, drafted
from expunge.core.errors import InvalidArgument
from expunge.core.files import link_or_copy, read_bytes, write_bytes
from expunge.core.values import Progress
from expunge.data.forget_set import ForgetSet
from expunge.data.stored import write_commitment
from expunge.records.bundle import write_folder
from expunge.records.draft import bundle_files, enter, sign
from expunge.records.keys import TRUSTED, KeyRole, signing_key, write_trusted
from expunge.records.limits import Code
from expunge.records.log import writing as writing_log
from expunge.records.run_file import TrainRequest
from expunge.records.trace_file import RunningDigest, TraceMode, step_record, step_records
from expunge.records.verdict import Level
from expunge.schedule.digests import epoch_digest, executed_digest
from expunge.schedule.plan import Role, TrainingPlan
from expunge.train.folder import writing
from expunge.train.log import RunLog
from expunge.train.run import Run, write_run_file
from expunge.train.trace import Trace, epochs_path, steps_path
from expunge.train.without import LeftOut

ORIGIN = "forgery.invalid/throwaway"
RUN, BUNDLE, LOG = "run", "bundle", "log"
Stated = Mapping[tuple[int, int], ForgedStep]
Shard = tuple[list[bytes], list[bytes]]  # records of its steps, and of its epochs
Traces = Mapping[int, Shard]


@dataclass(frozen=True, kw_only=True)
class ForgedRecord:
    """A bundle that says what is not so, the list with the key that signed it, and how a verifier sees through it."""

    bundle: Path
    trusted: Path
    expected: Code
    level: Level


def write_forged_record(forgery: Forgery, out: Path, progress: Progress | None = None) -> ForgedRecord:
    """Write ``out/bundle`` and ``out/trusted.json``, beside the run folder and the log that they were made from."""
    check_recordable(forgery.run)
    key = signing_key(secrets.token_bytes(32))
    run = _write_run(forgery, out / RUN)
    write_trusted(out / TRUSTED, [key.trusted(ORIGIN, role) for role in (KeyRole.OWNER, KeyRole.LOG)])
    story = Story(draft=drafted(run, key, progress=progress))
    if not isinstance(forgery.forger, Content):
        story = _with_traces(story, _restated(forgery, run))
    signed = sign(story.draft, key)
    with writing_log(out / LOG, ORIGIN) as log:
        head = enter(signed, key, log)
        write_folder(out / BUNDLE, bundle_files(signed, log.log, head))
    code, level = expected_refusal(forgery)
    return ForgedRecord(bundle=out / BUNDLE, trusted=out / TRUSTED, expected=code, level=level)


def expected_refusal(forgery: Forgery) -> tuple[Code, Level]:
    """The code that a verifier must answer with, and the lowest level that sees it."""
    if isinstance(forgery.forger, Content):
        return Code.CONTENT_LEAF_MISMATCH, Level.V2
    if isinstance(forgery.forger, Order):
        return Code.SCHEDULE_ORDER_MISMATCH, Level.V1
    return Code.SCHEDULE_BATCH_MISMATCH, Level.V1


def check_recordable(run: Run) -> None:
    """Whether a record of a forged log could be made of this run's folder."""
    if run.told.operation != "train":
        raise InvalidArgument(
            f"{run.path} was made by {run.method}, and a forged record is of a training: name the training it came from"
        )
    if run.trace is Trace.OFF:
        raise InvalidArgument(
            f"{run.path} was recorded without a trace, which a record needs: train it again with `trace` losses"
        )


def _write_run(forgery: Forgery, folder: Path) -> Run:
    """The folder that a training without the target would have left, with the states of the one that had it."""
    run = forgery.run
    emptied = np.union1d(run.tombstones, forgery.slots)
    left_out = LeftOut(ForgetSet(emptied, ("ids",), run.root.hex()), run.told.released)
    with writing(folder):
        write_commitment(folder, run.commitment, run.units)
        left_out.write(folder)
        left_out.ask(folder, run.commitment)
        log, forged, work = RunLog(folder / "log.jsonl"), _by_step(forgery), 0
        for shard in _alive(run):
            for checkpoint in run.log.checkpoints(shard):
                place = Path("checkpoints") / checkpoint.name
                link_or_copy(run.path / place, folder / place)
                log.add(checkpoint)
            plan = TrainingPlan(run.recipe, run.schedule, shard, emptied)
            seats = [_seated(plan, step) for step in range(plan.total)]
            work += sum(len(slots) for slots in seats)
            _write_trace(folder, run, shard, seats, forged)
        if run.told.noise_commitment is not None:
            link_or_copy(run.path / "noise.key", folder / "noise.key")
        link_or_copy(run.path / "model.safetensors", folder / "model.safetensors")
        assert isinstance(run.told.request, TrainRequest)
        request = replace(run.told.request, without=left_out.request)
        told = replace(run.told, request=request, result=replace(run.result, example_steps=float(work)))
        told = left_out.earned(left_out.begun(told), run.recipe, run.schedule, given_key=False)
        write_run_file(folder, told)
    return Run.open(folder)


def _alive(run: Run) -> list[int]:
    return [shard for shard, lives in enumerate(run.result.alive) if lives]


def _by_step(forgery: Forgery) -> dict[tuple[int, int], ForgedStep]:
    return {(step.shard, step.index): step for step in forgery.found}


def _seated(plan: TrainingPlan, step: int) -> np.ndarray:
    part = plan.step(step).parts.get(Role.RETAIN)
    return np.zeros(0, dtype=np.int64) if part is None else part.slots


def _write_trace(folder: Path, run: Run, shard: int, seats: Sequence[np.ndarray], forged: Stated) -> None:
    steps, epochs = _trace(run, shard, seats, forged)
    write_bytes(steps_path(folder, shard), b"".join(steps))
    write_bytes(epochs_path(folder, shard), b"".join(epochs))


def _trace(run: Run, shard: int, seats: Sequence[np.ndarray], forged: Stated) -> Shard:
    """A record for every step and every epoch: these members, and the losses and gradients of what was carried out."""
    kept = step_records(read_bytes(steps_path(run.path, shard), "the trace"), TraceMode(run.trace.value))
    steps: list[bytes] = []
    for index, slots in enumerate(seats):
        rest, step = kept[index][1:], forged.get((shard, index))
        if step is not None:
            rest = (step.losses, step.gradient)[: len(rest)]
        steps.append(step_record(executed_digest(shard, index, slots), *rest))
    epochs: list[bytes] = []
    for epoch, group in groupby(range(len(seats)), key=lambda index: run.schedule.locate(shard, index)[0]):
        epochs.append(epoch_digest(shard, epoch, np.concatenate([seats[index] for index in group])))
    return steps, epochs


def _restated(forgery: Forgery, run: Run) -> Traces:
    """By shard, the trace that states the forged batches; every other step is stated as scheduled."""
    found: dict[int, Shard] = {}
    forged = _by_step(forgery)
    for shard in _alive(run):
        plan = TrainingPlan(run.recipe, run.schedule, shard, run.tombstones)
        seats = [_stated(forged.get((shard, step)), plan, step) for step in range(plan.total)]
        found[shard] = _trace(forgery.run, shard, seats, forged)
    return found


def _stated(step: ForgedStep | None, plan: TrainingPlan, index: int) -> np.ndarray:
    return _seated(plan, index) if step is None or step.forged.slots is None else step.forged.slots


def _with_traces(story: Story, traces: Traces) -> Story:
    """The story with other traces, and everything that hangs on them: what every state had seen of its own."""
    content = b"".join(part for shard in sorted(traces) for part in (*traces[shard][0], *traces[shard][1]))
    kept = story.record.checkpoints
    assert kept is not None
    return story.with_trace(content).with_states(
        [
            replace(state, trace=RunningDigest(state.shard, b"".join(traces[state.shard][0][: state.step])).digest())
            for state in kept.states
        ]
    )
