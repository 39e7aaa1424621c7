"""A trial: what the original, the unlearned runs and retrained references answered to the same rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import TypeVar

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256
from expunge.core.statistics.margins import probabilities
from expunge.core.streams import Stream, stable_order
from expunge.core.values import Figure
from expunge.core.wording import counted
from expunge.measure.readings import SIGNALS, AnyReading, Arrays, RequestReading
from expunge.tasks.task import Told

SMALLEST_FORGET_SET = 20
MOST_DUPLICATES = 0.01


class Whose(Enum):
    """Whose outputs are meant."""

    FORGET = "forget"
    RETAIN = "retain"
    HOLDOUT = "holdout"


class NoHoldout(Exception):
    """A probe asked for rows that were never trained on, and nobody gave any; the sealed call makes it Undecided."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All that a probe is given of a model: what was read of it on the trial's rows, and what it cost, if known.

    A probe that asks for holdout rows where a trial has none, or for signals that the task does not tell, is told so
    and has nothing to measure. What was read of the request as a whole stands with the forget set.
    """

    read: Mapping[AnyReading, Mapping[Whose, Arrays]]
    example_steps: float | None
    seconds: float | None
    figures: Mapping[object, Figure] = field(default_factory=dict[object, Figure])  # of the probe's ``parts``

    def of(self, rows: Whose, reading: AnyReading = SIGNALS) -> Arrays:
        """Arrays by name, as long as there are such rows; a trial without a holdout has no row in their place."""
        found = self.read[reading][rows]
        if not found or (reading == SIGNALS and "beliefs" not in found):
            found = Told(found)  # of a task without classes
        if found and rows is Whose.HOLDOUT and not any(len(values) for values in found.values()):
            raise NoHoldout
        return found

    def tell(self, signal: str) -> bool:
        """Whether the task tells this of a row."""
        return signal in self.read[SIGNALS][Whose.FORGET]

    @cached_property
    def finite(self) -> frozenset[AnyReading]:
        """Readings whose every number is finite; of signals the beliefs are looked at, from which the rest follows."""
        return frozenset(
            reading
            for reading, by_rows in self.read.items()
            if all(np.isfinite(values).all() for arrays in by_rows.values() for values in _first_told(arrays))
        )

    def only(self, readings: tuple[AnyReading, ...], figures: Mapping[object, Figure]) -> Answers:
        """Without what a probe did not declare."""
        return replace(self, read={reading: self.read[reading] for reading in readings}, figures=figures)

    def confidence(self, rows: Whose) -> np.ndarray:
        """Probability of the true label."""
        return np.exp(-self.of(rows)["loss"])

    @cached_property
    def effective_classes(self) -> float:
        """exp of the entropy of the mean prediction on the holdout: 1 when one class is always answered."""
        mean = probabilities(self.of(Whose.HOLDOUT)["beliefs"]).mean(axis=0)
        kept = mean[mean > 0]
        return float(np.exp(-(kept * np.log(kept)).sum()))


@dataclass(frozen=True, kw_only=True)
class Half:
    """A model that was trained without half of the training rows, and which rows of each role it knew."""

    weights_digest: str
    answers: Answers
    knew: Mapping[Whose, np.ndarray]


@dataclass(frozen=True)
class Beside:
    """What stands beside the model that is measured, as far as its probe needs it; references without itself."""

    references: tuple[Answers, ...] = ()
    witnesses: tuple[Answers, ...] = ()
    original: Answers | None = None
    halves: tuple[Half, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrialModel:
    """A model of the trial: its answers, and what probes must not know of it.

    Of an unlearned run ``flags`` is what must be said with its verdict, ``unsupportable`` why it can be refuted but
    never supported, if so, and ``retrained`` whether its own method trained it from the start. ``members`` are the
    weights that stand side by side where it is of a pool.
    """

    weights_digest: str
    lineage_seed: str
    answers: Answers
    exact: bool = False
    flags: tuple[str, ...] = ()
    unsupportable: str | None = None
    retrained: bool = False
    members: tuple[str, ...] = ()


Model = TypeVar("Model", TrialModel, Half)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The rows that every model of a trial was asked about. The holdout is split once, by a stream.

    ``attack`` indexes the holdout rows that attacks and thresholds are fitted on, ``scored`` those that are scored,
    ``tested`` those that test accuracy counts: forgotten classes are left out. ``random``: the forget set is a random
    sample. ``digest`` tells these rows, in these roles, from all others.
    """

    labels: Mapping[Whose, np.ndarray]
    attack: np.ndarray
    scored: np.ndarray
    tested: np.ndarray
    seed: bytes
    digest: bytes = b""
    duplicates: int = 0
    excluded_holdout: int = 0
    dropped_classes: tuple[str, ...] = ()
    random: bool = True

    def count(self, rows: Whose) -> int:
        return len(self.labels[rows])

    @property
    def few(self) -> bool:
        """Whether there are too few forgotten rows to decide for a run; who stands out is seen at any number."""
        return self.count(Whose.FORGET) < SMALLEST_FORGET_SET

    def unfit(self) -> str | None:
        """Why no probe on the forget set can say anything in this trial, if so."""
        forgotten = self.count(Whose.FORGET)
        if self.few:
            rows = counted(forgotten, "row")
            return f"{rows}, tests need {SMALLEST_FORGET_SET}: more references would not help"
        if self.duplicates > MOST_DUPLICATES * forgotten:
            return (
                f"duplicates: {self.duplicates} of {forgotten} forgotten examples stand in the retain set too; forget "
                "those as well"
            )
        return None

    def attack_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Equally many retain and attack-holdout rows, drawn by stream: what a classifier is fitted on."""
        retained = self.count(Whose.RETAIN)
        size = min(retained, len(self.attack))
        members = stable_order(Stream(self.seed, "probe/members").words(retained))[:size]
        others = self.attack[stable_order(Stream(self.seed, "probe/others").words(len(self.attack)))[:size]]
        return np.sort(members), np.sort(others)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Original, unlearned runs of one request, references, witnesses, and the ground that they were asked on.

    ``retrained`` are the weights of all retrainings that are known, the one under the original's own seed among them:
    what equals one of them bit for bit is a retrained model, and nothing is left to estimate. By an owner's word alone
    none is.
    """

    original: TrialModel
    unlearned: tuple[TrialModel, ...]
    references: tuple[TrialModel, ...]
    ground: Ground
    witnesses: tuple[TrialModel, ...] = ()
    halves: tuple[Half, ...] = ()
    retrained: frozenset[str] = frozenset()
    figures: dict[object, Figure] = field(default_factory=dict[object, Figure], repr=False, compare=False)
    # what probes found already: several of them need the same figures, and other trials on the same ground do

    def __post_init__(self) -> None:
        models = (self.original, *self.unlearned, *self.references, *self.witnesses)
        told = [item for model in models for item in model.answers.read.items()]
        told += [item for half in self.halves for item in half.answers.read.items()]
        read = [by_rows for reading, by_rows in told if not isinstance(reading, RequestReading)]
        shapes = {
            tuple(len(by_rows[rows][name]) for rows in Whose) for by_rows in read for name in by_rows[Whose.FORGET]
        }
        shapes.add(tuple(self.ground.count(rows) for rows in Whose))
        if len(shapes) > 1:
            raise InvalidArgument(f"the models of a trial were read on different rows: {sorted(shapes)}")

    def answering(self, change: Callable[[Answers], Answers], ground: Ground) -> Trial:
        """The same models, all of which answer otherwise, on other ground."""

        def changed(one: Model) -> Model:
            return replace(one, answers=change(one.answers))

        return replace(
            self,
            original=changed(self.original),
            unlearned=tuple(map(changed, self.unlearned)),
            references=tuple(map(changed, self.references)),
            witnesses=tuple(map(changed, self.witnesses)),
            halves=tuple(map(changed, self.halves)),
            ground=ground,
        )


def _first_told(arrays: Arrays) -> Collection[np.ndarray]:
    return (arrays["beliefs"],) if "beliefs" in arrays else arrays.values()


def probe_seed(root: bytes) -> bytes:
    """Seed of what probes draw: a function of the data set alone."""
    return sha256(b"expunge/probe/1", root)


def split_holdout(seed: bytes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(attack rows, scored rows): halves of the holdout, drawn by stream."""
    order = stable_order(Stream(seed, "probe/split").words(count))
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])
