"""Level V4: the whole training once more from its seed, with the chairs empty and no checkpoint at all.

The twin does not know what was reused, so it checks the rule for reuse as well. On its way it passes every recorded
state; they must be its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core.errors import RecordError
from expunge.core.values import Progress
from expunge.records.limits import Code, refused
from expunge.records.record import State
from expunge.records.trace_file import TraceMode
from expunge.train.profile import pinned
from expunge.train.segment import StepSeen, Training, carry_out_segment
from expunge.train.state import Tensors, copied
from expunge.verify.levels.environment import NOT_DETERMINISTIC
from expunge.verify.levels.execution import (
    CANNOT,
    check_model,
    further,
    trace_layout,
    trace_odd,
    why_not,
)
from expunge.verify.levels.segments import Segment
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import LeftUndecided
from expunge.verify.state_files import Parts


@dataclass(frozen=True)
class _Departure:
    """Where and in what the twin came to other bits than the record; ``parts`` are the twin's."""

    step: int
    what: str
    parts: Parts | None


class _Departed(Exception):
    """The twin stops at its first departure."""

    def __init__(self, departure: _Departure) -> None:
        super().__init__(departure)
        self.departure = departure


def check_twin(opened: OpenedRecord, training: Training, progress: Progress | None = None) -> str:
    """The model comes out bit for bit, through all recorded states."""
    twin = _Twin(opened, training)
    alive = sorted(opened.record.alive)
    total, passed = sum(opened.schedule.total_steps(shard) for shard in alive), 0
    last: dict[int, Tensors] = {}
    for shard in alive:
        last[shard] = twin.run(shard, further(progress, passed, total))
        passed += opened.schedule.total_steps(shard)
    return check_model(opened, last.__getitem__)


class _Twin:
    """Trains shards from their initial weights, and stops where the record says otherwise."""

    def __init__(self, opened: OpenedRecord, training: Training) -> None:
        self._opened, self._training = opened, training
        checkpoints = opened.record.checkpoints
        self._states: dict[tuple[int, int], State] = (
            {} if checkpoints is None else {(state.shard, state.step): state for state in checkpoints.states}
        )
        self._buffers = frozenset(() if checkpoints is None else checkpoints.buffers)
        self._layout = trace_layout(opened)

    def run(self, shard: int, progress: Progress | None) -> Tensors:
        """The last state of a shard; what differs is refused once it came out the same a second time."""
        first = self._attempt(shard, progress)
        if not isinstance(first, _Departure):
            return first
        if self._attempt(shard, None) != first:
            raise LeftUndecided(
                NOT_DETERMINISTIC,
                f"shard {shard} came to different bits here when it was trained twice from the same initial weights: "
                "this machine does not repeat its own work, so nothing can be compared on it",
            )
        raise refused(
            Code.REPLAY_STATE_MISMATCH if first.step else Code.INIT_MISMATCH,
            f"trained from nothing, shard {shard} comes to other bits than the record at step {first.step} "
            f"({first.what}), twice the same: this is not how the model was made",
        )

    def _attempt(self, shard: int, progress: Progress | None) -> Tensors | _Departure:
        try:
            return self._train(shard, progress)
        except _Departed as found:
            return found.departure

    def _train(self, shard: int, progress: Progress | None) -> Tensors:
        total = self._opened.schedule.total_steps(shard)
        last: list[Tensors] = []
        before = 0

        def look(step: int, state: Tensors, seen: list[StepSeen]) -> None:
            nonlocal before
            self._compare(Segment(shard, before, step), state, seen)
            before = step
            if step == total:
                last.append(copied(state))

        at = {step for of, step in self._states if of == shard}
        gradients = self._layout is not None and self._layout.mode is TraceMode.GRADIENTS
        try:
            with pinned(self._training.recipe):
                carry_out_segment(
                    self._training, shard, (0, total), look, at=at, gradients=gradients, progress=progress
                )
        except (_Departed, RecordError):
            raise
        except CANNOT as error:
            raise _Departed(_Departure(before, why_not(error), None)) from error
        return last[0]

    def _compare(self, segment: Segment, state: Tensors, seen: list[StepSeen]) -> None:
        stated = self._states.get((segment.shard, segment.end))
        parts = Parts.of(state, self._buffers)
        odd = [] if stated is None else parts.odd(Parts.stated(stated))
        odd += trace_odd(self._opened, self._layout, segment, seen)
        if odd:
            raise _Departed(_Departure(segment.end, ", ".join(odd), parts))
