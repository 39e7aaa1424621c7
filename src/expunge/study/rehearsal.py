"""Rehearsals: forget sets that nobody asked for, twins trained without them, and how near a model comes to its twins.

Tuning on the retrained reference of a real request reports a minimum over trials, and nobody who has that reference
needs to unlearn. Here a method forgets another set of the same kind, and is compared with two retrainings without that
set. Margins and accuracies are all that is read: no attack, no probe, no reference and no holdout row can be reached
from here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from expunge.core.errors import DataError, ExpungeError, InvalidArgument, RunError, UnsupportedYet
from expunge.core.statistics.memory import bounded
from expunge.core.statistics.twins import CALIBRATION, FORGET, RETAIN, RowsAnswered, TwinScale
from expunge.core.streams import stable_order
from expunge.data.commitment import tombstones_digest
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.methods.contract import Method, Parent
from expunge.methods.unlearn import parent_of
from expunge.records.tuning import NOTHING, Attempt, Described, Rehearsed, Score, ScoreScale, TwinRead, attempted
from expunge.study.pseudo_sets import RequestKind, pseudo_sets, rehearsal_stream
from expunge.study.score import TuningMode, TuningStage
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.profile import pinned
from expunge.train.run import Run

SMALLEST_SAMPLE = 200
LOST_ACCURACY = 0.01  # how far below its twins' a model's accuracy on the calibration split may lie


@dataclass(frozen=True, kw_only=True, eq=False)
class Rehearsal:
    """A run, what it is to forget in play, and the twins that show how it should look afterwards."""

    parent: Parent
    forget: Mapping[TuningStage, ForgetSet]
    twins: tuple[TwinRead, ...]
    scales: Mapping[TuningStage, TwinScale]
    sample: np.ndarray  # slots that stay, in no pseudo-forget set
    calibration: Examples
    forgotten: np.ndarray
    avoid: np.ndarray
    left_out: bool  # whether the twins were trained without ``avoid``: then nothing here reads those rows either
    share: float  # what a budget is multiplied with, so that leaving rows out does not lessen the work allowed
    kind: str
    size: str | None
    seed: int
    mode: TuningMode = TuningMode.REHEARSAL

    def beside(self, twins: Mapping[TuningStage, Sequence[Run]]) -> Rehearsal:
        """The same with its scales: every twin is asked what it answers, on the set that it never saw and the other."""
        told: list[TwinRead] = []
        answered = {stage: (list[RowsAnswered](), list[RowsAnswered]()) for stage in twins}
        with pinned(self.parent.recipe):
            for whose, runs in twins.items():
                for run in runs:
                    model = run.model(self.parent.examples.device)
                    for stage, (own, others) in answered.items():
                        (own if stage is whose else others).append(self._read(model, stage))
                    told.append(
                        TwinRead(
                            weights_digest=run.weights_digest,
                            training_seed=run.recipe.seed,
                            example_steps=run.result.example_steps,
                            seconds=run.result.seconds,
                            accuracy=answered[whose][0][-1].right[CALIBRATION],
                        )
                    )
            scales = {
                stage: TwinScale.of(self._read(self.parent.model, stage), own, others)
                for stage, (own, others) in answered.items()
            }
        return replace(self, twins=tuple(told), scales=scales)

    def score(self, model: nn.Module, stage: TuningStage = TuningStage.CHOICE) -> Score:
        """Compare a model with the stage's twins; answers that are not finite are refused. Call it pinned."""
        return self._scored(self._read(model, stage), stage)

    def untouched(self, stage: TuningStage) -> Score:
        """The score of doing nothing: of the original itself."""
        return self._scored(self.scales[stage].original, stage)

    def _scored(self, found: RowsAnswered, stage: TuningStage) -> Score:
        scale = self.scales[stage]
        terms, accuracy = scale.terms(found), found.right[CALIBRATION]
        short = float(np.mean([twin.right[CALIBRATION] for twin in scale.own])) - LOST_ACCURACY - accuracy
        return Score(max(terms.values()), terms, accuracy, short if short > 1e-9 else 0.0, scale.spread(found))

    def nothing(self, stage: TuningStage) -> str | None:
        """Why a stage has nothing to forget, if so: no model has a score on it then."""
        found = self.scales[stage].nothing
        return None if found is None else f"{NOTHING}: {found}"

    def attempt(self, method: Method, stage: TuningStage, *, budget: float, seed: int) -> Attempt:
        """Forget the stage's pseudo-forget set by a method and score what comes out; a refusal is a failed attempt."""
        started = time.perf_counter()
        score, failure, spent, scoring = None, self.nothing(stage), 0.0, 0.0
        if failure is not None:
            return attempted(None, failure, example_steps=0.0, scoring=0.0, seconds=0.0)
        with pinned(self.parent.recipe):
            try:
                made = method(self.parent, self.forget[stage].slots, budget=budget * self.share, seed=seed)
                spent, scoring = made.cost.example_steps, self.forwards(stage)
                score = self.score(made.model, stage)
            except ExpungeError as error:
                failure = str(error)
        seconds = round(time.perf_counter() - started, 3)
        return attempted(score, failure, example_steps=spent, scoring=scoring, seconds=seconds)

    def forwards(self, stage: TuningStage) -> float:
        """Example-steps of reading a model once."""
        return (len(self.forget[stage]) + len(self.sample) + len(self.calibration.readable)) / 3

    def told(self) -> Rehearsed:
        """What was rehearsed, as a tuning is stored."""
        return Rehearsed(
            kind=self.kind,
            size=self.size,
            seed=self.seed,
            avoid=described_slots(self.avoid),
            avoid_left_out=self.left_out,
            sets=tuple(described_slots(self.forget[stage].slots) for stage in self.forget),
            sample=described_slots(self.sample),
            calibration=len(self.calibration.readable),
            scales=tuple(
                ScoreScale(retrained=None if scale.nothing else scale.retrained, left_out=scale.left_out)
                for scale in self.scales.values()
            ),
        )

    def _read(self, model: nn.Module, stage: TuningStage) -> RowsAnswered:
        """What a model answers to the rows of every part."""
        rows = {
            FORGET: (self.parent.examples, self.forget[stage].slots),
            RETAIN: (self.parent.examples, self.sample),
            CALIBRATION: (self.calibration, self.calibration.readable),
        }
        read = {part: signals(self.parent.recipe, model, *told) for part, told in rows.items()}
        for part, found in read.items():
            bad = int((~np.isfinite(found["margin"])).sum())
            if bad:
                raise RunError(
                    f"the model answers {bad} of {len(found['margin'])} rows of the {part} part with numbers that are "
                    "not finite: it has no score"
                )
        return RowsAnswered(
            margins={part: bounded(found["margin"]) for part, found in read.items()},
            right={part: float(found["correct"].mean()) for part, found in read.items()},
        )


