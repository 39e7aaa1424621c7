"""The drawing of forgetting against utility against cost, as geometry that a template writes down as SVG.

Across: what the forgetting probe says, signed, with the retrained references' range as a band, because too little and
too much are both leaks and a distance would hide which one it is. The membership AUC of the loss is drawn first: .5
means the same on every data set and it needs nothing but losses. Where its own controls found it blind, or it could
not be measured, the mean margin takes its place. Up: test accuracy. A circle's area: work as a share of retraining.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from expunge.core.values import Measurement
from expunge.report.axis import Axis, axis, drawable
from expunge.report.comparison import cost_of_retraining
from expunge.report.evaluation import Figure, Probe
from expunge.report.labels import Anchor, Box, place
from expunge.report.load import Section
from expunge.report.numerals import bare, listed, percent, shown

ACROSS = (
    ("loss-threshold", "Membership AUC of the loss, forget set against holdout"),
    ("mean-margin", "Mean margin on the forget set"),
)
UP = "test-accuracy"
MOST_NAMES = 10
LONGEST_LABEL = 30
CHARACTER, LINE = 6.9, 15.0
SAME = 0.008  # marks closer than this share of both axes are one mark with several names


@dataclass(frozen=True)
class Point:
    """A model in the drawing; a run has a cost."""

    kind: str
    name: str
    across: Measurement
    up: Measurement
    share: float | None = None


@dataclass(frozen=True)
class Mark:
    """A mark with its intervals and its label, in pixels."""

    kind: str
    x: float
    y: float
    radius: float
    across: tuple[float, float] | None
    up: tuple[float, float] | None
    lines: tuple[tuple[float, float, str], ...] = ()
    leader: tuple[float, float, float, float] | None = None


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
    band_label: tuple[float, str] | None
    marks: tuple[Mark, ...]


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


def draw(section: Section) -> Drawing | None:
    """The section's drawing; none where no run has both figures."""
    chosen = _chosen(section)
    if chosen is None:
        return None
    name, title = chosen
    points = _points(section, name)
    groups = _grouped(points)
    numbered = len(groups) > MOST_NAMES
    drawn = {point.name for point in points if point.kind == "run"}
    absent = [label for label in section.labels if label not in drawn]
    first = section.evaluated[0].evaluation
    return Drawing(
        title=title,
        charts=tuple(
            _chart(size, points, groups, numbered, section) for size in (("wide", 680, 400), ("narrow", 350, 430))
        ),
        description=_description(points),
        warnings=() if first is None else first.warnings(name),
        missing=listed(absent[:8] + ([f"{len(absent) - 8} more"] if len(absent) > 8 else [])),
        references=sum(point.kind == "reference" for point in points),
        numbered=numbered,
    )


def _chosen(section: Section) -> tuple[str, str] | None:
    """The first probe that can see something here, else the first that was measured at all."""
    measured = [(name, title) for name, title in ACROSS if any(p.kind == "run" for p in _points(section, name))]
    first = section.evaluated[0].evaluation if section.evaluated else None
    sighted = [item for item in measured if first is not None and not first.warnings(item[0])]
    return next(iter(sighted + measured), None)


def _points(section: Section, name: str) -> list[Point]:
    found: list[Point] = []
    retraining = cost_of_retraining(section, "example-steps")
    for run, label in zip(section.runs, section.labels, strict=True):
        if run.evaluation is None:
            continue
        across, up = run.evaluation.probe(name), run.evaluation.probe(UP)
        if across is None or up is None:
            continue
        if not found:
            found += _others(across, up)
        share = None if retraining is None else run.example_steps / retraining
        found += _point("run", label, across.unlearned, up.unlearned, share)
    return found


def _others(across: Probe, up: Probe) -> list[Point]:
    pairs = zip(across.references, up.references, strict=True)
    found = [point for pair in pairs for point in _point("reference", "retrained", *pair)]
    if across.original is not None and up.original is not None:
        found += _point("original", "original", across.original, up.original)
    return found


def _point(kind: str, name: str, across: Figure, up: Figure, share: float | None = None) -> list[Point]:
    if not isinstance(across, Measurement) or not isinstance(up, Measurement):
        return []
    if not drawable(across.value, up.value):
        return []
    return [Point(kind, name, across, up, share)]


def _ends(measured: Measurement) -> tuple[float, float]:
    """The interval as far as it can be drawn."""
    low = measured.low if drawable(measured.low) else measured.value
    high = measured.high if drawable(measured.high) else measured.value
    return low, high


def _axes(points: list[Point], plot: Box) -> tuple[Axis, Axis]:
    across = [value for point in points for value in (*_ends(point.across), point.across.value)]
    up = [value for point in points for value in (*_ends(point.up), point.up.value)]
    scale = points[0].across.scale
    return (
        axis(across, plot.left, plot.right, percent=scale == "fraction"),
        axis(up, plot.bottom, plot.top, percent=True),
    )


