"""What a run folder recorded of its training: the digests of every state, and the trace of every step.

Nothing is taken over unread: checkpoints must be those that the run's log names, the last states must be the model's
weights, and the trace must name the members that the schedule gives with the run's empty chairs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.core.errors import RunError
from expunge.core.files import read_bytes
from expunge.core.hashing import sha256
from expunge.records.record import Checkpoints, State, TracePart, states_root
from expunge.records.run_log import Checkpointed
from expunge.records.states import StateDigests, state_digests
from expunge.records.tensors import TensorFile
from expunge.records.trace_file import RunningDigest, TraceMode, step_records
from expunge.schedule.digests import epoch_digest, executed_digest
from expunge.schedule.keeping import default_interval
from expunge.schedule.plan import Role, TrainingPlan
from expunge.schedule.schedule import Schedule
from expunge.train.names import buffer_names
from expunge.train.run import Run
from expunge.train.trace import Trace, epochs_path, steps_path

ALTERED = "it was altered; restore it from a copy, or make the run again"


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """What a record says of a run's states and steps."""

    checkpoints: Checkpoints
    trace: TracePart


@dataclass(frozen=True, kw_only=True)
class _Told:
    """A shard's trace: its bytes as trace.bin has them, and the running digest before each step that was asked for."""

    content: bytes
    before: Mapping[int, bytes]


def alive_shards(run: Run) -> tuple[int, ...]:
    """The shards that have anybody left, ascending."""
    return tuple(shard for shard, lives in enumerate(run.result.alive) if lives)


def states_on_disk(run: Run) -> dict[int, list[Checkpointed]]:
    """By shard that is alive, the logged states whose files are there, by step."""
    found = {shard: run.log.checkpoints(shard) for shard in alive_shards(run)}
    return {shard: [item for item in logged if _path(run, item).is_file()] for shard, logged in found.items()}


def trajectory_of(run: Run, schedule: Schedule, moved: Callable[[], None] | None = None) -> tuple[Trajectory, bytes]:
    """The trajectory and ``trace.bin``; ``moved`` is called after each checkpoint that was read."""
    mode = trace_mode(run)
    buffers = buffer_names(run.recipe)
    on_disk = states_on_disk(run)
    states: list[State] = []
    told: list[bytes] = []
    for place, (shard, checkpoints) in enumerate(on_disk.items()):
        total = schedule.total_steps(shard)
        if not checkpoints or checkpoints[-1].step != total:
            raise RunError(
                f"{run.path} holds no state of shard {shard} at step {total}, its last one: a record needs it; make "
                "the run again"
            )
        trace = _trace(run, schedule, shard, mode, [item.step for item in checkpoints])
        told.append(trace.content)
        for checkpoint in checkpoints:
            digests = checkpoint_digests(_path(run, checkpoint), checkpoint, buffers)
            states.append(
                State(
                    shard=shard,
                    step=checkpoint.step,
                    weights=digests.weights,
                    buffers=digests.buffers,
                    optimiser=digests.optimiser,
                    trace=trace.before[checkpoint.step],
                )
            )
            if checkpoint.step == total:
                _check_member(run, place, shard, digests.model)
            if moved is not None:
                moved()
    content = b"".join(told)
    checkpoints_part = Checkpoints(
        interval=_interval(run, schedule),
        count=len(states),
        root=states_root(tuple(states)),
        buffers=buffers,
        states=tuple(states),
    )
    return Trajectory(checkpoints=checkpoints_part, trace=TracePart(mode=mode, digest=sha256(content))), content


def checkpoint_digests(path: Path, checkpoint: Checkpointed, buffers: Collection[str]) -> StateDigests:
    """The digests of a checkpoint's file, which must be the one that was logged."""
    with path.open("rb") as stream:
        found = state_digests(TensorFile(stream, path.stat().st_size, str(path)), buffers)
    if found.whole.hex() != checkpoint.digest:
        raise RunError(f"{path} is not the state {checkpoint.digest[:12]}… that the run's log names: {ALTERED}")
    return found


def model_digest(run: Run, prefix: str = "") -> bytes:
    """Digest of the weights in model.safetensors, or of those whose names begin with ``prefix``."""
    path = run.path / "model.safetensors"
    if not path.is_file():
        raise RunError(f"{path} is missing: a record names these weights, and nothing else can be checked against it")
    with path.open("rb") as stream:
        return TensorFile(stream, path.stat().st_size, str(path)).digest(prefix)


def check_weights(run: Run) -> None:
    """model.safetensors must hold the weights that run.json names."""
    if model_digest(run).hex() != run.weights_digest:
        raise RunError(f"{run.path}: model.safetensors does not hold the weights of run.json: {ALTERED}")


def trace_mode(run: Run) -> TraceMode:
    """What the trace holds of each step; a run without one is refused."""
    if run.trace is Trace.OFF:
        raise RunError(
            f"{run.path} was made with `trace` off, so nothing states what was executed: make the run again with "
            "`trace` losses"
        )
    return TraceMode(run.trace.value)


def _path(run: Run, checkpoint: Checkpointed) -> Path:
    return run.path / "checkpoints" / checkpoint.name


def _interval(run: Run, schedule: Schedule) -> int:
    """Steps between states as asked for; where nothing was asked, the longest that any shard takes."""
    said = run.told.checkpoint_interval
    return said or max(default_interval(schedule.total_steps(shard)) for shard in range(schedule.shards))


def _check_member(run: Run, place: int, shard: int, model: bytes) -> None:
    """The last state of a shard must be its part of the model."""
    prefix = f"shards.{place}." if run.recipe.shards > 1 else ""
    if model_digest(run, prefix) != model:
        raise RunError(f"{run.path}: the last state of shard {shard} is not what model.safetensors holds: {ALTERED}")


def _trace(run: Run, schedule: Schedule, shard: int, mode: TraceMode, wanted: Collection[int]) -> _Told:
    path, size = steps_path(run.path, shard), mode.width
    content, total = read_bytes(path, "the trace"), schedule.total_steps(shard)
    if len(content) != total * size:
        raise RunError(f"{path} holds {len(content)} bytes, {total} steps have {total * size}: {ALTERED}")
    plan = TrainingPlan(run.recipe, schedule, shard, run.tombstones)
    running = RunningDigest(shard)
    before: dict[int, bytes] = {}
    epochs: list[bytes] = []
    seated: list[np.ndarray] = []
    for step, record in enumerate(step_records(content, mode)):
        if step in wanted:
            before[step] = running.digest()
        part = plan.step(step).parts.get(Role.RETAIN)
        present = np.zeros(0, dtype=np.int64) if part is None else part.slots
        if record[0] != executed_digest(shard, step, present):
            raise RunError(f"{path} names other members at step {step} than the schedule gives: {ALTERED}")
        running.update(b"".join(record))
        seated.append(present)
        epoch = schedule.locate(shard, step)[0]
        if step + 1 == total or schedule.locate(shard, step + 1)[0] != epoch:
            epochs.append(epoch_digest(shard, epoch, np.concatenate(seated)))
            seated = []
    before[total] = running.digest()
    _check_epochs(epochs_path(run.path, shard), b"".join(epochs))
    return _Told(content=content + b"".join(epochs), before=before)


def _check_epochs(path: Path, epochs: bytes) -> None:
    """Older runs keep no records of epochs; those that do must keep these."""
    if path.exists() and read_bytes(path, "the trace") != epochs:
        raise RunError(f"{path} names other members of an epoch than its steps do: {ALTERED}")
