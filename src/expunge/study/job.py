"""A job of a study: what decides its result, whose results it needs, and how to come by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from expunge.core.hashing import canonical_json, sha256

FORMAT = "expunge/job/1"


class Work(Enum):
    """What a job does."""

    TRAIN = "train"
    TUNE = "tune"
    UNLEARN = "unlearn"
    EVALUATE = "evaluate"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work. ``spec`` and the keys in ``inputs`` decide the result, and so the key.

    ``means`` says where the data lie and the like: it changes nothing in the result. All of it is plain JSON, so that a
    job reads the same in another process or on another machine.
    """

    work: Work
    title: str
    spec: Mapping[str, Any]
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    means: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that decides the result, as hex."""
        told = {
            "format": FORMAT,
            "work": self.work.value,
            "spec": self.spec,
            "inputs": {role: list(keys) for role, keys in self.inputs.items()},
        }
        return sha256(canonical_json(told)).hex()

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the jobs that must be done before."""
        return tuple(key for keys in self.inputs.values() for key in keys)

    def one(self, role: str) -> str:
        """Key of the only input in a role."""
        (key,) = self.inputs[role]
        return key
