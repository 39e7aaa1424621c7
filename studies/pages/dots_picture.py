"""The dot plot of a study's setting as a file that stands alone: with its own colours and legend."""

from __future__ import annotations

import re

from markupsafe import Markup

from expunge.core.wording import clean
from expunge.records.results import Results
from expunge.report.dots import WIDE, DotChart, DotPlot, dots
from expunge.report.scatter import CHARACTER
from expunge.report.study_results import find_setting, read_results
from expunge.report.templates import environment, resource
from studies.pages.own_style import coloured

HERE = __name__.rpartition(".")[0]
EMPTY = DotChart("wide", WIDE.width, 60.0, 20.0, WIDE.width - 20.0, 0.0, 20.0, 0.0, (), None, ())


def dots_svg(results: Results, setting_id: str) -> str:
    """The plot as SVG text with its own colours and legend; where nothing can be drawn, it says so."""
    study = read_results(results)
    setting = find_setting(study, setting_id)
    plot = dots(setting, (WIDE,)) or DotPlot(
        "Nothing can be drawn: every figure is undecided", (EMPTY,), (), (), False, False
    )
    places, x = [], 20.0
    for kind, tone, words in plot.kinds:
        places.append((x, kind, tone, words))
        x += 30 + len(words) * CHARACTER
    text = (
        environment(HERE)
        .get_template("dots_picture.html")
        .render(
            plot=plot,
            chart=plot.charts[0],
            legend=places,
            style=Markup(coloured(resource("tradeoff.css") + resource("dots.css"))),
            heading=f"{clean(study.title, 60)}: {clean(setting.title, 60)}",
        )
    )
    return re.sub(r"\n\s*\n+", "\n", text).lstrip()
