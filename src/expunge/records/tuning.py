"""tuning.json and trials.jsonl: how the fields of methods were chosen by rehearsal. Work is in example-steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast, get_args

from expunge.core.errors import DataError
from expunge.core.wording import counted
from expunge.records.document import Sealed
from expunge.records.form import Many, Plain
from expunge.records.holds import Holds, rows
from expunge.records.scalars import Amount, Digest

MOST_TRIALS = 10_000
NOTHING = "nothing to forget in this rehearsal"
REMEDY = "; tune again, or take the file as `expunge tune` wrote it"
Found = TypeVar("Found")

ModeName = Literal["rehearsal", "oracle"]  # at twins, or at references of the very request, which can only refute
StageName = Literal["choice", "transfer"]
TermName = Literal["forget", "accuracy", "memory", "retain", "calibration"]
SCORE = 2  # version of the score; that of tunings which name none had two twins and compared means
TRIALS = "trials.jsonl"  # what is known so far, beside the whole file
TRIED = rows("tuning history: scores and the fields that they chose", "its rehearsals read these rows")


@dataclass(frozen=True, kw_only=True)
class Described(Plain):
    """So many slots, and which, without naming them."""

    count: int
    digest: Digest


@dataclass(frozen=True)
class Score(Plain):
    """How far a model is from its twins, the largest of the terms in ``parts``: 1 is doing nothing, above it is worse.

    ``short`` is by how much accuracy on the calibration split misses what is admissible; 0 where it does not.
    ``spread`` is the standard deviation of the score over pairings of single twins.
    """

    value: float
    parts: Mapping[str, float]
    accuracy: float
    short: float
    spread: float | None = None

    def check(self, where: str) -> None:
        odd = next((name for name in self.parts if name not in get_args(TermName)), None)
        if odd is not None:
            raise DataError(f"{where} has the part {odd[:40]!r}: the file was altered")

    @property
    def reason(self) -> str | None:
        """Why these fields must not be chosen, if so."""
        if not self.short:
            return None
        return f"accuracy {self.accuracy:.3f} on the calibration split lies {self.short:.3f} below what is admissible"


@dataclass(frozen=True, kw_only=True)
class Attempt(Plain):
    """What one call of a method came to. ``reason`` says why there is no score, or none that may be chosen."""

    state: Literal["failed", "inadmissible", "admissible"]
    score: Score | None
    reason: str | None
    example_steps: Amount
    scoring: Amount
    seconds: Amount

    def check(self, where: str) -> None:
        told = _state(self.score)
        if self.state != told or (self.score is not None and self.reason != self.score.reason):
            raise DataError(f"{where} contradicts itself: it was altered")


def _state(score: Score | None) -> Literal["failed", "inadmissible", "admissible"]:
    if score is None:
        return "failed"
    return "inadmissible" if score.reason else "admissible"


def attempted(
    score: Score | None, failure: str | None, *, example_steps: float, scoring: float, seconds: float
) -> Attempt:
    """A call that was scored, or failed for a reason."""
    return Attempt(
        state=_state(score),
        score=score,
        reason=failure if score is None else score.reason,
        example_steps=example_steps,
        scoring=scoring,
        seconds=seconds,
    )


def score_of(attempt: Attempt | None) -> float | None:
    return None if attempt is None or attempt.score is None else attempt.score.value


@dataclass(frozen=True, kw_only=True)
class TuningTrial(Attempt):
    """One set of fields and what it came to. ``repeats`` names an earlier trial of the same fields, not run again."""

    index: int
    fields: Mapping[str, Any]
    repeats: int | None


@dataclass(frozen=True, kw_only=True)
class KeptTrial(TuningTrial):
    """A line of trials.jsonl: a trial of a method, on the first set or on the second."""

    method: str
    stage: StageName


def part(kind: type[Found], value: Found) -> Found:
    """What a value has of a class that its own class extends."""
    return kind(**{item.name: getattr(value, item.name) for item in fields(cast("Any", kind))})


@dataclass(frozen=True, kw_only=True)
class Settled(Plain):
    """Fields that were taken, by the number of their trial, and what they came to on each set."""

    trial: int
    fields: Mapping[str, Any]
    choice: Attempt
    transfer: Attempt | None


@dataclass(frozen=True, kw_only=True)
class SearchCost(Plain):
    """What one method's search took."""

    example_steps: Amount
    scoring: Amount
    seconds: Amount


@dataclass(frozen=True, kw_only=True)
class Tuned(Plain):
    """One method: where its fields were looked for, what was chosen, whether that is better than doing nothing, and
    whether it carries over.
    """

    method: str
    state: Literal["tuned", "default kept", "nothing to tune"]
    search: Mapping[str, Any]
    default: Settled
    chosen: Settled
    better: bool | None = None
    transferred: bool | None
    notices: tuple[str, ...]
    trials: Annotated[tuple[TuningTrial, ...], Many(MOST_TRIALS)]
    cost: SearchCost

    @property
    def reached(self) -> float | None:
        """The worse of its scores on both sets; None where it gains nothing, or nothing that carries over."""
        scores = [
            score for score in (score_of(self.chosen.choice), score_of(self.chosen.transfer)) if score is not None
        ]
        return max(scores) if self.better and self.transferred is not False else None


