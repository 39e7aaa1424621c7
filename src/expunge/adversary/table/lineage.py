"""Attacks on what a record stands for: other data, recipes, beacons, requests or claims than were committed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.adversary.table.retelling import enact
from expunge.adversary.table.rows import written_rows
from expunge.adversary.table.scene import OTHER_PERSON, PERSON, Scene
from expunge.adversary.table.story import Handed, RunStory
from expunge.adversary.table.telling import request_for, slots_of
from expunge.core.beacon import Beacon
from expunge.core.clock import Time
from expunge.core.files import read_bytes
from expunge.core.hashing import sha256
from expunge.records.bundle import ENVELOPE
from expunge.records.claims import claims_of
from expunge.records.draft import bundle_files, sign
from expunge.records.log import read_log
from expunge.records.note import sign_checkpoint
from expunge.records.record import (
    Commit,
    GuaranteeKind,
    GuaranteePart,
    Operation,
    ProfileName,
    Reuse,
    preprocessing_digest,
)
from expunge.schedule.recipe import Augmentation, Profile

HOUR = 3600
GRINDS = 12


def copies_added(noise: int) -> Callable[[Scene, Path], Handed]:
    """5: the person's rows come back under another name, exactly or nearly, and the person is left out."""

    def make(scene: Scene, out: Path) -> Handed:
        story = scene.plain
        with np.load(story.data) as found:
            rows = {name: found[name] for name in found.files}
        copied = rows["subjects"] == PERSON.removeprefix("subject:")
        pictures = np.clip(rows["x"][copied].astype(np.int64) + noise, 0, 255).astype(np.uint8)
        data = written_rows(
            out / story.data.name,
            pictures=np.concatenate([rows["x"], pictures]),
            labels=np.concatenate([rows["y"], rows["y"][copied]]),
            ids=np.concatenate([rows["ids"], np.array([f"new-{row:04d}" for row in range(copied.sum())])]),
            subjects=np.concatenate([rows["subjects"], np.full(int(copied.sum()), "somebody-new")]),
        )
        grown = scene.told(scene.trained(f"copies-{noise}", data, without=PERSON), data)
        return scene.hand_over(grown.changed(requests__0__root=story.run.root).under(story), out)

    return make


def ground_beacon(scene: Scene, out: Path) -> Handed:
    """11: seeds are tried against a known beacon until the person comes late; only then is the recipe committed."""
    run = scene.plain.run
    since = Time.at(Time.now().seconds - HOUR)
    known = Beacon(value=sha256(b"yesterday's dice"), source="dice", not_before=since.text)
    slots = np.array(slots_of(run, PERSON))

    def touched(seed: int) -> int:
        schedule = run.schedule_of(replace(run.recipe, seed=seed), known.value)
        return schedule.first_touch(0, slots) or 0

    ground = scene.trained("ground", seed=max(range(GRINDS), key=touched), beacon=known)
    story = RunStory.unchecked(ground, scene.story.data)
    return scene.hand_over(story.changed(recorded_afterwards=False), out)


def other_recipe(name: str, **fields: float) -> Callable[[Scene, Path], Handed]:
    """14: trained by another rate, momentum or decay than was committed, and told so."""

    def make(scene: Scene, out: Path) -> Handed:
        other = scene.told(
            scene.trained(f"other-{name}", optimiser=replace(scene.plain.run.recipe.optimiser, **fields))
        )
        return scene.hand_over(other.under(scene.plain), out)

    return make


def other_augmentation(scene: Scene, out: Path) -> Handed:
    """17: rows were shifted about before they came in, under a recipe that says nothing of it."""
    story, told = scene.base, scene.base.tale.only
    recipe = replace(story.run.recipe, augmentation=Augmentation(crop=1))
    done = enact(story.run, told.states.keys(), recipe=recipe)
    tale = story.tale.with_shard(replace(told, states=done.states, losses=done.losses))
    commit = story.link(0).predicate
    assert isinstance(commit, Commit)
    used = preprocessing_digest(recipe.as_json(), commit.data.origins)
    return scene.hand_over(story.retold(tale, data__preprocessing=used), out)


def tolerant_as_exact(scene: Scene, out: Path) -> Handed:
    """27: a run of the speed profile, which pins no bits, is called exact."""
    story = scene.told(scene.trained("tolerant", profile=Profile.SPEED))
    told = story.changed(
        guarantee=GuaranteePart(kind=GuaranteeKind.EXACT),
        claim=claims_of(Operation.TRAIN, GuaranteeKind.EXACT, emptied=False, recorded=True),
        environment__profile=ProfileName.EXACT_CPU,
        environment__not_exact=None,
    )
    return scene.hand_over(told, out)


def for_another_model(scene: Scene, out: Path) -> Handed:
    """22: the request was made of another model than the one that the run came from."""
    return _asked(scene, out, model=scene.plain.link().digest)


def for_another_request(scene: Scene, out: Path) -> Handed:
    """22: the request was about another data set."""
    return _asked(scene, out, root=sha256(b"somebody else's data"))


def request_ignored(scene: Scene, out: Path) -> Handed:
    """23 (b): a second person asked as well, which is on record, and still sits in every epoch."""
    story = scene.story
    second = request_for(story, slots_of(story.run, OTHER_PERSON), story.link(-2).digest)
    return scene.hand_over(story.changed(requests=(*story.record.requests, second)), out)


def revived(scene: Scene, out: Path) -> Handed:
    """29: a second person is forgotten from the original, and the first one sits there again."""
    first, second = scene.story, scene.told(scene.forgot(scene.base.run, "second-alone", [OTHER_PERSON]))
    record = second.record
    request = replace(record.requests[0], model=first.link().digest)
    slots = np.array(record.data.tombstones)
    told = second.changed(
        operation=Operation.RETRAIN,
        algorithm__name="retrain",
        algorithm__fields={},
        requests=(request,),
        reuse=(Reuse(shard=0, step=0, first_touched=second.run.schedule.first_touch(0, slots)),),
    )
    return scene.hand_over(first.then(told.link(), second.tale), out)


def branched(scene: Scene, out: Path) -> Handed:
    """32: the same, told as it was: a branch of the original, beside the run that forgot the first person.

    The auditor kept the record of that run.
    """
    second = scene.told(scene.forgot(scene.base.run, "second-alone", [OTHER_PERSON]))
    signed = sign(second.draft, scene.key)
    log = read_log(scene.folder / "keys" / "log").grown(signed.digests)
    earlier = () if second.note is None else (second.note,)
    files = bundle_files(signed, log, sign_checkpoint(log.head(), scene.key), earlier)
    kept = sha256(read_bytes(scene.bundle / ENVELOPE, "the record that was kept"))
    return replace(scene.packed(second, files, out), known_records=(kept.hex(),))


def false_label(scene: Scene, out: Path) -> Handed:
    """34: the commitment names a column as label that the rows never had, so that nobody else can read them."""
    commit = scene.plain.link(0).predicate
    assert isinstance(commit, Commit)
    return scene.hand_over(scene.plain.changed(0, data__source={**commit.data.source, "label": "outcome"}), out)


def decoy(scene: Scene, out: Path) -> Handed:
    """30: somebody is emptied out whom no request names."""
    story = scene.told(scene.forgot(scene.base.run, "with-decoy", [PERSON, OTHER_PERSON]))
    return scene.hand_over(story.changed(requests__0__slots=slots_of(story.run, PERSON)), out)


def _asked(scene: Scene, out: Path, **fields: Any) -> Handed:
    return scene.hand_over(
        scene.story.changed(**{f"requests__0__{name}": value for name, value in fields.items()}), out
    )