def prepare(
    run: Run,
    twins: Sequence[Run],
    *,
    kind: RequestKind | str,
    size: str | None = None,
    avoid: np.ndarray | Sequence[int] = (),
    seed: int = 0,
    data: GivenData = None,
    device: str | None = None,
) -> Rehearsal:
    """Two rehearsals with their twins: two runs trained without the first of ``pseudo_sets`` of the same arguments, two
    without the second, each by a seed of its own.

    ``avoid`` holds the forget sets that the tuning will serve. They are in no pseudo-forget set and nothing is scored
    on them. Where the twins were trained without them too, no row of them is read at all; where they were not, they
    are ordinary rows that stay, as they are to the twins.
    """
    rows, spared = run.data(data), np.unique(np.asarray(avoid, dtype=np.int64))
    sets = pseudo_sets(
        rows[Split.TRAIN],
        kind=kind,
        size=size,
        seed=seed,
        avoid=spared,
        forgotten=run.tombstones,
    )
    if len(twins) != 4:
        raise InvalidArgument(
            f"a rehearsal needs four twins, two for each pseudo-forget set: {len(twins)} were given; prepare again"
        )
    told = f"rehearsal:{RequestKind(kind).value}"
    forget = [ForgetSet(slots, (told,), run.root.hex()) for slots in sets]
    acts = dict(zip(TuningStage, zip(forget, (twins[:2], twins[2:]), strict=True), strict=True))
    return _rehearsal(run, acts, rows, spared, RequestKind(kind).value, size, seed, device)


