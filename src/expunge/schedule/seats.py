"""Who sits in which step: seats, empty chairs and first appearances, read off a schedule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from expunge.schedule.schedule import Schedule


def epochs_of(schedule: Schedule, shard: int) -> Iterator[tuple[int, int]]:
    """Every epoch of a shard through its stages, with its first step."""
    for stage in schedule.stages[shard]:
        for passed in range(stage.epochs):
            yield stage.first_epoch + passed, stage.first_step + passed * stage.steps_per_epoch


def seats_of_steps(schedule: Schedule, shard: int, epoch: int, weights: np.ndarray) -> np.ndarray:
    """For each step of an epoch the sum of ``weights`` over its slots."""
    order = schedule.epoch_order(shard, epoch)
    if len(order) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.add.reduceat(weights[order], np.arange(0, len(order), schedule.batch_size))


def emptied_steps(schedule: Schedule, shard: int, tombstones: np.ndarray) -> np.ndarray:
    """Steps of a shard that have an empty chair, ascending."""
    empty = np.zeros(schedule.count, dtype=bool)
    empty[tombstones] = True
    found: list[np.ndarray] = []
    for stage in schedule.stages[shard]:
        if not empty[stage.slots].any():
            continue
        for passed in range(stage.epochs):
            places = np.flatnonzero(empty[schedule.epoch_order(shard, stage.first_epoch + passed)])
            first = stage.first_step + passed * stage.steps_per_epoch
            found.append(first + np.unique(places // schedule.batch_size))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def first_steps(schedule: Schedule, shard: int, slots: np.ndarray) -> np.ndarray:
    """For each of the slots that belong to a shard, ascending, the first step that it sits in."""
    found = np.full(schedule.count, -1, dtype=np.int64)
    waiting = np.zeros(schedule.count, dtype=bool)
    waiting[slots] = True
    wanted = schedule.shard_slots(shard)[waiting[schedule.shard_slots(shard)]]
    waiting[:] = False
    waiting[wanted] = True
    for stage in schedule.stages[shard]:
        if not waiting[stage.slots].any():
            continue
        order = schedule.epoch_order(shard, stage.first_epoch)
        places = np.flatnonzero(waiting[order])
        found[order[places]] = stage.first_step + places // schedule.batch_size
        waiting[order[places]] = False
    return found[wanted]


def sat_anywhere(schedule: Schedule, least_present: int, emptied: Iterable[int], newly: Iterable[int]) -> bool:
    """Whether any of ``newly`` sat in a step that was carried out while only ``emptied`` were gone."""
    gone, wanted = list(emptied), list(newly)
    return any(first_sat(schedule, shard, least_present, gone, wanted) is not None for shard in range(schedule.shards))


def first_sat(
    schedule: Schedule, shard: int, least_present: int, emptied: Sequence[int], newly: Sequence[int]
) -> int | None:
    """The first step of a shard that was carried out with any of ``newly`` while only ``emptied`` were gone."""
    present, wanted = np.ones(schedule.count, dtype=np.int64), np.zeros(schedule.count, dtype=np.int64)
    present[list(emptied)] = 0
    wanted[list(newly)] = 1
    if not wanted[schedule.shard_slots(shard)].any():
        return None
    for stage in schedule.stages[shard]:
        for epoch in range(stage.first_epoch, stage.first_epoch + stage.epochs):
            seats = seats_of_steps(schedule, shard, epoch, present)
            sat = np.flatnonzero((seats >= least_present) & (seats_of_steps(schedule, shard, epoch, wanted) > 0))
            if len(sat):
                return stage.first_step + (epoch - stage.first_epoch) * stage.steps_per_epoch + int(sat[0])
    return None