def _grouped(points: list[Point]) -> list[list[Point]]:
    """Points that would lie on each other, the references apart."""
    unit = Box(0.0, 0.0, 1.0, 1.0)
    across, up = (_rescaled(found) for found in _axes(points, unit))
    groups: list[list[Point]] = []
    for point in points:
        if point.kind == "reference":
            continue
        for group in groups:
            near_across = abs(across(point.across.value) - across(group[0].across.value)) <= SAME
            if near_across and abs(up(point.up.value) - up(group[0].up.value)) <= SAME:
                group.append(point)
                break
        else:
            groups.append([point])
    return groups


def _rescaled(found: Axis):
    return lambda value: (value - found.low) / (found.high - found.low)


def _chart(
    size: tuple[str, int, int], points: list[Point], groups: list[list[Point]], numbered: bool, section: Section
) -> Chart:
    name, width, height = size
    plot = Box(52.0, 34.0, width - 10.0, height - 62.0)
    across, up = _axes(points, plot)
    references = [point for point in points if point.kind == "reference"]
    band = _band(references, across)
    obstacles = [Box(across.at(p.across.value) - 4, up.at(p.up.value) - 4, across.at(p.across.value) + 4,
                     up.at(p.up.value) + 4) for p in references]
    label = None
    if band is not None:
        text = "retrained"
        half = len(text) * CHARACTER / 2
        middle = min(max((band[0] + band[1]) / 2, plot.left + half + 2), plot.right - half - 2)
        label = (round(middle, 1), text)
        obstacles.append(Box(middle - half, plot.top, middle + half, plot.top + LINE + 4))
    numbers = {run_label: at for at, run_label in enumerate(section.labels, 1)}
    texts = [_label(group, numbers if numbered else None, wide=name == "wide") for group in groups]
    anchors = [
        Anchor(
            across.at(group[0].across.value),
            up.at(group[0].up.value),
            max(_radius(point) for point in group),
            max(len(line) for line in lines) * CHARACTER,
            len(lines) * LINE,
        )
        for group, lines in zip(groups, texts, strict=True)
    ]
    marks = [_mark(point, across, up) for point in references]
    for group, anchor, lines, placed in zip(groups, anchors, texts, place(anchors, plot, obstacles), strict=True):
        middle = round((placed.box.left + placed.box.right) / 2, 1)
        written = tuple((middle, round(placed.box.top + LINE * (at + 0.78), 1), line) for at, line in enumerate(lines))
        leader = None if placed.leader is None else _rounded(placed.leader)
        largest = sorted(group, key=_radius, reverse=True)
        marks += [_mark(point, across, up) for point in largest[:-1]]
        marks.append(_mark(largest[-1], across, up, written, leader))
    return Chart(
        name, width, height, plot, tuple(across.ticks(5 if name == "wide" else 4)), tuple(up.ticks(5)), band, label,
        tuple(marks),
    )


def _band(references: list[Point], across: Axis) -> tuple[float, float] | None:
    """From the lowest to the highest reference; at least two pixels, so that one reference is a line."""
    if not references:
        return None
    places = [across.at(point.across.value) for point in references]
    low, high = min(places), max(places)
    return (low, round(high - low, 1)) if high - low >= 2 else (round((low + high) / 2 - 1, 1), 2.0)


def _label(group: list[Point], numbers: dict[str, int] | None, *, wide: bool) -> list[str]:
    lines: list[str] = []
    if numbers is not None:
        return [" ".join(str(numbers.get(point.name, point.name)) for point in group[:6]) + ("…" if group[6:] else "")]
    for point in group[:3]:
        name = point.name if len(point.name) <= LONGEST_LABEL else point.name[: LONGEST_LABEL - 1].rstrip(" ,") + "…"
        share = "" if point.share is None else percent(point.share)
        if wide or len(name) + len(share) <= 16:
            lines.append(f"{name} {share}".rstrip())
        else:
            lines += [name, share]
    return lines + ([f"and {len(group) - 3} more"] if len(group) > 3 else [])


def _radius(point: Point) -> float:
    if point.share is None:
        return 5.0
    return round(max(3.5, 13 * math.sqrt(min(point.share, 1.5))), 1)


def _mark(
    point: Point,
    across: Axis,
    up: Axis,
    lines: tuple[tuple[float, float, str], ...] = (),
    leader: tuple[float, float, float, float] | None = None,
) -> Mark:
    low, high = _ends(point.across)
    bottom, top = _ends(point.up)
    is_run = point.kind != "reference"
    return Mark(
        kind=point.kind,
        x=across.at(point.across.value),
        y=up.at(point.up.value),
        radius=_radius(point),
        across=(across.at(low), across.at(high)) if is_run else None,
        up=(up.at(bottom), up.at(top)) if is_run else None,
        lines=lines,
        leader=leader,
    )


def _rounded(line: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = line
    return round(x1, 1), round(y1, 1), round(x2, 1), round(y2, 1)


def _description(points: list[Point]) -> str:
    """The drawing in words, for those who do not see it."""
    told = [
        f"{point.name}: {bare(point.across.value, point.across.scale)} and {shown(point.up.value, point.up.scale)}"
        for point in points[:40]
    ]
    return "; ".join(told)
