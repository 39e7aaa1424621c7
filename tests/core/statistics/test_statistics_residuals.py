"""Margins where labels are numbers."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.core.statistics.residuals import margins_of_numbers, residual_unit
from expunge.core.statistics.roc import area_under_curve


def test_the_unit_is_the_mean_spread_over_models_and_the_margin_a_distance_in_it() -> None:
    generator = np.random.default_rng(0)
    models = generator.normal(3, 2, (4, 50))
    spreads = []
    for residuals in models:
        mean = sum(residuals) / 50
        spreads.append((sum((one - mean) ** 2 for one in residuals) / 49) ** 0.5)
    unit = residual_unit(list(models))
    assert unit == pytest.approx(sum(spreads) / 4, rel=1e-12)
    assert margins_of_numbers([-4.0, 0.0, 2.0], 2.0).tolist() == [-2.0, 0.0, -1.0]


@pytest.mark.parametrize("models", [[], [[]], [[1.0]], [[2.0, 2.0, 2.0]], [[np.nan, 1.0, 2.0]]])
def test_where_nothing_varies_there_is_no_unit(models: list[list[float]]) -> None:
    assert residual_unit(models) is None
    assert residual_unit([*models, [1.0, 3.0]]) is not None


def ridge_margins(inputs: np.ndarray, labels: np.ndarray, rows: slice) -> np.ndarray:
    """Of all rows, by a ridge regression of λ = 1 on some."""
    kept, targets = inputs[rows], labels[rows]
    weights = np.linalg.solve(kept.T @ kept + np.eye(kept.shape[1]), kept.T @ targets)
    return margins_of_numbers(inputs @ weights - labels, 1.0)


def test_exact_removal_shows_in_the_difference_of_two_versions_and_not_in_the_last() -> None:
    """200 rows of 40 features under a noise of 2, 20 of them removed exactly."""
    generator = np.random.default_rng(2)
    both, alone = list[float](), list[float]()
    for _ in range(120):
        inputs = generator.normal(size=(400, 40))
        labels = inputs @ generator.normal(size=40) + generator.normal(0, 2, 400)
        original, retrained = (ridge_margins(inputs, labels, slice(first, 200)) for first in (0, 20))
        lost = original - retrained
        both.append(area_under_curve(lost[:20], lost[200:]))
        alone.append(area_under_curve(retrained[:20], retrained[200:]))
    assert np.mean(both) == pytest.approx(0.72, abs=0.03)
    assert np.mean(alone) == pytest.approx(0.51, abs=0.025)
