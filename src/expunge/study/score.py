"""What a rehearsal finds: how far a model lies from its twin, and what a call of a method came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any


class Mode(Enum):
    """What is aimed at: a twin of a rehearsal, or the reference of the very request, which can only refute."""

    REHEARSAL = "rehearsal"
    ORACLE = "oracle"


class Stage(Enum):
    """On the first pseudo-forget set fields are chosen, on the second it is checked that they carry over."""

    CHOICE = "choice"
    TRANSFER = "transfer"


class Part(Enum):
    """Where a model is compared with its twin."""

    FORGET = "forget"
    RETAIN = "retain"
    CALIBRATION = "calibration"


@dataclass(frozen=True)
class Score:
    """Largest distance from the twin over the parts, in standard deviations of the twin's margins; 0 is best.

    ``short`` is by how much accuracy on the calibration split misses what is admissible; 0 where it does not.
    """

    value: float
    parts: Mapping[str, float]
    accuracy: float
    short: float

    @property
    def reason(self) -> str | None:
        """Why these fields must not be chosen, if so."""
        if not self.short:
            return None
        return f"accuracy {self.accuracy:.3f} on the calibration split lies {self.short:.3f} below what is admissible"

    def as_json(self) -> dict[str, Any]:
        return {"value": self.value, "parts": dict(self.parts), "accuracy": self.accuracy, "short": self.short}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one call of a method came to. ``failure`` says why there is no score; work in example-steps."""

    score: Score | None
    failure: str | None
    example_steps: float
    scoring: float
    seconds: float

    @property
    def state(self) -> str:
        if self.score is None:
            return "failed"
        return "inadmissible" if self.score.reason else "admissible"

    def again(self) -> Attempt:
        """The same at no cost: it was computed before."""
        return replace(self, example_steps=0.0, scoring=0.0, seconds=0.0)

    def as_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "score": None if self.score is None else self.score.as_json(),
            "reason": self.failure if self.score is None else self.score.reason,
            "example_steps": self.example_steps,
            "scoring": self.scoring,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Attempt:
        """Read back what ``as_json`` wrote; anything else raises KeyError, TypeError or ValueError."""
        told = value["score"]
        score = None
        if told is not None:
            parts = {Part(name).value: float(part) for name, part in told["parts"].items()}
            score = Score(float(told["value"]), parts, float(told["accuracy"]), float(told["short"]))
        failure = None if score is not None else str(value["reason"])
        work = {name: float(value[name]) for name in ("example_steps", "scoring", "seconds")}
        found = cls(score=score, failure=failure, **work)
        if found.as_json() != dict(value):
            raise ValueError("an attempt that contradicts itself")
        return found
