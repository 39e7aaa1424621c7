"""The drawing of a study: forgetting against utility, or against cost, both read against retraining.

Across: the forgetting gap, how far the mean margin lies from that of retrained references, in units of their spread.
Up: test accuracy lost against them, or work as a share of the training. Near the corner at the bottom left a model is
like a retrained one. Both axes bend where the range is wide, so that a collapsed model does not hide the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.core.wording import clean
from expunge.records.figures import Estimate, Means
from expunge.records.results import Row, Setting, guarantee_rank
from expunge.report.axis import drawable
from expunge.report.bent_axis import BentAxis, gap_axis
from expunge.report.labels import Box
from expunge.report.numerals import SPACE
from expunge.report.scatter import (
    Axes,
    Chart,
    Point,
    Size,
    Span,
    area,
    grouped,
    scatter,
    span,
    spot_of,
)
from expunge.report.study_text import told

ACROSS, UTILITY, COST = "forgetting-gap", "utility-gap", "cost"
TITLES = {
    UTILITY: ("Utility gap", "test accuracy lost, lower is better ↓"),
    COST: ("Cost", "share of the training’s work, lower is cheaper ↓"),
}
BENDS = {UTILITY: 0.01, COST: 0.02}
LEAST = {UTILITY: -1.0, COST: 0.0}  # what an interval may show: a cost below zero is none
LEAST_BEND, USUAL_BEND = 1e-3, 0.1  # of the forgetting gap, which bends at the noise among retrained models
FAR = 8.0  # times the largest figure of a working model: what lies beyond stands at the edge
ROOM = (54.0, 40.0, 12.0, 62.0)
SIZES = (Size("wide", 680, 440, ROOM), Size("narrow", 350, 430, ROOM))
MOST_NAMES, MOST_FRONT, WORST, MOST_NARROW, MOST_TOLD = 12, 7, 2, 5, 60
LONGEST_LABEL = 30
SHORT = 4  # letters: names find their places before numbers do
SAME = 3.0  # pixels: marks closer than this have one label
KINDS = (
    ("guaranteed", "guaranteed: Exact or Certified"),
    ("run", "empirical"),
    ("untuned", "untuned"),
    ("oracle", "oracle-tuned: its search saw the references"),
    ("collapsed", "collapsed: no longer a working model"),
    ("original", "the original, nothing forgotten"),
)


@dataclass(frozen=True)
class Tradeoff:
    """A setting's drawing, and all that is said beside it."""

    against: str
    title: str
    hint: str
    charts: tuple[Chart, ...]
    kinds: tuple[tuple[str, str], ...] = ()
    numbers: tuple[tuple[int, str], ...] = ()
    description: str = "nothing could be drawn"
    missing: tuple[str, ...] = ()
    bent: bool = False
    beyond: bool = False


def tradeoff(setting: Setting, against: str = UTILITY, sizes: Sequence[Size] = SIZES) -> Tradeoff | None:
    """The drawing of one setting; none where no method has both figures."""
    points, missing = _points(setting, against)
    if not any(point.number is not None for point in points):
        return None
    axes = _axes(points, setting.noise, Box(0, 0, 100, 100), against)
    present = {point.kind for point in points}
    title, hint = TITLES[against]
    return Tradeoff(
        against=against,
        title=title,
        hint=hint,
        charts=tuple(_chart(size, points, setting.noise, against) for size in sizes),
        kinds=tuple((kind, words) for kind, words in KINDS if kind in present),
        numbers=tuple(sorted((point.number, point.name) for point in points if point.number is not None)),
        description="; ".join(point.words for point in points[:MOST_TOLD]),
        missing=missing,
        bent=any(isinstance(axis, BentAxis) for axis in axes),
        beyond=any(_arrow(point, axes) for point in points),
    )


def _points(setting: Setting, against: str) -> tuple[list[Point], tuple[str, ...]]:
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
    style, unit = (
        ("points", "points of test accuracy lost") if against == UTILITY else ("percent", "% of the training’s work")
    )
    words = f"{name}: forgetting gap {told(across, 'spreads')}, {told(up, style)}{SPACE}{unit}"
    spans = (_span(across, 0.0, kind), _span(up, LEAST[against], kind))
    return Point(kind, name, *spans, words, figures.mean(COST), number)


def _span(figure: Estimate, least: float, kind: str) -> Span:
    """A broken model's figures mean nothing, how they scatter even less: its intervals are not drawn."""
    whisker = figure.n > 1 and kind != "collapsed"
    return span(figure.mean, figure.low, figure.high, least=least, whisker=whisker)


