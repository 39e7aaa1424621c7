"""The drawing of forgetting against utility against cost, as geometry that a template writes down as SVG.

Across: what the forgetting probe says, signed, with the retrained references' range as a band, because too little and
too much are both leaks and a distance would hide which one it is. Up: test accuracy. A circle's area: work as a share
of retraining. Two sizes are drawn, so that letters stay letters on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from expunge.core.values import Measurement
from expunge.report.axis import Axis, axis, drawable
from expunge.report.labels import Anchor, Box, Placed, place
from expunge.report.load import Section
from expunge.report.numerals import listed, percent
from expunge.report.points import Point, chosen_probe, described, points_of

SIZES = (("wide", 680, 400), ("narrow", 350, 430))
LEFT, TOP, RIGHT, BOTTOM = 52.0, 34.0, 10.0, 62.0  # room around the plot
MOST_NAMES, MOST_LABELS = 10, 60
LONGEST_LABEL = 30
CHARACTER, LINE = 6.9, 15.0
SAME = 0.008  # marks closer than this share of both axes have one label
BAND_LABEL = "retrained"


@dataclass(frozen=True)
class Mark:
    """A mark and its intervals, in pixels."""

    kind: str
    x: float
    y: float
    radius: float
    across: tuple[float, float] | None
    up: tuple[float, float] | None


@dataclass(frozen=True)
class Text:
    """A line of text; ``anchor`` says which end of it stands at ``x``."""

    x: float
    y: float
    anchor: str
    words: str


@dataclass(frozen=True)
class Chart:
    """One size of the drawing."""

    name: str
    width: int
    height: int
    plot: Box
    across_ticks: tuple[tuple[float, str], ...]
    up_ticks: tuple[tuple[float, str], ...]
    band: tuple[float, float] | None
    band_label: Text | None
    marks: tuple[Mark, ...]
    leaders: tuple[tuple[float, ...], ...]
    texts: tuple[Text, ...]


@dataclass(frozen=True)
class Drawing:
    """The drawing for wide and for narrow pages, and all that is said beside it."""

    title: str
    charts: tuple[Chart, ...]
    description: str
    warnings: tuple[str, ...]
    missing: str
    references: int
    numbered: bool
    labelled: int | None


def draw(section: Section) -> Drawing | None:
    """The section's drawing; none where no run has both figures."""
    chosen = chosen_probe(section)
    if chosen is None:
        return None
    name, title = chosen
    points = points_of(section, name)
    groups = _grouped(points)
    drawn = {point.name for point in points if point.kind == "run"}
    absent = [label for label in section.labels if label not in drawn]
    numbers = {label: at for at, label in enumerate(section.labels, 1)} if len(groups) > MOST_NAMES else None
    first = section.evaluated[0].evaluation
    return Drawing(
        title=title,
        charts=tuple(_chart(size, points, groups, numbers) for size in SIZES),
        description=described(points),
        warnings=() if first is None else first.warnings(name),
        missing=listed(absent[:8] + ([f"{len(absent) - 8} more"] if absent[8:] else [])),
        references=sum(point.kind == "reference" for point in points),
        numbered=numbers is not None,
        labelled=MOST_LABELS if len(groups) > MOST_LABELS else None,
    )


def _ends(measured: Measurement) -> tuple[float, float]:
    """The interval as far as it can be drawn."""
    low = measured.low if drawable(measured.low) else measured.value
    high = measured.high if drawable(measured.high) else measured.value
    return low, high


def _axes(points: list[Point], plot: Box) -> tuple[Axis, Axis]:
    across = [value for point in points for value in _ends(point.across)]
    up = [value for point in points for value in _ends(point.up)]
    return (
        axis(across, plot.left, plot.right, percent=points[0].across.scale == "fraction"),
        axis(up, plot.bottom, plot.top, percent=True),
    )


def _grouped(points: list[Point]) -> list[list[Point]]:
    """Points that would lie on each other, the references apart."""
    across, up = _axes(points, Box(0.0, 0.0, 1000.0, 1000.0))
    groups: list[list[Point]] = []
    for point in points:
        if point.kind == "reference":
            continue
        for group in groups:
            gaps = (
                across.at(point.across.value) - across.at(group[0].across.value),
                up.at(point.up.value) - up.at(group[0].up.value),
            )
            if max(map(abs, gaps)) <= 1000 * SAME:
                group.append(point)
                break
        else:
            groups.append([point])
    return groups


