"""What a study says of a method and not of one run: over originals of several training seeds, each unlearned once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.core.errors import DataError
from expunge.core.text_table import TextTable
from expunge.core.values import Supported
from expunge.records.figures import Means, over_seeds
from expunge.records.form import Plain
from expunge.records.scalars import Name, Share
from expunge.records.values import WrittenVerdict

TOLD_APART, DIVERGING = "unlearning-likelihood-ratio", "margin-divergence"
FEWEST_TRAININGS = 5
"""Below, nothing is said of a method that is not bit for bit."""


@dataclass(frozen=True, kw_only=True)
class MemoryOverTrainings(Plain):
    """Mean share of the memory that is left, with Student's 95 % interval over trainings; ``bound`` may be at most."""

    mean: float
    low: float
    high: float
    bound: float


@dataclass(frozen=True, kw_only=True)
class ToldApart(Plain):
    """Beside its accuracy, what the attack with ``runs`` a side found (U-LiRA).

    ``caught`` of those that unlearned lie above all but 1 % of those that never had the rows; ``worst`` is the 95th
    percentile over rows of the share of right calls, ``sure`` how many rows have more than .9.
    """

    runs: int
    area: Share
    worst: Share
    sure: int
    caught: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Divergence(Plain):
    """Of margins over ``runs`` runs from those over as many references (KLoM), in nats: mean over some rows, and 95th
    percentile; ``null`` of further references.
    """

    mean: float
    worst: float
    null_mean: float
    null_worst: float


@dataclass(frozen=True, kw_only=True)
class Divergences(Plain):
    """Of the forget set, of those who stay, and of rows that were never trained on, where there are any."""

    runs: int
    forget: Divergence
    retain: Divergence | None = None
    holdout: Divergence | None = None


@dataclass(frozen=True, kw_only=True)
class OverTrainings(Plain):
    """The verdict on a method, under the one claim of its cell, which allows the share ``allowed``."""

    verdict: WrittenVerdict
    trainings: int
    claim: Name | None = None
    allowed: Share | None = None
    memory: MemoryOverTrainings | None = None
    told_apart: ToldApart | None = None
    divergences: Divergences | None = None

    def check(self, where: str) -> None:
        """No higher claim than earned; where nothing is left to estimate p is 0."""
        if not isinstance(self.verdict, Supported) or self.verdict.p == 0.0:
            return
        within = self.memory is not None and self.allowed is not None and self.memory.bound <= self.allowed
        if self.trainings < FEWEST_TRAININGS or not within:
            raise DataError(
                f"{where} is supported by {self.trainings} trainings whose memory does not say so: it was altered"
            )


def table_over_trainings(setting: str, told: Sequence[tuple[str, OverTrainings, Means]]) -> TextTable:
    """What is said of methods, with the attacks that were measured: labels, verdicts and figures."""
    attacks = [name for name in (TOLD_APART, DIVERGING) if any(name in figures.found for _, _, figures in told)]
    rows: list[tuple[str, ...]] = []
    for label, one, figures in told:
        left = at_most = "–"
        if one.memory is not None:
            left = f"{one.memory.mean:.0%} [{one.memory.low:.0%}, {one.memory.high:.0%}]"
            at_most = f"{one.memory.bound:.0%}"
        verdict = one.verdict.word.capitalize(), one.verdict.detail
        measured = (over_seeds(figures[name]) for name in attacks)
        rows.append((label, str(one.trainings), one.claim or "–", left, at_most, *verdict, *measured))
    headers = ("row", "trainings", "claim", "memory left", "at most", "verdict", "why", *attacks)
    return TextTable(f"{setting}: verdicts on methods, over trainings", headers, tuple(rows))
