"""Frozen value types that every layer shares: guarantees, measurements, verdicts, cost, progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from expunge.core.errors import DataError, InvalidArgument

Progress = Callable[[int, int], None]  # what is told of long work: how much is done, of how much


@dataclass(frozen=True)
class Exact:
    """Bit-identical to training without the forget set, and replayable."""

    rank = 2

    def as_json(self) -> dict[str, Any]:
        return {"kind": "exact"}

    def __str__(self) -> str:
        return "Exact"


@dataclass(frozen=True)
class Certified:
    """Indistinguishable from retraining up to (epsilon, delta), under the method's stated assumptions."""

    epsilon: float
    delta: float
    rank = 1

    def as_json(self) -> dict[str, Any]:
        return {"kind": "certified", "epsilon": self.epsilon, "delta": self.delta}

    def __str__(self) -> str:
        return f"Certified(ε={self.epsilon:g}, δ={self.delta:g})"


@dataclass(frozen=True)
class Empirical:
    """Nothing but the named tests. ``passed`` is filled by an evaluation only, never by a method."""

    passed: tuple[str, ...] = ()
    level: float | None = None
    rank = 0

    def as_json(self) -> dict[str, Any]:
        return {"kind": "empirical", "passed": list(self.passed), "level": self.level}

    def __str__(self) -> str:
        return f"Empirical({', '.join(self.passed) or 'no test passed yet'})"


Guarantee = Exact | Certified | Empirical


def guarantee_from_json(value: Mapping[str, Any]) -> Guarantee:
    """Read back what ``as_json`` wrote."""
    match value:
        case {"kind": "exact"}:
            return Exact()
        case {"kind": "certified", "epsilon": epsilon, "delta": delta}:
            return Certified(float(epsilon), float(delta))
        case {"kind": "empirical", "passed": passed, "level": level}:
            return Empirical(tuple(str(name) for name in passed), None if level is None else float(level))
        case _:
            raise DataError(f"guarantee {value!r} is not one of exact, certified, empirical: the file was altered")


class Direction(Enum):
    """Which way a figure should go. Forgetting figures match references, two-sided."""

    MATCH = "match"
    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A value, its interval, what was counted and which way it should go. Fractions lie in [0, 1]."""

    value: float
    low: float
    high: float
    n: int
    unit: str
    direction: Direction
    level: float = 0.95
    reference: float | None = None
    scale: str = "fraction"

    def __post_init__(self) -> None:
        if self.unit not in ("example", "run", "reference"):
            raise InvalidArgument(f"unit {self.unit!r} of a measurement must be example, run or reference")
        if not (math.isfinite(self.value) and self.low <= self.value <= self.high):
            raise InvalidArgument(
                f"a measurement needs a finite value inside its interval, got {self.value} in "
                f"[{self.low}, {self.high}]; missing evidence is Undecided(reason)"
            )

    def as_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "low": finite_or_none(self.low),
            "high": finite_or_none(self.high),
            "level": self.level,
            "n": self.n,
            "unit": self.unit,
            "direction": self.direction.value,
            "reference": self.reference,
            "scale": self.scale,
        }


def finite_or_none(bound: float) -> float | None:
    """JSON has no infinity: an unbounded side is null."""
    return bound if math.isfinite(bound) else None


@dataclass(frozen=True)
class Undecided:
    """Missing evidence, with the reason and what would decide it. Never a default value."""

    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"undecided": self.reason}


@dataclass(frozen=True)
class Supported:
    """The claim holds up to the stated margin, at the stated level."""

    p: float
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"verdict": "supported", "p": self.p, "detail": self.detail}


@dataclass(frozen=True)
class Refuted:
    """The claim fails by more than the outer margin, at the stated level."""

    reason: str
    p: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {"verdict": "refuted", "p": self.p, "detail": self.reason}


Verdict = Supported | Refuted | Undecided


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """All three verdicts in one shape."""
    if isinstance(verdict, Undecided):
        return {"verdict": "undecided", "p": None, "detail": verdict.reason}
    return verdict.as_json()


@dataclass(frozen=True)
class Cost:
    """Work in example-steps (forward and backward of one example = 1, forward alone = 1/3), and seconds."""

    example_steps: float
    seconds: float
    allowed: float | None = None
    prepaid: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "example_steps": self.example_steps,
            "seconds": self.seconds,
            "allowed": self.allowed,
            "prepaid": list(self.prepaid),
        }
