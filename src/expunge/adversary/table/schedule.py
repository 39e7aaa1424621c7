"""Attacks on who sat where: batches forged so that somebody was never in them, orders changed, steps left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from expunge.adversary.forging.forgery import Forgery, find_forger, forge_log
from expunge.adversary.pol.proof import parts_of
from expunge.adversary.table.attempt import Make
from expunge.adversary.table.retelling import ShardTale, enact
from expunge.adversary.table.scene import PERSON, Scene
from expunge.adversary.table.story import Handed, RunStory
from expunge.adversary.table.telling import altered_rows, slots_of, without
from expunge.data.splits import Split
from expunge.schedule.plan import TrainingPlan

CANDIDATES = 40  # of greedy: enough to choose from; the measured study takes more


def forged_by(forger: str) -> Make:
    """The training's record, its weights untouched, told so that one row of a person was in none of its batches."""

    def make(scene: Scene, out: Path) -> Handed:
        story = scene.base
        return denied(scene, story, forge_log(story.run, target_of(story), find_forger(forger, CANDIDATES)), out)

    return make


def target_of(story: RunStory) -> str:
    """The id of a row of the person who is to be denied."""
    slot = slots_of(story.run, PERSON)[0]
    return str(story.run.data()[Split.TRAIN].ids[slot])


def gone(forgery: Forgery) -> tuple[int, ...]:
    return tuple(int(slot) for slot in forgery.slots)


def denied(scene: Scene, story: RunStory, forgery: Forgery, out: Path) -> Handed:
    """A training's record over the states that it had, with a forger's batches told in the place of its own.

    Where contents were altered, batches are told as scheduled without the target, and the altered rows are handed over.
    """
    told, contents = story.tale.only, contents_of(forgery)
    members = {step.index: step.forged.slots for step in forgery.found if step.forged.slots is not None}
    tale = told.with_members(members, {step.index: step.losses for step in forgery.found})
    handed = scene.hand_over(story.retold(story.tale.with_shard(tale), **without(story, gone(forgery))), out)
    return replace(handed, data=altered_rows(story, out, contents)) if contents else handed


def contents_of(forgery: Forgery) -> dict[int, np.ndarray]:
    """By slot the contents that a forger altered; of a row that was altered twice, the first."""
    found: dict[int, np.ndarray] = {}
    for step in forgery.found:
        found = {**step.forged.contents, **found}
    return found


def absorption(scene: Scene, out: Path) -> Handed:
    """28: no bit of any state tells the forged training from the one that was carried out."""
    return denied(scene, scene.saturated, scene.absorbed, out)


def other_order(scene: Scene, out: Path) -> Handed:
    """12: two people change places within an epoch, and the training is carried out so."""
    story, run = scene.base, scene.base.run
    parts = list(parts_of(TrainingPlan(run.recipe, run.schedule, 0, run.tombstones)))
    first = run.schedule.stages[0][0].steps_per_epoch * 2  # the first two steps of the third epoch
    one, two = parts[first], parts[first + 1]
    assert one is not None
    assert two is not None
    ones, twos = one.slots.copy(), two.slots.copy()
    ones[0], twos[0] = twos[0], ones[0]
    parts[first], parts[first + 1] = replace(one, slots=ones), replace(two, slots=twos)
    told = story.tale.only
    done = enact(run, told.states.keys(), parts=parts)
    tale = replace(told.with_members({first: ones, first + 1: twos}), states=done.states, losses=done.losses)
    return scene.hand_over(story.retold(story.tale.with_shard(tale)), out)


def dropped_steps(scene: Scene, out: Path) -> Handed:
    """13: the training was ended at its last but one state."""
    story, told = scene.base, scene.base.tale.only
    end = sorted(told.states)[-2]
    tale = replace(
        told,
        members=told.members[:end],
        losses=told.losses[:end],
        states={step: state for step, state in told.states.items() if step <= end},
    )
    return _of_length(scene, story, tale, end, out)


def repeated_step(scene: Scene, out: Path) -> Handed:
    """13: the last step was carried out twice."""
    story, run, told = scene.base, scene.base.run, scene.base.tale.only
    parts = parts_of(TrainingPlan(run.recipe, run.schedule, 0, run.tombstones))
    total, done = len(parts), enact(run, [len(parts) + 1], parts=(*parts, parts[-1]))
    states = {step: state for step, state in told.states.items() if step < total} | dict(done.states)
    tale = replace(told, members=(*told.members, told.members[-1]), losses=done.losses, states=states)
    return _of_length(scene, story, tale, total + 1, out)


def _of_length(scene: Scene, story: RunStory, shard: ShardTale, steps: int, out: Path) -> Handed:
    tale = replace(story.tale, shards=(shard,))
    return scene.hand_over(story.retold(tale, schedule__steps=(steps,)), out)
