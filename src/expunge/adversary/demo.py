"""``demonstrate``: an honest record, forged logs, trainings that never were, and every attack of the table.

Both verifiers are asked about each forgery: Proof-of-Learning as published, which believes in distances, and
``verify``, which knows who had to sit where.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from expunge.adversary.demo_lines import Absorbed, ForgedLog, Honest, MadeUp
from expunge.adversary.forging.absorption import Absorb
from expunge.adversary.forging.answers import published_answer
from expunge.adversary.forging.forged_record import expected_refusal
from expunge.adversary.forging.forger import Forger
from expunge.adversary.forging.forgery import Forgery, find_forger, forge_log
from expunge.adversary.pol.calibration import Calibration, calibrate
from expunge.adversary.pol.proof import forge, prove
from expunge.adversary.pol.verdict import Mode, PolVerdict
from expunge.adversary.pol.verify import verify_proof
from expunge.adversary.table.attempt import Attempt, attempt, shown
from expunge.adversary.table.scene import PERSON, TRIES, Scene
from expunge.adversary.table.schedule import denied, target_of
from expunge.adversary.table.story import Handed, Story
from expunge.adversary.table.table import FIXTURES
from expunge.core.errors import RunError
from expunge.data.splits import Split
from expunge.records.verdict import Level
from expunge.train.loop import Progress

FORGERS = ("greedy", "nearest", "swap", "matching", "content")
CANDIDATES = 100  # batches that greedy draws for each step, and steps of content's descent
SPOOFS = ("resorted-init", "infinitesimal", "blindfold")
Item = TypeVar("Item")
Stage = Callable[[str], AbstractContextManager[Progress]]
Show = Callable[[Mapping[str, Any]], None]


@contextmanager
def unseen(what: str) -> Generator[Progress]:
    """A stage that shows nothing while it is under way."""
    yield lambda done, total: None


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """Everything that was shown. ``as_documented`` says whether every line came out as it must."""

    scene: Scene
    honest: tuple[Honest, ...]
    forged: tuple[ForgedLog, ...]
    absorbed: Absorbed
    made_up: tuple[MadeUp, ...]
    attempts: tuple[Attempt, ...]
    seconds: float

    @property
    def as_documented(self) -> bool:
        lines = (*self.honest, *self.forged, self.absorbed, *self.made_up, *self.attempts)
        return all(line.as_documented for line in lines)

    def as_json(self) -> dict[str, Any]:
        return {
            **_story(self.scene),
            **_honest(self.honest),
            **_forged(self.forged),
            **_absorbed(self.absorbed),
            **_made_up(self.made_up),
            **_attacks(self.attempts),
            "as_documented": self.as_documented,
            "seconds": round(self.seconds, 1),
        }


def demonstrate(out: Path, *, stage: Stage = unseen, show: Show = lambda part: None) -> Demonstration:
    """Play the whole story in a new folder, which keeps every bundle of it; an interruption leaves no folder behind.

    ``stage`` opens a bar for what is under way; ``show`` is handed every part of the result as soon as it is there.
    """
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise RunError(
            f"{out} exists, and a demonstration is only played in a folder of its own: give another --out, or remove it"
        ) from None
    try:
        return _played(out, stage, show)
    except KeyboardInterrupt:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _played(out: Path, stage: Stage, show: Show) -> Demonstration:
    started = time.perf_counter()
    with stage("commit, train, forget, sign"):
        scene = Scene.make(out)
    show(_story(scene))
    with stage("verify the honest record") as moved:
        honest = tuple(_verified(scene, level) for level in _each(tuple(Level), moved))
    show(_honest(honest))
    with stage("forge logs") as moved:
        forged = _forged_logs(scene, moved)
    show(_forged(forged))
    with stage("replay the absorbed swap"):
        absorbed = _replayed(forged[-1])
    show(_absorbed(absorbed))
    with stage("make trainings up") as moved:
        made_up = tuple(_spoofed(scene, name) for name in _each(SPOOFS, moved))
    show(_made_up(made_up))
    with stage("attack records") as moved:
        attempts = tuple(
            attempt(fixture, scene, out / "attacks" / fixture.number) for fixture in _each(FIXTURES, moved)
        )
    show(_attacks(attempts))
    return Demonstration(
        scene=scene,
        honest=honest,
        forged=forged,
        absorbed=absorbed,
        made_up=made_up,
        attempts=attempts,
        seconds=time.perf_counter() - started,
    )


def _each(items: Sequence[Item], moved: Progress) -> Generator[Item]:
    """The items in turn, with word of how many are done."""
    for done, item in enumerate(items):
        moved(done, len(items))
        yield item


def _verified(scene: Scene, level: Level) -> Honest:
    story, started = scene.story, time.perf_counter()
    handed = Handed(bundle=scene.bundle, keys=scene.trusted, data=story.data, salts=story.salts)
    return Honest(verdict=shown(handed, level), seconds=time.perf_counter() - started)


def _forged_logs(scene: Scene, moved: Progress) -> tuple[ForgedLog, ...]:
    """The training's log by every forger, and last that of a training at whose end rounding swallows a swap."""
    calibration = calibrate(scene.base.run)
    names = (*FORGERS, Absorb.name)
    found: list[ForgedLog] = []
    for name in _each(names, moved):
        if name == Absorb.name:
            late = scene.saturated
            forger, target = Absorb(candidates=TRIES), scene.absorbed.target
            found.append(_forged_log(scene, late, target, forger, calibrate(late.run)))
        else:
            target = target_of(scene.base)
            found.append(_forged_log(scene, scene.base, target, find_forger(name, CANDIDATES), calibration))
    return tuple(found)


