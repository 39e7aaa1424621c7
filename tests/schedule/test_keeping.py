"""Which states are kept, and what forgetting costs with them, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.schedule.keeping import kept_steps, replay_share
from expunge.schedule.schedule import Schedule

SETTINGS = {
    "plain": {"stage_epochs": (6,)},
    "slices": {"stage_epochs": (2, 2, 3)},
    "shards": {"stage_epochs": (2, 3), "shards": 3},
}
PEOPLE = np.repeat(np.arange(30), [1 + at % 4 for at in range(30)])


@pytest.fixture(params=SETTINGS)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return Schedule(seed=bytes(32), units=PEOPLE, batch_size=8, **SETTINGS[request.param])


def test_the_kept_lie_evenly_and_the_last_among_them(schedule: Schedule) -> None:
    for shard in range(schedule.shards):
        total = schedule.total_steps(shard)
        offered = {step for step in range(1, total + 1) if step % 3 == 0 or step == total}
        offered |= set(schedule.stage_ends(shard))
        assert kept_steps(schedule, shard, 3, None) == kept_steps(schedule, shard, 3, 10**6) == offered
        for keep in range(1, len(offered) + 1):
            kept = sorted(kept_steps(schedule, shard, 3, keep))
            assert kept[-1] == total
            assert len(kept) <= keep
            assert set(kept) <= offered
            for number in range(1, keep + 1):
                goal = total * number / keep
                assert min(abs(goal - step) for step in kept) == min(abs(goal - step) for step in offered)
        assert kept_steps(schedule, shard, 3, 1) == {total}


@pytest.mark.parametrize("keep", [None, 1, 2, 5])
def test_the_mean_share_of_a_retraining(schedule: Schedule, keep: int | None) -> None:
    present = np.setdiff1d(np.arange(len(PEOPLE)), [0, 5, 6])
    whole = schedule.work(np.zeros(0, dtype=np.int64))
    shares: list[float] = []
    for person in np.unique(PEOPLE[present]):
        own, work = present[PEOPLE[present] == person], 0
        for shard in range(schedule.shards):
            touched = schedule.first_touch(shard, own)
            if touched is not None:
                start = max((step for step in kept_steps(schedule, shard, 3, keep) if step <= touched), default=0)
                work += sum(len(chairs) for step, chairs in schedule.batches(shard) if step >= start)
        shares.append(work / whole)
    assert replay_share(schedule, PEOPLE, present, 3, keep) == pytest.approx(np.mean(shares), rel=1e-12)
