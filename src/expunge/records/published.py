"""Figures as unlearning papers print them, in a table of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from expunge.core.text_table import TextTable
from expunge.records.form import Plain
from expunge.records.scalars import Name

HEADING = (
    "as papers print it; decides nothing. MIA-SVC is fitted on the first retain rows, as its authors do: the draw of "
    "these alone moves it (.43, .14 and .16 on one model)"
)
PARTS = {
    "unlearning-accuracy": "UA",
    "retain-accuracy": "RA",
    "test-accuracy": "TA",
    "membership-classifier": "MIA-SVC",
}
"""What papers call each figure."""
GAP = "average-gap"
LABELS = {**PARTS, GAP: "Avg. Gap"}


@dataclass(frozen=True, kw_only=True)
class PublishedFigure(Plain):
    """One figure of the original, of the run, and the references' mean; none where there is none."""

    name: Name
    original: float | None
    unlearned: float | None
    reference_mean: float | None


def published_table(first: tuple[str, ...], rows: Iterable[tuple[str | float | None, ...]]) -> TextTable:
    """Under headers of which the first name the rows."""
    told = tuple(tuple(_shown(cell) for cell in row) for row in rows)
    return TextTable(HEADING, first, told)


def _shown(cell: str | float | None) -> str:
    return "–" if cell is None else cell if isinstance(cell, str) else f"{cell:.4f}"