def _forged_log(scene: Scene, story: Story, target: str, forger: Forger, calibration: Calibration) -> ForgedLog:
    forgery = forge_log(story.run, target, forger)
    handed = denied(scene, story, forgery, scene.folder / "forged" / forger.name)
    return ForgedLog(
        forgery=forgery,
        calibration=calibration,
        published=published_answer(forgery, calibration)[0],
        handed=handed,
        verdict=shown(handed, expected_refusal(forgery)[1]),
    )


def _replayed(forged: ForgedLog) -> Absorbed:
    replayed = replayed_whole(forged.forgery)
    return Absorbed(forged=forged, replayed=replayed, steps=forged.forgery.run.schedule.total_steps(0))


def replayed_whole(forgery: Forgery) -> PolVerdict:
    """Every recorded step of a forged log carried out again, and no difference in the weights let pass."""
    stated = {step.index: step.forged.slots for step in forgery.found if step.forged.slots is not None}
    proof = forge(prove(forgery.run), stated)
    rows = forgery.run.data()[Split.TRAIN]
    return verify_proof(proof, rows, mode=Mode.AS_PUBLISHED, delta=0.0, largest=len(proof.parts))


def _spoofed(scene: Scene, name: str) -> MadeUp:
    spoof = scene.spoof(name)
    assert spoof.bundle is not None
    assert spoof.trusted is not None
    handed = Handed(bundle=spoof.bundle, keys=spoof.trusted, data=scene.plain.data)
    return MadeUp(spoof=spoof, verdict=shown(handed, spoof.expected[1]))


def _story(scene: Scene) -> dict[str, Any]:
    run = scene.story.run
    return {
        "folder": str(scene.folder),
        "story": {
            "model": run.recipe.model,
            "rows": len(run.commitment.leaves[0]),
            "person": PERSON,
            "forgotten": len(run.tombstones),
            "steps": run.schedule.total_steps(0),
            "bundle": str(scene.bundle),
            "keys": str(scene.trusted),
            "data": str(scene.story.data),
            "salts": str(scene.story.salts),
        },
    }


def _honest(lines: Sequence[Honest]) -> dict[str, Any]:
    return {"honest": [line.as_json() for line in lines]}


def _forged(lines: Sequence[ForgedLog]) -> dict[str, Any]:
    return {"forgeries": [line.as_json() for line in lines]}


def _absorbed(line: Absorbed) -> dict[str, Any]:
    return {"absorbed": line.as_json()}


def _made_up(lines: Sequence[MadeUp]) -> dict[str, Any]:
    return {"made_up": [line.as_json() for line in lines]}


def _attacks(lines: Sequence[Attempt]) -> dict[str, Any]:
    return {"attacks": [line.as_json() for line in lines]}
