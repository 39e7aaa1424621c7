"""The drawing of forgetting against utility against cost.

Across: what the forgetting probe says, signed, with the retrained references' range as a band, because too little and
too much are both leaks and a distance would hide which one it is. Up: test accuracy, or R² where labels are numbers. A
circle's area: work as a share of retraining. Two sizes are drawn, so that letters stay letters on a phone.

The share of the memory that is left is drawn first, it decides. Where it could not be measured the membership AUC of
the loss takes its place: .5 means the same on every data set. Where that was found blind or is missing too, the mean
margin is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expunge.core.values import Figure, Measurement, Undecided
from expunge.records.evaluation import Evaluation, Probed
from expunge.report.axis import axis, drawable
from expunge.report.comparison import cost_of_retraining
from expunge.report.labels import Box
from expunge.report.load import Section
from expunge.report.numerals import bare, few, percent, shown
from expunge.report.outcome import outcome_of, tone_of
from expunge.report.scatter import Axes, Chart, Label, Point, Size, Spot, area, grouped, scatter, span, spot_of

ACROSS = (
    ("memory", "Memory left"),
    ("loss-threshold", "Membership AUC on the forget set"),
    ("mean-margin", "Mean margin on the forget set"),
)
UP = (("test-accuracy", "Test accuracy"), ("test-r2", "R² on the holdout"))  # the first that was measured
ROOM = (52.0, 34.0, 10.0, 62.0)
SIZES = (Size("wide", 680, 400, ROOM), Size("narrow", 350, 430, ROOM))
TICKS = (5, 5)
MOST_NAMES, MOST_LABELS, MOST_MISSING, MOST_TOLD = 10, 60, 8, 40
MOST_LINES = 4
LONGEST_LABEL = 30
SAME = 0.02  # marks closer than this share of both axes have one label
INSET = 2.0
SHARES = ("fraction", "memory")
NOTHING_DONE = "like doing nothing"
LAYERS = ("reference", "run", "original")  # the last on top


@dataclass(frozen=True)
class Drawing:
    """The drawing for wide and for narrow pages, and all that is said beside it."""

    title: str
    up: str
    charts: tuple[Chart, ...]
    description: str
    warnings: tuple[str, ...]
    missing: str
    references: int
    numbered: bool
    crowded: bool
    labelled: int | None


@dataclass(frozen=True)
class _Measured:
    """A forgetting probe and every model that has both figures."""

    name: str
    title: str
    up: str
    scales: tuple[str, str]
    points: tuple[Point, ...]

    def axes(self, plot: Box) -> Axes:
        across = [end for point in self.points for end in (point.across.low, point.across.high)]
        up = [end for point in self.points for end in (point.up.low, point.up.high)]
        return (
            axis(across, plot.left, plot.right, percent=self.scales[0] in SHARES),
            axis(up, plot.bottom, plot.top, percent=self.scales[1] in SHARES),
        )


def draw(section: Section) -> Drawing | Undecided:
    """The section's drawing, or why there is none."""
    measured = _chosen(section)
    if measured is None:
        return Undecided(_why_none(section))
    groups = _groups(measured)
    drawn = {point.name for point in measured.points if point.kind == "run"}
    numbers = {label: at for at, label in enumerate(section.labels, 1)}
    crowded = len(groups) > MOST_NAMES
    charts = tuple(_chart(size, measured, groups, numbers, crowded=crowded) for size in SIZES)
    return Drawing(
        title=measured.title,
        up=measured.up,
        charts=charts,
        description="; ".join(point.words for point in measured.points[:MOST_TOLD]),
        warnings=_warnings(section, measured),
        missing=few([label for label in section.labels if label not in drawn], MOST_MISSING),
        references=sum(point.kind == "reference" for point in measured.points),
        numbered=crowded or any(chart.shortened for chart in charts),
        crowded=crowded,
        labelled=MOST_LABELS if len(groups) > MOST_LABELS else None,
    )


def _why_none(section: Section) -> str:
    """What is missing for every forgetting figure, or of the utility."""
    if section.evaluation is None:
        return "no run was evaluated"
    utility, title = _utility(section.evaluation)
    probes = [utility] if _unmeasured(utility) else map(section.evaluation.probe, dict(ACROSS))
    reasons = [probe.unlearned.reason for probe in probes if probe and isinstance(probe.unlearned, Undecided)]
    what = title.lower() if _unmeasured(utility) else "how much is forgotten"
    return f"{what}: {next(iter(reasons), 'it was not measured')}"


def _unmeasured(probe: Probed | None) -> bool:
    return probe is None or isinstance(probe.unlearned, Undecided)


def _chosen(section: Section) -> _Measured | None:
    """The first probe that can see something here, else the first that was measured at all."""
    found = [_measured(section, name, title) for name, title in ACROSS]
    measured = [one for one in found if any(point.kind == "run" for point in one.points)]
    sighted = [one for one in measured if not _warnings(section, one)]
    return next(iter(sighted + measured), None)


