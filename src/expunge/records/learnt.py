"""What a finished model answers to rows as they are labelled, as run.json says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from expunge.records.form import Plain


@dataclass(frozen=True, kw_only=True)
class Learnt(Plain):
    """How well so many rows of a split are answered, of one ``tier`` or of all: the task's figures by name."""

    split: Literal["train", "calibration"]
    rows: int
    figures: Mapping[str, float]
    tier: int | None = None


def told_of(learnt: Sequence[Learnt]) -> str | None:
    """All of them in words; None where there is nothing to say."""
    parts = [
        f"{', '.join(f'{name} {value:.4g}' for name, value in found.figures.items())} on {found.rows:,} "
        f"{'training' if found.split == 'train' else found.split} rows"
        f"{'' if found.tier is None else f' of tier {found.tier}'}"
        for found in learnt
        if found.figures
    ]
    return ", ".join(parts) or None
