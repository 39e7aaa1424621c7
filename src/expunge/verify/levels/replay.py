"""Levels V2 to V4: what a record says was carried out is carried out again, from the verifier's own copy of the data.

V2 replays segments that the verifier draws once the bundle is fixed, V3 all of them, V4 trains from nothing without a
checkpoint. Called once V0 and V1 hold. Bits are compared where this machine computes as the record's did, and nowhere
else: a difference elsewhere is undecided, never fraud.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch

from expunge.core.errors import InvalidArgument
from expunge.core.wording import counted
from expunge.data.dataset import Dataset
from expunge.records.catalogue import EXACT_METHODS
from expunge.records.limits import Code, refused
from expunge.records.verdict import Finding, Level, undecided
from expunge.schedule.seats import emptied_steps
from expunge.train.examples import Examples
from expunge.train.loop import Progress
from expunge.train.names import buffer_names
from expunge.train.perturbation import commitment_of, draw_noise, read_key
from expunge.train.segment import Training
from expunge.verify.levels.checks import EVIDENCE_MISSING, Checks, EvidenceMissing
from expunge.verify.levels.contents import Contents
from expunge.verify.levels.environment import (
    NOT_DETERMINISTIC,
    code_finding,
    device_of,
    environment_finding,
    exactness_finding,
    initial_finding,
)
from expunge.verify.levels.execution import Difference, Execution, NotDeterministic, changes, check_model, untraced
from expunge.verify.levels.method_replay import method_findings
from expunge.verify.levels.preprocessing import check_constants, check_inferred
from expunge.verify.levels.segments import Draw, Segment, always_replayed, draw, listed, missed, needed, segments_of
from expunge.verify.levels.twin import twin_findings
from expunge.verify.opened import OpenedRecord
from expunge.verify.state_files import StateFiles, missing_sentence

SEGMENTS = 40  # drawn at V2 beside those that are always replayed
LIKELY = 0.95  # the chance for which the number of segments to draw is named


@dataclass(frozen=True, kw_only=True)
class Supplied:
    """What the verifier brings beside the bundle. ``chance`` draws segments; only tests give it."""

    data: Path | str | Dataset | None
    salts: Path | str | None
    checkpoints: Path | None
    segments: int
    noise_key: Path | str | None
    trust: Collection[str]
    chance: Random
    progress: Progress | None


def replay_findings(
    opened: OpenedRecord,
    *,
    level: Level,
    data: Path | str | Dataset | None = None,
    salts: Path | str | None = None,
    checkpoints: Path | str | None = None,
    segments: int = SEGMENTS,
    noise_key: Path | str | None = None,
    trust: Collection[str] = (),
    progress: Progress | None = None,
    chance: Random | None = None,
) -> Iterator[Finding]:
    """Findings of levels V2 up to ``level``, most basic first. The bundle must stay open meanwhile.

    ``data`` is where the rows are read from, or the rows; ``checkpoints`` a folder with states that the bundle does
    not hold, and for an approximate method the model.safetensors of its parent. ``segments`` are drawn at V2 beside
    those that are always replayed. ``trust`` are digests of foreign code that may run here. What cannot be run as
    asked is raised; progress counts steps.
    """
    if segments < 0:
        raise InvalidArgument(f"segments {segments} must be a whole number from 0")
    supplied = Supplied(
        data=data,
        salts=salts,
        checkpoints=None if checkpoints is None else Path(checkpoints),
        segments=segments,
        noise_key=noise_key,
        trust=trust,
        chance=chance or secrets.SystemRandom(),
        progress=progress,
    )
    if level >= Level.V2:
        yield from _Replay(opened, supplied).findings(level)


class _Replay:
    """One record with what the verifier brought; ``findings`` is asked for once."""

    def __init__(self, opened: OpenedRecord, supplied: Supplied) -> None:
        self._opened, self._supplied = opened, supplied
        self._files = StateFiles(opened, supplied.checkpoints)
        self._noise: np.ndarray | None = None
        self._contents: Contents | None = None
        self._changes: dict[Segment, float] = {}
        self._device = device_of(opened)

    def findings(self, level: Level) -> Iterator[Finding]:
        """What replay needs, then the replay, if all of that holds."""
        ready = True
        for finding in self._grounds():
            ready = ready and finding.stands
            yield finding
        if not ready or self._contents is None:
            return
        opened, record = self._opened, self._opened.record
        if record.algorithm.name not in EXACT_METHODS:
            yield from method_findings(
                opened, self._contents.train, self._files, self._device, self._noise, level, self._supplied.progress
            )
            return
        examples = Examples(opened.recipe, self._contents.train, self._device)
        present = np.setdiff1d(np.arange(len(examples)), opened.tombstones)
        training = Training(
            recipe=opened.recipe,
            schedule=opened.schedule,
            examples=examples.only(present) if len(opened.tombstones) else examples,
            emptied=opened.tombstones,
            noise=self._noise,
        )
        if level is Level.V4:
            yield from twin_findings(opened, training, self._supplied.progress)
        else:
            yield from self._from_states(training, level)

    def _grounds(self) -> Iterator[Finding]:
        """Profile, code, noise, rows, environment and initial weights; each is looked at whatever became of others."""
        exactness, code = exactness_finding(self._opened), code_finding(self._opened, self._supplied.trust)
        yield exactness
        yield code
        for check in (self._check_noise_key, self._rows):
            yield from check()
        runs = all(finding.stands for finding in (exactness, code))
        environment = environment_finding(self._opened, self._device)
        yield environment
        if runs and environment.stands:
            yield initial_finding(self._opened)

    def _check_noise_key(self) -> Iterator[Finding]:
        """The secret noise of a run that was trained under one; other runs have nothing to say here."""
        recipe, given = self._opened.recipe, self._supplied.noise_key
        if recipe.perturbation == 0:
            if given is not None:
                raise InvalidArgument(f"the noise key {given} has no use here: the run was trained without noise")
            return
        checks = Checks(Level.V2)
        checks.run("noise", lambda: self._draw_noise(given))
        yield from checks.findings

    def _draw_noise(self, given: Path | str | None) -> str:
        announced = self._opened.record.noise_commitment
        if given is None:
            raise EvidenceMissing(
                "the run was trained under secret noise, which nothing in the bundle determines: ask the owner for "
                "noise.key, which reveals it for good, and give it with --noise-key"
            )
        key = read_key(given)
        if announced is None or commitment_of(key) != announced.hex():
            raise EvidenceMissing(
                f"{given} is not the noise key that was announced before the training (SHA-256 "
                f"{'none' if announced is None else announced.hex()[:16] + '…'}): ask for that one"
            )
        self._noise = draw_noise(self._opened.recipe, key, self._opened.schedule.seed)
        return f"drawn again under the key announced as {announced.hex()[:16]}…"

    def _rows(self) -> Iterator[Finding]:
        """Content and preprocessing, from the verifier's own copy of the data."""
        data = self._supplied.data
        if data is None:
            yield undecided(
                "content",
                Level.V2,
                EVIDENCE_MISSING,
                "no data were given, and steps can only be carried out again on their rows: give them with --data PATH "
                "(what was forgotten may be missing)",
            )
            return
        checks = Checks(Level.V2)
        contents = Contents(self._opened, data, self._supplied.salts)
        fixed = checks.run("constants", lambda: check_constants(self._opened))
        if fixed and checks.run("content", contents.check_leaves):
            checks.run("preprocessing", lambda: check_inferred(self._opened, contents))
            self._contents = contents
        yield from checks.findings

    def _from_states(self, training: Training, level: Level) -> Iterator[Finding]:
        """V2 and V3: from recorded states."""
        segments = segments_of(self._files.states)
        checks = Checks(Level.V2)
        ready = checks.run("states", lambda: self._check_states(training, segments))
        ready = ready and checks.run("model", lambda: check_model(self._opened, self._last))
        yield from checks.findings
        if not ready:
            return
        execution = Execution(self._opened, training, self._files)
        if level is Level.V2:
            yield self._attempt(Level.V2, lambda: self._spot(execution, segments))
        else:
            yield self._attempt(Level.V3, lambda: self._all(execution, segments))

    def _check_states(self, training: Training, segments: tuple[Segment, ...]) -> str:
        """All files are there, each the state of its leaf; how far the weights move between them."""
        if not self._files.states:
            raise EvidenceMissing("no state was recorded, so there is nothing to start a segment from: ask for V4")
        missing = self._files.missing
        if missing:
            raise EvidenceMissing(missing_sentence(missing, len(self._files.states)))
        if set(self._files.buffers) != set(buffer_names(training.recipe)):
            raise refused(
                Code.CHECKPOINT_LEAF_MISMATCH,
                f"the record calls {counted(len(self._files.buffers), 'tensor')} of a state buffers, and they are not "
                "those of the recipe's model: how far its weights move would be measured on the wrong ones",
            )
        self._changes = changes(self._files, training, segments)
        return f"{counted(len(self._files.states), 'state')} read, each that of its leaf"

    def _last(self, shard: int) -> dict[str, torch.Tensor]:
        return self._files.load(shard, max(state.step for state in self._files.states if state.shard == shard))

    def _attempt(self, level: Level, check: Callable[[], str]) -> Finding:
        """A replay as a finding of its level."""
        checks = Checks(level)
        try:
            checks.run("execution", check)
        except NotDeterministic as error:
            return undecided("execution", level, NOT_DETERMINISTIC, str(error))
        return checks.findings[0]

    def _spot(self, execution: Execution, segments: tuple[Segment, ...]) -> str:
        drawn = self._draw(segments)
        odd = execution.replay(drawn.chosen, self._supplied.progress)
        _refuse(odd, f"{len(drawn.chosen)} of {counted(len(segments), 'segment')}", _by_chance(drawn))
        told = _spotted(drawn, len(segments), sum(execution.training.recipe.stage_epochs))
        return f"{told}{untraced(self._opened)}"

    def _draw(self, segments: tuple[Segment, ...]) -> Draw:
        emptied = {
            shard: emptied_steps(self._opened.schedule, shard, self._opened.tombstones)
            for shard in {segment.shard for segment in segments}
        }
        always = always_replayed(segments, emptied, self._changes.__getitem__)
        return draw(segments, always, self._supplied.segments, self._supplied.chance)

    def _all(self, execution: Execution, segments: tuple[Segment, ...]) -> str:
        _refuse(execution.replay(segments, self._supplied.progress), f"all {counted(len(segments), 'segment')}")
        return (
            f"execution verified: all {counted(len(segments), 'segment')} executed again bit for bit, those taken over "
            f"from an earlier run included{untraced(self._opened)}"
        )


