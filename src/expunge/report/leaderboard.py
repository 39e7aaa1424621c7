"""``leaderboard``: the pages of a study, one for all methods and one for each. Same results, same bytes."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.files import write_bytes
from expunge.core.wording import clean, counted
from expunge.records.figures import Estimate, MeanFigure
from expunge.records.results import Results
from expunge.report.beside_board import beside_setting
from expunge.report.board import mark_words, overview, setting_board, title_of, verdict_words
from expunge.report.dots import SIZES, dots
from expunge.report.method_page import method_view
from expunge.report.numerals import DASH, listed, wrapped
from expunge.report.scatter import Size
from expunge.report.study_results import find_setting, read_results
from expunge.report.study_text import STYLES, told
from expunge.report.study_wording import (
    allowance,
    asked,
    findings,
    grouped,
    headline,
    incomplete,
    marks_of,
    provenance,
    reading,
    result,
    rules_of,
    untuned,
)
from expunge.report.templates import environment, resource
from expunge.report.wording import LIMITS

STYLES_OF_ALL = ("page.css", "tradeoff.css", "leaderboard.css")
STYLES_OF = {"leaderboard.html": ("dots.css",)}
PAGE, FOLDER = "leaderboard.html", "methods"
LARGEST = 1_000_000
LONGEST_SLUG = 60
SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\Z")
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d|index)\Z")  # names that some systems or servers keep


@dataclass(frozen=True)
class _Extent:
    """How much is drawn; the first extent that stays below 1 MB is taken."""

    sizes: tuple[Size, ...]
    said: str


EXTENTS = (
    _Extent(SIZES, ""),
    _Extent(SIZES[:1], "To keep this page below 1 MB, the drawings for narrow screens are left out."),
    _Extent((), "To keep this page below 1 MB, the drawings are left out."),
)


class Ranked(NamedTuple):
    """One method of one setting as plain texts, for tables outside the page."""

    method: str
    memory_left: str
    forgetting_gap: str
    utility_gap: str
    average_gap: str
    test_accuracy: str
    cost: str
    verdicts: str
    marks: str


def leaderboard(results: Results | Path | str, *, out: Path | str) -> Path:
    """Write OUT/leaderboard.html and OUT/methods/NAME.html; returns the path of the first."""
    study = read_results(results)
    target = Path(out)
    blocked = next((place for place in (target, *target.parents) if place.exists() and not place.is_dir()), None)
    if blocked is not None:
        raise InvalidArgument(f"`out` {target} must be a folder, {blocked} is a file: choose another place")
    pages = render(study)
    for name, content in pages.items():
        write_bytes(target / name, content)
    return target / PAGE


def render(study: Results) -> dict[str, bytes]:
    """Every page by its path below the folder; each is below 1 MB."""
    files = file_names(study.methods)
    links = {method: f"{FOLDER}/{name}" for method, name in files.items()}
    pages = {PAGE: _front(study, links)}
    for method, name in files.items():
        pages[f"{FOLDER}/{name}"] = _checked(_page("method.html", method_view(study, method)), clean(method, 40))
    return pages


def ranking_table(results: Results | Path | str, setting_id: str) -> list[Ranked]:
    """The setting's rows in the page's order, with ordinary spaces; what is undecided is a dash."""
    setting = find_setting(read_results(results), setting_id)
    return [
        Ranked(
            row.label,
            _text(row.figures["memory"], "memory"),
            _text(row.figures["forgetting-gap"], "forgetting-gap"),
            _text(row.figures["utility-gap"], "utility-gap"),
            _text(row.figures["average-gap"], "average-gap"),
            _text(row.figures["test-accuracy"], "test-accuracy"),
            _text(row.figures["cost"], "cost"),
            verdict_words(row),
            ", ".join(mark_words(mark) for mark in row.marks),
        )
        for row in setting.ranked
    ]


def file_names(methods: tuple[str, ...]) -> dict[str, str]:
    """A file name for each method: its own name where that is plain, else a plain form of it with a digest."""
    names = {method: f"{_slug(method)}.html" for method in methods}
    if len(set(names.values())) != len(names):
        raise DataError("two methods of the study would have one page: rename one of them")
    return names


def _slug(method: str) -> str:
    if SLUG.match(method) and len(method) <= LONGEST_SLUG and not RESERVED.match(method):
        return method
    plain = re.sub(r"[^a-z0-9]+", "-", method.lower())[: LONGEST_SLUG - 17].strip("-")
    return f"{plain or 'method'}-{hashlib.sha256(method.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _front(study: Results, links: Mapping[str, str]) -> bytes:
    rows = [row for setting in study.settings for row in setting.rows]
    whole = {
        "title": study.title,
        "result": result(study.settings[0]) if len(study.settings) == 1 else "",
        "rules": rules_of(study),
        "untuned": untuned(rows),
        "headline": headline(study),
        "incomplete": incomplete(study),
        "allowance": allowance(study),
        "date": study.date,
        "command": study.command,
        "reading": reading(study),
        "marks": marks_of(rows),
        "overview": overview(study, links),
        "problems": grouped(study.problems),
        "problem_count": _problem_count(study),
        "provenance": provenance(study),
        "limits": LIMITS,
    }
    page = b""
    for extent in EXTENTS:
        page = _page("leaderboard.html", {**whole, "said": extent.said, "sections": _sections(study, links, extent)})
        if len(page) < LARGEST:
            return page
    return _checked(page, "leaderboard")


def _sections(study: Results, links: Mapping[str, str], extent: _Extent) -> list[dict[str, Any]]:
    start, found = 1, list[dict[str, Any]]()
    for at, setting in enumerate(study.settings, 1):
        board = setting_board(study, setting, at, links, start)
        start += len(board.notes)
        beside = beside_setting(setting, at, links, start)
        start += 0 if beside is None else len(beside.notes)
        found.append(
            {
                "number": at,
                "title": title_of(study, setting),
                "where": f"{setting.data}, {setting.model or ''}, {setting.forgotten:,} of "
                f"{setting.training_rows:,} rows",
                "asked": asked(setting),
                "rules": setting.rules,
                "findings": findings(setting),
                "board": board,
                "beside": beside,
                "published": setting.published,
                "result": result(setting),
                "plot": dots(setting, extent.sizes) if extent.sizes else None,
            }
        )
    return found


def _problem_count(study: Results) -> str:
    numbers = [(word, sum(problem.status == word for problem in study.problems)) for word in ("refused", "failed")]
    words = listed([f"{number} {word}" for word, number in numbers if number])
    return f"{counted(len(study.problems), 'job')} gave no result: {words}"


def _page(template: str, view: dict[str, Any]) -> bytes:
    script = _squeezed(resource("leaderboard.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = (
        environment()
        .get_template(template)
        .render(
            **view,
            style=Markup("".join(map(resource, (*STYLES_OF_ALL, *STYLES_OF.get(template, ()))))),
            script=Markup(script),
            script_hash=f"sha256-{digest}",
        )
    )
    return _squeezed(text.lstrip()).encode()


def _squeezed(text: str) -> str:
    """Without empty lines. The script must be so before it is hashed: browsers run only the very bytes of the hash."""
    return re.sub(r"\n\s*\n+", "\n", text)


def _checked(page: bytes, name: str) -> bytes:
    if len(page) >= LARGEST:
        raise DataError(
            f"the page of {name} would hold {len(page):,} bytes, a page stays below {LARGEST:,}: split the study"
        )
    return page


def _text(figure: MeanFigure, key: str) -> str:
    return wrapped(told(figure, STYLES[key])) if isinstance(figure, Estimate) else DASH


__all__ = ["PAGE", "Ranked", "file_names", "leaderboard", "ranking_table", "render"]