def prepare_oracle(
    run: Run,
    references: Sequence[Run],
    forget: ForgetSet,
    *,
    seed: int = 0,
    data: GivenData = None,
    device: str | None = None,
) -> Rehearsal:
    """The request itself in the place of a rehearsal, two references in the place of twins: good for refuting only."""
    if len(references) != 2:
        raise InvalidArgument(
            f"`oracle` needs two references of the request, by seeds of their own: not {len(references)}"
        )
    nobody = np.zeros(0, dtype=np.int64)
    heads = {rule.partition(":")[0] for rule in forget.rules}
    kind = heads.pop() if len(heads) == 1 else "mixed"
    found = _rehearsal(
        run, {TuningStage.CHOICE: (forget, references)}, run.data(data), nobody, kind, str(len(forget)), seed, device
    )
    return replace(found, mode=TuningMode.ORACLE)


def _rehearsal(
    run: Run,
    acts: Mapping[TuningStage, tuple[ForgetSet, Sequence[Run]]],
    rows: Mapping[Split, Dataset],
    avoid: np.ndarray,
    kind: str,
    size: str | None,
    seed: int,
    device: str | None,
) -> Rehearsal:
    recipe, forgotten = run.recipe, run.tombstones
    calibration_rows = check_rehearsable(run, rows, avoid)
    emptied = np.union1d(forgotten, avoid)
    _check_seeds(run, [twin for _, own in acts.values() for twin in own])
    left_out = _left_out(run, acts, forgotten, emptied)
    parent, share = parent_of(run, data=rows, device=device), 1.0
    calibration = Examples(recipe, rows[Split.CALIBRATION], parent.examples.device).only(calibration_rows)
    parent = replace(parent, calibration=calibration)
    if left_out and len(avoid):
        work = [run.schedule.work(gone, least_present=recipe.least_present) for gone in (forgotten, emptied)]
        readable = np.setdiff1d(np.arange(len(parent.examples)), avoid)
        parent, share = replace(parent, emptied=emptied, examples=parent.examples.only(readable)), work[0] / work[1]
    everybody = np.flatnonzero(rows[Split.TRAIN].present)
    played = np.concatenate([forget.slots for forget, _ in acts.values()])
    staying = np.setdiff1d(everybody, np.union1d(played, emptied))
    wanted = max(SMALLEST_SAMPLE, len(acts[TuningStage.CHOICE][0]))
    keys = rehearsal_stream(seed, "sample").words(len(rows[Split.TRAIN]))
    bare = Rehearsal(
        parent=parent,
        forget={stage: forget for stage, (forget, _) in acts.items()},
        twins=(),
        scales={},
        sample=np.sort(staying[stable_order(keys[staying])][:wanted]),
        calibration=calibration,
        forgotten=forgotten,
        avoid=avoid,
        left_out=left_out,
        share=share,
        kind=kind,
        size=size,
        seed=seed,
    )
    return bare.beside({stage: own for stage, (_, own) in acts.items()})