def _kind(row: Row) -> str:
    if row.has("collapsed"):
        return "collapsed"
    if row.has("oracle-tuned"):
        return "oracle"
    if (guarantee_rank(row.guarantee) or 0) > 0:
        return "guaranteed"
    return "untuned" if row.has("untuned") else "run"


def _axes(points: Sequence[Point], noise: float | None, plot: Box, against: str) -> Axes:
    """Axes that hold every working model, and of intervals and collapsed models what does not lie far beyond."""
    bend = max(noise or USUAL_BEND, LEAST_BEND)
    working = [point for point in points if point.kind not in ("collapsed", "original")] or points
    across = _near([point.across for point in points], [point.across for point in working], bend)
    up = _near([point.up for point in points], [point.up for point in working], BENDS[against])
    return (
        gap_axis(across, plot.left, plot.right, percent=False, bend=bend),
        gap_axis(up, plot.bottom, plot.top, percent=True, bend=BENDS[against]),
    )


def _near(spans: Sequence[Span], working: Sequence[Span], bend: float) -> list[float]:
    limit = FAR * max(bend, *(abs(one.value) for one in working))
    values = [end for one in working for end in (one.low, one.high)] + [one.value for one in spans]
    return [min(max(value, -limit), limit) for value in values]


def _arrow(point: Point, axes: Axes) -> str:
    """Where a model lies that stands at the edge of the drawing only."""
    return " →" * (point.across.value > axes[0].high) + " ↑" * (point.up.value > axes[1].high)


def _chart(size: Size, points: Sequence[Point], noise: float | None, against: str) -> Chart:
    axes = _axes(points, noise, size.plot, against)
    across, up = axes
    spots = [spot_of(point, axes, _radius(point, against)) for point in points]
    named = _named(points, 0 if size.name == "narrow" and len(points) > MOST_NARROW else MOST_NAMES)
    labels = [
        ([spots[at] for at in group], _label([points[at] for at in group], named, axes))
        for group in grouped([(spot.x, spot.y) for spot in spots], SAME)
    ]
    return scatter(
        size,
        axes,
        sorted(spots, key=lambda spot: spot.radius, reverse=True),
        sorted(labels, key=lambda label: len("".join(label[1])) < SHORT),
        ticks=(11 if size.width > 400 else 6, 9),
        band=None if noise is None else (across.at(0.0), max(2.0, round(across.at(noise) - across.at(0.0), 1))),
        drop=True,
        zero=up.at(0.0),
        whole=up.at(1.0) if against == COST and up.high >= 1.0 else None,
    )


def _radius(point: Point, against: str) -> float:
    """Area is cost where cost is no axis."""
    if against == COST or point.share is None or point.kind in ("original", "collapsed"):
        return 5.0
    return area(point.share, 4.0)


def _named(points: Sequence[Point], most: int) -> set[str]:
    """Who is written out: all where they are few; else guarantees, the front, the worst, and the original."""
    if len(points) <= most:
        return {point.name for point in points}
    found = {point.name for point in points if point.number is None}
    if most == 0:
        return found
    found |= {point.name for point in [point for point in points if point.kind == "guaranteed"][:MOST_FRONT]}
    working = [point for point in points if point.kind not in ("collapsed", "original")]
    front = [point for point in working if not any(_beats(other, point) for other in working)]
    found |= {point.name for point in sorted(front, key=lambda point: point.across.value)[:MOST_FRONT]}
    found |= {point.name for point in sorted(points, key=lambda point: point.across.value, reverse=True)[:WORST]}
    return found | {max(points, key=lambda point: point.up.value).name}


def _beats(one: Point, other: Point) -> bool:
    """Whether a model is as good on both axes and better on one."""
    first, second = (one.across.value, one.up.value), (other.across.value, other.up.value)
    return first != second and first[0] <= second[0] and first[1] <= second[1]


def _label(group: Sequence[Point], named: set[str], axes: Axes) -> list[str]:
    arrows = [(point, _arrow(point, axes)) for point in group]
    lines = [clean(point.name, LONGEST_LABEL) + arrow for point, arrow in arrows if point.name in named][:3]
    numbers = [f"{point.number}{arrow}" for point, arrow in arrows if point.name not in named]
    return lines + ([" ".join(numbers[:6]) + ("…" if numbers[6:] else "")] if numbers else [])
