"""Rehearsals: forget sets that nobody asked for, twins trained without them, and how near a model comes to its twin.

Tuning on the retrained reference of a real request reports a minimum over trials, and nobody who has that reference
needs to unlearn. Here a method forgets another set of the same kind, and is compared with a retraining without that
set. The comparison reads margins and nothing else: no attack, no probe and no holdout row can be reached from here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from expunge.core.errors import DataError, ExpungeError, InvalidArgument, RunError, UnsupportedYet
from expunge.core.streams import stable_order
from expunge.data.commitment import tombstones_digest
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.methods.contract import Method, Parent
from expunge.methods.unlearn import parent_of
from expunge.records.tuning import Attempt, Described, Rehearsed, Score, TwinRead, attempted
from expunge.study.pseudo_sets import RequestKind, pseudo_sets, rehearsal_stream
from expunge.study.score import TuningMode, TuningPart, TuningStage
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.profile import pinned
from expunge.train.run import Run

SMALLEST_SAMPLE = 200
LOST_ACCURACY = 0.01  # how far below its twin's a model's accuracy on the calibration split may lie


@dataclass(frozen=True)
class Twin:
    """A run trained without a pseudo-forget set, and its margins' mean and unit in each part, read once."""

    weights_digest: str
    training_seed: int
    example_steps: float
    seconds: float
    accuracy: float
    means: Mapping[TuningPart, float]
    units: Mapping[TuningPart, float]

    def told(self) -> TwinRead:
        """As a tuning is stored."""
        return TwinRead(
            weights_digest=self.weights_digest,
            training_seed=self.training_seed,
            example_steps=self.example_steps,
            seconds=self.seconds,
            accuracy=self.accuracy,
            means={part.value: mean for part, mean in self.means.items()},
            units={part.value: unit for part, unit in self.units.items()},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rehearsal:
    """A run, what it is to forget in play, and the twins that show how it should look afterwards."""

    parent: Parent
    forget: Mapping[TuningStage, ForgetSet]
    twins: Mapping[TuningStage, Twin]
    sample: np.ndarray  # slots that stay, in no pseudo-forget set
    calibration: Examples
    calibration_rows: np.ndarray
    forgotten: np.ndarray
    avoid: np.ndarray
    left_out: bool  # whether the twins were trained without ``avoid``: then nothing here reads those rows either
    share: float  # what a budget is multiplied with, so that leaving rows out does not lessen the work allowed
    kind: str
    size: str | None
    seed: int
    mode: TuningMode = TuningMode.REHEARSAL

    def score(self, model: nn.Module, stage: TuningStage = TuningStage.CHOICE) -> Score:
        """Compare a model with the stage's twin; answers that are not finite are refused. Call it pinned."""
        read, twin = self._read(model, stage), self.twins[stage]
        parts = {
            part.value: abs(float(found.mean()) - twin.means[part]) / twin.units[part]
            for part, (found, _) in read.items()
        }
        accuracy = _accuracy(read)
        short = twin.accuracy - LOST_ACCURACY - accuracy
        return Score(max(parts.values()), parts, accuracy, short if short > 1e-9 else 0.0)

    def untouched(self, stage: TuningStage) -> Score:
        """The score of doing nothing: of the original itself."""
        with pinned(self.parent.recipe):
            return self.score(self.parent.model, stage)

    def attempt(self, method: Method, stage: TuningStage, *, budget: float, seed: int) -> Attempt:
        """Forget the stage's pseudo-forget set by a method and score what comes out; a refusal is a failed attempt."""
        started = time.perf_counter()
        score, failure, spent, scoring = None, None, 0.0, 0.0
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
        return (len(self.forget[stage]) + len(self.sample) + len(self.calibration_rows)) / 3

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
            calibration=len(self.calibration_rows),
            twins_apart=self.twins_apart,
        )

    @property
    def twins_apart(self) -> float | None:
        """Distance of the twins from each other on the sample, which both were trained on; None for a single one.

        In the unit of scores: what another training seed does. Scores below it tell fields apart by luck.
        """
        if len(self.twins) < 2:
            return None
        first, second = self.twins.values()
        return abs(first.means[TuningPart.RETAIN] - second.means[TuningPart.RETAIN]) / first.units[TuningPart.RETAIN]

    def _read(self, model: nn.Module, stage: TuningStage) -> dict[TuningPart, tuple[np.ndarray, np.ndarray]]:
        """(margins, whether right) of every row in each part."""
        slots, recipe = self.forget[stage].slots, self.parent.recipe
        rows = {
            TuningPart.FORGET: (self.parent.examples, slots),
            TuningPart.RETAIN: (self.parent.examples, self.sample),
            TuningPart.CALIBRATION: (self.calibration, self.calibration_rows),
        }
        found: dict[TuningPart, tuple[np.ndarray, np.ndarray]] = {}
        for part, (examples, chosen) in rows.items():
            read = signals(recipe, model, examples, chosen)
            found[part] = read["margin"], read["correct"]
            bad = int((~np.isfinite(found[part][0])).sum())
            if bad:
                raise RunError(
                    f"the model answers {bad} of {len(chosen)} rows of the {part.value} part with numbers that are not "
                    "finite: it has no score"
                )
        return found


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
    """Two rehearsals with their twins: runs trained without ``pseudo_sets`` of the same arguments, by other seeds.

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
    if len(twins) != 2:
        raise InvalidArgument(f"a rehearsal needs two twins, one for each pseudo-forget set: {len(twins)} were given")
    for twin in twins:
        if twin.recipe.seed == run.recipe.seed:
            raise InvalidArgument(
                f"the twin {twin.path} has the seed {twin.recipe.seed} of {run.path}: a twin must be trained under "
                "another seed, or it would be nearer than an honest retraining is"
            )
    told = f"rehearsal:{RequestKind(kind).value}"
    forget = [ForgetSet(slots, (told,), run.root.hex()) for slots in sets]
    acts = dict(zip(TuningStage, zip(forget, twins, strict=True), strict=True))
    return _rehearsal(run, acts, rows, spared, RequestKind(kind).value, size, seed, device)


def prepare_oracle(
    run: Run,
    reference: Run,
    forget: ForgetSet,
    *,
    seed: int = 0,
    data: GivenData = None,
    device: str | None = None,
) -> Rehearsal:
    """The request itself in the place of a rehearsal, its reference in the place of a twin: good for refuting only."""
    nobody = np.zeros(0, dtype=np.int64)
    heads = {rule.partition(":")[0] for rule in forget.rules}
    kind = heads.pop() if len(heads) == 1 else "mixed"
    found = _rehearsal(
        run, {TuningStage.CHOICE: (forget, reference)}, run.data(data), nobody, kind, str(len(forget)), seed, device
    )
    return replace(found, mode=TuningMode.ORACLE)


def _rehearsal(
    run: Run,
    acts: Mapping[TuningStage, tuple[ForgetSet, Run]],
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
    left_out = _left_out(run, acts, forgotten, emptied)
    parent, share = parent_of(run, data=rows, device=device), 1.0
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
        twins={},
        sample=np.sort(staying[stable_order(keys[staying])][:wanted]),
        calibration=Examples(recipe, rows[Split.CALIBRATION], parent.examples.device),
        calibration_rows=calibration_rows,
        forgotten=forgotten,
        avoid=avoid,
        left_out=left_out,
        share=share,
        kind=kind,
        size=size,
        seed=seed,
    )
    with pinned(recipe):
        twins = {stage: _twin(bare, twin, stage) for stage, (_, twin) in acts.items()}
    return replace(bare, twins=twins)


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


def _left_out(
    run: Run, acts: Mapping[TuningStage, tuple[ForgetSet, Run]], forgotten: np.ndarray, emptied: np.ndarray
) -> bool:
    """Whether the twins were trained without the rows to avoid; anything that is no twin of this run is refused."""
    found: set[bool] = set()
    for forget, twin in acts.values():
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
            "one twin was trained without the rows to avoid and the other with them: treat both alike"
        )
    return found.pop()


def _twin(rehearsal: Rehearsal, run: Run, stage: TuningStage) -> Twin:
    """Read a twin once. A part in which its margins do not vary is measured in the unit of the retained sample."""
    read = rehearsal._read(run.model(rehearsal.parent.examples.device), stage)  # pyright: ignore[reportPrivateUsage]
    spreads = {part: float(found.std(ddof=1)) if len(found) > 1 else 0.0 for part, (found, _) in read.items()}
    units = {part: spread or spreads[TuningPart.RETAIN] for part, spread in spreads.items()}
    if not all(math.isfinite(unit) and unit > 0 for unit in units.values()):
        raise RunError(
            f"the twin {run.path} gives all retained rows of the sample the same margin: there is no unit to measure "
            "distances in; rehearse with more rows, or with a model that learns"
        )
    return Twin(
        weights_digest=run.weights_digest,
        training_seed=run.recipe.seed,
        example_steps=run.result.example_steps,
        seconds=run.result.seconds,
        accuracy=_accuracy(read),
        means={part: float(found.mean()) for part, (found, _) in read.items()},
        units=units,
    )


def _accuracy(read: Mapping[TuningPart, tuple[np.ndarray, np.ndarray]]) -> float:
    return float(read[TuningPart.CALIBRATION][1].mean())


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
