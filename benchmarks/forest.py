"""What it costs to take one row out of a forest, beside growing it."""

from __future__ import annotations

import numpy as np

from benchmarks.pairs import ratio_row, ratios
from expunge.models.features.edges import bounds_of, table_of_edges
from expunge.models.forest import Grower

ROWS, NUMBERS, CATEGORIES, DRAWN = 26_049, 6, 8, 20


def forest_speed(pairs: int) -> list[dict[str, object]]:
    """A table of the size of Adult, whose labels follow two of its columns and are noisy; the mean of 20 rows."""
    generator = np.random.default_rng(0)
    numbers = np.rint(generator.normal(0, 20, (ROWS, NUMBERS)))
    codes = generator.integers(0, 2**53, (CATEGORIES, 9))[:, generator.integers(0, 9, ROWS)].T
    scores = numbers[:, 0] + 20 * (codes[:, 0] > 2**52) + generator.normal(0, 15, ROWS)
    rows = np.concatenate([numbers, codes], axis=1)
    grower = Grower(bytes(32), rows, (scores > 20).astype(np.int64), table_of_edges(bounds_of(numbers)), 2)
    forest = grower.grow(np.ones(ROWS, dtype=bool))
    drawn = generator.choice(ROWS, (DRAWN, 1), replace=False)

    def forget() -> None:
        for gone in drawn:
            grower.without(forest, gone)

    found = [ratio / DRAWN for ratio in ratios(forget, lambda: grower.grow(np.ones(ROWS, dtype=bool)), pairs)]
    return [ratio_row(f"one of {ROWS:,} rows out of a forest / growing it", found, 1 / 15)]
