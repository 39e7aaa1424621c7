"""A job of a study: what decides its result, whose results it needs, and how to come by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

from expunge.core.hashing import canonical_json, sha256
from expunge.records.form import to_plain
from expunge.records.run_file import MethodFile, Roots
from expunge.records.scalars import Digest, Large, Slots
from expunge.records.tuning import SCORE

FORMAT = "expunge/job/1"
WHOLE = "whole"


class Work(StrEnum):
    """What a job does."""

    TRAIN = "train"
    TUNE = "tune"
    UNLEARN = "unlearn"
    EVALUATE = "evaluate"
    SCORE = "score"


@dataclass(frozen=True, kw_only=True)
class PlannedData:
    """Where the data of a study lie, and what they must be; ``source`` is as their reader describes itself.

    ``numbers``: labels are. Rows that models are scored on are split by ``WHOLE``: all of them stay together.
    """

    source: Mapping[str, Any]
    roots: Roots
    split_seed: Large
    split_by: str
    numbers: bool | None = None


@dataclass(frozen=True, kw_only=True)
class JobMeans:
    """How a job comes by what it works on: it changes nothing in the result."""

    data: PlannedData


@dataclass(frozen=True, kw_only=True)
class AnyJob:
    """One piece of work. ``spec`` and the keys in ``inputs`` decide the result, and so the key."""

    work: str
    title: str
    spec: object
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    means: JobMeans

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that decides the result, as hex."""
        told = {
            "format": FORMAT,
            "work": self.work,
            "spec": to_plain(self.spec),
            "inputs": {role: list(keys) for role, keys in self.inputs.items()},
        }
        return sha256(canonical_json(told)).hex()

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the jobs that must be done before."""
        return tuple(key for keys in self.inputs.values() for key in keys)

    @property
    def method(self) -> str | None:
        """Name of the method that it is about, if it is about one."""
        return None

    def one(self, role: str) -> str:
        """Key of the only input in a role."""
        (key,) = self.inputs[role]
        return key


@dataclass(frozen=True, kw_only=True)
class ForgetKey:
    """A forget set as it decides a run: its slots, and its rules, which tell whose rows elsewhere may be gone."""

    slots: Digest
    rules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ShardSpec:
    """One shard of a run alone, with all that its states and trace hang on beside the recipe."""

    number: int
    trace: str
    beacon: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """A recipe on data, without a forget set for a reference or a twin; ``factory`` is the source of the model."""

    recipe: Digest
    roots: Roots
    split_seed: Large
    split_by: str
    without: ForgetKey | None
    factory: str
    checkpoint_interval: int | None
    device: str
    software: Mapping[str, str]
    shard: ShardSpec | None = None


@dataclass(frozen=True, kw_only=True)
class TrainMeans(JobMeans):
    """The recipe itself, the slots to do without, and whether anything is ever replayed from its checkpoints:
    from those of an original unless said. ``tiers`` are those of the subjects, where the recipe deals by them.
    """

    recipe: Mapping[str, Any]
    without: Slots | None = None
    replayed: bool | None = None
    tiers: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Train(AnyJob):
    """Train an original, a reference or a twin."""

    work: Literal["train"] = "train"
    spec: TrainSpec
    means: TrainMeans


@dataclass(frozen=True, kw_only=True)
class TuneSpec:
    """Trials of a method on rehearsals of requests of this kind and size; ``avoid`` is the digest of what must go.

    ``score`` is the version of the score by which fields are chosen.
    """

    method: str
    source: str
    optuna: str | None
    score: int = SCORE
    kind: str
    size: str
    avoid: Digest
    budget: float
    trials: int
    seed: Large


@dataclass(frozen=True, kw_only=True)
class TuneMeans(JobMeans):
    """The slots that no rehearsal plays."""

    avoid: Slots


@dataclass(frozen=True, kw_only=True)
class Tune(AnyJob):
    """Choose the fields of a method, from an original and its twins."""

    work: Literal["tune"] = "tune"
    spec: TuneSpec
    means: TuneMeans

    @property
    def method(self) -> str:
        return self.spec.method


@dataclass(frozen=True, kw_only=True)
class UnlearnSpec:
    """A method, with the digest of its source where it is not ours, and what it is to forget."""

    method: MethodFile
    source: str
    forget: ForgetKey
    budget: float | None
    seed: Large


@dataclass(frozen=True, kw_only=True)
class UnlearnMeans(JobMeans):
    """The slots to forget."""

    slots: Slots


@dataclass(frozen=True, kw_only=True)
class Unlearn(AnyJob):
    """Forget, from an original and perhaps a tuning."""

    work: Literal["unlearn"] = "unlearn"
    spec: UnlearnSpec
    means: UnlearnMeans

    @property
    def method(self) -> str:
        return self.spec.method.name


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec:
    """What verdicts depend on beside the runs; ``probes`` are those that are not ours, with what they read, ``asked``
    the names by which further ones of ours are asked for. ``as_published`` adds figures as papers print them.

    Without a ``claim`` it is what the input ``claimed`` has the power for, an original, else the run's own.
    """

    tolerances: int
    software: Mapping[str, str]
    claim: str | None = None
    probes: tuple[tuple[str, ...], ...] | None = None
    asked: tuple[str, ...] | None = None
    as_published: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluate(AnyJob):
    """Hold a run against its original and references."""

    work: Literal["evaluate"] = "evaluate"
    spec: EvaluateSpec


@dataclass(frozen=True, kw_only=True)
class ScoreSpec:
    """The root of rows that a model is scored on."""

    test: Digest
    software: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ScoreRun(AnyJob):
    """How well a run answers rows from outside, which ``means`` name as its data."""

    work: Literal["score"] = "score"
    spec: ScoreSpec


# Each plain JSON, so that it reads the same in another process or elsewhere.
Job = Train | Tune | Unlearn | Evaluate | ScoreRun
