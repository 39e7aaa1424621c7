"""Level V1, every step: the schedule's root, and what the trace says was executed, in one pass over all orders.

A step's record in ``trace.bin`` is executed ‖ losses (‖ gradient); an epoch's is one digest. Executed members and
epochs are computed again from the schedule and the empty chairs; of losses and gradients only the running digest is
known, which every recorded state holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256 as begin
from typing import BinaryIO

import numpy as np

from expunge.core.hashing import slot_bytes, u32, u64
from expunge.core.merkle import DIGEST_BYTES, GrowingTree
from expunge.records.limits import Code, refused
from expunge.records.record import RunRecord, State, TraceMode
from expunge.schedule.schedule import Schedule
from expunge.schedule.seats import epochs_of

RECORD_BYTES = {TraceMode.LOSSES: 2 * DIGEST_BYTES, TraceMode.GRADIENTS: 3 * DIGEST_BYTES}
SLOT_BYTES = 8


@dataclass(frozen=True)
class Departure:
    """The first epoch of a shard whose records differ from what was computed, and how many steps of it do.

    ``moved`` says that a step's record stands at another step's place, ``same_members`` that the epoch had the right
    members all the same.
    """

    shard: int
    epoch: int
    step: int
    steps: int
    same_members: bool
    moved: bool


@dataclass
class Scan:
    """What one pass found; ``states`` are those whose running trace digest is another one.

    ``work`` counts example-steps from where each shard starts in this run: after the state that it reused.
    """

    root: bytes = b""
    steps: int = 0
    skipped: int = 0
    work: int = 0
    departures: list[Departure] = field(default_factory=list[Departure])
    states: list[State] = field(default_factory=list[State])


def trace_bytes(schedule: Schedule, mode: TraceMode, alive: Sequence[int]) -> int:
    """Length of ``trace.bin``."""
    steps = sum(schedule.total_steps(shard) for shard in alive)
    epochs = sum(_epochs(schedule, shard) for shard in alive)
    return steps * RECORD_BYTES[mode] + epochs * DIGEST_BYTES


def scan(
    schedule: Schedule,
    *,
    record: RunRecord,
    least_present: int,
    trace: BinaryIO | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Compute every step again. ``trace`` has the right length where it is given; without it only the root is found."""
    found = Scan()
    tree = GrowingTree()
    present = np.ones(schedule.count, dtype=bool)
    present[np.array(record.data.tombstones, dtype=np.int64)] = False
    mode = None if record.trace is None else record.trace.mode
    total = sum(_epochs(schedule, shard) for shard in range(schedule.shards))
    starts = {reuse.shard: reuse.step for reuse in record.reuse}
    at = done = 0
    for shard in range(schedule.shards):
        reader = None
        if trace is not None and mode is not None and shard in record.alive:
            reader = _Reader(trace, at, schedule, shard, RECORD_BYTES[mode], record)
            at += reader.length
        for epoch, first in epochs_of(schedule, shard):
            order = schedule.epoch_order(shard, epoch)
            _add_steps(tree, shard, first, order, schedule.batch_size)
            if reader is not None:
                executed = _Executed.of(shard, epoch, first, order, present, schedule.batch_size, least_present)
                found.skipped += executed.skipped
                found.work += int(executed.seats[max(0, starts.get(shard, 0) - first) :].sum())
                reader.compare(executed, found)
            done += 1
            if progress is not None:
                progress(done, total)
        found.steps += schedule.total_steps(shard)
    found.root = tree.root
    return found


def _epochs(schedule: Schedule, shard: int) -> int:
    last = schedule.stages[shard][-1]
    return last.first_epoch + last.epochs


def _add_steps(tree: GrowingTree, shard: int, first: int, order: np.ndarray, size: int) -> None:
    """The leaves of an epoch's steps, as ``schedule.step_bytes`` has them."""
    content, head = slot_bytes(order), b"\x00expunge/step/1" + u32(shard)
    for step, start in enumerate(range(0, len(order), size), start=first):
        chairs = min(size, len(order) - start)
        slots = content[start * SLOT_BYTES : (start + chairs) * SLOT_BYTES]
        tree.add(begin(head + u64(step) + u32(chairs) + slots).digest())


