"""The figures of a study: means over seeds or over references, or why there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any, Self

from expunge.core.errors import DataError
from expunge.core.values import Undecided
from expunge.records.form import Plain, Through, from_plain, to_plain
from expunge.records.scalars import Remark, unfit

ROUNDING = 1e-9
PROBE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){0,9}")  # what the name of a probe looks like
NOT_MEASURED = Undecided("this figure was not measured in this study")


@dataclass(frozen=True)
class Estimate(Plain):
    """A mean over seeds (or over references) with its 95 % interval, which a single value does not have."""

    mean: float
    lower: float | None = field(default=None, metadata={"name": "low"})
    upper: float | None = field(default=None, metadata={"name": "high"})
    n: int = 1
    values: tuple[float, ...] | None = field(default=None, compare=False)

    @property
    def low(self) -> float:
        return self.mean if self.lower is None else self.lower

    @property
    def high(self) -> float:
        return self.mean if self.upper is None else self.upper

    def check(self, where: str) -> None:
        for name, end in (("low", self.lower), ("high", self.upper)):
            if end is None and (self.n != 1 or self.lower is not None):
                if name in self.rest:
                    raise unfit(None, f"{where} {name}", "a number")
                raise DataError(f"{where} has no {name!r}: the file was altered or another version wrote it")
        room = ROUNDING * max(1.0, abs(self.mean))
        if not self.low - room <= self.mean <= self.high + room:
            raise DataError(f"{where} lies outside its own interval: the file was altered or badly written")
        if self.n < 1:
            raise DataError(f"{where} is a mean of nothing (n = 0): missing evidence is written as undecided")


@dataclass(frozen=True)
class _Reason:
    undecided: Remark


def _told(figure: MeanFigure) -> Estimate | _Reason:
    return _Reason(figure.reason) if isinstance(figure, Undecided) else figure


def _figure(told: Estimate | _Reason) -> MeanFigure:
    return Undecided(told.undecided) if isinstance(told, _Reason) else told


MeanFigure = Estimate | Undecided
WrittenMean = Annotated[MeanFigure, Through(Estimate | _Reason, _told, _figure)]


def over_seeds(figure: MeanFigure, *, percent: bool = False) -> str:
    """A mean as tables print it, with its interval where there are several seeds; a dash where it is undecided."""
    if isinstance(figure, Undecided):
        return "–"
    scale, unit = (100.0, " %") if percent else (1.0, "")
    if figure.n == 1:
        return f"{scale * figure.mean:.3g}{unit}"
    return f"{scale * figure.mean:.3g}{unit} [{scale * figure.low:.3g}, {scale * figure.high:.3g}]"


@dataclass(frozen=True, kw_only=True)
class Means(Plain):
    """Figures by name; one that is absent is undecided. Those of further probes lie in ``rest``."""

    forget_accuracy: WrittenMean | None = field(default=None, metadata={"name": "forget-accuracy"})
    retain_accuracy: WrittenMean | None = field(default=None, metadata={"name": "retain-accuracy"})
    test_accuracy: WrittenMean | None = field(default=None, metadata={"name": "test-accuracy"})
    membership_classifier: WrittenMean | None = field(default=None, metadata={"name": "membership-classifier"})
    loss_threshold: WrittenMean | None = field(default=None, metadata={"name": "loss-threshold"})
    mean_margin: WrittenMean | None = field(default=None, metadata={"name": "mean-margin"})
    average_gap: WrittenMean | None = field(default=None, metadata={"name": "average-gap"})
    forgetting_gap: WrittenMean | None = field(default=None, metadata={"name": "forgetting-gap"})
    utility_gap: WrittenMean | None = field(default=None, metadata={"name": "utility-gap"})
    cost: WrittenMean | None = None
    seconds: WrittenMean | None = None

    @classmethod
    def of(cls, found: Mapping[str, MeanFigure]) -> Self:
        """From figures by name."""
        told: dict[str, Any] = {name.replace("-", "_"): found[name] for name in FIGURES if name in found}
        further = {name: to_plain(_told(figure)) for name, figure in found.items() if name not in FIGURES}
        return cls(**told, rest=further)

    @cached_property
    def found(self) -> Mapping[str, MeanFigure]:
        """Those that are there."""
        told = {name: getattr(self, name.replace("-", "_")) for name in FIGURES}
        return {**{name: figure for name, figure in told.items() if figure is not None}, **self.further}

    @cached_property
    def further(self) -> Mapping[str, MeanFigure]:
        """Figures of probes that are not among these fields; what is no figure is passed over."""
        found: dict[str, MeanFigure] = {}
        for name in sorted(filter(PROBE.fullmatch, self.rest)):
            with suppress(DataError):
                found[name] = from_plain(WrittenMean, self.rest[name], name)
        return found

    def __getitem__(self, name: str) -> MeanFigure:
        return self.found.get(name, NOT_MEASURED)

    def mean(self, name: str) -> float | None:
        figure = self[name]
        return figure.mean if isinstance(figure, Estimate) else None


@dataclass(frozen=True, kw_only=True)
class Figures(Means):
    """A row's own, and what they differ by from the references'."""

    differences: Means | None = None


FIGURES = tuple(str(item.metadata.get("name", item.name)) for item in fields(Means) if item.name != "rest")
