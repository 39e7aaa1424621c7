"""Attacks on ensembles: stale states, people moved to other shards, members dropped or kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from expunge.adversary.pol.proof import parts_of
from expunge.adversary.table.retelling import ShardTale, enact, members_of, tale_of
from expunge.adversary.table.scene import Scene
from expunge.adversary.table.story import Handed, record_of
from expunge.records.bundle import UNITS
from expunge.schedule.plan import TrainingPlan
from expunge.schedule.schedule import Schedule
from expunge.train.run import Run


def stale_checkpoint(scene: Scene, out: Path) -> Handed:
    """18: a shard is carried on from a state that had seen the forgotten person, without them from there."""
    story, run = scene.sharded, scene.sharded.run
    parent = run.parent
    record = story.record
    stale = next(
        (reuse, min(step for step in story.tale.of_shard(reuse.shard).states if step > reuse.first_touched))
        for reuse in record.reuse
        if reuse.first_touched is not None
    )
    reuse, step = stale
    before, told = tale_of(parent).of_shard(reuse.shard), story.tale.of_shard(reuse.shard)
    done = enact(run, told.states.keys(), shard=reuse.shard, start=step, state=before.states[step])
    states = {at: (before.states[at] if at <= step else done.states[at]) for at in told.states}
    tale = replace(told, losses=(*before.losses[:step], *done.losses), states=states)
    theirs = record_of(story.link(-2)).checkpoints
    assert theirs is not None
    leaf = next(state.leaf for state in theirs.states if (state.shard, state.step) == (reuse.shard, step))
    reuses = tuple(replace(one, step=step, leaf=leaf) if one is reuse else one for one in record.reuse)
    return scene.hand_over(story.retold(story.tale.with_shard(tale), reuse=reuses), out)


def wrong_shard(scene: Scene, out: Path) -> Handed:
    """19: somebody is dealt to another shard than the committed map gives, and everything is trained so."""
    run = scene.sharded.run.parent
    story = scene.told(run)
    units = run.units.copy()
    here = run.schedule.cells[:, 0]
    person = int(units[np.flatnonzero(here == 0)[0]])
    units[units == person] = int(units[np.flatnonzero(here == 1)[0]])
    schedule = Schedule.of(run.recipe, run.root, units, run.beacon)
    shards = tuple(_carried_out(run, schedule, shard) for shard in range(schedule.shards))
    tale = replace(story.tale, schedule=schedule, shards=shards)
    told = story.retold(
        tale,
        schedule__root=schedule.digest(),
        schedule__steps=tuple(schedule.total_steps(shard) for shard in range(schedule.shards)),
    )
    return scene.hand_over(told.with_files({UNITS: units.astype("<u8").tobytes()}), out)


def two_shards(scene: Scene, out: Path) -> Handed:
    """19: one slot has a second seat, in another shard, and takes part in a step there."""
    run = scene.sharded.run.parent
    story = scene.told(run)
    told = story.tale.of_shard(1)
    guest = int(story.tale.of_shard(0).members[0][0])
    parts = list(parts_of(TrainingPlan(run.recipe, run.schedule, 1, run.tombstones)))
    first = parts[0]
    assert first is not None
    slots = np.append(first.slots, guest)
    parts[0] = replace(first, slots=slots, chairs=np.arange(len(slots)), width=len(slots))
    done = enact(run, told.states.keys(), shard=1, parts=parts)
    tale = replace(told.with_members({0: slots}), states=done.states, losses=done.losses)
    files = {UNITS: np.append(run.units, run.units[guest]).astype("<u8").tobytes()}
    return scene.hand_over(story.retold(story.tale.with_shard(tale)).with_files(files), out)


def shard_dropped(scene: Scene, out: Path) -> Handed:
    """20: a shard that held the forgotten person is left out of the ensemble instead of being trained again."""
    story, record = scene.sharded, scene.sharded.record
    gone = record.reuse[0].shard
    tale = replace(story.tale, shards=tuple(told for told in story.tale.shards if told.shard != gone))
    told = story.retold(
        tale,
        alive=tuple(shard for shard in record.alive if shard != gone),
        reuse=tuple(reuse for reuse in record.reuse if reuse.shard != gone),
    )
    return scene.hand_over(told, out)


def old_shard_kept(scene: Scene, out: Path) -> Handed:
    """20: one shard was trained again and recorded, and its old member still stands in the model."""
    story = scene.sharded
    shard = next(reuse.shard for reuse in story.record.reuse if reuse.first_touched is not None)
    old = tale_of(story.run.parent).of_shard(shard)
    kept = story.tale.with_shard(replace(story.tale.of_shard(shard), states=old.states)).model
    return scene.hand_over(story.with_model(kept), out)


def _carried_out(run: Run, schedule: Schedule, shard: int) -> ShardTale:
    """A shard trained under another schedule; the states at the ends of its slices are kept."""
    parts = parts_of(TrainingPlan(run.recipe, schedule, shard, run.tombstones))
    done = enact(run, schedule.stage_ends(shard), shard=shard, schedule=schedule)
    members = tuple(members_of(part) for part in parts)
    return ShardTale(shard=shard, members=members, losses=done.losses, states=done.states)
