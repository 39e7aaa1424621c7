"""Checkpoints, trace and log of one shard or phase of a run; written beside the training, never half."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from expunge.records.run_log import Checkpointed
from expunge.schedule.keeping import default_interval
from expunge.schedule.plan import Role, Step
from expunge.schedule.schedule import Schedule
from expunge.train.checkpoint import read_checkpoint
from expunge.train.log import RunLog
from expunge.train.loop import Recorder
from expunge.train.meter import Meter
from expunge.train.state import (
    Tensors,
    copied,
    full_state,
    gradients_of,
    load_full_state,
    tensors_digest,
    write_tensors,
)
from expunge.train.trace import ShardTrace, Trace, UnwrittenStep, adopt_trace

GRADIENTS_HELD = 4  # gradients that wait for their digest before the loop waits too


class FolderRecorder(Recorder):
    """Records one shard into a run folder. Files are written by a thread of their own, one at a time.

    ``kept`` are the steps whose states stay beside the latest: all of them unless said.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shard: int,
        total: int,
        log: RunLog,
        interval: int | None = None,
        stage_ends: Collection[int] = (),
        trace: ShardTrace | None = None,
        kept: Collection[int] | None = None,
        restores: bool = True,
    ) -> None:
        self.folder = folder
        self.shard = shard
        self._total = total
        self._log = log
        self._interval = interval or default_interval(total)
        self._stage_ends = frozenset(stage_ends)
        self._kept = kept
        self._restores = restores
        self._trace = trace
        self._done: list[UnwrittenStep] = []  # steps whose records are still to be written
        self._gradients = _Gradients() if trace is not None and trace.mode is Trace.GRADIENTS else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="expunge-recorder")
        self._pending: Future[None] | None = None

    def path(self, checkpoint: Checkpointed) -> Path:
        return self.folder / "checkpoints" / checkpoint.name

    def restore(self, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter) -> int:
        for checkpoint in reversed(self._log.checkpoints(self.shard) if self._restores else []):
            state = read_checkpoint(self.path(checkpoint), checkpoint)
            if state is None:
                continue
            load_full_state(student, optimisers, state, self.path(checkpoint))
            meter.continue_from(checkpoint.thirds, checkpoint.seconds)
            self._thin(checkpoint.step)
            self._cut_trace(checkpoint.step)
            return checkpoint.step
        self._cut_trace(0)
        return 0

    def before_update(self, student: nn.Module) -> None:
        if self._gradients is not None:
            self._gradients.digest(student)

    def after_step(self, step: Step, losses: dict[Role, torch.Tensor]) -> None:
        if self._trace is not None:
            gradient = None if self._gradients is None else self._gradients.take()
            self._done.append(self._trace.done(step, losses.get(Role.RETAIN), gradient))

    def due(self, done: int) -> bool:
        return done % self._interval == 0 or done in self._stage_ends or done == self._total

    def checkpoint(
        self, done: int, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter
    ) -> None:
        self.wait()
        state = copied(full_state(student, *optimisers))
        steps, self._done = self._done, []
        thirds, seconds = meter.thirds, round(meter.seconds, 6)
        self._pending = self._thread.submit(self._write, done, state, steps, thirds, seconds)

    def wait(self) -> None:
        """Wait for the file being written; its failure is ours."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Finish what is being written, even when the run was interrupted."""
        try:
            self.wait()
        finally:
            self._thread.shutdown(wait=True)
            if self._gradients is not None:
                self._gradients.close()

    def _write(self, done: int, state: Tensors, steps: list[UnwrittenStep], thirds: int, seconds: float) -> None:
        checkpoint = Checkpointed(
            shard=self.shard, step=done, digest=tensors_digest(state).hex(), thirds=thirds, seconds=seconds
        )
        write_tensors(self.path(checkpoint), state)
        if self._trace is not None:
            self._trace.write(steps)
        self._log.add(checkpoint)
        self._thin(done)

    def _thin(self, latest: int) -> None:
        """Remove what is not to stay; what a kill left of that goes with the next state, or when the run goes on."""
        if self._kept is None:
            return
        for state in self._log.checkpoints(self.shard):
            if state.step != latest and state.step not in self._kept:
                self.path(state).unlink(missing_ok=True)

    def _cut_trace(self, steps: int) -> None:
        if self._trace is not None:
            self._trace.cut(steps)


class _Gradients:
    """Digests of batch gradients, by a thread of its own so that the loop goes on.

    The loop lets go of a gradient after its step and never writes into it again, so nothing is copied; few are held
    at a time, or a checkpoint's worth of them would fill the memory.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="expunge-gradients")
        self._waiting: deque[Future[bytes]] = deque()
        self._latest: Future[bytes] | None = None

    def digest(self, student: nn.Module) -> None:
        """Begin with the gradients of this step."""
        while len(self._waiting) >= GRADIENTS_HELD:
            self._waiting.popleft().result()
        self._latest = self._thread.submit(tensors_digest, gradients_of(student))
        self._waiting.append(self._latest)

    def take(self) -> Future[bytes] | None:
        """What was begun since the last call; None where the step was skipped."""
        latest, self._latest = self._latest, None
        return latest

    def close(self) -> None:
        self._thread.shutdown(wait=True)


def adopt(
    folder: Path,
    log: RunLog,
    *,
    source: Path,
    kept: Collection[Checkpointed],
    link: Callable[[Path, Path], None],
    schedule: Schedule,
    trace: Trace,
    paid: bool = False,
) -> None:
    """Take over another run's checkpoints and the trace up to the last of them, as states that cost nothing here,
    unless they were ``paid`` for this very run.
    """
    known = {
        (checkpoint.shard, checkpoint.step)
        for shard in {c.shard for c in kept}
        for checkpoint in log.checkpoints(shard)
    }
    for checkpoint in sorted(kept, key=lambda item: (item.shard, item.step)):
        link(source / "checkpoints" / checkpoint.name, folder / "checkpoints" / checkpoint.name)
    if trace is not Trace.OFF:
        last = {checkpoint.shard: checkpoint.step for checkpoint in sorted(kept, key=lambda item: item.step)}
        adopt_trace(folder, source, schedule, trace, last)
    for checkpoint in sorted(kept, key=lambda item: (item.shard, item.step)):
        if (checkpoint.shard, checkpoint.step) not in known:
            log.add(checkpoint if paid else replace(checkpoint, thirds=0, seconds=0.0))
