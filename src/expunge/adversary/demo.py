"""``demonstrate``: an honest record, forged logs, trainings that never were, and every attack of the table.

Both verifiers are asked about each forgery: Proof-of-Learning as published, which believes in distances, and
``verify``, which knows who had to sit where.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from expunge.adversary.forging.absorption import Absorb
from expunge.adversary.forging.answers import published_answer
from expunge.adversary.forging.forged_record import expected_refusal
from expunge.adversary.forging.forger import Forger
from expunge.adversary.forging.forgery import Forgery, find_forger, forge_log
from expunge.adversary.pol.calibration import Calibration, calibrate
from expunge.adversary.pol.proof import forge, prove
from expunge.adversary.pol.verdict import Mode, PolVerdict
from expunge.adversary.pol.verify import verify_proof
from expunge.adversary.table.attempt import attempt, shown, told_as
from expunge.adversary.table.scene import PERSON, TRIES, Scene
from expunge.adversary.table.schedule import denied, target_of
from expunge.adversary.table.story import Handed, RunStory
from expunge.adversary.table.table import FIXTURES
from expunge.core.errors import RunError
from expunge.core.values import OpenBar, Progress
from expunge.data.splits import Split
from expunge.records.demo import AbsorbedSwap, DemoResult, ForgedLog, Honest, MadeUp, Played, Spread
from expunge.records.limits import Code
from expunge.records.verdict import Level, Standing, Status, Verdict

FORGERS = ("greedy", "nearest", "swap", "matching", "content")
CANDIDATES = 100  # batches that greedy draws for each step, and steps of content's descent
SPOOFS = ("resorted-init", "infinitesimal", "blindfold")
Item = TypeVar("Item")
Show = Callable[[str, object], None]


@contextmanager
def unseen(what: str) -> Generator[Progress]:
    """A stage that shows nothing while it is under way."""
    yield lambda done, total: None


def demonstrate(out: Path, *, stage: OpenBar = unseen, show: Show = lambda part, found: None) -> DemoResult:
    """Play the whole story in a new folder, which keeps every bundle of it; an interruption leaves no folder behind.

    ``stage`` opens a bar for what is under way; ``show`` is handed every part of the result, by its name in
    ``DemoResult``, as soon as it is there.
    """
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise RunError(
            f"{out} exists, and a demonstration is only played in a folder of its own: give another `out`, or remove it"
        ) from None
    try:
        return _played(out, stage, show)
    except KeyboardInterrupt:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _played(out: Path, stage: OpenBar, show: Show) -> DemoResult:
    started = time.perf_counter()
    with stage("commit, train, forget, sign"):
        scene = Scene.make(out)
    show("story", story := _story(scene))
    with stage("verify the honest record") as moved:
        honest = tuple(_verified(scene, level) for level in _each(tuple(Level), moved))
    show("honest", honest)
    with stage("forge logs") as moved:
        forgeries, last = _forged_logs(scene, moved)
    show("forgeries", forgeries)
    with stage("replay the absorbed swap"):
        absorbed = _replayed(forgeries[-1], last)
    show("absorbed", absorbed)
    with stage("make trainings up") as moved:
        made_up = tuple(_spoofed(scene, name) for name in _each(SPOOFS, moved))
    show("made_up", made_up)
    with stage("attack records") as moved:
        attacks = tuple(
            attempt(fixture, scene, out / "attacks" / fixture.number).told for fixture in _each(FIXTURES, moved)
        )
    show("attacks", attacks)
    return DemoResult(
        folder=str(out),
        story=story,
        honest=honest,
        forgeries=forgeries,
        absorbed=absorbed,
        made_up=made_up,
        attacks=attacks,
        as_documented=all(line.as_documented for line in (*honest, *forgeries, absorbed, *made_up, *attacks)),
        seconds=round(time.perf_counter() - started, 1),
    )


def _each(items: Sequence[Item], moved: Progress) -> Generator[Item]:
    """The items in turn, with word of how many are done."""
    for done, item in enumerate(items):
        moved(done, len(items))
        yield item


def _story(scene: Scene) -> Played:
    run = scene.story.run
    return Played(
        model=run.recipe.model,
        rows=len(run.commitment.leaves[0]),
        person=PERSON,
        forgotten=len(run.tombstones),
        steps=run.schedule.total_steps(0),
        bundle=str(scene.bundle),
        keys=str(scene.trusted),
        data=str(scene.story.data),
        salts=str(scene.story.salts),
    )


def _verified(scene: Scene, level: Level) -> Honest:
    """Accepted as deep as it was asked; a whole replay verifies the guarantee."""
    story, started = scene.story, time.perf_counter()
    verdict = shown(Handed(bundle=scene.bundle, keys=scene.trusted, data=story.data, salts=story.salts), level)
    verified = verdict.standing is Standing.VERIFIED
    return Honest(
        level=level.name,
        status=verdict.status.value,
        standing=verdict.standing.value,
        seconds=round(time.perf_counter() - started, 3),
        as_documented=verdict.status is Status.ACCEPTED and verified == (level >= Level.V3),
    )


def _forged_logs(scene: Scene, moved: Progress) -> tuple[tuple[ForgedLog, ...], Forgery]:
    """The training's log by every forger, and last that of a training at whose end rounding swallows a swap."""
    calibration, late = calibrate(scene.base.run), scene.saturated
    target, found = target_of(scene.base), list[ForgedLog]()
    for name in _each((*FORGERS, Absorb.name), moved):
        if name != Absorb.name:
            found.append(_forged_log(scene, scene.base, target, find_forger(name, CANDIDATES), calibration)[0])
    told, forgery = _forged_log(scene, late, scene.absorbed.target, Absorb(candidates=TRIES), calibrate(late.run))
    return (*found, told), forgery


