"""Which states of a training are kept, and what it then costs on average to forget one person exactly."""

from __future__ import annotations

import numpy as np

from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.schedule.seats import first_steps


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
    shares = np.zeros(int(units.max()) + 1)
    total = 0
    for shard in range(schedule.shards):
        left = np.concatenate([[0], np.cumsum(_chairs(schedule, shard)[::-1])])[::-1]  # from each step on
        total += int(left[0])
        slots = np.intersect1d(schedule.shard_slots(shard), present)
        first = np.full(len(shares), len(left))
        np.minimum.at(first, units[slots], first_steps(schedule, shard, slots))
        kept = np.array(sorted({0, *kept_steps(schedule, shard, interval, keep)}))
        seated = first < len(left)
        starts = kept[np.searchsorted(kept, first[seated], side="right") - 1]
        shares[seated] += left[starts]
    return float(shares[np.unique(units[present])].mean()) / total


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


def _chairs(schedule: Schedule, shard: int) -> np.ndarray:
    """How many chairs each step of a shard has."""
    found: list[np.ndarray] = []
    for stage in schedule.stages[shard]:
        starts = np.arange(stage.steps_per_epoch) * schedule.batch_size
        found += [np.minimum(schedule.batch_size, len(stage.slots) - starts)] * stage.epochs
    return np.concatenate(found)
