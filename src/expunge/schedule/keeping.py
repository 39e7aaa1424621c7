"""Which states of a training are kept, and what it then costs on average to forget one person exactly."""

from __future__ import annotations

import numpy as np

from expunge.schedule.recipe import Recipe
from expunge.schedule.rewinds import Rewinds
from expunge.schedule.schedule import Schedule


def default_interval(total: int) -> int:
    """Checkpoints fall every max(100, steps/64) steps, never by the clock."""
    return max(100, -(-total // 64))


def kept_steps(schedule: Schedule, shard: int, interval: int, keep: int | None) -> frozenset[int]:
    """Steps of a shard after which a state falls; of these the ``keep`` that lie most evenly, the last among them.

    The beginning needs none: the seed gives it.
    """
    total = schedule.total_steps(shard)
    offered = np.array(sorted({*range(interval, total, interval), *schedule.stage_ends(shard)}))
    if keep is None or keep >= len(offered):
        return frozenset(offered.tolist())
    goals = total * np.arange(1, keep + 1) / keep
    return frozenset(int(offered[np.abs(offered - goal).argmin()]) for goal in goals)


def replay_share(schedule: Schedule, units: np.ndarray, present: np.ndarray, interval: int, keep: int | None) -> float:
    """Work of forgetting one person by going on from the last kept state before any of their rows sat, as a share of
    the whole training's; the mean over everybody who is present. ``units`` number the person of each slot.
    """
    kept = [kept_steps(schedule, shard, interval, keep) for shard in range(schedule.shards)]
    rewinds = Rewinds.of(schedule, kept)
    _, person = np.unique(units[present], return_inverse=True)
    return float(rewinds.begun(person, present).mean()) / rewinds.whole


def said_of_kept(
    recipe: Recipe, schedule: Schedule, units: np.ndarray, present: np.ndarray, interval: int, keep: int | None
) -> str | None:
    """What keeping fewer states costs whoever forgets exactly; noise in the loss leaves none to go on from anyhow."""
    shards = range(schedule.shards)
    every, few = (sum(len(kept_steps(schedule, shard, interval, of)) for shard in shards) for of in (None, keep))
    if every == few:
        return None
    before, now = (
        1.0 if recipe.perturbation else replay_share(schedule, units, present, interval, of) for of in (None, keep)
    )
    return (
        f"{few} of {every} checkpoints are kept: to forget one person exactly costs {now:.1%} of a retraining on "
        f"average, {before:.1%} with all of them"
    )