def _refuse(found: list[Difference], replayed: str, drawn: str = "") -> None:
    if found:
        raise refused(
            min((difference.code for difference in found), key=list(Code).index),
            f"of {replayed} replayed these give other bits here than the record says, twice the same: "
            f"{', '.join(map(str, found))}; they were not carried out as recorded{drawn}",
        )


def _by_chance(drawn: Draw) -> str:
    return f"; drawn: {listed(drawn.drawn)}" if drawn.drawn else ""


def _spotted(drawn: Draw, total: int, epochs: int) -> str:
    """How many segments, which, and with which probability bad ones would have been missed."""
    replayed = len(drawn.chosen)
    told = f"{replayed} of {counted(total, 'segment')} executed again bit for bit"
    if drawn.pool == len(drawn.drawn):
        return f"{told}, so none was left to chance"
    rows = "; ".join(
        f"{counted(bad, 'bad one')} among them would be missed with probability "
        f"{float(missed(drawn.pool, bad, len(drawn.drawn))):.4g}"
        for bad in dict.fromkeys((1, min(epochs, drawn.pool)))
    )
    return (
        f"{told}: {len(drawn.always)} whatever the draw (first ones, those with an empty chair and all after, the "
        f"least and the largest changes), {len(drawn.drawn)} drawn here from the other {drawn.pool}; {rows}; "
        f"--segments {needed(drawn.pool, 1, LIKELY)} would meet a single one with {LIKELY:.0%}{_by_chance(drawn)}"
    )
