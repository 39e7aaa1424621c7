"""Points with bands: where everything stands in a scatter, in pixels that a template writes down as SVG.

Whoever draws says which models there are, how large their marks are and what is written beside them. Here they get
their places, the lines of their intervals, a band behind them, and labels that keep out of each other's way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from expunge.report.axis import DrawnAxis, drawable
from expunge.report.labels import Anchor, Box, around, place

CHARACTER, LINE = 6.9, 15.0  # pixels: a letter's width, a line's height
LARGEST_RADIUS, MOST_SHARE = 13.0, 1.5  # of a circle whose area is work: as much as the whole training, and beyond it
BAND_LABEL = "retrained"

Axes = tuple[DrawnAxis, DrawnAxis]


@dataclass(frozen=True)
class Span:
    """A figure with its interval as far as it can be drawn; ``whisker`` says whether it is drawn at all."""

    value: float
    low: float
    high: float
    whisker: bool


def span(value: float, low: float, high: float, *, least: float = -math.inf, whisker: bool = True) -> Span:
    """An end that is no place falls back to the value; none but the value itself lies below ``least``."""
    low = low if drawable(low) else value
    return Span(value, max(low, min(least, value)), high if drawable(high) else value, whisker)


@dataclass(frozen=True)
class Point:
    """A model that can be drawn: both its figures, and ``words`` that tell them to those who do not see it.

    ``share`` is its work as a share of the training's, where it is known; ``tone`` that of its outcome.
    """

    kind: str
    name: str
    across: Span
    up: Span
    words: str
    share: float | None = None
    tone: str = ""


@dataclass(frozen=True)
class Spot:
    """A mark and the ends of its intervals, in pixels; ``words`` tell it to those who point at it."""

    kind: str
    x: float
    y: float
    radius: float
    across: tuple[float, float] | None
    up: tuple[float, float] | None
    words: str
    tone: str = ""

    @property
    def whiskers(self) -> str:
        """The intervals as an SVG path; empty where there are none."""
        across = "" if self.across is None else f"M{self.across[0]} {self.y}H{self.across[1]}"
        return across + ("" if self.up is None else f"M{self.x} {self.up[0]}V{self.up[1]}")


@dataclass(frozen=True)
class Text:
    """A line of text; ``anchor`` says which end of it stands at ``x``."""

    x: float
    y: float
    anchor: str
    words: str


@dataclass(frozen=True)
class Size:
    """A drawing's size, and the room around its plot: left, top, right, bottom."""

    name: str
    width: int
    height: float
    room: tuple[float, float, float, float]

    @property
    def plot(self) -> Box:
        left, top, right, bottom = self.room
        return Box(left, top, self.width - right, self.height - bottom)


@dataclass(frozen=True)
class Chart:
    """One size of a drawing; ``shortened`` where a label had no room on its side and is a number."""

    name: str
    width: int
    height: float
    plot: Box
    across_ticks: tuple[tuple[float, str], ...] = ()
    up_ticks: tuple[tuple[float, str], ...] = ()
    band: tuple[float, float] | None = None
    band_label: Text | None = None
    spots: tuple[Spot, ...] = ()
    leaders: tuple[tuple[float, ...], ...] = ()
    labels: tuple[Text, ...] = ()
    boxes: tuple[Box, ...] = ()
    shortened: bool = False


@dataclass(frozen=True)
class Label:
    """Lines beside the largest of several marks that lie on each other; ``short`` where they do not fit on its side."""

    spots: Sequence[Spot]
    lines: Sequence[str]
    short: Sequence[str]


