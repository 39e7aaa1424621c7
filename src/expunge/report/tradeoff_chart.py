"""Where everything stands in the drawing of a study: axes, marks, whiskers, and labels that do not cover each other."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core.wording import clean
from expunge.records.figures import Estimate, Means
from expunge.records.results import Row, Setting, guarantee_rank
from expunge.report.axis import Axis, drawable
from expunge.report.bent_axis import BentAxis, gap_axis
from expunge.report.labels import Anchor, Box, place
from expunge.report.numerals import SPACE
from expunge.report.study_text import told

ACROSS, UTILITY, COST = "forgetting-gap", "utility-gap", "cost"
BENDS = {UTILITY: 0.01, COST: 0.02}
LEAST_BEND, USUAL_BEND = 1e-3, 0.1  # of the forgetting gap, which bends at the noise among retrained models
FAR = 8.0  # times the largest figure of a working model: what lies beyond stands at the edge
LEFT, TOP, RIGHT, BOTTOM = 54.0, 40.0, 12.0, 62.0  # room around the plot
MOST_NAMES, MOST_FRONT, WORST, MOST_NARROW = 12, 7, 2, 5
LONGEST_LABEL = 30
CHARACTER, LINE = 6.9, 15.0
SHORT = 4  # letters: names find their places before numbers do
SAME = 3.0  # pixels: marks closer than this have one label
BAND_LABEL = "retrained"


@dataclass(frozen=True)
class Point:
    """A model with both figures; the original has no number."""

    kind: str
    name: str
    number: int | None
    across: Estimate
    up: Estimate
    share: float | None


@dataclass(frozen=True)
class Spot:
    """A mark with its whiskers, in pixels; ``words`` tell it to those who point at it."""

    kind: str
    x: float
    y: float
    radius: float
    whiskers: str
    words: str


@dataclass(frozen=True)
class Line:
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
    band_label: Line | None
    zero: float
    whole: float | None
    spots: tuple[Spot, ...]
    leaders: tuple[tuple[float, ...], ...]
    labels: tuple[Line, ...]
    boxes: tuple[Box, ...]


def points_of(setting: Setting, against: str) -> tuple[list[Point], tuple[str, ...]]:
    """What can be drawn, and the names of what took part but cannot."""
    found: list[Point] = []
    missing: list[str] = []
    for row in setting.ranked:
        point = _point(_kind(row), row.label, setting.number(row), row.figures, against)
        if point is not None:
            found.append(point)
        elif row.took_part:
            missing.append(row.label)
    original = _point("original", "original", None, setting.original_figures, against) if against == UTILITY else None
    return found + ([] if original is None else [original]), tuple(missing)


def _point(kind: str, name: str, number: int | None, figures: Means, against: str) -> Point | None:
    across, up = figures[ACROSS], figures[against]
    if not isinstance(across, Estimate) or not isinstance(up, Estimate) or not drawable(across.mean, up.mean):
        return None
    return Point(kind, name, number, across, up, figures.mean(COST))


def _kind(row: Row) -> str:
    if row.has("collapsed"):
        return "collapsed"
    if row.has("oracle-tuned"):
        return "oracle"
    if (guarantee_rank(row.guarantee) or 0) > 0:
        return "guaranteed"
    return "untuned" if row.has("untuned") else "run"


def _ends(measured: Estimate, *, least: float) -> tuple[float, float]:
    """The interval as far as it can be drawn: a gap or a cost below zero is none."""
    low = measured.low if drawable(measured.low) else measured.mean
    high = measured.high if drawable(measured.high) else measured.mean
    return max(low, min(least, measured.mean)), high


def axes_of(
    points: list[Point], noise: float | None, plot: Box, against: str
) -> tuple[Axis | BentAxis, Axis | BentAxis]:
    """Axes that hold every working model, and of intervals and collapsed models what does not lie far beyond."""
    bend = max(noise or USUAL_BEND, LEAST_BEND)
    working = [point for point in points if point.kind not in ("collapsed", "original")] or points
    least = -1.0 if against == UTILITY else 0.0
    across = [value for point in working for value in _ends(point.across, least=0.0)]
    up = [value for point in working for value in _ends(point.up, least=least)]
    across = _near(across + [point.across.mean for point in points], [point.across.mean for point in working], bend)
    up = _near(up + [point.up.mean for point in points], [point.up.mean for point in working], BENDS[against])
    return (
        gap_axis(across, plot.left, plot.right, percent=False, bend=bend),
        gap_axis(up, plot.bottom, plot.top, percent=True, bend=BENDS[against]),
    )


def _near(values: list[float], working: list[float], bend: float) -> list[float]:
    limit = FAR * max(bend, *(abs(value) for value in working))
    return [min(max(value, -limit), limit) for value in values]


def arrow_of(point: Point, across: Axis | BentAxis, up: Axis | BentAxis) -> str:
    """Where a model lies that stands at the edge of the drawing only."""
    return " →" * (point.across.mean > across.high) + " ↑" * (point.up.mean > up.high)


def chart_of(size: tuple[str, int, int], points: list[Point], noise: float | None, against: str) -> Chart:
    name, width, height = size
    plot = Box(LEFT, TOP, width - RIGHT, height - BOTTOM)
    across, up = axes_of(points, noise, plot, against)
    spots = [_spot(point, across, up, against) for point in points]
    groups = _grouped(points, spots)
    named = _named(points, 0 if name == "narrow" and len(points) > MOST_NARROW else MOST_NAMES)
    arrows = [arrow_of(point, across, up) for point in points]
    lines = [_label([(points[at], arrows[at]) for at in group], named) for group in groups]
    order = sorted(range(len(groups)), key=lambda at: (len("".join(lines[at])) < SHORT, at))
    anchors = [_anchor(max((spots[at] for at in groups[index]), key=_size), lines[index]) for index in order]
    placed = place(anchors, plot, [_box(spot) for spot in spots], _thin(points, across, up, against))
    labels: list[Line] = []
    boxes: list[Box] = []
    leaders: list[tuple[float, ...]] = []
    for found, anchor, index in zip(placed, anchors, order, strict=True):
        if any(found.box.overlap(box) > 0 for box in boxes):
            continue  # no room anywhere: its number stands in the table, and pointing at the mark names it
        boxes.append(found.box)
        labels += _lines(found.box, anchor, lines[index])
        if found.leader is not None:
            leaders.append(tuple(round(value, 1) for value in found.leader))
    band = None if noise is None else (across.at(0.0), max(2.0, round(across.at(noise) - across.at(0.0), 1)))
    return Chart(
        name=name,
        width=width,
        height=height,
        plot=plot,
        across_ticks=tuple(across.ticks(11 if width > 400 else 6)),
        up_ticks=tuple(up.ticks(9)),
        band=band,
        band_label=None if band is None else _band_label(band, plot),
        zero=up.at(0.0),
        whole=up.at(1.0) if against == COST and up.high >= 1.0 else None,
        spots=tuple(sorted(spots, key=_size, reverse=True)),
        leaders=tuple(leaders),
        labels=tuple(labels),
        boxes=tuple(boxes),
    )


def _band_label(band: tuple[float, float], plot: Box) -> Line:
    half = len(BAND_LABEL) * CHARACTER / 2
    middle = min(max(band[0] + band[1] / 2, plot.left + half), plot.right - half)
    return Line(round(middle, 1), plot.top - 5, "middle", BAND_LABEL)


def _spot(point: Point, across: Axis | BentAxis, up: Axis | BentAxis, against: str) -> Spot:
    x, y = across.at(point.across.mean), up.at(point.up.mean)
    whiskers = ""
    drawn = point.kind != "collapsed"  # a broken model's figures mean nothing, how they scatter even less
    if drawn and point.across.n > 1:
        left, right = (across.at(value) for value in _ends(point.across, least=0.0))
        whiskers += f"M{left} {y}H{right}"
    if drawn and point.up.n > 1:
        bottom, top = (up.at(value) for value in _ends(point.up, least=-1.0 if against == UTILITY else 0.0))
        whiskers += f"M{x} {bottom}V{top}"
    return Spot(point.kind, x, y, _radius(point, against), whiskers, words_of(point, against))


def _radius(point: Point, against: str) -> float:
    """Area is cost where cost is no axis."""
    if against == COST or point.share is None or point.kind in ("original", "collapsed"):
        return 5.0
    return round(max(4.0, 13 * min(max(point.share, 0.0), 1.5) ** 0.5), 1)


def _grouped(points: list[Point], spots: list[Spot]) -> list[list[int]]:
    """Places of points that would lie on each other."""
    groups: list[list[int]] = []
    for at, spot in enumerate(spots):
        for group in groups:
            first = spots[group[0]]
            if max(abs(first.x - spot.x), abs(first.y - spot.y)) <= SAME:
                group.append(at)
                break
        else:
            groups.append([at])
    return groups


def _named(points: list[Point], most: int) -> set[str]:
    """Who is written out: all where they are few; else guarantees, the front, the worst, and the original."""
    if len(points) <= most:
        return {point.name for point in points}
    found = {point.name for point in points if point.number is None}
    if most == 0:
        return found
    found |= {point.name for point in [point for point in points if point.kind == "guaranteed"][:MOST_FRONT]}
    front = [point for point in points if point.kind not in ("collapsed", "original") and not _beaten(point, points)]
    found |= {point.name for point in sorted(front, key=lambda point: point.across.mean)[:MOST_FRONT]}
    found |= {point.name for point in sorted(points, key=lambda point: -point.across.mean)[:WORST]}
    return found | {max(points, key=lambda point: point.up.mean).name}


def _beaten(point: Point, points: list[Point]) -> bool:
    """Whether another working model is as good on both axes and better on one."""
    own = (point.across.mean, point.up.mean)
    others = [(p.across.mean, p.up.mean) for p in points if p.kind not in ("collapsed", "original")]
    return any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in others)


def _label(group: list[tuple[Point, str]], named: set[str]) -> list[str]:
    lines = [clean(point.name, LONGEST_LABEL) + arrow for point, arrow in group if point.name in named][:3]
    numbers = [f"{point.number}{arrow}" for point, arrow in group if point.name not in named]
    return lines + ([" ".join(numbers[:6]) + ("…" if numbers[6:] else "")] if numbers else [])


def _anchor(spot: Spot, lines: list[str]) -> Anchor:
    return Anchor(spot.x, spot.y, spot.radius, max(map(len, lines)) * CHARACTER, len(lines) * LINE)


def _lines(box: Box, anchor: Anchor, words: list[str]) -> list[Line]:
    """Lines of a label, flush with the side that faces the mark."""
    if box.left >= anchor.x:
        x, side = box.left, "start"
    elif box.right <= anchor.x:
        x, side = box.right, "end"
    else:
        x, side = (box.left + box.right) / 2, "middle"
    return [Line(round(x, 1), round(box.top + LINE * (at + 0.78), 1), side, word) for at, word in enumerate(words)]


def _size(spot: Spot) -> float:
    return spot.radius


def _box(spot: Spot) -> Box:
    return Box(spot.x - spot.radius, spot.y - spot.radius, spot.x + spot.radius, spot.y + spot.radius)


def _thin(points: list[Point], across: Axis | BentAxis, up: Axis | BentAxis, against: str) -> list[Box]:
    """What labels should not cross: the whiskers."""
    found: list[Box] = []
    for point in points:
        x, y = across.at(point.across.mean), up.at(point.up.mean)
        if point.kind == "collapsed":
            continue
        if point.across.n > 1:
            left, right = (across.at(value) for value in _ends(point.across, least=0.0))
            found.append(Box(left, y - 1, right, y + 1))
        if point.up.n > 1:
            low, high = (up.at(value) for value in _ends(point.up, least=-1.0 if against == UTILITY else 0.0))
            found.append(Box(x - 1, high, x + 1, low))
    return found


def words_of(point: Point, against: str) -> str:
    up = f"{told(point.up, 'points' if against == UTILITY else 'percent')}"
    what = f"{SPACE}points of test accuracy lost" if against == UTILITY else f"{SPACE}% of the training’s work"
    return f"{point.name}: forgetting gap {told(point.across, 'spreads')}, {up}{what}"
