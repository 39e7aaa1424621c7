"""What a probe is given: signals of the original, the unlearned model and retrained references on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256
from expunge.core.statistics.margins import correct, losses, margins, probabilities
from expunge.core.streams import Stream, stable_order
from expunge.core.values import Measurement, Undecided

SMALLEST_FORGET_SET = 20
MOST_DUPLICATES = 0.01


class Rows(Enum):
    """Whose outputs are meant."""

    FORGET = "forget"
    RETAIN = "retain"
    HOLDOUT = "holdout"


@dataclass(frozen=True)
class Signals:
    """One model's beliefs on the trial's rows, as logits of a softmax in float64, with what it cost."""

    weights_digest: str
    lineage_seed: str
    logits: Mapping[Rows, np.ndarray]
    labels: Mapping[Rows, np.ndarray]
    example_steps: float
    seconds: float

    @property
    def finite(self) -> bool:
        return all(bool(np.isfinite(values).all()) for values in self.logits.values())

    def correct(self, rows: Rows) -> np.ndarray:
        """1 where the answer is right."""
        return correct(self.logits[rows], self.labels[rows])

    def losses(self, rows: Rows) -> np.ndarray:
        """−log p of the true label."""
        return losses(self.logits[rows], self.labels[rows])

    def margins(self, rows: Rows) -> np.ndarray:
        """log(p / (1 − p)) of the true label."""
        return margins(self.logits[rows], self.labels[rows])

    def probabilities(self, rows: Rows) -> np.ndarray:
        return probabilities(self.logits[rows])

    def confidence(self, rows: Rows) -> np.ndarray:
        """Probability of the true label."""
        return np.exp(-self.losses(rows))

    @cached_property
    def effective_classes(self) -> float:
        """exp of the entropy of the mean prediction on the holdout: 1 when one class is always answered."""
        mean = self.probabilities(Rows.HOLDOUT).mean(axis=0)
        kept = mean[mean > 0]
        return float(np.exp(-(kept * np.log(kept)).sum()))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Original, unlearned, references; forget, retain, holdout. The holdout is split once, by a stream.

    ``attack`` indexes the holdout rows that attacks and thresholds are fitted on, ``scored`` those that are scored.
    """

    original: Signals
    unlearned: Signals
    references: tuple[Signals, ...]
    attack: np.ndarray
    scored: np.ndarray
    tested: np.ndarray  # holdout rows that test accuracy counts: forgotten classes are left out
    seed: bytes
    duplicates: int = 0
    excluded_holdout: int = 0
    dropped_classes: tuple[str, ...] = ()
    exact: bool = False
    flags: tuple[str, ...] = ()
    unsupportable: str | None = None  # why this trial can refute but never support, if so
    alone: dict[tuple[object, str], Measurement | Undecided] = field(
        default_factory=dict[tuple[object, str], Measurement | Undecided], repr=False, compare=False
    )  # what probes found of one model by itself, by probe and weights: the same in every trial on these rows
    measured: dict[object, Measurement | Undecided] = field(
        default_factory=dict[object, Measurement | Undecided], init=False, repr=False, compare=False
    )  # what probes found already: several of them need the same figures

    def __post_init__(self) -> None:
        shapes = {tuple(len(model.labels[rows]) for rows in Rows) for model in self.models}
        if len(shapes) > 1:
            raise InvalidArgument(f"the models of a trial were read on different rows: {sorted(shapes)}")

    @property
    def models(self) -> tuple[Signals, ...]:
        return (self.original, self.unlearned, *self.references)

    def count(self, rows: Rows) -> int:
        return len(self.original.labels[rows])

    def unfit(self) -> str | None:
        """Why no probe on the forget set can say anything in this trial, if so."""
        forgotten = self.count(Rows.FORGET)
        if forgotten < SMALLEST_FORGET_SET:
            return f"needs {SMALLEST_FORGET_SET} forgotten examples, has {forgotten}"
        if self.duplicates > MOST_DUPLICATES * forgotten:
            return (
                f"duplicates: {self.duplicates} of {forgotten} forgotten examples stand in the retain set too; forget "
                "those as well"
            )
        return None

    def attack_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Equally many retain and attack-holdout rows, drawn by stream: what a classifier is fitted on."""
        retained = self.count(Rows.RETAIN)
        size = min(retained, len(self.attack))
        members = stable_order(Stream(self.seed, "probe/members").words(retained))[:size]
        others = self.attack[stable_order(Stream(self.seed, "probe/others").words(len(self.attack)))[:size]]
        return np.sort(members), np.sort(others)


def probe_seed(root: bytes) -> bytes:
    """Seed of what probes draw: a function of the data set alone."""
    return sha256(b"expunge/probe/1", root)


def split_holdout(seed: bytes, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(attack rows, scored rows): halves of the holdout, drawn by stream."""
    order = stable_order(Stream(seed, "probe/split").words(count))
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])
