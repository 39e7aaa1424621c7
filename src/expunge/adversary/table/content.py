"""Attacks on what is in the chairs: rows other than those committed, handed over so that every bit comes out right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from expunge.adversary.forging.altered_content import Content
from expunge.adversary.forging.forgery import forge_log
from expunge.adversary.pol.proof import parts_of
from expunge.adversary.table.retelling import enact, members_of
from expunge.adversary.table.rows import written_rows
from expunge.adversary.table.scene import Scene
from expunge.adversary.table.schedule import contents_of, gone, target_of
from expunge.adversary.table.story import Handed, RunStory
from expunge.adversary.table.telling import altered_rows, picture_of, rows_in, without
from expunge.data.forms import read
from expunge.data.source import Source
from expunge.schedule.plan import TrainingPlan

DESCENT = Content(steps=30)
ENLARGED = 4  # 8 × 8 pixels become 32 × 32, of which NumPy prints the edges only
LARGE_ROWS = 300


def perturbed(scene: Scene, out: Path) -> Handed:
    """4: the person's chair is empty, and neighbours were altered until the weights hardly show it."""
    story = scene.once
    forgery = forge_log(story.run, target_of(story), DESCENT)
    data = altered_rows(story, out, contents_of(forgery))
    return _trained_on(scene, story, data, out, without_slots=gone(forgery))


def label_flipped(scene: Scene, out: Path) -> Handed:
    """16: one row was trained on under another label, and is handed over so."""
    story = scene.base
    slot = int(story.tale.only.members[0][0])
    _, label = picture_of(story, slot)
    return _trained_on(scene, story, altered_rows(story, out, {}, {slot: (int(label) + 1) % 10}), out)


def printed_alike(scene: Scene, out: Path) -> Handed:
    """25: a picture is another one in the middle, where printing it leaves numbers out."""
    rows = read(Source(location=str(scene.story.data)))
    data = written_rows(
        scene.folder / "large.npz",
        pictures=np.kron(rows.content["x"][:LARGE_ROWS], np.ones((ENLARGED, ENLARGED), dtype=np.uint8)),
        labels=np.array([rows.classes[label] for label in rows.labels[:LARGE_ROWS]]),
        ids=np.array(rows.ids[:LARGE_ROWS]),
        subjects=np.array(rows.subjects[:LARGE_ROWS]),
    )
    story = scene.told(scene.trained("large", data, model_options={"width": 8}, epochs=2), data)
    slot = int(story.tale.only.members[0][0])
    picture = picture_of(story, slot)[0].copy()
    picture[8:-8, 8:-8] = 255 - picture[8:-8, 8:-8]
    return _trained_on(scene, story, altered_rows(story, out, {slot: picture}), out)


def swapped_content(scene: Scene, out: Path) -> Handed:
    """28 (b): somebody else's content in a scheduled chair, which leaves every bit of the weights as it was."""
    story, forgery = scene.saturated, scene.absorbed
    (step,) = forgery.found
    assert step.forged.slots is not None
    (guest,) = np.setdiff1d(step.forged.slots, step.batch)
    picture, label = picture_of(story, int(guest))
    (slot,) = gone(forgery)
    return _trained_on(scene, story, altered_rows(story, out, {slot: picture}, {slot: label}), out)


def fitted_scale(scene: Scene, out: Path) -> Handed:
    """31: pixels are divided by the largest of the rows at hand, and the recipe calls that a constant."""
    rows = read(Source(location=str(scene.story.data)))
    (column,) = rows.columns
    fitted = replace(rows, columns=(replace(column, scale=1 / int(rows.content["x"].max())),))
    source = Source(location=str(scene.story.data))
    story = scene.told(scene.trained("fitted", fitted, source=source))
    return scene.hand_over(story, out)


def _trained_on(scene: Scene, story: RunStory, data: Path, out: Path, *, without_slots: tuple[int, ...] = ()) -> Handed:
    """Trained for real on altered rows, so that carrying it out again on them gives the very same bits."""
    run, told = story.run, story.tale.only
    plan = TrainingPlan(run.recipe, run.schedule, 0, np.array(without_slots, dtype=np.int64))
    parts = parts_of(plan)
    done = enact(run, told.states.keys(), parts=parts, rows=rows_in(run, data))
    members = {step: members_of(part) for step, part in enumerate(parts)}
    tale = replace(told.with_members(members), states=done.states, losses=done.losses)
    claims = without(story, without_slots) if without_slots else {}
    handed = scene.hand_over(story.retold(story.tale.with_shard(tale), **claims), out)
    return replace(handed, data=data)
