"""An axis for figures of very different size: even near zero, in powers of ten far from it, and zero has a place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from expunge.report.axis import DrawnAxis, axis
from expunge.report.numerals import SPACE

WIDE = 6.0  # times the bend: where the largest value lies beyond, an even axis would press the small ones together
ROOM = 0.05
POWERS = range(-6, 7)


@dataclass(frozen=True)
class BentAxis:
    """Values are drawn at ``asinh(value / bend)``: differences below ``bend`` look even, those above as ratios."""

    low: float
    high: float
    start: float
    end: float
    percent: bool
    bend: float

    def at(self, value: float) -> float:
        """Pixel of a value, inside the axis."""
        low, high = self._bent(self.low), self._bent(self.high)
        share = (min(max(self._bent(value), low), high) - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, target: int) -> list[tuple[float, str]]:
        """Zero, powers of ten, then halves and fifths of them, as many as about ``target`` leave room for."""
        apart = abs(self.end - self.start) / (target + 2)
        found: dict[float, float] = {}
        for value in self._candidates():
            place = self.at(value)
            if self.low <= value <= self.high and all(abs(place - other) >= apart for other in found.values()):
                found[value] = place
        return [(found[value], self._label(value)) for value in sorted(found)]

    def _bent(self, value: float) -> float:
        return math.asinh(value / self.bend)

    def _candidates(self) -> Iterable[float]:
        yield 0.0
        for digit in (1, 5, 2):
            for power in POWERS:
                yield digit * 10.0**power
                yield -digit * 10.0**power

    def _label(self, value: float) -> str:
        shown = value * 100 if self.percent else value
        text = f"{shown:,.0f}" if abs(shown) >= 1 or shown == 0 else f"{shown:.6f}".rstrip("0")
        return text.replace("-", "−") + (f"{SPACE}%" if self.percent else "")


def gap_axis(values: Iterable[float], start: float, end: float, *, percent: bool, bend: float) -> DrawnAxis | BentAxis:
    """An axis that holds zero and all values: even where they are of one size, bent where they are not."""
    found = [0.0, *values]
    if max(map(abs, found)) <= WIDE * bend:
        return axis(found, start, end, percent=percent)
    low, high = math.asinh(min(found) / bend), math.asinh(max(found) / bend)
    room = ROOM * (high - low)
    return BentAxis(bend * math.sinh(low - room), bend * math.sinh(high + room), start, end, percent, bend)
