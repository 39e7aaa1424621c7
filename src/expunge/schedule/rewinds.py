"""What replays would redo, for many requests at once: read off the schedule, step by step, before any is made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from expunge.schedule.schedule import Schedule
from expunge.schedule.seats import epochs_of, first_steps, seats_of_steps

NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Rewinds:
    """By slot: its shard, the work from the last state in which the row has no part to the end, and how often it sits.

    Work is in example-steps with everybody who is present; ``whole`` is one retraining, ``shard_work`` one of a shard.
    ``least`` is what any replay redoes of a shard, for rows that were forgotten since the states were kept.
    """

    shard: np.ndarray
    again: np.ndarray
    seats: np.ndarray
    shard_work: np.ndarray
    least: np.ndarray

    @classmethod
    def of(
        cls,
        schedule: Schedule,
        kept: Sequence[Collection[int]],
        *,
        emptied: np.ndarray = NOBODY,
        pending: np.ndarray = NOBODY,
        least_present: int = 1,
    ) -> Rewinds:
        """Where a state of each shard lies after the ``kept`` steps, and these chairs are empty already, some of them
        since then: no state in which the ``pending`` had a part is gone on from.

        Once more are emptied, a step falls out that then has fewer than ``least_present``: with 2 or more, work is an
        upper bound by those few rows.
        """
        again, seats = np.zeros(schedule.count), np.zeros(schedule.count, dtype=np.int64)
        shard_work, least = np.zeros(schedule.shards), np.zeros(schedule.shards)
        for shard in range(schedule.shards):
            steps = _present(schedule, shard, emptied, least_present)
            left = np.concatenate([np.cumsum(steps[::-1])[::-1], [0]])  # from each step on
            shard_work[shard] = left[0]
            slots = schedule.shard_slots(shard)
            states, touched = np.array(sorted({0, *kept[shard]})), schedule.first_touch(shard, pending)
            if touched is not None:
                states = states[states <= touched]
                least[shard] = left[states[-1]]
            again[slots] = left[states[np.searchsorted(states, first_steps(schedule, shard, slots), side="right") - 1]]
            for stage in schedule.stages[shard]:
                seats[stage.slots] += stage.epochs
        return cls(shard=schedule.cells[:, 0], again=again, seats=seats, shard_work=shard_work, least=least)

    @property
    def whole(self) -> float:
        return float(self.shard_work.sum())

    def worst(self, cells: int) -> float:
        """Work where each of so many cells that are asked for is the first slice of a shard of its own."""
        most = np.zeros(len(self.shard_work))
        np.maximum.at(most, self.shard, self.again)
        return float(self.least.sum() + np.sort(most - self.least)[::-1][:cells].sum())

    def begun(self, request: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Work of what requests touch, were no chair emptied; ``request`` numbers, from 0, that of each slot."""
        most = np.tile(self.least, (int(request.max()) + 1, 1))
        np.maximum.at(most, (request, self.shard[slots]), self.again[slots])
        return most.sum(axis=1)

    def work(self, request: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Example-steps that each request redoes: no row of it sits before the states that it goes on from."""
        begun = self.begun(request, slots)
        return begun - np.bincount(request, self.seats[slots], len(begun))


def _present(schedule: Schedule, shard: int, emptied: np.ndarray, least_present: int) -> np.ndarray:
    """How many rows each step of a shard is carried out with."""
    if not len(emptied) and least_present <= 1:
        found: list[np.ndarray] = []
        for stage in schedule.stages[shard]:
            starts = np.arange(stage.steps_per_epoch) * schedule.batch_size
            found += [np.minimum(schedule.batch_size, len(stage.slots) - starts)] * stage.epochs
        return np.concatenate(found)
    present = np.ones(schedule.count, dtype=np.int64)
    present[emptied] = 0
    seated = [seats_of_steps(schedule, shard, epoch, present) for epoch, _ in epochs_of(schedule, shard)]
    steps = np.concatenate(seated)
    return np.where(steps >= least_present, steps, 0)
