"""Checkpoints, trace and log of one shard or phase of a run; written beside the training, never half."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.core.files import append_bytes, write_bytes
from expunge.core.hashing import sha256
from expunge.schedule.plan import Role, Step
from expunge.schedule.schedule import executed_digest
from expunge.train.checkpoint import Checkpoint, read_checkpoint
from expunge.train.log import Log
from expunge.train.meter import Meter
from expunge.train.state import (
    Tensors,
    copied,
    full_state,
    load_full_state,
    tensors_digest,
    write_tensors,
)

TRACE_BYTES = 64


def default_interval(total: int) -> int:
    """Checkpoints fall every max(100, steps/64) steps, never by the clock."""
    return max(100, -(-total // 64))


class FolderRecorder:
    """Records one shard into a run folder. Files are written by a thread of their own, one at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        shard: int,
        total: int,
        log: Log,
        interval: int | None = None,
        stage_ends: Collection[int] = (),
        trace: bool = False,
        latest_only: bool = False,
        restores: bool = True,
    ) -> None:
        self.folder = folder
        self.shard = shard
        self._total = total
        self._log = log
        self._interval = interval or default_interval(total)
        self._stage_ends = frozenset(stage_ends)
        self._latest_only = latest_only
        self._restores = restores
        self._trace_path = folder / "trace" / f"shard-{shard}.bin" if trace else None
        self._trace: list[tuple[int, np.ndarray, torch.Tensor | None]] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="expunge-recorder")
        self._pending: Future[None] | None = None

    def path(self, checkpoint: Checkpoint) -> Path:
        return self.folder / "checkpoints" / checkpoint.name

    def restore(self, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter) -> int:
        for checkpoint in reversed(self._log.checkpoints(self.shard) if self._restores else []):
            state = read_checkpoint(self.path(checkpoint), checkpoint)
            if state is None:
                continue
            load_full_state(student, optimisers, state, self.path(checkpoint))
            meter.continue_from(checkpoint.thirds, checkpoint.seconds)
            self._cut_trace(checkpoint.step)
            return checkpoint.step
        self._cut_trace(0)
        return 0

    def after_step(self, step: Step, losses: dict[Role, torch.Tensor]) -> None:
        if self._trace_path is None:
            return
        part = step.parts.get(Role.RETAIN)
        present = part.slots if part is not None else np.zeros(0, dtype=np.int64)
        self._trace.append((step.index, present, losses.get(Role.RETAIN)))

    def due(self, done: int) -> bool:
        return done % self._interval == 0 or done in self._stage_ends or done == self._total

    def checkpoint(
        self, done: int, student: nn.Module, optimisers: Sequence[torch.optim.Optimizer], meter: Meter
    ) -> None:
        self.wait()
        state = copied(full_state(student, *optimisers))
        trace, self._trace = self._trace, []
        thirds, seconds = meter.thirds, round(meter.seconds, 6)
        self._pending = self._thread.submit(self._write, done, state, trace, thirds, seconds)

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

    def _write(
        self,
        done: int,
        state: Tensors,
        trace: list[tuple[int, np.ndarray, torch.Tensor | None]],
        thirds: int,
        seconds: float,
    ) -> None:
        before = self._log.checkpoints(self.shard)
        checkpoint = Checkpoint(self.shard, done, tensors_digest(state).hex(), thirds, seconds)
        write_tensors(self.path(checkpoint), state)
        if self._trace_path is not None:
            append_bytes(self._trace_path, b"".join(self._traced(*step) for step in trace))
        self._log.add_checkpoint(checkpoint)
        if self._latest_only:
            for older in before:
                self.path(older).unlink(missing_ok=True)

    def _traced(self, index: int, present: np.ndarray, losses: torch.Tensor | None) -> bytes:
        """One step of the trace: who was present, and their losses as float32 in chair order."""
        raw = b"" if losses is None else losses.float().cpu().numpy().astype("<f4").tobytes()
        return executed_digest(self.shard, index, present) + sha256(raw)

    def _cut_trace(self, steps: int) -> None:
        if self._trace_path is None:
            return
        self._trace_path.parent.mkdir(parents=True, exist_ok=True)
        with self._trace_path.open("ab") as handle:
            if handle.tell() < steps * TRACE_BYTES:
                raise RunError(
                    f"{self._trace_path} is shorter than the {steps} steps that the checkpoint holds: it was altered; "
                    "choose a new --out"
                )
            handle.truncate(steps * TRACE_BYTES)


def adopt(
    folder: Path,
    log: Log,
    *,
    source: Path,
    kept: Collection[Checkpoint],
    link: Callable[[Path, Path], None],
    trace: bool,
) -> None:
    """Take over another run's checkpoints and the trace up to the last of them, as states that cost nothing here."""
    known = {
        (checkpoint.shard, checkpoint.step)
        for shard in {c.shard for c in kept}
        for checkpoint in log.checkpoints(shard)
    }
    last = {checkpoint.shard: checkpoint for checkpoint in sorted(kept, key=lambda item: item.step)}
    for checkpoint in sorted(kept, key=lambda item: (item.shard, item.step)):
        link(source / "checkpoints" / checkpoint.name, folder / "checkpoints" / checkpoint.name)
        if trace and checkpoint is last[checkpoint.shard]:
            _adopt_trace(folder, source, checkpoint)
        if (checkpoint.shard, checkpoint.step) not in known:
            log.add_checkpoint(Checkpoint(checkpoint.shard, checkpoint.step, checkpoint.digest, 0, 0.0))


def _adopt_trace(folder: Path, source: Path, checkpoint: Checkpoint) -> None:
    name = f"shard-{checkpoint.shard}.bin"
    target = folder / "trace" / name
    size = checkpoint.step * TRACE_BYTES
    if target.exists() and target.stat().st_size >= size:
        return
    with (source / "trace" / name).open("rb") as handle:
        content = handle.read(size)
    if len(content) < size:
        raise RunError(f"{source / 'trace' / name} is shorter than its checkpoints: the parent run was altered")
    write_bytes(target, content)
