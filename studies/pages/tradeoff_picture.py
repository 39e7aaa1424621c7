"""The drawing of a study's setting as a file that stands alone: with its own colours, legend and names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from expunge.core.errors import InvalidArgument
from expunge.core.wording import clean
from expunge.records.results import Results
from expunge.report.scatter import CHARACTER, Chart, Size, Text
from expunge.report.study_results import find_setting, read_results
from expunge.report.templates import environment, resource
from expunge.report.tradeoff import LONGEST_LABEL, ROOM, TITLES, UTILITY, Tradeoff, tradeoff
from studies.pages.own_style import coloured

HERE = __name__.rpartition(".")[0]
STANDALONE = Size("alone", 800, 470, ROOM)


def tradeoff_svg(results: Results, setting_id: str, *, against: str = UTILITY) -> str:
    """The drawing as SVG text with its own colours and legend.

    ``against`` is ``"utility-gap"`` or ``"cost"``. Where nothing can be drawn, the drawing says so.
    """
    if against not in TITLES:
        raise InvalidArgument(f"a drawing is against one of {', '.join(TITLES)}, not {clean(repr(against), 40)}")
    study = read_results(results)
    setting = find_setting(study, setting_id)
    drawn = tradeoff(setting, against, (STANDALONE,)) or Tradeoff(against, "", "", (_empty(),))
    rows, legend = _number_rows(drawn.numbers), _legend_rows(drawn.kinds)
    chart = drawn.charts[0]
    text = (
        environment(HERE)
        .get_template("tradeoff_picture.html")
        .render(
            tradeoff=drawn,
            chart=chart,
            key="tradeoff",
            style=Markup(coloured(resource("tradeoff.css"))),
            heading=f"{clean(study.title, 60)}: {clean(setting.title, 60)}",
            left=20,
            legend=legend,
            numbers=rows,
            total=chart.height + 48 + 20 * len(legend) + 17 * len(rows),
        )
    )
    return re.sub(r"\n\s*\n+", "\n", text)


def _empty() -> Chart:
    size = STANDALONE
    said = Text(size.width / 2, size.height / 2, "middle", "Nothing can be drawn: every figure is undecided.")
    return Chart(size.name, size.width, size.height, size.plot, zero=size.plot.bottom, labels=(said,))


def _legend_rows(kinds: Sequence[tuple[str, str]]) -> list[list[tuple[float, str, str]]]:
    """Symbols with their words, as many in a row as fit."""
    rows: list[list[tuple[float, str, str]]] = [[]]
    x = 20.0
    for kind, words in kinds:
        width = 28 + len(words) * CHARACTER
        if rows[-1] and x + width > STANDALONE.plot.right:
            rows.append([])
            x = 20.0
        rows[-1].append((x, kind, words))
        x += width
    return rows


def _number_rows(numbers: Sequence[tuple[int, str]], columns: int = 3) -> list[list[tuple[float, int, str]]]:
    """Numbers with their methods, down the columns."""
    rows = -(-len(numbers) // columns)
    width = (STANDALONE.width - 30) / columns
    return [
        [
            (round(20 + width * column, 1), number, clean(name, LONGEST_LABEL))
            for column in range(columns)
            for number, name in numbers[column * rows + line : column * rows + line + 1]
        ]
        for line in range(rows)
    ]
