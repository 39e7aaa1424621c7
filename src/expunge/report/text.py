"""The report's table for a terminal: ``load`` reads, ``rows`` and ``notes`` are pure functions of what was read."""

from __future__ import annotations

from expunge.report.comparison import COLUMNS, SPENT, ComparisonTable, compared_sections, headings
from expunge.report.load import Loaded, load
from expunge.report.numerals import bare, wrapped

__all__ = ["Loaded", "load", "notes", "rows", "table"]


def rows(loaded: Loaded) -> tuple[list[str], list[list[str]]]:
    """Headings, and one row of texts for the original, the references and every run.

    A dash carries the number of its reason in ``notes``. Where several forget sets are reported, the first column says
    which one a row belongs to.
    """
    several = len(loaded.sections) > 1
    found: list[list[str]] = []
    sections = compared_sections(loaded.sections)
    titles = list(dict.fromkeys(title for _, compared in sections for title in compared.headings))
    titles = [*(one for one in titles if one != "Verdict"), "Verdict"] if titles else list(headings(COLUMNS))
    for section, compared in sections:
        forgot = ", ".join(section.unlearning.rules)
        found += [[forgot, *row] if several else row for row in _texts(compared, titles)]
    for training in loaded.trainings:
        costs = (bare(training.result.example_steps, "example-steps"), bare(training.result.seconds, "seconds"))
        left_out = f"{len(training.tombstones)} left out" if training.tombstones else "nothing forgotten"
        told = dict(zip((title for _, title in SPENT), costs, strict=True))
        told |= {"Run": "training", "Guarantee": str(training.guarantee), "Verdict": left_out}
        row = [told.get(title, "") for title in titles]
        found.append(["", *row] if several else row)
    return (["Forgot", *titles] if several else titles), found


def notes(loaded: Loaded) -> list[str]:
    """The reasons behind dashes and verdicts, in the order of their numbers from 1."""
    return [text for _, compared in compared_sections(loaded.sections) for text in compared.notes]


def table(loaded: Loaded) -> str:
    """Rows and notes as plain text in columns, for a terminal without Rich."""
    headings, found = rows(loaded)
    lines = [headings, *found]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    printed = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join([*printed, *(f"[{at}] {text}" for at, text in enumerate(notes(loaded), 1))]) + "\n"


def _texts(compared: ComparisonTable, titles: list[str]) -> list[list[str]]:
    """The rows under these titles; of what another section alone has, nothing is said."""
    found: list[list[str]] = []
    for row in compared.rows:
        cells = (row.label, row.guarantee, *row.cells, row.verdict)
        told = dict(zip(compared.headings, (wrapped(str(cell)) for cell in cells), strict=True))
        found.append([told.get(title, "") for title in titles])
    return found
