"""Everything that decides the weights, as one frozen value with a digest."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum
from typing import Any

from expunge.core.errors import DataError, UnsupportedYet
from expunge.core.hashing import canonical_json, sha256
from expunge.data.encoding import Encoding
from expunge.records.catalogue import ACCUMULATED_MODELS, LINEAR_TASKS, NUMBER_TASKS, TASK_NAMES
from expunge.records.form import from_plain, to_plain
from expunge.schedule.descent import Augmentation, Calendar, Optimiser, OptimiserName, check
from expunge.schedule.stepless import refuse_steps

Scalar = int | float | str | bool

SMALLEST_RATE = 2.0**-24  # below it, a step of size 1 moves no float32 weight of size 1
MOST_IN_OPTIONS = 64  # characters of all values: enough for settings, too few for weights


class Placement(Enum):
    """How rows are dealt to shards and slices."""

    SUBJECT = "subject"
    SLOT = "slot"
    TIERS = "tiers"  # a tier of subjects is a slice; inside it they are dealt to shards


class Voting(Enum):
    """How the shards' answers become one."""

    MEAN = "mean"
    MAJORITY = "majority"


class Precision(Enum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class MemoryLayout(Enum):
    """How the weights of convolutions lie in memory: it decides bits and speed, and is no part of stored weights."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels-last"  # on one core convolutions are trained in two thirds of the time


class HowTrained(Enum):
    """How weights come about: by steps downhill, or as a function of sums over the rows."""

    DESCEND = "descend"
    ACCUMULATE = "accumulate"


class Profile(Enum):
    """What is pinned: exact runs are bit-reproducible, speed runs are not claimed to be."""

    EXACT = "exact"
    SPEED = "speed"


ADDED_LATER: dict[str, Any] = {
    "perturbation": 0.0,
    "base": None,
    "layout": MemoryLayout.CONTIGUOUS,
    "stages": None,
    "tiers": None,
    "training": HowTrained.DESCEND,
}  # left out of the JSON at this value, so that older recipes keep their digest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Model, task, optimiser, epochs, batch size, shards, slices and seed: what training is a function of.

    ``perturbation`` is σ of a secret Gaussian b: training minimises the mean loss + b·w/n beside the weight decay, for
    certified removal (Guo et al., 2020). It is only for convex recipes. ``base`` is the SHA-256 of a file of weights
    that training begins with; those that it does not name come from the seed, as all do without it. ``stages`` are
    epochs of each slice's stage, ``epochs`` in all; ``tiers`` is the SHA-256 of the tier of every subject, by unit.
    """

    inputs: Encoding
    classes: tuple[int | str, ...]  # none where labels are numbers
    task: str = "classification"
    model: str = "cnn"
    model_options: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    optimiser: Optimiser = field(default_factory=Optimiser)
    augmentation: Augmentation = field(default_factory=Augmentation)
    epochs: int = 8
    batch_size: int = 64
    shards: int = 1
    slices: int = 1
    placement: Placement = Placement.SUBJECT
    voting: Voting = Voting.MEAN
    seed: int = 0
    least_present: int = 1
    precision: Precision = Precision.FLOAT32
    profile: Profile = Profile.EXACT
    threads: int = 1
    perturbation: float = 0.0
    base: str | None = None
    layout: MemoryLayout = MemoryLayout.CONTIGUOUS
    stages: tuple[int, ...] | None = None
    tiers: str | None = None
    training: HowTrained = HowTrained.DESCEND

    def __post_init__(self) -> None:
        self._check_training()
        for name, lowest, highest in (
            ("epochs", 1, 100_000),
            ("batch_size", 1, 1_000_000),
            ("shards", 1, 4096),
            ("slices", 1, 4096),
            ("seed", 0, 2**53 - 1),
            ("least_present", 1, 1024),
            ("threads", 1, 1024),
        ):
            value = getattr(self, name)
            check(
                type(value) is int and lowest <= value <= highest,
                f"{name.replace('_', ' ')} {value!r} must be a whole number from {lowest} to {highest}",
            )
        check(self.task in TASK_NAMES, f"task {self.task!r} is not known: choose one of {', '.join(TASK_NAMES)}")
        check(
            (self.task in NUMBER_TASKS) == (not self.classes),
            f"task {self.task!r} with {len(self.classes)} classes: labels are numbers under {', '.join(NUMBER_TASKS)}, "
            "and classes under every other task; read the data for this one",
        )
        check(
            bool(self.classes) or self.voting is Voting.MEAN,
            f"voting {self.voting.value} with task {self.task!r}: numbers have no majority; use mean",
        )
        if self.task in LINEAR_TASKS and self.shards > 1:
            raise UnsupportedYet(
                f"task {self.task!r} with {self.shards} shards: shards answer as one by the mean of softmax "
                "probabilities, which these scores are not; use one shard, or `task` classification"
            )
        check(
            self.least_present <= self.batch_size,
            f"least present {self.least_present} exceeds the batch size {self.batch_size}: every step would be skipped",
        )
        check(
            math.isfinite(self.perturbation) and self.perturbation >= 0,
            f"perturbation {self.perturbation} must be a finite number from 0",
        )
        object.__setattr__(self, "perturbation", float(self.perturbation))
        for name in ("base", "tiers"):
            value = getattr(self, name)
            check(
                value is None or (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None),
                f"{name} {str(value)[:80]!r} must be a SHA-256 in 64 hexadecimal digits: give its file to train",
            )
        self._check_stages()
        if self.perturbation:
            self._check_convex()

    def _check_stages(self) -> None:
        """Stages are as many as slices and take all epochs; tiers are known where rows are dealt by them."""
        tiered, stages = self.placement is Placement.TIERS, self.stages
        check(
            tiered == (self.tiers is not None),
            f"placement {self.placement.value} with {'no tiers' if tiered else 'tiers'}: they come from a file of "
            "subjects; name it in `placement` as tiers:FILE",
        )
        if stages is None:
            return
        plain = isinstance(stages, tuple) and all(type(one) is int and one >= 1 for one in stages)
        check(plain, f"stages {stages!r:.80} must be whole numbers of epochs from 1")
        told = ", ".join(map(str, stages))
        check(
            tiered or self.slices > 1,
            f"stages {told} without slices: each is the epochs of a slice's stage; ask for `slices`, or for tiers with "
            "`placement` tiers:FILE, or say `epochs`",
        )
        check(
            len(stages) == self.slices,
            f"stages {told} are {len(stages)}, and there are {self.slices} slices: say the epochs of each",
        )
        check(
            sum(stages) == self.epochs,
            f"stages {told} are {sum(stages)} epochs, and `epochs` says {self.epochs}: leave `epochs` out",
        )

    def _check_training(self) -> None:
        """A model is a function of sums or takes steps; what says how steps are taken has no part in sums."""
        asked = HowTrained.ACCUMULATE if self.accumulated else HowTrained.DESCEND
        check(
            self.training is asked,
            f"training {self.training.value} with model {self.model!r}: the model decides, and it is {asked.value}",
        )
        if not self.accumulated:
            return
        check(
            bool(self.classes),
            f"model {self.model!r} with labels that are numbers: it counts classes, and numbers have none; name "
            "another label, or use `model` mlp",
        )
        check(
            self.task == "classification",
            f"task {self.task!r} with model {self.model!r}: it answers classes, as `task` classification does",
        )
        odd = {item.name: True for item in fields(self) if _differs(item, getattr(self, item.name))}
        refuse_steps(self.model, odd)

    def _check_convex(self) -> None:
        """Noise in the loss hides a removal only where the loss is convex and has one minimum."""
        found = {
            f"task {self.task}": self.task not in LINEAR_TASKS,
            f"model {self.model}": self.model != "linear",
            f"optimiser {self.optimiser.name.value}": self.optimiser.name is not OptimiserName.SGD,
            "weight decay 0": self.optimiser.weight_decay == 0,
            "a base": self.base is not None,
        }
        odd = next((name for name, holds in found.items() if holds), None)
        check(
            odd is None,
            f"perturbation {self.perturbation:g} with {odd}: noise in the loss is for convex training alone, which is "
            f"`task` {' or '.join(LINEAR_TASKS)} with `model` linear, `optimiser` sgd and a weight decay above 0",
        )

    @property
    def stage_epochs(self) -> tuple[int, ...]:
        """Epochs of each slice's stage: as they are said, or so that all together cost as much as ``epochs`` over
        everything.
        """
        if self.accumulated:
            return (0,)
        if self.stages is not None:
            return self.stages
        if self.slices == 1:
            return (self.epochs,)

        def rounded(stage: int) -> int:
            return math.floor(2 * self.epochs * stage / (self.slices + 1) + 0.5)

        return tuple(max(1, rounded(stage) - rounded(stage - 1)) for stage in range(1, self.slices + 1))

    @property
    def accumulated(self) -> bool:
        """Whether the model is a function of sums over the rows."""
        return self.model in ACCUMULATED_MODELS

    @property
    def outputs(self) -> int:
        """How many numbers the model answers for a row: one for each class, or one."""
        return max(1, len(self.classes))

    @property
    def is_foreign(self) -> bool:
        """Whether somebody's own code makes the model."""
        return ":" in self.model

    @property
    def crowded_options(self) -> str | None:
        """Why a foreign model's options could bring in weights or rows, if so: settings are short."""
        size = sum(len(str(value)) for value in self.model_options.values())
        if not self.is_foreign or size <= MOST_IN_OPTIONS:
            return None
        return (
            f"the options of model {self.model!r} hold {size:,} characters, in which weights or rows have room that "
            f"neither seed nor data gave: {MOST_IN_OPTIONS} are enough for settings"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values; reals are ordinary numbers here and C99 hex strings under the digest.

        Not by the form, which writes every default: older recipes must keep their digest without ``ADDED_LATER``.
        """
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        found["inputs"] = to_plain(self.inputs)
        found["optimiser"] = _plain(self.optimiser)
        found["augmentation"] = _plain(self.augmentation)
        found["model_options"] = dict(self.model_options)
        return {
            name: _simple(value)
            for name, value in found.items()
            if name not in ADDED_LATER or value != ADDED_LATER[name]
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """Read back what ``as_json`` wrote; unknown or missing fields are refused, in one sentence for all.

        Not by the form, as its writer is not: a key that is kept and written back would change the digest.
        """
        known = {item.name for item in fields(cls)}
        if set(value) | set(ADDED_LATER) != known:
            odd = sorted((set(value) | set(ADDED_LATER)) ^ known)
            raise DataError(f"recipe fields {odd} are unknown or missing: it was written by another version or altered")
        read = dict(value)
        try:
            read["inputs"] = from_plain(Encoding, value["inputs"], "inputs")
            read["classes"] = tuple(value["classes"])
            optimiser = dict(value["optimiser"])
            optimiser["name"] = OptimiserName(optimiser["name"])
            optimiser["calendar"] = Calendar(optimiser["calendar"])
            optimiser["milestones"] = tuple(optimiser["milestones"])
            read["optimiser"] = Optimiser(**optimiser)
            read["augmentation"] = Augmentation(**value["augmentation"])
            for name, kind in (
                ("placement", Placement),
                ("voting", Voting),
                ("precision", Precision),
                ("profile", Profile),
            ):
                read[name] = kind(value[name])
            for name, kind in (("layout", MemoryLayout), ("training", HowTrained)):
                if name in value:
                    read[name] = kind(value[name])
            if "stages" in value:
                read["stages"] = tuple(value["stages"])
            return cls(**read)
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"the recipe could not be read ({error}): it was altered or badly written") from None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON."""
        return sha256(canonical_json(self.as_json()))


def _plain(value: Optimiser | Augmentation) -> dict[str, Any]:
    return {item.name: _simple(getattr(value, item.name)) for item in fields(value)}


def _simple(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_simple(item) for item in value]
    return value


def _differs(item: Field[Any], value: Any) -> bool:
    """Whether a field that must be given, or has a default, has another value."""
    default = item.default if item.default_factory is MISSING else item.default_factory()
    return default is not MISSING and value != default
