"""``report``: one self-contained HTML file from runs and their evaluations. Same inputs, same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from markupsafe import Markup

from expunge.core.errors import InvalidArgument
from expunge.core.files import write_bytes
from expunge.core.wording import counted
from expunge.report.bars import cost_bars
from expunge.report.chart import draw
from expunge.report.comparison import Notes, compare, disagreements
from expunge.report.details import details
from expunge.report.facts import Facts, plain
from expunge.report.grid import MOST_EXAMPLES, ExampleGrid, grid
from expunge.report.identity import identify
from expunge.report.load import Loaded, load, without_names
from expunge.report.numerals import few, listed, shown, worked
from expunge.report.outcome import answer_of
from expunge.report.templates import environment, resource
from expunge.report.wording import LIMITS, headline, meaning, rules, verdicts

LARGEST = 1_000_000
MOST_GRIDS = 4


@dataclass(frozen=True)
class _Extent:
    """How much goes into the page; the first extent that stays below 1 MB is taken."""

    examples: int
    details: bool
    digests: bool
    said: str


EXTENTS = (
    _Extent(MOST_EXAMPLES, True, True, ""),
    _Extent(6, True, True, "To keep this page below 1 MB, few examples are shown."),
    _Extent(0, True, True, "To keep this page below 1 MB, the examples are left out."),
    _Extent(0, False, True, "To keep this page below 1 MB, the examples and the tests in detail are left out."),
    _Extent(
        0, False, False, "To keep this page below 1 MB, examples, tests in detail and single digests are left out."
    ),
)


def report(
    runs: Sequence[PathLike[str] | str] | PathLike[str] | str,
    *,
    out: Path | str,
    data: str | None = None,
    examples: bool = True,
    original: Path | str | None = None,
) -> Path:
    """Write the page and return its path.

    ``data`` says where the data are now, if they moved. ``examples=False`` keeps the forgotten examples' pictures, ids,
    labels and names off the page. ``original`` names the folder of the model that was unlearned, so that the page can
    describe it too.
    """
    loaded = load(runs, data, original=original)
    target = Path(out)
    if target.is_dir():
        raise InvalidArgument(f"`out` {target} is a folder: name the file, for example {target / 'report.html'}")
    blocked = next((place for place in target.parents if place.exists() and not place.is_dir()), None)
    if blocked is not None:
        raise InvalidArgument(f"`out` {target} cannot be written, {blocked} is a file: choose another place")
    write_bytes(target, render(loaded, examples=examples))
    return target


def render(loaded: Loaded, *, examples: bool = True) -> bytes:
    """The page, always below 1 MB: where everything does not fit, the least needed is left out, and said so."""
    told = loaded if examples else without_names(loaded)
    sections = _sections(told, _grids(told, examples))
    for extent in EXTENTS:
        page = _page(told, sections, extent, examples)
        if len(page) < LARGEST:
            return page
    raise InvalidArgument(
        f"{counted(len(loaded.runs), 'run')} make a page above {LARGEST:,} bytes even without details: report fewer at "
        "a time"
    )


def _grids(loaded: Loaded, examples: bool) -> list[ExampleGrid | None]:
    """One grid for each section; where there are many sections, the cards are shared out among them."""
    sections = loaded.sections
    most = MOST_EXAMPLES if len(sections) <= MOST_GRIDS else max(2, MOST_GRIDS * MOST_EXAMPLES // len(sections))
    return [grid(section, data=loaded.data, show=examples, most=most) for section in sections]


def _sections(loaded: Loaded, grids: list[ExampleGrid | None]) -> list[dict[str, Any]]:
    """What the page says of every section, in full; notes are numbered through the page."""
    found: list[dict[str, Any]] = []
    start = 1
    for number, (section, cards) in enumerate(zip(loaded.sections, grids, strict=True), 1):
        notes = Notes(start)
        groups = verdicts(section, notes)
        table = compare(section, notes)
        start += len(table.notes)
        found.append(
            {
                "number": number,
                "answer": answer_of(section),
                "headline": headline(section),
                "rules": rules(section),
                "groups": groups,
                "sure": not section.numbers and any(card.reason for group in groups for card in group.cards),
                "bounded": section.memory is not None,
                "table": table,
                "disagreements": listed(list(disagreements(section))),
                "retrained": len(section.retrained) if section.evaluation else 0,
                "drawing": draw(section),
                "bars": cost_bars(section),
                "grid": cards,
                "details": details(section, table),
            }
        )
    return found


def _page(loaded: Loaded, sections: list[dict[str, Any]], extent: _Extent, examples: bool) -> bytes:
    named = any(rule.startswith("subject:") and rule != "subject:…" for view in sections for rule in view["rules"])
    pictured = extent.examples > 0 and any(view["grid"] is not None and view["grid"].holds_data for view in sections)
    template = environment().get_template("page.html")
    text = template.render(
        style=Markup(resource("page.css") + (resource("report.css") if loaded.sections else "")),
        title=_title(loaded),
        kicker=_kicker(loaded),
        sections=sections,
        trainings=[_training(run) for run in loaded.trainings],
        identity=identify(loaded, each=extent.digests),
        limits=LIMITS,
        extent=extent,
        examples=examples,
        holds_data=named or pictured,
    )
    return text.encode("utf-8")


def _training(run: Facts) -> dict[str, Any]:
    return {
        "rows": counted(run.told.data.counts.train - len(run.tombstones), "training row"),
        "left_out": counted(len(run.tombstones), "row") if run.tombstones else "",
        "model": plain(run.told.recipe.get("model")),
        "work": worked(run.result),
        "seconds": shown(run.result.seconds, "seconds"),
        "adopted": run.told.adopted is not None,
        "guarantee": str(run.guarantee),
        "meaning": meaning(run.guarantee),
    }


def _title(loaded: Loaded) -> str:
    """The answer, where there is one."""
    sections = loaded.sections
    if len(sections) == 1:
        return answer_of(sections[0])
    return f"Forgetting report of {len(sections)} forget sets" if sections else "Training report"


def _kicker(loaded: Loaded) -> str:
    methods = list(dict.fromkeys(run.method for section in loaded.sections for run in section.runs))
    return f"Forgetting report: {few(methods, 3)}" if methods else "Expunge"