def _chart(
    size: tuple[str, int, int], points: list[Point], groups: list[list[Point]], numbers: Mapping[str, int] | None
) -> Chart:
    name, width, height = size
    plot = Box(LEFT, TOP, width - RIGHT, height - BOTTOM)
    across, up = _axes(points, plot)
    marks = [_mark(point, across, up) for point in sorted(points, key=_drawn_first)]
    band = _band(marks)
    label = None if band is None else _band_label(band, plot)
    labelled = groups[:MOST_LABELS]
    words = [_words(group, numbers, wide=name == "wide") for group in labelled]
    anchors = [
        _anchor(_mark(max(group, key=_radius), across, up), lines) for group, lines in zip(labelled, words, strict=True)
    ]
    placed = place(anchors, plot, [_box(mark) for mark in marks], _lines(marks))
    return Chart(
        name=name,
        width=width,
        height=height,
        plot=plot,
        across_ticks=tuple(across.ticks(5)),
        up_ticks=tuple(up.ticks(5)),
        band=band,
        band_label=label,
        marks=tuple(marks),
        leaders=tuple(tuple(round(value, 1) for value in found.leader) for found in placed if found.leader is not None),
        texts=tuple(
            text
            for found, anchor, lines in zip(placed, anchors, words, strict=True)
            for text in _texts(found, anchor, lines)
        ),
    )


def _drawn_first(point: Point) -> tuple[int, float]:
    """References below, then runs from the largest circle to the smallest, the original on top."""
    return ("reference", "run", "original").index(point.kind), -_radius(point)


def _band(marks: list[Mark]) -> tuple[float, float] | None:
    """Left edge and width, from the lowest to the highest reference; one reference is a line of two pixels."""
    places = [mark.x for mark in marks if mark.kind == "reference"]
    if not places:
        return None
    width = max(2.0, round(max(places) - min(places), 1))
    return round((min(places) + max(places) - width) / 2, 1), width


def _band_label(band: tuple[float, float], plot: Box) -> Text:
    half = len(BAND_LABEL) * CHARACTER / 2 + 2
    middle = min(max(band[0] + band[1] / 2, plot.left + half), plot.right - half)
    return Text(round(middle, 1), plot.top - 5, "middle", BAND_LABEL)


def _lines(marks: list[Mark]) -> list[Box]:
    """What labels should not cross: the intervals' lines."""
    found: list[Box] = []
    for mark in marks:
        if mark.across is not None:
            found.append(Box(mark.across[0], mark.y - 1, mark.across[1], mark.y + 1))
        if mark.up is not None:
            found.append(Box(mark.x - 1, min(mark.up), mark.x + 1, max(mark.up)))
    return found


def _words(group: list[Point], numbers: Mapping[str, int] | None, *, wide: bool) -> list[str]:
    if numbers is not None:
        return [" ".join(str(numbers.get(point.name, point.name)) for point in group[:6]) + ("…" if group[6:] else "")]
    lines: list[str] = []
    for point in group[:3]:
        name = point.name if len(point.name) <= LONGEST_LABEL else point.name[: LONGEST_LABEL - 1].rstrip(" ,") + "…"
        share = "" if point.share is None else percent(point.share)
        if wide or len(name) + len(share) <= 20:
            lines.append(f"{name} {share}".rstrip())
        else:
            lines += [name, share]
    return lines + ([f"and {len(group) - 3} more"] if group[3:] else [])


def _texts(found: Placed, anchor: Anchor, lines: list[str]) -> list[Text]:
    """Lines of a label, flush with the side that faces the mark."""
    if found.box.left >= anchor.x:
        x, side = found.box.left, "start"
    elif found.box.right <= anchor.x:
        x, side = found.box.right, "end"
    else:
        x, side = (found.box.left + found.box.right) / 2, "middle"
    return [
        Text(round(x, 1), round(found.box.top + LINE * (at + 0.78), 1), side, line) for at, line in enumerate(lines)
    ]


def _anchor(mark: Mark, lines: list[str]) -> Anchor:
    return Anchor(mark.x, mark.y, mark.radius, max(map(len, lines)) * CHARACTER, len(lines) * LINE)


def _box(mark: Mark) -> Box:
    return Box(mark.x - mark.radius, mark.y - mark.radius, mark.x + mark.radius, mark.y + mark.radius)


def _radius(point: Point) -> float:
    if point.share is None:
        return 5.0 if point.kind == "original" else 4.0
    return round(max(3.5, 13 * math.sqrt(min(point.share, 1.5))), 1)


def _mark(point: Point, across: Axis, up: Axis) -> Mark:
    """References show their spread as a band, not their intervals."""
    is_reference = point.kind == "reference"
    low, high = (across.at(value) for value in _ends(point.across))
    bottom, top = (up.at(value) for value in _ends(point.up))
    return Mark(
        kind=point.kind,
        x=across.at(point.across.value),
        y=up.at(point.up.value),
        radius=_radius(point),
        across=None if is_reference else (low, high),
        up=None if is_reference else (bottom, top),
    )
