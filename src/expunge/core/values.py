"""Frozen value types that every layer shares: guarantees, measurements, verdicts, cost, progress."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Literal

from expunge.core.errors import InvalidArgument
from expunge.core.wording import counted

Progress = Callable[[int, int], None]  # what is told of long work: how much is done, of how much
OpenBar = Callable[[str], AbstractContextManager[Progress]]  # opens a bar for the work of that name


@dataclass(frozen=True)
class Exact:
    """Bit-identical to training without the forget set, and replayable.

    ``base`` is the digest of the weights that training began with, where no seed gave them.
    """

    base: str | None = None
    rank = 2

    @property
    def word(self) -> str:
        return "Exact" if self.base is None else "Exact relative to a base"

    @property
    def detail(self) -> str:
        """To what it is relative, if to anything."""
        return "" if self.base is None else relative_to(self.base)

    def __str__(self) -> str:
        return "Exact" if self.base is None else f"Exact {self.detail}"


@dataclass(frozen=True)
class Certified:
    """Indistinguishable from retraining up to (epsilon, delta), under the method's stated assumptions."""

    epsilon: float
    delta: float
    rank = 1
    word = "Certified"

    @property
    def detail(self) -> str:
        """The bounds in words."""
        return f"ε = {self.epsilon:g}, δ = {self.delta:g}"

    def __str__(self) -> str:
        return f"Certified(ε={self.epsilon:g}, δ={self.delta:g})"


@dataclass(frozen=True)
class Empirical:
    """Nothing but the named tests. ``passed`` is filled by an evaluation only, never by a method."""

    passed: tuple[str, ...] = ()
    level: float | None = None
    rank = 0
    word = "Empirical"

    @property
    def detail(self) -> str:
        """How many tests were passed."""
        return f"{counted(len(self.passed), 'test')} passed" if self.passed else "no test passed"

    def __str__(self) -> str:
        return f"Empirical({', '.join(self.passed) or 'no test passed yet'})"


def relative_to(base: str) -> str:
    """What stands behind "exact" where a training began with a base."""
    return f"relative to base {base[:16]}…; what the base saw before is not covered"


Guarantee = Exact | Certified | Empirical


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


def finite_or_none(bound: float) -> float | None:
    """JSON has no infinity: an unbounded side is null."""
    return bound if math.isfinite(bound) else None


@dataclass(frozen=True)
class Undecided:
    """Missing evidence, with the reason and what would decide it. Never a default value."""

    reason: str
    word: ClassVar[Literal["undecided"]] = "undecided"
    p: ClassVar[None] = None

    @property
    def detail(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Supported:
    """The claim holds up to the stated margin, at the stated level."""

    p: float
    detail: str = ""
    word: ClassVar[Literal["supported"]] = "supported"


@dataclass(frozen=True)
class Refuted:
    """The claim fails by more than the outer margin, at the stated level.

    ``over_forgotten``: it fails beyond retraining, seen from the original; files say so in the reason alone.
    """

    reason: str
    p: float | None = None
    over_forgotten: bool = field(default=False, compare=False)
    word: ClassVar[Literal["refuted"]] = "refuted"

    @property
    def detail(self) -> str:
        return self.reason


ClaimVerdict = Supported | Refuted | Undecided
Figure = Measurement | Undecided


@dataclass(frozen=True)
class Cost:
    """Work in example-steps (forward and backward of one example = 1, forward alone = 1/3) or row-sums, and seconds."""

    example_steps: float
    seconds: float
    allowed: float | None = None
    prepaid: tuple[str, ...] = ()
    row_sums: int | None = None