def _forged_log(
    scene: Scene, story: RunStory, target: str, forger: Forger, calibration: Calibration
) -> tuple[ForgedLog, Forgery]:
    """As documented: every step forged, the published verifier deceived, ours refusing as such a log must be."""
    forgery = forge_log(story.run, target, forger)
    handed, expected = denied(scene, story, forgery, scene.folder / "forged" / forger.name), expected_refusal(forgery)
    published, verdict = published_answer(forgery, calibration)[0], shown(handed, expected[1])
    complete = len(forgery.found) == forgery.touched
    told = told_as(
        ForgedLog,
        handed,
        verdict,
        *expected,
        forger=forger.name,
        target=forgery.target,
        steps=forgery.touched,
        steps_forged=len(forgery.found),
        absorbed=forgery.absorbed,
        l2=_spread([apart.l2 for apart in forgery.distances]),
        noise=_spread([step.noise.largest.l2 for step in forgery.steps]),
        tolerance=calibration.delta,
        example_steps=forgery.example_steps,
        published=answer(published.accepted),
        reached=_reached(verdict),
        as_documented=complete and published.accepted and _refused_as(verdict, *expected),
    )
    return told, forgery


def _spread(values: Sequence[float]) -> Spread:
    return Spread(least=min(values), median=float(np.median(values)), most=max(values))


def _replayed(told: ForgedLog, forgery: Forgery) -> AbsorbedSwap:
    """As documented: no replay of any step finds a difference, and the schedule does."""
    replayed, steps = replayed_whole(forgery), forgery.run.schedule.total_steps(0)
    (step,) = forgery.found
    whole = sum(segment.end - segment.start for segment in replayed.segments) == steps
    same = replayed.accepted and replayed.largest_distance == 0.0
    return AbsorbedSwap(
        target=told.target,
        step=step.index,
        steps=steps,
        tolerance=replayed.delta,
        largest_distance=replayed.largest_distance,
        replay=answer(replayed.accepted),
        expected=told.expected,
        level=told.level,
        status=told.status,
        codes=told.codes,
        reached=told.reached,
        detail=told.detail,
        bundle=told.bundle,
        as_documented=whole and same and told.as_documented,
    )


def replayed_whole(forgery: Forgery) -> PolVerdict:
    """Every recorded step of a forged log carried out again, and no difference in the weights let pass."""
    stated = {step.index: step.forged.slots for step in forgery.found if step.forged.slots is not None}
    proof = forge(prove(forgery.run), stated)
    rows = forgery.run.data()[Split.TRAIN]
    return verify_proof(proof, rows, mode=Mode.AS_PUBLISHED, delta=0.0, largest=len(proof.parts))


def _spoofed(scene: Scene, name: str) -> MadeUp:
    """What ours says of it stands in the table of attacks as well."""
    spoof = scene.spoof(name)
    assert spoof.bundle is not None
    assert spoof.trusted is not None
    handed = Handed(bundle=spoof.bundle, keys=spoof.trusted, data=scene.plain.data)
    verdict = shown(handed, spoof.expected[1])
    return told_as(
        MadeUp,
        handed,
        verdict,
        *spoof.expected,
        spoof=spoof.name,
        steps=len(spoof.proof.parts),
        example_steps=spoof.work,
        claimed=spoof.honest_work,
        largest_distance=spoof.published.largest_distance,
        tolerance=spoof.delta,
        published=answer(spoof.published.accepted),
        reached=_reached(verdict),
        as_documented=spoof.published.accepted and _refused_as(verdict, *spoof.expected),
    )


def answer(accepted: bool) -> str:
    """The answer of a verifier of proofs of learning, in a word."""
    return "accepted" if accepted else "refused"


def _refused_as(verdict: Verdict, code: Code, level: Level) -> bool:
    """Refused with this code alone, at this level and at none below."""
    below = None if level is Level.V0 else Level(level - 1)
    found = verdict.asked, verdict.status, verdict.codes, verdict.reached
    return found == (level, Status.REFUSED, (code,), below)


def _reached(verdict: Verdict) -> str | None:
    """The highest level that accepts."""
    return None if verdict.reached is None else verdict.reached.name