@dataclass(frozen=True, kw_only=True)
class Sampler(Plain):
    """What proposed the fields."""

    name: str
    optuna: str | None


@dataclass(frozen=True, kw_only=True)
class Original(Plain):
    """The run that requests will be made to, and its score on each set as it stands."""

    weights_digest: Digest
    forgotten: Described
    untouched: tuple[Score, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreScale(Plain):
    """What one honest retraining scores on a set, None where nothing is to forget; why terms have no part in scores."""

    retrained: float | None = None
    left_out: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Rehearsed(Plain):
    """What was rehearsed; ``twins_apart`` is of the score before this one."""

    kind: str
    size: str | None
    seed: int
    avoid: Described
    avoid_left_out: bool
    sets: tuple[Described, ...]
    sample: Described
    calibration: int
    scales: tuple[ScoreScale, ...] | None = None
    twins_apart: float | None = None

    def check(self, where: str) -> None:
        if not self.sets:
            raise DataError(f"{where} names no set that was rehearsed: the file was altered")


@dataclass(frozen=True, kw_only=True)
class TwinRead(Plain):
    """A twin, and its accuracy on the calibration split; ``means`` and ``units`` are of the score before this one."""

    weights_digest: Digest
    training_seed: int
    example_steps: Amount
    seconds: Amount
    accuracy: float
    means: Mapping[str, float] | None = None
    units: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class TuningCost(Plain):
    """What the whole tuning took."""

    trials: Amount
    scoring: Amount
    twins: Amount
    seconds: Amount


@dataclass(frozen=True, kw_only=True)
class Tuning(Sealed):
    """The whole file. Its digest is that of everything but what the clock said.

    ``score`` is the version of the score by which fields were chosen; files of earlier releases name none.
    """

    FORMAT: ClassVar[str] = "expunge/tuning/1"
    NAME: ClassVar[str] = "tuning.json"
    HOLDS: ClassVar[Holds] = TRIED
    OTHER: ClassVar[str] = "{where}: this is not a tuning: its format is {told}, not {wanted!r}"
    ALTERED: ClassVar[str] = f"{{where}}: the tuning was altered: its digest is not that of its content{REMEDY}"
    CLOCK: ClassVar[str] = "seconds"

    mode: str
    score: int | None = None
    recipe_digest: Digest
    recipe_but_seed: Digest
    data_root: Digest
    budget: Amount
    trials: int
    seed: int
    sampler: Sampler
    original: Original
    rehearsal: Rehearsed
    twins: tuple[TwinRead, ...]
    methods: tuple[Tuned, ...]
    conclusion: str | None = None
    cost: TuningCost

    def check(self, where: str) -> None:
        if self.mode not in get_args(ModeName):
            raise DataError(f"{where}: the tuning was altered: mode {self.mode[:40]!r} is none of this version{REMEDY}")

    def of(self, method: str) -> Tuned | None:
        """What was found for a method."""
        return next((entry for entry in self.methods if entry.method == method), None)


def nothing_forgets(tunings: Sequence[Tuning]) -> str | None:
    """That nothing forgets within the budget, in words, if it is so: of tunings beside the same twins.

    A method forgets if what it gains carries over and brings it nearer to an honest retraining than to doing nothing.
    """
    scales = tunings[0].rehearsal.scales if tunings else None
    if not scales:
        return None
    if (why := scales[0].left_out.get("forget")) is not None:
        return f"{NOTHING}: {why}"
    reached = {entry.method: entry.reached for tuning in tunings for entry in tuning.methods}
    scores = {name: score for name, score in reached.items() if score is not None}
    retrained = max(scale.retrained or 0.0 for scale in scales)
    best = min(scores, key=lambda name: scores[name], default=None)
    if best is not None and scores[best] < (1.0 + retrained) / 2:
        return None
    return (
        f"nothing here forgets within this budget ({100 * tunings[0].budget:.4g} % of the training's work): of "
        f"{counted(len(reached), 'method')} none gains what carries over and comes nearer to a retrained model "
        f"({retrained:.2f}) than to doing nothing (1)"
        + ("" if best is None else f"; {best} comes nearest, with {scores[best]:.2f}")
    )


@dataclass(frozen=True, kw_only=True)
class JobAsked(Plain):
    """First line of a study's trials.jsonl: the job that they belong to."""

    job: str


@dataclass(frozen=True, kw_only=True)
class TuneAsked(Plain):
    """First line of trials.jsonl: what was asked for, and must be asked for again."""

    weights_digest: Digest
    data_root: Digest
    forgotten: Described
    score: int = SCORE
    budget: float
    trials: int
    seed: int
    device: str
    software: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RehearsalAsked(TuneAsked):
    """A rehearsal of requests of a kind and size."""

    mode: ModeName = "rehearsal"
    kind: str
    size: str | None
    avoid: Described


@dataclass(frozen=True, kw_only=True)
class OracleAsked(TuneAsked):
    """The request itself, beside its references."""

    mode: ModeName = "oracle"
    references: tuple[Digest, ...]
    forget: Described
