"""The drawing of forged logs: how far each forger's steps land from the true ones, against noise and tolerance.

Across, by powers of ten: l2 between the weights after the forged step and after the true one. A place of its own, on
the left, is for exactly nothing. Two sizes are drawn, so that letters stay letters on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expunge.report.audit_demo_text import FORGERS
from expunge.report.labels import Box

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
ABOVE, BELOW = 40.0, 44.0  # room for headings, and for the axis
NOTHING = 26.0  # width of the place for exactly nothing
APART = 30.0  # a label nearer to that of nothing would run into it


@dataclass(frozen=True)
class Line:
    """One forger: its marks in pixels, and both answers in words with their tones."""

    name: str
    y: float
    noise: tuple[float, float] | None
    whisker: tuple[float, float] | None
    dot: float
    tolerance: float
    published: str
    published_tone: str
    ours: str
    ours_tone: str


@dataclass(frozen=True)
class Size:
    """How wide, and where names, plot and answers stand; ``step`` is the height of a line."""

    name: str
    width: int
    left: float
    right: float
    step: float


@dataclass(frozen=True)
class Chart:
    """One size of the drawing."""

    size: Size
    height: float
    plot: Box
    nothing: float
    ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]


SIZES = (
    Size("wide", 1100, left=276.0, right=606.0, step=34.0),
    Size("narrow", 350, left=14.0, right=336.0, step=74.0),
)


@dataclass(frozen=True)
class Scale:
    """Powers of ten from ``low`` to ``high`` drawn from pixel ``start`` to pixel ``end``."""

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        """Pixel of a value above 0, inside the scale."""
        power = min(max(math.log10(value), self.low), self.high)
        return round(self.start + (power - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Every second power, with its label."""
        powers = range(self.low + self.low % 2, self.high + 1, 2)
        return tuple((self.at(10.0**power), f"10{str(power).translate(SUPERSCRIPTS)}") for power in powers)


def draw(forgeries: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """The drawing for wide and for narrow pages."""
    return tuple(_chart(size, forgeries) for size in SIZES)


def _chart(size: Size, forgeries: Sequence[Mapping[str, Any]]) -> Chart:
    bottom = ABOVE + size.step * len(forgeries)
    plot = Box(size.left, ABOVE, size.right, bottom)
    scale = _scale(forgeries, size.left + NOTHING, size.right)
    nothing = round(size.left + NOTHING / 2, 1)
    lines = tuple(
        _line(told, round(ABOVE + size.step * (at + 0.5), 1), scale, nothing) for at, told in enumerate(forgeries)
    )
    ticks = tuple((place, label) for place, label in scale.ticks if place - nothing >= APART)
    return Chart(size, bottom + BELOW, plot, nothing, ticks, lines)


def _scale(forgeries: Sequence[Mapping[str, Any]], start: float, end: float) -> Scale:
    values = [value for told in forgeries for value in _values(told) if value > 0]
    low, high = (math.log10(value) for value in (min(values), max(values)))
    return Scale(math.floor(low), max(math.ceil(high), math.floor(low) + 1), start, end)


def _values(told: Mapping[str, Any]) -> list[float]:
    spread = [float(told[kind][name]) for kind in ("l2", "noise") for name in ("least", "median", "most")]
    return [*spread, float(told["tolerance"])]


def _line(told: Mapping[str, Any], y: float, scale: Scale, nothing: float) -> Line:
    def place(value: float) -> float:
        return scale.at(value) if value > 0 else nothing

    apart, noise = told["l2"], float(told["noise"]["most"])
    ends = place(float(apart["least"])), place(float(apart["most"]))
    deceived, refused = told["published"] == "accepted", told["status"] == "refused"
    return Line(
        name=FORGERS.get(str(told["forger"]), str(told["forger"])),
        y=y,
        noise=(nothing, scale.at(noise)) if noise > 0 else None,
        whisker=ends if ends[0] != ends[1] else None,
        dot=place(float(apart["median"])),
        tolerance=scale.at(float(told["tolerance"])),
        published=str(told["published"]),
        published_tone="bad" if deceived else "good",
        ours=f"refused at {told['level']}: {', '.join(told['codes'])}" if refused else str(told["status"]),
        ours_tone="good" if refused else "bad",
    )
