"""The median's interval: order statistics, against brute force over the binomial and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from studies.medians import median_interval

from expunge.core.errors import InvalidArgument
from expunge.core.values import Measurement, Undecided


def test_the_ranks_are_the_innermost_that_cover() -> None:
    for n in range(6, 60):
        found = median_interval(np.arange(1.0, n + 1))
        assert isinstance(found, Measurement)
        rank = int(found.low)
        below = [sum(math.comb(n, k) for k in range(r)) / 2**n for r in (rank, rank + 1)]
        assert 1 - 2 * below[0] >= 0.95 > 1 - 2 * below[1]
        assert found.high == n + 1 - rank
        assert found.value == (n + 1) / 2


def test_it_covers_heavy_tails() -> None:
    generator = np.random.Generator(np.random.Philox(key=3))
    draws = np.exp(3 * generator.standard_normal((4000, 25)))
    found = [median_interval(row) for row in draws]
    covered = [isinstance(one, Measurement) and one.low <= 1.0 <= one.high for one in found]
    assert 0.945 <= np.mean(covered) <= 0.985  # 25 values cover .957


def test_few_values_decide_nothing_and_order_does_not_matter() -> None:
    assert isinstance(median_interval([1.0] * 5), Undecided)
    assert isinstance(median_interval([]), Undecided)
    assert median_interval([3.0, 1.0, 2.0, 9.0, 0.0, 0.0]) == median_interval([0.0, 0.0, 1.0, 2.0, 3.0, 9.0])
    with pytest.raises(InvalidArgument):
        median_interval([1.0, float("nan")] * 4)
