"""Figures as unlearning papers print them, in a table of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expunge.core.text_table import TextTable
from expunge.records.form import Plain
from expunge.records.scalars import Name

if TYPE_CHECKING:
    from expunge.records.evaluation import Evaluation
    from expunge.records.results import Setting

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


def published_in(evaluation: Evaluation) -> TextTable:
    """Of a run; no row where they were not asked for."""
    told = evaluation.as_published or ()
    rows = ((LABELS.get(one.name, one.name), one.original, one.unlearned, one.reference_mean) for one in told)
    return _table(("figure", "original", "this run", "retrained"), rows)


def published_of(setting: Setting) -> TextTable:
    """Of a setting's rows, as means over seeds; none where the study did not ask for that."""
    models = (("original", setting.originals), ("retrained", setting.references))
    told = [(label, one.as_published) for label, one in (*models, *((row.label, row) for row in setting.ranked))]
    rows = ((label, *map(means.mean, LABELS)) for label, means in told if means is not None)
    return _table(("row", *LABELS.values()), rows)


def _table(headers: tuple[str, ...], rows: Iterable[tuple[str | float | None, ...]]) -> TextTable:
    return TextTable(HEADING, headers, tuple(tuple(map(_shown, row)) for row in rows))


def _shown(cell: str | float | None) -> str:
    return "–" if cell is None else cell if isinstance(cell, str) else f"{cell:.4f}"