def _warnings(section: Section, measured: _Measured) -> tuple[str, ...]:
    return () if section.evaluation is None else section.evaluation.warnings(measured.name)


def _measured(section: Section, name: str, title: str) -> _Measured:
    retraining = cost_of_retraining(section, "example-steps")
    scales, points, height = ("", ""), list[Point](), UP[0][1]
    for label, run in section.named:
        across = None if run.evaluation is None else run.evaluation.probe(name)
        up, said = (None, "") if run.evaluation is None else _utility(run.evaluation)
        if across is None or up is None:
            continue
        if not points:
            scales, points, height = (across.scale, up.scale), _others(across, up), said
        share = None if retraining is None else run.result.example_steps / retraining
        tone = tone_of(outcome_of(section, run), run.evaluation)
        points += _point("run", label, across.unlearned, up.unlearned, share, tone)
    return _Measured(name, title, height, scales, tuple(points))


def _utility(evaluation: Evaluation) -> tuple[Probed | None, str]:
    """What says how useful the run is, and its title."""
    found = [(evaluation.probe(name), title) for name, title in UP]
    return next((one for one in found if one[0] is not None and isinstance(one[0].unlearned, Measurement)), found[0])


def _others(across: Probed, up: Probed) -> list[Point]:
    pairs = zip(across.references, up.references, strict=True)
    found = [point for pair in pairs for point in _point("reference", "retrained", *pair)]
    if across.original is not None and up.original is not None:
        found += _point("original", "original", across.original, up.original)
    return found


def _point(kind: str, name: str, across: Figure, up: Figure, share: float | None = None, tone: str = "") -> list[Point]:
    """References show their spread as a band, not their intervals."""
    if not isinstance(across, Measurement) or not isinstance(up, Measurement):
        return []
    if not drawable(across.value, up.value):
        return []
    words = f"{name}: {bare(across.value, across.scale)} and {shown(up.value, up.scale)}"
    spans = [span(one.value, one.low, one.high, whisker=kind != "reference") for one in (across, up)]
    return [Point(kind, name, spans[0], spans[1], words, share, tone)]


def _groups(measured: _Measured) -> list[list[Point]]:
    """Points that would lie on each other, the references apart."""
    named = [point for point in measured.points if point.kind != "reference"]
    axes = measured.axes(Box(0.0, 0.0, 1000.0, 1000.0))
    places = [(axes[0].at(point.across.value), axes[1].at(point.up.value)) for point in named]
    return [[named[at] for at in group] for group in grouped(places, 1000 * SAME)]


def _chart(
    size: Size,
    measured: _Measured,
    groups: Sequence[Sequence[Point]],
    numbers: Mapping[str, int],
    *,
    crowded: bool,
) -> Chart:
    axes = measured.axes(size.plot)
    spots = [_spot(point, axes) for point in sorted(measured.points, key=_drawn_first)]
    labels: list[Label] = []
    for group in groups[:MOST_LABELS]:
        short = _numbers(group, numbers)
        words = short if crowded else _words(group, wide=size.name == "wide")
        labels.append(Label([_spot(point, axes) for point in group], words, short))
    return scatter(size, axes, spots, labels, ticks=TICKS, band=_band(spots), inset=INSET)


def _spot(point: Point, axes: Axes) -> Spot:
    return spot_of(point, axes, _radius(point))


def _drawn_first(point: Point) -> tuple[int, float]:
    """References below, then runs from the largest circle to the smallest, the original on top."""
    return LAYERS.index(point.kind), -_radius(point)


def _radius(point: Point) -> float:
    if point.share is None:
        return 5.0 if point.kind == "original" else 4.0
    return area(point.share, 3.5)


def _band(spots: Sequence[Spot]) -> tuple[float, float] | None:
    """Left edge and width, from the lowest to the highest reference; one reference is a line of two pixels."""
    places = [spot.x for spot in spots if spot.kind == "reference"]
    if not places:
        return None
    width = max(2.0, round(max(places) - min(places), 1))
    return round((min(places) + max(places) - width) / 2, 1), width


def _numbers(group: Sequence[Point], numbers: Mapping[str, int]) -> list[str]:
    return [" ".join(str(numbers.get(point.name, point.name)) for point in group[:6]) + ("…" if group[6:] else "")]


def _words(group: Sequence[Point], *, wide: bool) -> list[str]:
    lines: list[str] = []
    for point in group[:MOST_LINES]:
        name = point.name if len(point.name) <= LONGEST_LABEL else point.name[: LONGEST_LABEL - 1].rstrip(" ,") + "…"
        share = "" if point.share is None else percent(point.share)
        if wide or len(name) + len(share) <= 20:
            lines.append(f"{name} {share}".rstrip())
        else:
            lines += [name, share]
    lines += [f"and {len(group) - MOST_LINES} more"] if group[MOST_LINES:] else []
    return lines + ([NOTHING_DONE] if len(group) > 1 and any(point.kind == "original" for point in group) else [])