def check_rehearsable(run: Run, rows: Mapping[Split, Dataset], avoid: np.ndarray) -> np.ndarray:
    """Refuse what no twin would help, before one is trained; the calibration rows that a rehearsal may compare on."""
    if run.told.adopted is not None:
        raise UnsupportedYet(
            f"tuning on {run.path}, whose model was trained elsewhere: it compares with twins that are trained without "
            "some rows, and only the owner can train them; set fields by hand, or train by `expunge train`"
        )
    if not run.recipe.classes:
        raise UnsupportedYet(
            f"tuning on {run.path}, whose labels are numbers: it compares margins, which answers that are numbers do "
            "not have so far; set fields by hand"
        )
    if run.recipe.shards > 1:
        raise UnsupportedYet(
            f"tuning on a run with {run.recipe.shards} shards: approximate methods have no rule for several shards so "
            "far, so there is nothing to tune; use exact-replay or retrain"
        )
    return _calibration_rows(run, rows, np.union1d(run.tombstones, avoid))


def _check_seeds(run: Run, twins: Sequence[Run]) -> None:
    """A twin that shares its luck with the run or another twin would be nearer than an honest retraining is."""
    known = {run.recipe.seed: run.path}
    for twin in twins:
        if twin.recipe.seed in known:
            raise InvalidArgument(
                f"the twin {twin.path} has the seed {twin.recipe.seed} of {known[twin.recipe.seed]}: a twin must be "
                "trained under a seed of its own, or it would be nearer than an honest retraining is"
            )
        known[twin.recipe.seed] = twin.path


def _left_out(
    run: Run, acts: Mapping[TuningStage, tuple[ForgetSet, Sequence[Run]]], forgotten: np.ndarray, emptied: np.ndarray
) -> bool:
    """Whether the twins were trained without the rows to avoid; anything that is no twin of this run is refused."""
    found: set[bool] = set()
    for forget, twin in ((forget, twin) for forget, twins in acts.values() for twin in twins):
        if twin.root != run.root:
            raise InvalidArgument(f"the twin {twin.path} was trained on other data than {run.path}: its root differs")
        if not twin.has_recipe_of(run):
            raise InvalidArgument(f"the twin {twin.path} has another recipe than {run.path}: only the seed may differ")
        if not twin.told.recorded or not twin.told.tombstones:
            raise InvalidArgument(
                f"the twin {twin.path} was made by {twin.method or 'a training on everybody'!r}: a twin is a training "
                "or an exact retraining without its pseudo-forget set"
            )
        ways = [np.union1d(gone, forget.slots) for gone in (emptied, forgotten)]
        fits = [np.array_equal(twin.tombstones, way) for way in ways]
        if not any(fits):
            raise InvalidArgument(
                f"the twin {twin.path} was trained without {len(twin.tombstones)} rows, which are not the "
                f"{len(forget)} of its pseudo-forget set and those forgotten before: train it without exactly these"
            )
        found.add(fits[0])
    if len(found) > 1:
        raise InvalidArgument(
            "some twins were trained without the rows to avoid and some with them: treat all of them alike"
        )
    return found.pop()


def _calibration_rows(run: Run, rows: Mapping[Split, Dataset], emptied: np.ndarray) -> np.ndarray:
    """Rows that are there and of nobody whose every training row is forgotten or to be avoided."""
    train, calibration = rows[Split.TRAIN], rows[Split.CALIBRATION]
    gone = np.isin(np.arange(len(train)), emptied)
    leaving = {train.subjects[slot] for slot in np.flatnonzero(gone)}
    leaving -= {train.subjects[slot] for slot in np.flatnonzero(~gone)}
    released = set(run.released.get(Split.CALIBRATION, []))
    kept = [
        row
        for row in np.flatnonzero(calibration.present)
        if row not in released and calibration.subjects[row] not in leaving
    ]
    if not kept:
        raise DataError("the calibration split holds no row: tuning compares with the twins there; use more data")
    return np.array(kept, dtype=np.int64)


def described_slots(slots: np.ndarray) -> Described:
    """So many slots, and which, without naming them."""
    return Described(count=len(slots), digest=tombstones_digest(slots).hex())
