"""One axis of a drawing: its range, its ticks, and where a value falls."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from expunge.report.numerals import SPACE

STEPS = (1, 2, 5, 10)
LARGEST = 1e6  # values beyond are not drawn: no honest figure lies there


@dataclass(frozen=True)
class DrawnAxis:
    """Values from ``low`` to ``high`` drawn from pixel ``start`` to pixel ``end``."""

    low: float
    high: float
    start: float
    end: float
    percent: bool

    def at(self, value: float) -> float:
        """Pixel of a value, inside the axis."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, target: int) -> list[tuple[float, str]]:
        """Round values with their labels, about ``target`` of them."""
        scale = 100.0 if self.percent else 1.0
        step = _step((self.high - self.low) * scale / target)
        first = math.ceil(self.low * scale / step - 1e-9)
        last = math.floor(self.high * scale / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        unit = f"{SPACE}%" if self.percent else ""
        return [
            (self.at(index * step / scale), f"{index * step:.{digits}f}{unit}".replace("-", "−"))
            for index in range(first, last + 1)
        ]


def axis(values: Iterable[float], start: float, end: float, *, percent: bool) -> DrawnAxis:
    """An axis that holds all values with a little room; a share never runs beyond 0 and 1 by more than that."""
    found = list(values)
    low, high = min(found), max(found)
    span = high - low
    room = 0.06 * span if span > 1e-9 else max(0.02, 0.05 * abs(low))
    return DrawnAxis(low - room, high + room, start, end, percent)


def drawable(*values: float) -> bool:
    """Whether figures can stand in a drawing."""
    return all(math.isfinite(value) and abs(value) <= LARGEST for value in values)


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in STEPS if power * step >= rough * (1 - 1e-9))
