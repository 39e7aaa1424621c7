"""How the values that every layer shares are written: guarantees, figures and verdicts, each in a shape of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from expunge.core.errors import DataError
from expunge.core.values import (
    Certified,
    ClaimVerdict,
    Direction,
    Empirical,
    Exact,
    Figure,
    Guarantee,
    Measurement,
    Refuted,
    Supported,
    Undecided,
    finite_or_none,
)
from expunge.records.form import NULL, Through
from expunge.records.scalars import Digest, Name, Positive, Remark, Share


@dataclass(frozen=True)
class _Exact:
    kind: Literal["exact"] = "exact"
    base: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class _Certified:
    kind: Literal["certified"] = "certified"
    epsilon: Positive
    delta: Share


@dataclass(frozen=True, kw_only=True)
class _Empirical:
    kind: Literal["empirical"] = "empirical"
    passed: tuple[Name, ...]
    level: Share | None = field(default=None, metadata=NULL)


@dataclass(frozen=True, kw_only=True)
class _Measurement:
    value: float
    low: float | None  # None: unbounded on this side, for JSON has no infinity
    high: float | None
    level: Share
    n: int
    unit: Literal["example", "run", "reference"]
    direction: Direction
    reference: float | None
    scale: Name


@dataclass(frozen=True)
class _Undecided:
    undecided: Remark


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    verdict: Literal["supported", "refuted", "undecided"]
    p: Share | None
    detail: Remark

    def check(self, where: str) -> None:
        if self.verdict == "supported" and self.p is None:
            raise DataError(f"{where} is supported without a p-value: the file was altered or badly written")


def _guarantee_shape(guarantee: Guarantee) -> _Exact | _Certified | _Empirical:
    match guarantee:
        case Exact(base):
            return _Exact(base=base)
        case Certified(epsilon, delta):
            return _Certified(epsilon=epsilon, delta=delta)
        case Empirical(passed, level):
            return _Empirical(passed=passed, level=level)


def _guarantee(told: _Exact | _Certified | _Empirical) -> Guarantee:
    match told:
        case _Exact():
            return Exact(told.base)
        case _Certified():
            return Certified(told.epsilon, told.delta)
        case _Empirical():
            return Empirical(told.passed, told.level)


def _figure_shape(figure: Figure) -> _Measurement | _Undecided:
    if isinstance(figure, Undecided):
        return _Undecided(figure.reason)
    told: dict[str, Any] = {**vars(figure), "low": finite_or_none(figure.low), "high": finite_or_none(figure.high)}
    return _Measurement(**told)


def _figure(told: _Measurement | _Undecided) -> Figure:
    if isinstance(told, _Undecided):
        return Undecided(told.undecided)
    bounds = {"low": -math.inf if told.low is None else told.low, "high": math.inf if told.high is None else told.high}
    found: dict[str, Any] = {**vars(told), **bounds}
    return Measurement(**found)


def _verdict_shape(verdict: ClaimVerdict) -> _Verdict:
    return _Verdict(verdict=verdict.word, p=verdict.p, detail=verdict.detail)


def _verdict(told: _Verdict) -> ClaimVerdict:
    if told.verdict == "undecided":
        return Undecided(told.detail)
    return (
        Refuted(told.detail, told.p) if told.verdict == "refuted" or told.p is None else Supported(told.p, told.detail)
    )


WrittenGuarantee = Annotated[Guarantee, Through(_Exact | _Certified | _Empirical, _guarantee_shape, _guarantee)]
WrittenFigure = Annotated[Figure, Through(_Measurement | _Undecided, _figure_shape, _figure)]
WrittenVerdict = Annotated[ClaimVerdict, Through(_Verdict, _verdict_shape, _verdict)]
