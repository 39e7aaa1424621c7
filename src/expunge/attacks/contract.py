"""What chooses a forget set: a frozen dataclass that is given the candidates and says which of them it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from typing import ClassVar

import numpy as np
from torch import nn

from expunge.attacks.features import original_answers
from expunge.attacks.halves import HalfModels
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256, u64
from expunge.core.selection.ranking import Highest, highest
from expunge.core.streams import Stream
from expunge.core.values import Progress
from expunge.records.form import to_plain
from expunge.records.run_file import MethodFile
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.meter import Meter
from expunge.train.run import Run

RANDOM_SETS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidates:
    """Training rows that may be chosen, a model that knows them, and how many are wanted.

    A *place* is that of a row among ``slots`` or, where whole classes are chosen, that of a class among those that
    have rows. ``most`` caps the rows of each class.
    """

    run: Run
    examples: Examples
    slots: np.ndarray
    labels: np.ndarray
    whole_classes: bool
    count: int
    seed: int
    most: np.ndarray | None = None
    meter: Meter
    halves: HalfModels | None = None
    progress: Progress | None = None
    scored: dict[object, np.ndarray] = field(default_factory=dict[object, np.ndarray])

    @cached_property
    def model(self) -> nn.Module:
        """The original, in eval mode: nobody changes it."""
        return self.run.model(self.examples.device)

    @cached_property
    def places(self) -> np.ndarray:
        """The place of every row."""
        return np.unique(self.labels, return_inverse=True)[1] if self.whole_classes else np.arange(len(self.slots))

    @cached_property
    def total(self) -> int:
        """How many places there are."""
        return int(self.places.max()) + 1

    @property
    def chance(self) -> float:
        """What two random sets share."""
        return self.count / self.total

    @cached_property
    def keys(self) -> np.ndarray:
        """What breaks ties: by the seed, whoever asks."""
        return self.stream("ties").words(self.total)

    def stream(self, purpose: str, index: int = 0) -> Stream:
        """Random words of the seed."""
        return Stream(sha256(b"expunge/worst/1", u64(self.seed)), f"worst/{purpose}", 0, index)

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Which rows, by their positions, make up some places."""
        return np.flatnonzero(np.isin(self.places, places))

    def of_places(self, values: np.ndarray) -> np.ndarray:
        """Something of every row as a mean over each place."""
        return np.bincount(self.places, values, minlength=self.total) / np.bincount(self.places)

    def highest(self, scores: np.ndarray) -> Highest:
        """The places that score highest; no class beyond its cap."""
        return highest(scores, self.count, self.keys, groups=self.labels, room=self.most)

    def random(self, number: int) -> list[np.ndarray]:
        """Sets of the same size that nobody chose; the first is the one that ties alone would give."""
        drawn = (self.keys, *(self.stream("random", index).words(self.total) for index in range(1, number)))
        return [
            highest(np.zeros(self.total), self.count, keys, groups=self.labels, room=self.most).places for keys in drawn
        ]

    def losses(self, model: nn.Module) -> np.ndarray:
        """Loss of every row in eval mode, on rows as they are, in float64."""
        self.meter.forwards(len(self.slots))
        return signals(self.run.recipe, model, self.examples, self.slots)["loss"]

    @cached_property
    def original(self) -> dict[str, np.ndarray]:
        """What the original answers to every row, with what goes into its last layer: one forward pass for all."""
        self.meter.forwards(len(self.slots))
        return original_answers(self.run.recipe, self.model, self.examples, self.slots)

    @property
    def features(self) -> np.ndarray:
        """What goes into the last linear layer of the original, (rows, features)."""
        if "features" not in self.original:
            raise InvalidArgument(
                f"{self.run.path} has a {type(getattr(self.model, 'body', self.model)).__name__} that does not end in "
                "a linear layer, and features are what goes into that: choose by `objective` hidden, or by "
                "`heuristic` loss"
            )
        return self.original["features"]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The places that were taken and how many of them ties decided; what was looked for, in words and of any places.

    The rest is what a search says of itself: see ``records.selection.SelectionGuards``.
    """

    places: np.ndarray
    tied: int
    measured: str
    value: Callable[[np.ndarray], float]
    start: float | None = None
    stuck: bool = False
    held: float | None = None
    fractional: int | None = None
    reach: float | None = None
    halved: int | None = None


@dataclass(frozen=True)
class Chooser(ABC):
    """Chooses places. Its fields are its settings; ``finds`` says in words what it looks for."""

    name: ClassVar[str]
    finds: ClassVar[str]

    @abstractmethod
    def choose(self, candidates: Candidates) -> Chosen:
        """The places that are wanted."""

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name

    def refuse(self, run: Run, *, whole_classes: bool) -> None:  # noqa: B027 - most work on every run
        """Raise where it cannot work on a run, before anything is computed."""

    @property
    def told(self) -> MethodFile:
        """By name and fields."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        return MethodFile(name=self.name, fields=to_plain(named))


class End(Enum):
    """Which end of a score is taken."""

    LOW = "low"
    HIGH = "high"


def check(holds: bool, rule: str) -> None:
    """A field that breaks a rule is refused."""
    if not holds:
        raise InvalidArgument(rule)
