"""Lines over an axis of powers of ten, or over named places: figures that span many orders of size, as one SVG file.

Up is always logarithmic; a value of exactly 0 has a place of its own below all others, and says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from expunge.core.errors import InvalidArgument
from expunge.report.labels import Box
from expunge.report.templates import environment, resource
from studies.pages.own_style import coloured

HERE = __name__.rpartition(".")[0]
WIDTH, HEIGHT = 800, 470
LEFT, TOP, RIGHT, BOTTOM = 78.0, 62.0, 24.0, 62.0
ROOM = 0.04  # of the span beyond the outermost values
ZERO = 24.0  # pixels between the least power of ten and the place of 0
COLOURS = 6
MINUS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@dataclass(frozen=True)
class Point:
    """A value over a place: a number, or one of the names that the axis has. The interval is optional."""

    across: float | str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A line and what it is called; ``dashed`` and without marks where it is a bound or stands for no measurement.

    Without ``joined`` there are marks alone: the places across have no order. ``colour`` is one of six, the next unless
    said.
    """

    name: str
    points: tuple[Point, ...]
    dashed: bool = False
    joined: bool = True
    colour: int | None = None


@dataclass(frozen=True)
class _Line:
    name: str
    colour: int
    dashed: bool
    path: str
    whiskers: str
    spots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class _Chart:
    heading: str
    across: str
    up: str
    description: str
    width: int
    total: int
    plot: Box
    across_ticks: tuple[tuple[float, str], ...]
    up_ticks: tuple[tuple[float, str], ...]
    lines: tuple[_Line, ...]


def line_chart_svg(heading: str, series: Sequence[Series], *, across: str, up: str) -> str:
    """A drawing with its own colours and legend. ``across`` and ``up`` name the axes."""
    drawn = [one for one in series if one.points]
    values = [point.value for one in drawn for point in one.points]
    if not values or any(not math.isfinite(value) or value < 0 for value in values):
        raise InvalidArgument(f"{heading!r} cannot be drawn: values must be there, finite, and 0 or above")
    plot = Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    places = _Places(drawn, plot)
    heights = _Heights(drawn, plot)
    lines = tuple(
        _line(one, (number if one.colour is None else one.colour) % COLOURS, places, heights)
        for number, one in enumerate(drawn)
    )
    chart = _Chart(
        heading=heading,
        across=across,
        up=up,
        description="; ".join(f"{one.name}: {_told(one)}" for one in drawn),
        width=WIDTH,
        total=HEIGHT + 4 + 20 * -(-len(lines) // 2),
        plot=plot,
        across_ticks=places.ticks,
        up_ticks=heights.ticks,
        lines=lines,
    )
    text = (
        environment(HERE)
        .get_template("line_chart.html")
        .render(chart=chart, style=Markup(coloured(resource("line_chart.css", HERE))))
    )
    return re.sub(r"\n\s*\n+", "\n", text)


class _Places:
    """Where values of the axis across stand: by their logarithm, or names at even distances."""

    def __init__(self, series: Sequence[Series], plot: Box) -> None:
        found = list(dict.fromkeys(point.across for one in series for point in one.points))
        self._plot = plot
        self._at: dict[float | str, float]
        named = [place for place in found if isinstance(place, str)]
        if named and len(named) != len(found):
            raise InvalidArgument("places across must be all numbers or all names")
        if named:
            share = 1.0 / max(1, len(named))
            self._at = {place: (index + 0.5) * share for index, place in enumerate(named)}
        else:
            numbers = sorted(float(place) for place in found)
            low, high = math.log10(numbers[0]), math.log10(numbers[-1])
            span = max(high - low, 1e-9)
            self._at = {place: ROOM + (1 - 2 * ROOM) * (math.log10(float(place)) - low) / span for place in numbers}

    def at(self, place: float | str) -> float:
        key = place if isinstance(place, str) else float(place)
        return round(self._plot.left + self._at[key] * (self._plot.right - self._plot.left), 1)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        return tuple((self.at(place), place if isinstance(place, str) else f"{place:,.0f}") for place in self._at)


class _Heights:
    """Where values stand: by their logarithm, 0 below all others."""

    def __init__(self, series: Sequence[Series], plot: Box) -> None:
        ends = [
            end
            for one in series
            for point in one.points
            for end in (point.value, point.low, point.high)
            if end is not None
        ]
        above = [end for end in ends if end > 0] or [1.0]
        self._low, self._high = math.floor(math.log10(min(above))), math.ceil(math.log10(max(above)))
        self._high = max(self._high, self._low + 1)
        self._zero = any(end == 0 for end in ends)
        self._top, self._bottom = plot.top, plot.bottom - (ZERO if self._zero else 0.0)
        self._ground = plot.bottom

    def at(self, value: float) -> float:
        if value <= 0:
            return self._ground
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return round(self._bottom - share * (self._bottom - self._top), 1)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        step = max(1, -(-(self._high - self._low) // 9))
        found = [(self.at(10.0**power), _power(power)) for power in range(self._low, self._high + 1, step)]
        return ((self._ground, "0"), *found) if self._zero else tuple(found)


def _power(power: int) -> str:
    return "1" if power == 0 else "10" + str(power).translate(MINUS)


def _line(series: Series, colour: int, places: _Places, heights: _Heights) -> _Line:
    spots = [(places.at(point.across), heights.at(point.value), _words(series, point)) for point in series.points]
    whiskers = "".join(
        f"M{places.at(point.across)} {heights.at(point.low)}V{heights.at(point.high)}"
        for point in series.points
        if point.low is not None and point.high is not None
    )
    return _Line(
        name=series.name,
        colour=colour,
        dashed=series.dashed,
        path="M" + "L".join(f"{x} {y}" for x, y, _ in spots) if series.joined else "",
        whiskers=whiskers,
        spots=() if series.dashed else tuple(spots),
    )


def _words(series: Series, point: Point) -> str:
    interval = "" if point.low is None or point.high is None else f" [{point.low:.3g}, {point.high:.3g}]"
    return f"{series.name}, {_place(point.across)}: {point.value:.3g}{interval}"


def _told(series: Series) -> str:
    return ", ".join(f"{_place(point.across)} {point.value:.3g}" for point in series.points)


def _place(place: float | str) -> str:
    return place if isinstance(place, str) else f"{place:,.0f}"
