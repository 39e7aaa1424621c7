"""The ordered dot plot of a study's setting: a row for each method, and across how much of the memory is left.

Behind the rows lies the band of retraining. A line reaches as far as the figure may: its interval over three or more
seeds, and the bound of the worst seed. Studies of earlier releases know no memory: theirs is the forgetting gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from expunge.core.wording import clean
from expunge.records.figures import Estimate, Means
from expunge.records.outcome import OutcomeName
from expunge.records.results import Row, Setting, guarantee_rank
from expunge.report.axis import DrawnAxis, axis, drawable
from expunge.report.outcome import OUTCOMES
from expunge.report.scatter import Size
from expunge.report.study_text import FEWEST, number

MEMORY, GAP = "memory", "forgetting-gap"
WIDE, NARROW = Size("wide", 720, 22.0, (230.0, 8.0, 64.0, 58.0)), Size("narrow", 350, 36.0, (8.0, 8.0, 60.0, 58.0))
SIZES = (WIDE, NARROW)
LONGEST_LABEL = 32
LEAST, MOST = -1.0, 2.0  # of the memory that a row may show
FAR = 1.25  # times the largest figure of a working model: what lies beyond stands at the edge
MARKS = {  # by outcome: which of the symbols, and which of its colours
    "same": ("circle", "good"),
    "recorded": ("circle", "accent"),
    "little left": ("circle", ""),
    "remembers": ("oracle", "bad"),
    "too much": ("reference", "bad"),
    "broke": ("collapsed", "bad"),
    "unsaid": ("circle", "open"),
    "supported then": ("circle", ""),
    "refuted then": ("oracle", "bad"),
    "undecided then": ("circle", "open"),
    "original": ("original", ""),
}


@dataclass(frozen=True)
class Dot:
    """One row: where its mark stands, how far its line reaches, and what is written; ``words`` tell it in full."""

    name: str
    outcome: str
    kind: str
    tone: str
    y: float
    x: float
    line: tuple[float, float] | None
    bound: float | None
    value: str
    words: str


@dataclass(frozen=True)
class DotChart:
    """One size of the plot, in pixels; ``rise`` is how far above its row a name stands."""

    name: str
    width: int
    height: float
    left: float
    right: float
    bottom: float
    names_at: float
    rise: float
    ticks: tuple[tuple[float, str], ...]
    band: tuple[float, float] | None
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class DotPlot:
    """The plot for wide and for narrow pages, and what is said beside it."""

    title: str
    charts: tuple[DotChart, ...]
    kinds: tuple[tuple[str, str, str], ...]
    missing: tuple[str, ...]
    lines: bool
    bounds: bool


def row_outcome(row: Row) -> str:
    """The outcome of most seeds; of as many, the worse."""
    found = list(row.outcomes)
    if not found:
        return _outcome_then(row)
    return max(reversed(get_args(OutcomeName)), key=found.count)


def _outcome_then(row: Row) -> str:
    """By the rules of earlier releases; exact and broken runs were so then too."""
    if guarantee_rank(row.guarantee) == 2:
        return "recorded"
    if row.has("collapsed"):
        return "broke"
    words = ("Supported", "Undecided", "Refuted")
    return f"{max(words, key=lambda word: (row.judged(word), words.index(word))).lower()} then"


def worst_bound(row: Row) -> float | None:
    """How much of the memory may be left with any seed; none where a seed does not say."""
    bounds = [None if seed.done is None else seed.done.at_most for seed in row.seeds if seed.status == "done"]
    known = [bound for bound in bounds if bound is not None]
    return max(known) if known and len(known) == len(bounds) else None


def dots(setting: Setting, sizes: Sequence[Size] = SIZES) -> DotPlot | None:
    """The plot of one setting; none where no method has the figure."""
    key = MEMORY if MEMORY in setting.further else GAP
    rows = [row for row in setting.ranked if row.took_part]
    drawn = [row for row in rows if _figure(row.figures, key) is not None]
    if not drawn:
        return None
    band = _band(setting, key)
    charts = tuple(_chart(setting, drawn, key, band, size) for size in sizes)
    present = {dot.outcome: dot for dot in charts[0].dots}
    return DotPlot(
        title="Memory left" if key == MEMORY else "Forgetting gap, in spreads of the margins",
        charts=charts,
        kinds=tuple(
            (dot.kind, dot.tone, OUTCOMES[word].badge if word in OUTCOMES else word)
            for word in MARKS
            if (dot := present.get(word)) is not None and word != "original"
        ),
        missing=tuple(row.label for row in rows if row not in drawn),
        lines=any(dot.line is not None for dot in charts[0].dots),
        bounds=any(dot.bound is not None for dot in charts[0].dots),
    )


def _figure(figures: Means, key: str) -> Estimate | None:
    found = figures[key]
    return found if isinstance(found, Estimate) and drawable(found.mean) else None


def _band(setting: Setting, key: str) -> tuple[float, float] | None:
    """How far honest retrainings lie from nothing left, or from each other."""
    if key == GAP:
        return None if setting.noise is None else (0.0, setting.noise)
    found = _figure(setting.retrained, key)
    if found is None:
        return None
    values = found.values or (found.mean,)
    return min(values), max(values)


def _chart(setting: Setting, rows: Sequence[Row], key: str, band: tuple[float, float] | None, size: Size) -> DotChart:
    left, top, right, below = size.room
    original = _figure(setting.original, key)
    count = len(rows) + (original is not None)
    bottom = top + count * size.height
    scale = _axis(rows, original, band, key, (left, size.width - right))
    middle = size.height * (0.5 if size is not NARROW else 0.7)
    entries = [(row.label, row_outcome(row), _figure(row.figures, key), worst_bound(row)) for row in rows]
    entries += [("original, nothing forgotten", "original", original, None)]
    told = [entry for entry in entries if entry[2] is not None]
    return DotChart(
        name=size.name,
        width=size.width,
        height=bottom + below,
        left=left,
        right=size.width - right,
        bottom=bottom,
        names_at=left - 12 if size is not NARROW else left,
        rise=-4.0 if size is not NARROW else 10.0,
        ticks=tuple(scale.ticks(6)),
        band=None if band is None else (scale.at(band[0]), max(2.0, round(scale.at(band[1]) - scale.at(band[0]), 1))),
        dots=tuple(
            _dot(name, outcome, figure, bound if key == MEMORY else None, key, scale, top + size.height * at + middle)
            for at, (name, outcome, figure, bound) in enumerate(told)
            if figure is not None
        ),
    )


def _axis(
    rows: Sequence[Row],
    original: Estimate | None,
    band: tuple[float, float] | None,
    key: str,
    ends: tuple[float, float],
) -> DrawnAxis:
    """Holds every working model, the original and the band; for the memory 0 and 100 % too."""
    working = [row for row in rows if not row.has("collapsed")] or rows
    figures = [found for row in working if (found := _figure(row.figures, key)) is not None]
    figures += [] if original is None else [original]
    values = [0.0, *(figure.mean for figure in figures), *(band or ())]
    if key == MEMORY:
        bounds = [bound for row in working if (bound := worst_bound(row)) is not None]
        values = [min(max(value, LEAST), MOST) for value in (*values, *bounds, 1.0)]
    else:
        reach = FAR * max(values)
        values += [min(figure.high, reach) for figure in figures if figure.n >= FEWEST]
    return axis(values, *ends, percent=key == MEMORY)


def _dot(name: str, outcome: str, figure: Estimate, bound: float | None, key: str, scale: DrawnAxis, y: float) -> Dot:
    kind, tone = MARKS[outcome]
    style = "memory" if key == MEMORY else "spreads"
    value = number(figure.mean, style) + (" %" if key == MEMORY else "")
    line = (scale.at(figure.low), scale.at(figure.high)) if figure.n >= FEWEST and drawable(figure.low) else None
    most = "" if bound is None else f", at most {number(bound, style)} %"
    badge = OUTCOMES[outcome].badge if outcome in OUTCOMES else ""
    return Dot(
        name=clean(name, LONGEST_LABEL),
        outcome=outcome,
        kind=kind,
        tone=tone,
        y=round(y, 1),
        x=scale.at(figure.mean),
        line=line,
        bound=None if bound is None else scale.at(bound),
        value=value + (" →" if figure.mean > scale.high else " ←" if figure.mean < scale.low else ""),
        words=f"{name}: {value}{most}{f', {badge}' if badge else ''}",
    )
