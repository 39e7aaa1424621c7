"""Segments carried out again and compared bit for bit: weights, buffers, optimiser state, losses, gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from expunge.core.errors import ExpungeError, RecordError, ran_out_of_memory
from expunge.core.values import Progress
from expunge.core.wording import counted
from expunge.models.resolver import build
from expunge.records.bundle import TRACE
from expunge.records.limits import Code, refused
from expunge.records.trace_file import TraceLayout, TraceMode, step_records
from expunge.train.profile import pinned
from expunge.train.segment import StepSeen, Training, carry_out_segment
from expunge.train.state import Tensors, as_model_part, model_part, tensors_digest, weights_of
from expunge.verify.levels.environment import NOT_DETERMINISTIC
from expunge.verify.levels.segments import Segment, layout_of
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing, LeftUndecided
from expunge.verify.state_files import Parts, StateFiles

MOST_NAMED = 5  # segments that are named in a refusal; looking for more would only cost time
CANNOT = (
    ExpungeError,
    RuntimeError,
    ArithmeticError,
    LookupError,
    ValueError,
    TypeError,
    MemoryError,
)  # what states that fit nothing and values beyond all bounds do


def why_not(error: Exception) -> str:
    """What an error of ``CANNOT`` says, in one line; a machine without the memory for it decides nothing."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if ran_out_of_memory(error):
        raise EvidenceMissing(
            f"this machine has not the memory to carry it out ({said}), so nothing can be compared: verify it on one "
            "that has"
        ) from None
    return said


@dataclass(frozen=True)
class SegmentEnd:
    """What a segment came to here; ``failed`` where its steps could not be carried out at all."""

    parts: Parts | None
    seen: tuple[StepSeen, ...]
    failed: str | None = None


@dataclass(frozen=True)
class Difference:
    """A segment that gives other bits than the record says, and in what."""

    segment: Segment
    what: str

    @property
    def code(self) -> Code:
        """A state without a step before it is the initial weights."""
        return Code.REPLAY_STATE_MISMATCH if self.segment.end else Code.INIT_MISMATCH

    def __str__(self) -> str:
        return f"{self.segment} ({self.what})"


class SegmentReplay:
    """Carries segments of a record out again, one at a time."""

    def __init__(self, opened: OpenedRecord, training: Training, files: StateFiles) -> None:
        self.opened, self.training, self.files = opened, training, files
        self.layout = trace_layout(opened)

    def replay(self, segments: Sequence[Segment], progress: Progress | None = None) -> list[Difference]:
        """Every segment that differs; no further ones are looked for after five."""
        total, found, before = sum(segment.end - segment.start for segment in segments), list[Difference](), 0
        for segment in segments:
            moved = further(progress, before - segment.start, total)
            difference = self._compare(segment, moved)
            if difference is not None:
                found.append(difference)
            if len(found) == MOST_NAMED:
                break
            before += segment.end - segment.start
        return found

    def _compare(self, segment: Segment, progress: Progress | None) -> Difference | None:
        """A difference is one only if carrying out the segment once more comes to the same."""
        start = self.files.load(segment.shard, segment.start) if segment.start else None
        first = self._outcome(segment, start, progress)
        odd = self._odd(segment, first)
        if not odd:
            return None
        if self._outcome(segment, start, None) != first:
            raise LeftUndecided(
                NOT_DETERMINISTIC,
                f"{segment} gave different bits here when it was carried out twice from the same state: this machine "
                "does not repeat its own work, so nothing can be compared on it",
            )
        return Difference(segment, odd)

    def _outcome(self, segment: Segment, start: Tensors | None, progress: Progress | None) -> SegmentEnd:
        found: list[SegmentEnd] = []

        def look(step: int, state: Tensors, seen: list[StepSeen]) -> None:
            found.append(SegmentEnd(Parts.of(state, self.files.buffers), tuple(seen)))

        try:
            with pinned(self.training.recipe):
                carry_out_segment(
                    self.training,
                    segment.shard,
                    (segment.start, segment.end),
                    look,
                    state=start,
                    gradients=self.layout is not None and self.layout.mode is TraceMode.GRADIENTS,
                    where=f"the state at step {segment.start}",
                    progress=progress,
                )
        except RecordError:
            raise
        except CANNOT as error:
            return SegmentEnd(None, (), why_not(error))
        return found[0]

    def _odd(self, segment: Segment, outcome: SegmentEnd) -> str:
        """In what an outcome is not what the record says, in words; "" where in nothing."""
        if outcome.parts is None:
            return f"its steps cannot be carried out: {outcome.failed}"
        odd = outcome.parts.odd(Parts.stated(self.files.state(segment.shard, segment.end)))
        return ", ".join(odd + trace_odd(self.opened, self.layout, segment, outcome.seen))


