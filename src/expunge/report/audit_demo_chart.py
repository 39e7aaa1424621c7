"""The drawing of forged logs: how far each forger's steps land from the true ones, against noise and tolerance.

Across, by powers of ten: l2 between the weights after the forged step and after the true one. A place of its own, on
the left, is for exactly nothing. Two sizes are drawn, so that letters stay letters on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from expunge.records.demo import ForgedLog
from expunge.report.axis import DrawnAxis
from expunge.report.labels import Box
from expunge.report.scatter import Chart

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
ABOVE, BELOW = 40.0, 44.0  # room for headings, and for the axis
NOTHING = 26.0  # width of the place for exactly nothing
APART = 30.0  # a label nearer to that of nothing would run into it
FORGERS = {
    "greedy": "greedy: best of many random batches",
    "nearest": "nearest: the most similar row",
    "swap": "swap: the nearest gradient",
    "matching": "matching: rows exchanged one by one",
    "content": "content: neighbours' pictures altered",
    "absorb": "absorbed swap, at the end of a training",
}


@dataclass(frozen=True)
class DemoLine:
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
class LogChart(Chart):
    """One size of the drawing: a line for each forger, and the place for exactly nothing."""

    nothing: float = 0.0
    lines: tuple[DemoLine, ...] = ()


SIZES = (("wide", 1100, 276.0, 606.0, 34.0), ("narrow", 350, 14.0, 336.0, 74.0))  # name, width, plot, height of a line


def draw(forgeries: Sequence[ForgedLog]) -> tuple[LogChart, ...]:
    """The drawing for wide and for narrow pages."""
    return tuple(_chart(*size, forgeries) for size in SIZES)


def _chart(name: str, width: int, left: float, right: float, step: float, forgeries: Sequence[ForgedLog]) -> LogChart:
    plot = Box(left, ABOVE, right, ABOVE + step * len(forgeries))
    values = [
        math.log10(value)
        for told in forgeries
        for spread in (told.l2, told.noise)
        for value in (spread.least, spread.median, spread.most, told.tolerance)
        if value > 0
    ]
    low = math.floor(min(values))
    powers = DrawnAxis(low, max(math.ceil(max(values)), low + 1), left + NOTHING, right, percent=False)
    nothing = round(left + NOTHING / 2, 1)
    lines = tuple(
        _line(told, round(ABOVE + step * (at + 0.5), 1), powers, nothing) for at, told in enumerate(forgeries)
    )
    ticks = ((powers.at(power), power) for power in range(low + low % 2, int(powers.high) + 1, 2))
    labels = tuple((at, f"10{str(power).translate(SUPERSCRIPTS)}") for at, power in ticks if at - nothing >= APART)
    return LogChart(name, width, plot.bottom + BELOW, plot, labels, nothing=nothing, lines=lines)


def _line(told: ForgedLog, y: float, powers: DrawnAxis, nothing: float) -> DemoLine:
    def place(value: float) -> float:
        return powers.at(math.log10(value)) if value > 0 else nothing

    ends = place(told.l2.least), place(told.l2.most)
    refused = told.status == "refused"
    return DemoLine(
        name=FORGERS.get(told.forger, told.forger),
        y=y,
        noise=(nothing, place(told.noise.most)) if told.noise.most > 0 else None,
        whisker=ends if ends[0] != ends[1] else None,
        dot=place(told.l2.median),
        tolerance=place(told.tolerance),
        published=told.published,
        published_tone="bad" if told.published == "accepted" else "good",
        ours=f"refused at {told.level}: {', '.join(told.codes)}" if refused else told.status,
        ours_tone="good" if refused else "bad",
    )