def scatter(
    size: Size,
    axes: Axes,
    spots: Sequence[Spot],
    labels: Sequence[Label],
    *,
    ticks: tuple[int, int],
    band: tuple[float, float] | None,
    inset: float = 0.0,
) -> Chart:
    """``spots`` in the order of drawing, ``labels`` in the order in which they find their places.

    ``ticks`` say how many each axis should have, about. ``band`` is its left edge and its width; its label stays
    ``inset`` away from the plot's sides, and no other label lies across it from its mark.
    """
    plot, anchors, written = size.plot, list[Anchor](), list[Sequence[str]]()
    for label in labels:
        lines, anchor = label.lines, _anchor(label.spots, label.lines, band)
        room = anchor.within(plot)
        if not plot.holds(room):
            lines, anchor = label.short, _anchor(label.spots, label.short, band)
        written.append(lines)
        anchors.append(anchor)
    placed = place(anchors, plot, [around(spot.x, spot.y, spot.radius) for spot in spots], _thin(spots))
    told = zip(placed, anchors, written, strict=True)
    return Chart(
        name=size.name,
        width=size.width,
        height=size.height,
        plot=plot,
        across_ticks=tuple(axes[0].ticks(ticks[0])),
        up_ticks=tuple(axes[1].ticks(ticks[1])),
        band=band,
        band_label=None if band is None else _band_label(band, plot, inset),
        spots=tuple(spots),
        leaders=tuple(tuple(round(end, 1) for end in one.leader) for one in placed if one.leader is not None),
        labels=tuple(text for found, anchor, lines in told for text in _texts(found.box, anchor, lines)),
        boxes=tuple(one.box for one in placed),
        shortened=any(lines is label.short for lines, label in zip(written, labels, strict=True)),
    )


def _anchor(spots: Sequence[Spot], lines: Sequence[str], band: tuple[float, float] | None) -> Anchor:
    """The place of a label's mark, and the side of the band that the mark is on."""
    spot = max(spots, key=lambda spot: spot.radius)
    low, high = (-math.inf, math.inf) if band is None else (band[0], band[0] + band[1])
    return Anchor(
        spot.x,
        spot.y,
        spot.radius,
        max(map(len, lines)) * CHARACTER,
        len(lines) * LINE,
        least=high if spot.x > high and band is not None else -math.inf,
        most=low if spot.x < low and band is not None else math.inf,
    )


def spot_of(point: Point, axes: Axes, radius: float) -> Spot:
    """A point's mark."""
    across, up = axes
    return Spot(
        kind=point.kind,
        x=across.at(point.across.value),
        y=up.at(point.up.value),
        radius=radius,
        across=(across.at(point.across.low), across.at(point.across.high)) if point.across.whisker else None,
        up=(up.at(point.up.low), up.at(point.up.high)) if point.up.whisker else None,
        words=point.words,
        tone=point.tone,
    )


def area(share: float, least: float) -> float:
    """Radius of a circle whose area is a share of the training's work."""
    return round(max(least, LARGEST_RADIUS * math.sqrt(min(max(share, 0.0), MOST_SHARE))), 1)


def grouped(places: Sequence[tuple[float, float]], apart: float) -> list[list[int]]:
    """Which of these places lie on each other, up to ``apart`` in either direction; the first of a group decides."""
    groups: list[list[int]] = []
    for at, (x, y) in enumerate(places):
        for group in groups:
            first = places[group[0]]
            if max(abs(first[0] - x), abs(first[1] - y)) <= apart:
                group.append(at)
                break
        else:
            groups.append([at])
    return groups


def _thin(spots: Sequence[Spot]) -> list[Box]:
    """What labels should not cross: the intervals' lines."""
    found: list[Box] = []
    for spot in spots:
        if spot.across is not None:
            found.append(Box(spot.across[0], spot.y - 1, spot.across[1], spot.y + 1))
        if spot.up is not None:
            found.append(Box(spot.x - 1, spot.up[1], spot.x + 1, spot.up[0]))
    return found


def _band_label(band: tuple[float, float], plot: Box, inset: float) -> Text:
    half = len(BAND_LABEL) * CHARACTER / 2 + inset
    middle = min(max(band[0] + band[1] / 2, plot.left + half), plot.right - half)
    return Text(round(middle, 1), plot.top - 5, "middle", BAND_LABEL)


def _texts(box: Box, anchor: Anchor, lines: Sequence[str]) -> list[Text]:
    """Lines of a label, flush with the side that faces the mark."""
    if box.left >= anchor.x:
        x, side = box.left, "start"
    elif box.right <= anchor.x:
        x, side = box.right, "end"
    else:
        x, side = (box.left + box.right) / 2, "middle"
    return [Text(round(x, 1), round(box.top + LINE * (at + 0.78), 1), side, line) for at, line in enumerate(lines)]