@dataclass(frozen=True)
class _Executed:
    """What an epoch's records must be: a digest for each step, and one over all members; ``seats`` counts by step."""

    shard: int
    epoch: int
    first: int
    steps: tuple[bytes, ...]
    members: bytes
    skipped: int
    seats: np.ndarray

    @classmethod
    def of(
        cls, shard: int, epoch: int, first: int, order: np.ndarray, present: np.ndarray, size: int, least: int
    ) -> _Executed:
        seated = present[order]
        kept = order[seated]
        seats = np.add.reduceat(seated.astype(np.int64), np.arange(0, len(order), size))
        enough = seats >= least
        ends = np.cumsum(seats).tolist()
        content, head = slot_bytes(kept), b"expunge/executed/1" + u32(shard)
        steps: list[bytes] = []
        start = 0
        for number, (end, taken) in enumerate(zip(ends, enough.tolist(), strict=True)):
            slots = content[start * SLOT_BYTES : end * SLOT_BYTES] if taken else b""
            count = len(slots) // SLOT_BYTES
            steps.append(begin(head + u64(first + number) + u32(count) + slots).digest())
            start = end
        members = np.sort(kept if enough.all() else kept[np.repeat(enough, seats)])
        epoch_head = b"expunge/epoch/1" + u32(shard) + u64(epoch) + u32(len(members))
        digest = begin(epoch_head)
        digest.update(slot_bytes(members))
        skipped = len(steps) - int(enough.sum())
        return cls(shard, epoch, first, tuple(steps), digest.digest(), skipped, np.where(enough, seats, 0))


class _Reader:
    """One shard's part of ``trace.bin``: its steps, then its epochs."""

    def __init__(
        self, stream: BinaryIO, start: int, schedule: Schedule, shard: int, width: int, record: RunRecord
    ) -> None:
        steps = schedule.total_steps(shard)
        self.length = steps * width + _epochs(schedule, shard) * DIGEST_BYTES
        self._stream, self._start, self._width = stream, start, width
        self._epochs_start = start + steps * width
        self._running = begin(b"expunge/trace/1" + u32(shard))
        states = () if record.checkpoints is None else record.checkpoints.states
        self._states: Mapping[int, State] = {state.step: state for state in states if state.shard == shard}
        self._waiting = sorted(step for step in self._states if step <= steps)

    def compare(self, executed: _Executed, found: Scan) -> None:
        """Read an epoch's records, and note where they or the running digests differ."""
        count, width = len(executed.steps), self._width
        content = self._read(self._start + executed.first * width, count * width)
        self._run_on(executed.first, content, found)
        records = np.frombuffer(content, dtype=np.uint8).reshape(count, width)[:, :DIGEST_BYTES]
        expected = np.frombuffer(b"".join(executed.steps), dtype=np.uint8).reshape(count, DIGEST_BYTES)
        differ = np.flatnonzero((records != expected).any(axis=1))
        told = self._read(self._epochs_start + executed.epoch * DIGEST_BYTES, DIGEST_BYTES)
        if len(differ) or told != executed.members:
            others = set(executed.steps)
            found.departures.append(
                Departure(
                    shard=executed.shard,
                    epoch=executed.epoch,
                    step=executed.first + (int(differ[0]) if len(differ) else 0),
                    steps=len(differ),
                    same_members=told == executed.members,
                    moved=any(records[at].tobytes() in others for at in differ),
                )
            )

    def _run_on(self, first: int, content: bytes, found: Scan) -> None:
        """Feed an epoch's records to the running digest, stopping at every step that a state was recorded at."""
        at, end = first, first + len(content) // self._width
        while self._waiting and self._waiting[0] <= end:
            step = self._waiting.pop(0)
            self._running.update(content[(at - first) * self._width : (step - first) * self._width])
            at = step
            if self._running.digest() != self._states[step].trace:
                found.states.append(self._states[step])
        self._running.update(content[(at - first) * self._width :])

    def _read(self, start: int, length: int) -> bytes:
        self._stream.seek(start)
        content = self._stream.read(length)
        if len(content) != length:
            raise refused(Code.UNSAFE_FILE, "trace.bin became shorter while it was read: verify a copy of your own")
        return content
