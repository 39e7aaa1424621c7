"""Which pieces of a recorded run are carried out again, and what a draw of them may miss. No torch.

A segment is what lies between two recorded states of a shard, the first one beginning at the initial weights. Some are
always looked at, the rest is drawn by the verifier once the bundle is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.records.record import State
from expunge.records.trace_file import TraceLayout, TraceMode
from expunge.schedule.schedule import Schedule

EXTREMES = 3  # segments with the smallest and with the largest change of the weights that are always looked at


@dataclass(frozen=True, order=True)
class Segment:
    """Steps ``start`` … ``end`` − 1 of a shard: from the state at ``start`` (0: initial weights) to that at ``end``.

    A segment without steps is a recorded state at step 0: it must be the initial weights.
    """

    shard: int
    start: int
    end: int

    def __str__(self) -> str:
        if self.end == self.start:
            return f"shard {self.shard} before step 0"
        return f"shard {self.shard} steps {self.start}–{self.end - 1}"


def listed(segments: Sequence[Segment]) -> str:
    """Segments as a sentence lists them, shard by shard."""
    shards = sorted({segment.shard for segment in segments})
    return "; ".join(
        f"shard {shard} steps "
        + ", ".join(f"{item.start}–{item.end - 1}" for item in sorted(segments) if item.shard == shard)
        for shard in shards
    )


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Segments to carry out again: ``always`` whatever falls out, ``drawn`` by chance from ``pool`` others."""

    always: tuple[Segment, ...]
    drawn: tuple[Segment, ...]
    pool: int

    @property
    def chosen(self) -> tuple[Segment, ...]:
        """All of them, by shard and step."""
        return tuple(sorted((*self.always, *self.drawn)))


def segments_of(states: Sequence[State]) -> tuple[Segment, ...]:
    """The segments between these states, by shard and step."""
    found: list[Segment] = []
    for shard in sorted({state.shard for state in states}):
        start = 0
        for step in sorted(state.step for state in states if state.shard == shard):
            found.append(Segment(shard, start, step))
            start = step
    return tuple(found)


def always_replayed(
    segments: Sequence[Segment], emptied: Mapping[int, np.ndarray], change: Callable[[Segment], float]
) -> tuple[Segment, ...]:
    """The segments that no draw decides about.

    The first of every shard; all that have an empty chair (``emptied``: steps by shard) and all after the last of
    these; the three whose weights change least and the three whose weights change most, by ``change``.
    """
    chosen: set[Segment] = {segment for segment in segments if segment.start == 0}
    for segment in segments:
        steps = emptied.get(segment.shard, np.zeros(0, dtype=np.int64))
        touched = bool(((steps >= segment.start) & (steps < segment.end)).any())
        if touched or (len(steps) and segment.start > steps[-1]):
            chosen.add(segment)
    ordered = sorted(segments, key=lambda segment: (change(segment), segment))
    chosen.update(ordered[:EXTREMES] + ordered[-EXTREMES:])
    return tuple(sorted(chosen))


def draw(segments: Sequence[Segment], always: Collection[Segment], count: int, chance: Random) -> Draw:
    """``count`` segments beside those that are always replayed, or all where there are no more; each as likely."""
    if count < 0:
        raise InvalidArgument(
            f"segments {count} must be a whole number from 0: so many are drawn beside the fixed ones"
        )
    others = sorted(set(segments) - set(always))
    drawn = chance.sample(others, min(count, len(others)))
    return Draw(always=tuple(sorted(always)), drawn=tuple(sorted(drawn)), pool=len(others))


def missed(pool: int, bad: int, drawn: int) -> Fraction:
    """Chance that none of ``bad`` segments is among ``drawn`` of ``pool``: C(pool − bad, drawn) / C(pool, drawn).

    Exact: a product of ``min(bad, drawn)`` quotients, so no factorial is ever formed.
    """
    if not 0 <= bad <= pool or not 0 <= drawn <= pool:
        raise InvalidArgument(f"{bad} bad and {drawn} drawn segments must lie between 0 and {pool}, which there are")
    few, many = min(bad, drawn), max(bad, drawn)
    return Fraction(
        math.prod(pool - many - taken for taken in range(few)), math.prod(pool - taken for taken in range(few))
    )


def needed(pool: int, bad: int, chance: float) -> int:
    """How many of ``pool`` segments must be drawn to meet one of ``bad`` with at least this chance."""
    if not 1 <= bad <= pool or not 0 <= chance <= 1:
        raise InvalidArgument(f"one of {bad} bad segments among {pool} cannot be met with a chance of {chance}")
    low, high = 0, pool
    while low < high:
        middle = (low + high) // 2
        if 1 - missed(pool, bad, middle) >= Fraction(str(chance)):
            high = middle
        else:
            low = middle + 1
    return low


def layout_of(schedule: Schedule, alive: Iterable[int], mode: TraceMode) -> TraceLayout:
    """Where the steps and epochs of the shards that are alive stand in ``trace.bin``."""
    return TraceLayout(mode, {shard: (schedule.total_steps(shard), schedule.total_epochs(shard)) for shard in alive})
