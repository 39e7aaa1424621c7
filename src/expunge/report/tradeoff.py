"""The drawing of a study: forgetting against utility, or against cost, both read against retraining.

Across: the forgetting gap, how far the mean margin lies from that of retrained references, in units of their spread.
Up: test accuracy lost against them, or work as a share of the training. Near the corner at the bottom left a model is
like a retrained one. Both axes bend where the range is wide, so that a collapsed model does not hide the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from expunge.core.errors import InvalidArgument
from expunge.core.wording import clean
from expunge.records.results import Results, Setting
from expunge.report.bent_axis import BentAxis
from expunge.report.labels import Box
from expunge.report.study_results import find_setting, read_results
from expunge.report.templates import environment, resource
from expunge.report.tradeoff_chart import (
    BOTTOM,
    CHARACTER,
    COST,
    LEFT,
    LONGEST_LABEL,
    RIGHT,
    TOP,
    UTILITY,
    Chart,
    Line,
    arrow_of,
    axes_of,
    chart_of,
    points_of,
    words_of,
)

TITLES = {
    UTILITY: ("Utility gap", "test accuracy lost, lower is better ↓"),
    COST: ("Cost", "share of the training’s work, lower is cheaper ↓"),
}
SIZES = (("wide", 680, 440), ("narrow", 350, 430))
STANDALONE = ("alone", 800, 470)
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
    kinds: tuple[tuple[str, str], ...]
    numbers: tuple[tuple[int, str], ...]
    description: str
    missing: tuple[str, ...]
    bent: bool
    beyond: bool


def tradeoff(
    setting: Setting, against: str = UTILITY, sizes: Sequence[tuple[str, int, int]] = SIZES
) -> Tradeoff | None:
    """The drawing of one setting; none where no method has both figures."""
    points, missing = points_of(setting, against)
    if not any(point.number is not None for point in points):
        return None
    axes = axes_of(points, setting.noise, Box(0, 0, 100, 100), against)
    present = {point.kind for point in points}
    return Tradeoff(
        against=against,
        title="Utility gap" if against == UTILITY else "Cost",
        hint="test accuracy lost, lower is better ↓"
        if against == UTILITY
        else "share of the training’s work, lower is cheaper ↓",
        charts=tuple(chart_of(size, points, setting.noise, against) for size in sizes),
        kinds=tuple((kind, words) for kind, words in KINDS if kind in present),
        numbers=tuple(sorted((point.number, point.name) for point in points if point.number is not None)),
        description="; ".join(words_of(point, against) for point in points[:60]),
        missing=missing,
        bent=any(isinstance(axis, BentAxis) for axis in axes),
        beyond=any(arrow_of(point, *axes) for point in points),
    )


def tradeoff_svg(
    results: Results | Path | str, setting_id: str, *, standalone: bool = True, against: str = UTILITY
) -> str:
    """The drawing as SVG text: a file with its own colours and legend, or the bare element for a page.

    ``against`` is ``"utility-gap"`` or ``"cost"``. Where nothing can be drawn, the drawing says so.
    """
    if against not in TITLES:
        raise InvalidArgument(f"a drawing is against one of {', '.join(TITLES)}, not {clean(repr(against), 40)}")
    study = read_results(results)
    setting = find_setting(study, setting_id)
    drawn = tradeoff(setting, against, (STANDALONE,) if standalone else SIZES[:1])
    title = f"{clean(study.title, 60)}: {clean(setting.title, 60)}"
    if drawn is None:
        drawn = Tradeoff(against, "", "", (_empty(standalone),), (), (), "nothing could be drawn", (), False, False)
    rows = _number_rows(drawn.numbers) if standalone else []
    legend = _legend_rows(drawn.kinds) if standalone else []
    chart = drawn.charts[0]
    text = (
        environment()
        .get_template("tradeoff.html")
        .render(
            tradeoff=drawn,
            chart=chart,
            key="tradeoff",
            standalone=standalone,
            style=Markup(_own_style()) if standalone else "",
            heading=title,
            left=20 if standalone else 2,
            legend=legend,
            numbers=rows,
            total=chart.height + 34 * standalone + 20 * len(legend) + 17 * len(rows) + 14,
        )
    )
    return re.sub(r"\n\s*\n+", "\n", text)


def _empty(standalone: bool) -> Chart:
    name, width, height = STANDALONE if standalone else SIZES[0]
    plot = Box(LEFT, TOP, width - RIGHT, height - BOTTOM)
    said = Line(width / 2, height / 2, "middle", "Nothing can be drawn: every figure is undecided.")
    return Chart(name, width, height, plot, (), (), None, None, plot.bottom, None, (), (), (said,), ())


def _legend_rows(kinds: Sequence[tuple[str, str]]) -> list[list[tuple[float, str, str]]]:
    """Symbols with their words, as many in a row as fit."""
    rows: list[list[tuple[float, str, str]]] = [[]]
    x = 20.0
    for kind, words in kinds:
        width = 28 + len(words) * CHARACTER
        if rows[-1] and x + width > STANDALONE[1] - RIGHT:
            rows.append([])
            x = 20.0
        rows[-1].append((x, kind, words))
        x += width
    return rows


def _number_rows(numbers: Sequence[tuple[int, str]], columns: int = 3) -> list[list[tuple[float, int, str]]]:
    """Numbers with their methods, down the columns."""
    rows = -(-len(numbers) // columns)
    width = (STANDALONE[1] - 30) / columns
    return [
        [
            (round(20 + width * column, 1), number, clean(name, LONGEST_LABEL))
            for column in range(columns)
            for number, name in numbers[column * rows + line : column * rows + line + 1]
        ]
        for line in range(rows)
    ]


def _own_style() -> str:
    """The drawing's style sheet with the page's colours written out: viewers of SVG files know no variables."""
    light, dark = (dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", part)) for part in _palettes())
    rules = resource("tradeoff.css")
    return _coloured(rules, light) + "@media (prefers-color-scheme: dark) {\n" + _coloured(rules, dark) + "}\n"


def _palettes() -> list[str]:
    return re.split(r":root \{", resource("page.css"))[1:3]


def _coloured(rules: str, palette: dict[str, str]) -> str:
    return re.sub(r"var\(--([a-z]+)\)", lambda found: palette[found[1]], rules)
