"""``demonstrate``: an honest record, forged logs, trainings that never were, and every attack of the table.

Both verifiers are asked about each forgery: Proof-of-Learning as published, which believes in distances, and
``verify``, which knows who had to sit where.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.audit.absorption import Absorb
from expunge.audit.fixtures.attempt import Attempt, attempt, shown
from expunge.audit.fixtures.scene import PERSON, TRIES, Scene
from expunge.audit.fixtures.schedule_fixtures import denied, target_of
from expunge.audit.fixtures.story import Handed, Story
from expunge.audit.fixtures.table import FIXTURES
from expunge.audit.forged_answers import published_answer
from expunge.audit.forged_record import expected_refusal
from expunge.audit.forger import Forger
from expunge.audit.forging import Forgery, find_forger, forge_log, spread
from expunge.audit.pol_calibration import Calibration, calibrate
from expunge.audit.pol_spoof import Spoof
from expunge.audit.pol_verdict import PolVerdict
from expunge.audit.verdict import Level, Standing, Status, Verdict
from expunge.core.errors import RunError
from expunge.train.loop import Progress

HONEST_LEVELS = (Level.V1, Level.V3)
FORGERS = ("greedy", "nearest", "swap", "matching", "content")
CANDIDATES = 100  # batches that greedy draws for each step, and steps of content's descent
SPOOFS = ("resorted-init", "infinitesimal", "blindfold")
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Honest:
    """What the verifier says of the honest bundle at a level, and how long it took."""

    verdict: Verdict
    seconds: float

    @property
    def as_documented(self) -> bool:
        """Accepted as deep as it was asked; a whole replay verifies the guarantee."""
        verified = self.verdict.standing is Standing.VERIFIED
        return self.verdict.status is Status.ACCEPTED and verified == (self.verdict.asked >= Level.V3)

    def as_json(self) -> dict[str, Any]:
        return {
            "level": self.verdict.asked.name,
            "status": self.verdict.status.value,
            "standing": self.verdict.standing.value,
            "seconds": round(self.seconds, 3),
            "as_documented": self.as_documented,
        }


@dataclass(frozen=True, kw_only=True)
class ForgedLog:
    """A forger's log of a training, told in a record of the owner's, and both answers."""

    forgery: Forgery
    calibration: Calibration
    published: PolVerdict
    handed: Handed
    verdict: Verdict

    @property
    def as_documented(self) -> bool:
        """Every step forged, the published verifier deceived, ours refusing with the code that such a log must get."""
        code, level = expected_refusal(self.forgery)
        answer = self.verdict.asked, self.verdict.status, self.verdict.codes
        complete = len(self.forgery.found) == self.forgery.touched
        return complete and self.published.accepted and answer == (level, Status.REFUSED, (code,))

    def as_json(self) -> dict[str, Any]:
        forgery, (code, level) = self.forgery, expected_refusal(self.forgery)
        return {
            "forger": forgery.forger.name,
            "target": forgery.target,
            "steps": forgery.touched,
            "steps_forged": len(forgery.found),
            "absorbed": forgery.absorbed,
            "l2": spread([apart.l2 for apart in forgery.distances]),
            "noise": spread([step.noise.largest.l2 for step in forgery.steps]),
            "tolerance": self.calibration.delta,
            "example_steps": forgery.example_steps,
            "published": _answer(self.published.accepted),
            "expected": code.value,
            "level": level.name,
            "status": self.verdict.status.value,
            "codes": [found.value for found in self.verdict.codes],
            "bundle": str(self.handed.bundle),
            "as_documented": self.as_documented,
        }


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """A training that never was, and both answers: what ours says stands in the table of attacks as well."""

    spoof: Spoof
    verdict: Verdict

    @property
    def as_documented(self) -> bool:
        code, level = self.spoof.expected
        found = self.verdict.asked, self.verdict.status, self.verdict.codes
        return self.spoof.published.accepted and found == (level, Status.REFUSED, (code,))

    def as_json(self) -> dict[str, Any]:
        code, level = self.spoof.expected
        return {
            "spoof": self.spoof.name,
            "steps": len(self.spoof.proof.parts),
            "example_steps": self.spoof.work,
            "claimed": self.spoof.honest_work,
            "largest_distance": self.spoof.published.largest_distance,
            "tolerance": self.spoof.delta,
            "published": _answer(self.spoof.published.accepted),
            "expected": code.value,
            "level": level.name,
            "status": self.verdict.status.value,
            "codes": [found.value for found in self.verdict.codes],
            "bundle": str(self.spoof.bundle),
            "as_documented": self.as_documented,
        }


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """Everything that was shown. ``as_documented`` says whether every line came out as it must."""

    scene: Scene
    honest: tuple[Honest, ...]
    forged: tuple[ForgedLog, ...]
    made_up: tuple[MadeUp, ...]
    attempts: tuple[Attempt, ...]
    seconds: float

    @property
    def as_documented(self) -> bool:
        shown_lines = (*self.honest, *self.forged, *self.made_up, *self.attempts)
        return all(line.as_documented for line in shown_lines)

    def as_json(self) -> dict[str, Any]:
        run = self.scene.story.run
        return {
            "folder": str(self.scene.folder),
            "story": {
                "model": run.recipe.model,
                "rows": len(run.commitment.leaves[0]),
                "person": PERSON,
                "forgotten": len(run.tombstones),
                "steps": run.schedule.total_steps(0),
                "bundle": str(self.scene.bundle),
                "keys": str(self.scene.trusted),
                "data": str(self.scene.story.data),
                "salts": str(self.scene.story.salts),
            },
            "honest": [line.as_json() for line in self.honest],
            "forgeries": [line.as_json() for line in self.forged],
            "made_up": [line.as_json() for line in self.made_up],
            "attacks": [line.as_json() for line in self.attempts],
            "as_documented": self.as_documented,
            "seconds": round(self.seconds, 1),
        }


def demonstrate(out: Path, *, progress: Progress | None = None, say: Say = lambda line: None) -> Demonstration:
    """Play the whole story in a new folder, which keeps every bundle of it."""
    if out.exists():
        raise RunError(f"{out} exists: choose another --out for the demonstration, or remove it")
    started, moved = time.perf_counter(), _Counting(progress)
    scene = Scene.make(out)
    moved.on()
    run = scene.story.run
    say(
        f"committed and logged {len(run.commitment.leaves[0]):,} rows, then trained from a beacon, then forgot "
        f"{PERSON.partition(':')[2]} ({len(run.tombstones)} rows) exactly; both runs are on record"
    )
    honest = tuple(_honest(scene, level, moved) for level in HONEST_LEVELS)
    for line in honest:
        say(
            f"verify {line.verdict.asked.name}: {line.verdict.status.value} in {line.seconds:.2f} s, exact: "
            f"{line.verdict.standing.value}"
        )
    forged = _forged_logs(scene, moved)
    say(f"forged the log of the training {len(forged)} times so that a row of that person was never in it")
    made_up = _made_up(scene, moved)
    say(f"made {len(made_up)} trainings up that never were")
    attempts: list[Attempt] = []
    for fixture in FIXTURES:
        attempts.append(attempt(fixture, scene, out / "attacks" / fixture.number))
        moved.on()
    say(f"carried out {len(attempts)} attacks on records")
    return Demonstration(
        scene=scene,
        honest=honest,
        forged=forged,
        made_up=made_up,
        attempts=tuple(attempts),
        seconds=time.perf_counter() - started,
    )


class _Counting:
    """Stages that are done."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._done = progress, 0
        self._total = 1 + len(HONEST_LEVELS) + len(FORGERS) + 1 + len(SPOOFS) + len(FIXTURES)

    def on(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _honest(scene: Scene, level: Level, moved: _Counting) -> Honest:
    story, started = scene.story, time.perf_counter()
    handed = Handed(bundle=scene.bundle, keys=scene.trusted, data=story.data, salts=story.salts)
    verdict = shown(handed, level)
    moved.on()
    return Honest(verdict=verdict, seconds=time.perf_counter() - started)


def _forged_logs(scene: Scene, moved: _Counting) -> tuple[ForgedLog, ...]:
    """The training's log by every forger, and that of a training at whose end rounding swallows a swap."""
    calibration = calibrate(scene.base.run)
    found: list[ForgedLog] = []
    for name in FORGERS:
        forger = find_forger(name, CANDIDATES)
        found.append(_forged(scene, scene.base, target_of(scene.base), forger, calibration))
        moved.on()
    late = scene.saturated
    found.append(_forged(scene, late, scene.absorbed.target, Absorb(candidates=TRIES), calibrate(late.run)))
    moved.on()
    return tuple(found)


def _forged(scene: Scene, story: Story, target: str, forger: Forger, calibration: Calibration) -> ForgedLog:
    forgery = forge_log(story.run, target, forger)
    handed = denied(scene, story, forgery, scene.folder / "forged" / forger.name)
    return ForgedLog(
        forgery=forgery,
        calibration=calibration,
        published=published_answer(forgery, calibration)[0],
        handed=handed,
        verdict=shown(handed, expected_refusal(forgery)[1]),
    )


def _made_up(scene: Scene, moved: _Counting) -> tuple[MadeUp, ...]:
    found: list[MadeUp] = []
    for name in SPOOFS:
        spoof = scene.spoof(name)
        assert spoof.bundle is not None
        assert spoof.trusted is not None
        handed = Handed(bundle=spoof.bundle, keys=spoof.trusted, data=scene.plain.data)
        found.append(MadeUp(spoof=spoof, verdict=shown(handed, spoof.expected[1])))
        moved.on()
    return tuple(found)


def _answer(accepted: bool) -> str:
    return "accepted" if accepted else "refused"