def further(progress: Progress | None, before: int, total: int) -> Progress | None:
    """The progress of a part, as part of the whole."""
    return None if progress is None else lambda done, of: progress(before + done, total)


def trace_layout(opened: OpenedRecord) -> TraceLayout | None:
    """Where steps stand in the bundle's trace; None where there is none."""
    trace = opened.record.trace
    if trace is None or TRACE not in opened.bundle:
        return None
    return layout_of(opened.schedule, opened.record.alive, trace.mode)


def untraced(opened: OpenedRecord) -> str:
    """What a replay leaves open where the bundle lacks the trace; "" where nothing."""
    if opened.record.trace is None or TRACE in opened.bundle:
        return ""
    return f"; {TRACE} is not here, so the digests of the trace that the record names were compared with nothing"


def trace_odd(
    opened: OpenedRecord, layout: TraceLayout | None, segment: Segment, seen: Sequence[StepSeen]
) -> list[str]:
    """Which digests of the trace are not those of the steps as they were carried out here; the first step of each."""
    if layout is None:
        return []
    start, size = layout.steps(segment.shard, segment.start, segment.end)
    with opened.bundle.stream(TRACE) as stream:
        stream.seek(start)
        told = step_records(stream.read(size), layout.mode)
    found: list[str] = []
    for place, what in enumerate(("losses", "gradient") if layout.mode is TraceMode.GRADIENTS else ("losses",)):
        mine = [step.losses if place == 0 else step.gradient for step in seen]
        odd = [step for step, (here, there) in enumerate(zip(mine, told, strict=True)) if here != there[1 + place]]
        if odd:
            found.append(f"{what} from step {segment.start + odd[0]} on")
    return found


def changes(files: StateFiles, training: Training, segments: Sequence[Segment]) -> dict[Segment, float]:
    """Length of the change of the parameters over each segment. Reads every state; two are in memory at a time."""
    found: dict[Segment, float] = {}
    before: Tensors = {}
    for segment in segments:
        if segment.start == 0:
            with pinned(training.recipe):
                model = build(training.recipe, training.schedule.seed, segment.shard)
            before = as_model_part(weights_of(model))
        after = files.load(segment.shard, segment.end)
        found[segment] = _length(before, after, files)
        before = after
    return found


def _length(before: Tensors, after: Tensors, files: StateFiles) -> float:
    """‖Δw‖ in float64; infinite where the tensors are others."""
    one, other = (
        {name: value for name, value in model_part(tensors).items() if name not in files.buffers}
        for tensors in (before, after)
    )
    if {name: value.shape for name, value in one.items()} != {name: value.shape for name, value in other.items()}:
        return float("inf")
    squares = [float((other[name].double() - one[name].double()).square().sum()) for name in sorted(one)]
    length = float(np.sqrt(np.sum(squares)))
    return length if np.isfinite(length) else float("inf")


def check_model(opened: OpenedRecord, last: Callable[[int], Tensors]) -> str:
    """The model that the record is of is made of the last states of the shards that are alive, in their order."""
    alive, several = sorted(opened.record.alive), opened.recipe.shards > 1
    whole: dict[str, torch.Tensor] = {}
    for place, shard in enumerate(alive):
        prefix = f"shards.{place}." if several else ""
        whole |= {prefix + name: value for name, value in model_part(last(shard)).items()}
    if tensors_digest(whole) != opened.run.digest:
        raise refused(
            Code.ENSEMBLE_MEMBER_MISMATCH,
            f"the last states make weights {tensors_digest(whole).hex()[:16]}…, signed are "
            f"{opened.run.digest.hex()[:16]}…: a shard was exchanged, dropped or kept",
        )
    return f"weights {opened.run.digest.hex()[:16]}… are made of the last states of {counted(len(alive), 'shard')}"
