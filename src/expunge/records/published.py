"""Figures as unlearning papers print them, in a table of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from expunge.core.text_table import TextTable
from expunge.records.figures import Means
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


def of_a_run(told: Sequence[PublishedFigure]) -> TextTable:
    """Of an evaluation; no row where they were not asked for."""
    rows = ((LABELS.get(one.name, one.name), one.original, one.unlearned, one.reference_mean) for one in told)
    return _table(("figure", "original", "this run", "retrained"), rows)


def over_runs(told: Sequence[tuple[str, Means | None]]) -> TextTable:
    """Of models and methods by name, as means over seeds; none where a study did not ask for them."""
    rows = ((label, *map(means.mean, LABELS)) for label, means in told if means is not None)
    return _table(("row", *LABELS.values()), rows)


def _table(headers: tuple[str, ...], rows: Iterable[tuple[str | float | None, ...]]) -> TextTable:
    return TextTable(HEADING, headers, tuple(tuple(map(_shown, row)) for row in rows))


def _shown(cell: str | float | None) -> str:
    return "–" if cell is None else cell if isinstance(cell, str) else f"{cell:.4f}"
