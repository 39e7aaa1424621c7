"""The trace of a shard: digests of what every step was carried out with, and of every epoch's members.

``trace/shard-S.bin`` holds a record per step, ``trace/epochs-S.bin`` one per epoch, counted through the slices' stages,
as ``records.trace_file`` has them. Nothing in them is anybody's content.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from expunge.core.errors import RunError
from expunge.core.files import append_bytes, write_bytes
from expunge.core.hashing import sha256
from expunge.records.documents import TRACE
from expunge.records.trace_file import EPOCH_BYTES, NOTHING, TraceMode, step_record, step_records
from expunge.schedule.digests import epoch_digest, executed_digest
from expunge.schedule.plan import Plan, Role, Step
from expunge.schedule.schedule import Schedule

if TYPE_CHECKING:
    import torch


class Trace(Enum):
    """What is kept of every step beside the checkpoints: digests of its members with their losses, or with the batch
    gradient too, or nothing."""

    LOSSES = "losses"
    GRADIENTS = "gradients"
    OFF = "off"

    @property
    def kept(self) -> Trace | None:
        """What there is, if anything."""
        return None if self is Trace.OFF else self

    @property
    def width(self) -> int:
        """Bytes of a step's record."""
        return 0 if self is Trace.OFF else TraceMode(self.value).width


def steps_path(folder: Path, shard: int) -> Path:
    """Where a shard's step records lie."""
    return folder / TRACE / f"shard-{shard}.bin"


def epochs_path(folder: Path, shard: int) -> Path:
    """Where a shard's epoch records lie."""
    return folder / TRACE / f"epochs-{shard}.bin"


def losses_digest(losses: torch.Tensor | None) -> bytes:
    """Digest of a step's losses as float32 in chair order."""
    return NOTHING if losses is None else sha256(losses.float().cpu().numpy().astype("<f4").tobytes())


def epoch_ends(schedule: Schedule, shard: int) -> list[int]:
    """For every epoch of a shard the number of steps after which it is complete."""
    return [
        stage.first_step + (passed + 1) * stage.steps_per_epoch
        for stage in schedule.stages[shard]
        for passed in range(stage.epochs)
    ]


@dataclass(frozen=True)
class UnwrittenStep:
    """A step that was carried out or skipped, not written down so far."""

    index: int
    present: np.ndarray
    losses: torch.Tensor | None
    gradient: Future[bytes] | None


class ShardTrace:
    """Writes the trace of one shard. The plan says who sits in which step, also in steps of an earlier process."""

    def __init__(self, folder: Path, schedule: Schedule, plan: Plan, mode: Trace) -> None:
        assert mode is not Trace.OFF, "nothing is to be traced"
        self.mode = mode
        self._plan = plan
        self._shard = plan.shard
        self._steps, self._epochs = steps_path(folder, plan.shard), epochs_path(folder, plan.shard)
        self._ends = epoch_ends(schedule, plan.shard)
        self._members: list[np.ndarray] = []  # of the epoch that is going on, step by step
        self._epoch = 0  # number of the epoch that is going on

    def done(self, step: Step, losses: torch.Tensor | None, gradient: Future[bytes] | None) -> UnwrittenStep:
        """What is kept of a step until it is written."""
        return UnwrittenStep(step.index, _present(step), losses, gradient)

    def write(self, steps: Sequence[UnwrittenStep]) -> None:
        """Append the records of some steps, and of the epochs that are complete with them."""
        records: list[bytes] = []
        epochs: list[bytes] = []
        for step in steps:
            records.append(self._record(step))
            epochs += self._counted(step.index, step.present)
        append_bytes(self._steps, b"".join(records))
        append_bytes(self._epochs, b"".join(epochs))

    def cut(self, steps: int) -> None:
        """Go back to the state after so many steps; the members of an epoch that was begun are taken from the plan."""
        self._cut(self._steps, steps * self.mode.width, steps)
        self._epoch = bisect_right(self._ends, steps)
        complete = self._epoch * EPOCH_BYTES
        if self._epochs.exists() and self._epochs.stat().st_size >= complete:
            self._cut(self._epochs, complete, steps)
        else:  # written before epochs were recorded, or taken over from such a run
            self._epoch = 0
        first = self._ends[self._epoch - 1] if self._epoch else 0
        stored, epochs, self._members = self._stored(first, steps), list[bytes](), []
        for index in range(first, steps):
            present = _present(self._plan.step(index))
            if stored[index - first][0] != executed_digest(self._shard, index, present):
                raise RunError(
                    f"{self._steps} says that step {index} was carried out with other rows than the schedule gives: it "
                    "was altered; choose a new `out`, and where a run is to forget `method` retrain"
                )
            epochs += self._counted(index, present)
        if epochs:
            write_bytes(self._epochs, b"".join(epochs))

    def _record(self, step: UnwrittenStep) -> bytes:
        gradient = b""
        if self.mode is Trace.GRADIENTS:
            gradient = NOTHING if step.gradient is None else step.gradient.result()
        return step_record(executed_digest(self._shard, step.index, step.present), losses_digest(step.losses), gradient)

    def _counted(self, index: int, present: np.ndarray) -> list[bytes]:
        """Add a step's members to its epoch; the epoch's record where it is complete."""
        self._members.append(present)
        if index + 1 != self._ends[self._epoch]:
            return []
        record = epoch_digest(self._shard, self._epoch, np.concatenate(self._members))
        self._members, self._epoch = [], self._epoch + 1
        return [record]

    def _stored(self, first: int, steps: int) -> list[tuple[bytes, ...]]:
        with self._steps.open("rb") as handle:
            handle.seek(first * self.mode.width)
            return step_records(handle.read((steps - first) * self.mode.width), TraceMode(self.mode.value))

    def _cut(self, path: Path, size: int, steps: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as handle:
            if handle.tell() < size:
                raise RunError(
                    f"{path} is shorter than the {steps} steps that the checkpoint holds: it was altered; choose a new "
                    "`out`"
                )
            handle.truncate(size)


def _present(step: Step) -> np.ndarray:
    part = step.parts.get(Role.RETAIN)
    return np.zeros(0, dtype=np.int64) if part is None else part.slots


def continued(parent: Trace, asked: Trace) -> Trace:
    """The trace of a run that takes over its parent's first steps: it is of the parent's kind, or there is none."""
    return Trace.OFF if asked is Trace.OFF else parent


def adopt_trace(folder: Path, source: Path, schedule: Schedule, mode: Trace, last: Mapping[int, int]) -> None:
    """Take over another run's records, of each shard up to a step."""
    for shard, step in last.items():
        _adopt(steps_path(source, shard), steps_path(folder, shard), step * mode.width)
        if epochs_path(source, shard).exists():  # older runs have none: they are made anew from the plan
            complete = bisect_right(epoch_ends(schedule, shard), step)
            _adopt(epochs_path(source, shard), epochs_path(folder, shard), complete * EPOCH_BYTES)


def _adopt(source: Path, target: Path, size: int) -> None:
    if target.exists() and target.stat().st_size >= size:
        return
    try:
        with source.open("rb") as handle:
            content = handle.read(size)
    except OSError as error:
        raise RunError(
            f"{source} could not be read ({error.strerror or error}): the trace of the original cannot be taken over; "
            "put it back, or say `trace` off"
        ) from None
    if len(content) < size:
        raise RunError(
            f"{source} is shorter than its checkpoints: the original's trace was altered; restore it, or say "
            "`trace` off"
        )
    write_bytes(target, content)
