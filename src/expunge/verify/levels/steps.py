"""Level V1, every step: the schedule's root, and what the trace says was executed, in one pass over all orders.

Executed members and epochs are computed again from the schedule and the empty chairs; of losses and gradients only the
running digest is known, which every recorded state holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from expunge.core.merkle import GrowingTree
from expunge.core.values import Progress
from expunge.records.limits import Code, refused
from expunge.records.record import RunRecord, State
from expunge.records.trace_file import RunningDigest, TraceLayout, digest_table, executed_table
from expunge.schedule.digests import Executed, step_leaves
from expunge.schedule.schedule import Schedule
from expunge.schedule.seats import epochs_of
from expunge.verify.levels.segments import layout_of


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


def scan(
    schedule: Schedule,
    *,
    record: RunRecord,
    least_present: int,
    trace: BinaryIO | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Compute every step again. ``trace`` has the right length where it is given; without it only the root is found."""
    found = Scan()
    tree = GrowingTree()
    present = np.ones(schedule.count, dtype=bool)
    present[np.array(record.data.tombstones, dtype=np.int64)] = False
    total = sum(schedule.total_epochs(shard) for shard in range(schedule.shards))
    starts = {reuse.shard: reuse.step for reuse in record.reuse}
    layout = None
    if trace is not None and record.trace is not None:
        layout = layout_of(schedule, record.alive, record.trace.mode)
    done = 0
    for shard in range(schedule.shards):
        reader = None
        if trace is not None and layout is not None and shard in record.alive:
            reader = _Reader(trace, layout, shard, schedule.total_steps(shard), record)
        for epoch, first in epochs_of(schedule, shard):
            order = schedule.epoch_order(shard, epoch)
            for leaf in step_leaves(shard, first, order, schedule.batch_size):
                tree.add(leaf)
            if reader is not None:
                executed = Executed.of(shard, epoch, first, order, present, schedule.batch_size, least_present)
                found.skipped += executed.skipped
                found.work += int(executed.seats[max(0, starts.get(shard, 0) - first) :].sum())
                reader.compare(executed, found)
            done += 1
            if progress is not None:
                progress(done, total)
        found.steps += schedule.total_steps(shard)
    found.root = tree.root
    return found


class _Reader:
    """One shard's part of ``trace.bin``: its steps, then its epochs."""

    def __init__(self, stream: BinaryIO, layout: TraceLayout, shard: int, steps: int, record: RunRecord) -> None:
        self._stream, self._layout, self._shard = stream, layout, shard
        self._running = RunningDigest(shard)
        states = () if record.checkpoints is None else record.checkpoints.states
        self._states: Mapping[int, State] = {state.step: state for state in states if state.shard == shard}
        self._waiting = sorted(step for step in self._states if step <= steps)

    def compare(self, executed: Executed, found: Scan) -> None:
        """Read an epoch's records, and note where they or the running digests differ."""
        count = len(executed.steps)
        content = self._read(*self._layout.steps(self._shard, executed.first, executed.first + count))
        self._run_on(executed.first, content, found)
        records, expected = executed_table(content, self._layout.mode), digest_table(executed.steps)
        differ = np.flatnonzero((records != expected).any(axis=1))
        told = self._read(*self._layout.epoch(self._shard, executed.epoch))
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
        width = self._layout.mode.width
        at, end = first, first + len(content) // width
        while self._waiting and self._waiting[0] <= end:
            step = self._waiting.pop(0)
            self._running.update(content[(at - first) * width : (step - first) * width])
            at = step
            if self._running.digest() != self._states[step].trace:
                found.states.append(self._states[step])
        self._running.update(content[(at - first) * width :])

    def _read(self, start: int, length: int) -> bytes:
        self._stream.seek(start)
        content = self._stream.read(length)
        if len(content) != length:
            raise refused(Code.UNSAFE_FILE, "trace.bin became shorter while it was read: verify a copy of your own")
        return content
