"""Row by row: how far is the distribution of margins over unlearned runs from that over retrained ones?

KLoM: Georgiev et al., Attribute-to-Delete (2024). Its null is not 0 and depends on the number of runs: two sides of one
normal distribution read 3.89, 1.69, .64, .35, .15 with 16, 32, 64, 100, 200 runs each. So it is told minus what a
second group of as many retrained runs reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array
from expunge.core.values import Direction, Measurement, Undecided

FEWEST = 64
"""Runs of each group."""
CLIP, BINS, FLOOR = 100.0, 20, 1e-5
DRAWS = 500


def counts(first: Array, second: Array) -> tuple[Array, Array]:
    """How many runs of each side lie in 20 equal bins of their joint range, (bins, rows); the last is closed."""
    one, other = np.clip(first, -CLIP, CLIP), np.clip(second, -CLIP, CLIP)
    joint = np.concatenate([one, other])
    edges = np.linspace(joint.min(axis=0), joint.max(axis=0), BINS + 1)

    def side(margins: Array) -> Array:
        reaching = [(margins >= edge).sum(axis=0) for edge in edges[1:-1]]
        none = np.zeros(margins.shape[1])
        return -np.diff([none + len(margins), *reaching, none], axis=0)

    return side(one), side(other)


def divergence(unlearned: Array, references: Array) -> Array:
    """KL(unlearned ‖ references) in nats of each row, of margins (runs, rows); references' shares are 1e-5 or more."""
    own, theirs = counts(unlearned, references)
    shares, expected = own / len(unlearned), np.maximum(theirs / len(references), FLOOR)
    return (xlogy(shares, shares) - shares * np.log(expected)).sum(axis=0)


@dataclass(frozen=True, eq=False)
class MarginDivergence:
    """Margins (runs, rows) of N unlearned runs, of N references, and of N further references."""

    unlearned: Array
    references: Array
    further: Array

    @classmethod
    def of(cls, unlearned: npt.ArrayLike, references: npt.ArrayLike) -> MarginDivergence | Undecided:
        """The first N of the unlearned runs and the first 2N of the references."""
        had, never = np.asarray(unlearned, dtype=np.float64), np.asarray(references, dtype=np.float64)
        if had.ndim != 2 or never.ndim != 2 or had.shape[1] != never.shape[1] or not had.shape[1]:
            raise InvalidArgument(
                f"margins of shapes {had.shape} and {never.shape} must be (runs, rows), over the same rows"
            )
        size = min(len(had), len(never) // 2)
        if size < FEWEST:
            return Undecided(
                f"needs {FEWEST} unlearned runs and {2 * FEWEST} references, has {len(had)} and {len(never)}"
            )
        missing = int((~np.isfinite(had)).sum() + (~np.isfinite(never)).sum())
        if missing:
            return Undecided(f"{missing} margins are not finite: needs a finite number from each run")
        return cls(had[:size], never[:size], never[size : 2 * size])

    @property
    def runs(self) -> int:
        return len(self.unlearned)

    @cached_property
    def own(self) -> Array:
        """Of each row, from the references."""
        return divergence(self.unlearned, self.references)

    @cached_property
    def null(self) -> Array:
        """What the further references read."""
        return divergence(self.further, self.references)

    @property
    def excess(self) -> float:
        """Mean over rows, minus the further references'."""
        return float(self.own.mean() - self.null.mean())

    def interval(self, level: float = 0.95) -> Measurement:
        """The excess with the bootstrap's interval over runs: too wide rather than too narrow, draws lie apart."""
        generator = np.random.Generator(np.random.Philox(key=0))
        drawn: list[float] = []
        for _ in range(DRAWS):
            groups = (self.unlearned, self.references, self.further)
            again = MarginDivergence(*(group[generator.integers(self.runs, size=self.runs)] for group in groups))
            drawn.append(again.excess)
        low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
        return Measurement(
            value=self.excess,
            low=min(float(low), self.excess),
            high=max(float(high), self.excess),
            n=self.runs,
            unit="run",
            direction=Direction.MATCH,
            level=level,
            scale="nats",
        )
