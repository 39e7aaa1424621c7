"""How well rows of each tier are answered, in a table of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.core.text_table import TextTable, four_digits, with_interval
from expunge.core.values import Measurement
from expunge.records.form import Plain
from expunge.records.scalars import Name
from expunge.records.values import WrittenFigure

HEADING = "rows that stay, tier by tier: those of a late tier are trained on less; printed, never judged"


@dataclass(frozen=True, kw_only=True)
class TierFigure(Plain):
    """What one tier's retained rows are answered like, by the original, the run, and the references on average."""

    tier: int
    name: Name
    original: WrittenFigure
    unlearned: WrittenFigure
    reference_mean: float | None


def of_tiers(told: Sequence[TierFigure]) -> TextTable:
    """Of an evaluation; the number of rows is that of the figures."""
    rows = tuple(
        (
            f"{one.tier}",
            f"{one.unlearned.n:,}" if isinstance(one.unlearned, Measurement) else "–",
            with_interval(one.original),
            with_interval(one.unlearned),
            "–" if one.reference_mean is None else four_digits(one.reference_mean),
        )
        for one in told
    )
    headers = ("tier", "rows", *(f"{told[0].name}, {model}" for model in ("original", "this run", "retrained")))
    return TextTable(HEADING, headers, rows)
