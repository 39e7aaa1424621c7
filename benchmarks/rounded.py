"""What correct rounding costs beside the Cholesky factor that it certifies, and how long a verifier takes."""

from __future__ import annotations

import statistics

import numpy as np

from benchmarks.pairs import ratio_row, ratios, seconds
from expunge.core.penalties import spread
from expunge.core.rounded import solve

WIDTH, COLUMNS, ROWS = 2_048, 10, 4_096


def rounded_speed(pairs: int) -> list[dict[str, object]]:
    """Sums of features like those of patches: correlated, 0 to 255, ten classes."""
    generator = np.random.default_rng(0)
    common = generator.normal(0, 40, (ROWS, 16)) @ generator.normal(0, 1, (16, WIDTH))
    features = np.rint(np.clip(common + generator.normal(0, 60, (ROWS, WIDTH)), 0, 255))
    features[:, -1] = 1
    sides = np.where(generator.integers(0, COLUMNS, ROWS)[:, None] == np.arange(COLUMNS), 1.0, -1.0)
    sums, targets = ((features.T @ right).astype(np.int64) for right in (features, sides))
    penalty = spread(sums, 10)
    matrix = sums + np.diag(penalty).astype(np.float64)
    found = ratios(lambda: solve(sums, penalty, targets), lambda: np.linalg.cholesky(matrix), pairs)
    taken = statistics.median(seconds(lambda: solve(sums, penalty, targets)) for _ in range(3))
    size = f"{WIDTH:,} × {COLUMNS}"
    return [
        ratio_row(f"rounding of {size} beside its Cholesky factor", [ratio - 1 for ratio in found], 6.0),
        {
            "name": f"weights of {size} verified from their sums",
            "value": taken,
            "unit": "seconds",
            "bound": 10.0,
            "kept": taken <= 10,
        },
    ]
