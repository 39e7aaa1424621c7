"""What replays of many requests redo, and who is placed where, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.core.streams import Stream, stable_order
from expunge.schedule.placement import Placement, place
from expunge.schedule.rewinds import Rewinds
from expunge.schedule.schedule import Schedule

PEOPLE = np.repeat(np.arange(30), [1 + at % 4 for at in range(30)])
EMPTIED = np.array([3, 4, 17, 40])


@pytest.mark.parametrize("stage_epochs", [(6,), (2, 2, 3)])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("emptied", [np.zeros(0, dtype=np.int64), EMPTIED])
def test_each_request_redoes_what_the_schedule_counts(
    stage_epochs: tuple[int, ...], shards: int, emptied: np.ndarray
) -> None:
    schedule = Schedule(seed=bytes(32), units=PEOPLE, batch_size=8, stage_epochs=stage_epochs, shards=shards)
    kept = [[4, 9, *schedule.stage_ends(shard)] for shard in range(shards)]
    rewinds = Rewinds.of(schedule, kept, emptied=emptied)
    assert rewinds.whole == schedule.work(emptied)
    asked = [np.array(one) for one in ([0], [1, 2], [20, 21, 60], [5, 6, 7, 8, 70])]
    found = rewinds.work(np.repeat(np.arange(4), [len(one) for one in asked]), np.concatenate(asked))
    for slots, steps in zip(asked, found, strict=True):
        starts: list[int] = []
        for shard in range(shards):
            touched = schedule.first_touch(shard, slots)
            ends = schedule.total_steps(shard)
            starts.append(ends if touched is None else max(at for at in (0, *kept[shard]) if at <= touched))
        assert steps == schedule.work(np.union1d(slots, emptied), starts=tuple(starts))


@pytest.mark.parametrize("people", [PEOPLE, np.arange(40) // 2])
@pytest.mark.parametrize("tiered", [False, True])
def test_the_emptiest_cell_is_filled_next_and_of_two_the_lower(people: np.ndarray, tiered: bool) -> None:
    sizes = np.bincount(people)
    filled, cell_of = np.zeros((3, 2), dtype=int), {}
    tiers = np.arange(len(sizes)) % 2 if tiered else None
    for person in stable_order(Stream(bytes(32), "shard").words(len(sizes))):
        cell = divmod(int(np.argmin(filled)), 2)
        if tiers is not None:
            cell = int(np.argmin(filled[:, tiers[person]])), int(tiers[person])
        cell_of[int(person)] = cell
        filled[cell] += sizes[person]
    placement = Placement.TIERS if tiered else Placement.SUBJECT
    cells = place(bytes(32), people, shards=3, slices=2, placement=placement, tiers=tiers)
    assert [tuple(cell) for cell in cells.tolist()] == [cell_of[int(person)] for person in people]
