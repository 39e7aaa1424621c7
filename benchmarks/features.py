"""How long rows take to become whole numbers: a table of the size of Adult, and pictures of that of Fashion-MNIST."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np

from benchmarks.pairs import seconds
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.models.features.choice import feature_map

ROWS, NUMBERS, CATEGORIES = 26_049, 6, 8
PICTURES, MEASURED = 48_000, 2_048


def feature_speed() -> list[dict[str, object]]:
    """On one thread, in blocks of 4,096 rows; of the pictures some are measured and all are meant."""
    generator = np.random.default_rng(0)
    numbers = np.rint(generator.normal(0, 20, (ROWS, NUMBERS)))
    codes = generator.integers(0, 2**53, (CATEGORIES, 9))[:, generator.integers(0, 9, ROWS)].T
    columns = [Column(f"number {at}", ColumnKind.NUMERIC) for at in range(NUMBERS)]
    columns += [Column(f"category {at}", ColumnKind.CATEGORY) for at in range(CATEGORIES)]
    table = feature_map("ridge", Encoding(tuple(columns)), {})
    rows = np.concatenate([numbers, codes], axis=1)
    constants = {**table.drawn(bytes(32)), **table.derived(rows, np.ones(ROWS, dtype=bool))}
    pixels = generator.integers(0, 256, (MEASURED, 1, 28, 28)).astype(np.uint8)
    patches = feature_map("patch-ridge", Encoding((Column("image", ColumnKind.IMAGE, (28, 28), "HW", 1 / 255),)), {})

    def of_table() -> None:
        for start in range(0, ROWS, 4096):
            table.features(rows[start : start + 4096], constants)

    def of_pictures() -> None:
        patches.features(pixels, {})

    return [
        _row(f"features of {ROWS:,} rows of a table", of_table, 1, ROWS / 10_000),
        _row(f"features of {PICTURES:,} pictures", of_pictures, PICTURES / MEASURED, 480),
    ]


def _row(name: str, work: Callable[[], None], times: float, bound: float) -> dict[str, object]:
    value = times * statistics.median(seconds(work) for _ in range(3))
    return {"name": name, "value": value, "unit": "seconds", "bound": bound, "kept": value <= bound}
