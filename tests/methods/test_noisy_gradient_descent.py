"""Noisy gradient descent: without variance it is fine-tuning; its spread, its draws, whom they reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.shared import (
    DESCENT,
    FORGET,
    RETAINED,
    SMALL,
    MakeParent,
    Problem,
    columns_of,
    continues,
    digest,
    given_of,
    moved,
    on_anything,
)
from torch import nn

from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.methods.contract import Parent
from expunge.methods.fine_tune import FineTune
from expunge.methods.noisy_gradient_descent import NoisyGradientDescent
from expunge.schedule.recipe import OptimiserName


@on_anything
def test_noise_of_no_variance_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    assert digest(NoisyGradientDescent(variance=0.0), parent) == digest(FineTune(), parent)
    assert digest(NoisyGradientDescent(variance=1e-7), parent) != digest(FineTune(), parent)


@pytest.mark.parametrize("optimiser", list(OptimiserName))
def test_noise_of_no_variance_under_every_optimiser(optimiser: OptimiserName, parent: Parent) -> None:
    settings: dict[str, Any] = {"optimiser": optimiser, "rate": 1e-3, "momentum": 0.0, "weight_decay": 0.0}
    assert digest(NoisyGradientDescent(variance=0.0, **settings), parent) == digest(FineTune(**settings), parent)


STEPS, RATE, VARIANCE, WIDTH, COPIES = 12, 0.3, 0.04, 3, 40_000


def test_the_spread_of_noisy_descent(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean θ_R + A^K(θ_D − θ_R), covariance η²σ²(I − A^2K)(I − A²)⁻¹ with A = I − ηH_R; 40,000 descents at once."""
    generator = np.random.default_rng(2)
    inputs = generator.normal(size=(24, WIDTH)) * [1.0, 0.6, 0.3]
    start = generator.normal(size=WIDTH)
    weight = torch.from_numpy(np.repeat(start[:, None], COPIES, axis=1))
    parent = columns_of(parent_of, monkeypatch, weight, inputs, batch_size=24)
    method = NoisyGradientDescent(variance=VARIANCE, rate=RATE, epochs=STEPS, **DESCENT)
    found = moved(method, parent, SMALL)
    kept, labels = inputs[len(SMALL) :], np.arange(len(SMALL), 24) % 3
    descent = np.eye(WIDTH) - RATE * kept.T @ kept / len(kept)
    best = np.linalg.lstsq(kept, labels.astype(float), rcond=None)[0]
    mean = best + np.linalg.matrix_power(descent, STEPS) @ (start - best)
    square = descent @ descent
    wide = (
        RATE**2
        * VARIANCE
        * (np.eye(WIDTH) - np.linalg.matrix_power(square, STEPS))
        @ np.linalg.inv(np.eye(WIDTH) - square)
    )
    spread = np.cov(found)
    assert np.linalg.norm(spread - wide) < 0.03 * np.linalg.norm(wide)
    scaled = (found.mean(1) - mean) / np.sqrt(np.diag(wide) / COPIES)
    assert np.abs(scaled).max() < 4
    # One draw for all steps, or a variance that is taken for a standard deviation, would be seen.
    same = sum(np.linalg.matrix_power(descent, step) for step in range(STEPS))
    repeated = RATE**2 * VARIANCE * same @ same
    for defective in (repeated, VARIANCE * wide):
        assert np.linalg.norm(defective - wide) > 0.5 * np.linalg.norm(wide)
    assert abs(np.corrcoef(found[0, :-1], found[0, 1:])[0, 1]) < 0.02


def test_noise_by_hand(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draws of a step come from its own stream; they pass through momentum as the gradient does."""
    inputs = np.random.default_rng(3).normal(size=(20, 2))
    weight = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]], dtype=torch.float64)
    parent = columns_of(parent_of, monkeypatch, weight.clone(), inputs, batch_size=20)
    method = NoisyGradientDescent(variance=0.25, rate=0.1, epochs=5, momentum=0.7, weight_decay=0.02)
    given = given_of(parent, method.needs)
    expected, velocity = weight.numpy().copy(), np.zeros((2, 3))
    kept, labels = inputs[len(SMALL) :], (np.arange(len(SMALL), 20) % 3)[:, None]
    for step in range(5):
        gradient = kept.T @ (kept @ expected - labels) / len(kept)
        noise = 0.5 * Stream(given.seed, "unlearn/noise", 0, step).normal(6).reshape(2, 3)
        velocity = 0.7 * velocity + gradient + noise + 0.02 * expected
        expected = expected - 0.1 * 0.5 * (1 + np.cos(np.pi * step / 5)) * velocity
    np.testing.assert_allclose(moved(method, parent, SMALL), expected, rtol=0, atol=1e-12)


def test_noise_reaches_weights_that_no_row_uses(pictures: Dataset, parent_of: MakeParent) -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Linear(64, 3)
            self.spare = nn.Parameter(torch.zeros(500))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.used(inputs.flatten(1).float() / 255)

    parent = parent_of(pictures, model=Spare())
    settings: dict[str, Any] = {**DESCENT, "rate": 0.1, "epochs": 1, "batch_size": RETAINED}
    noisy = NoisyGradientDescent(variance=1e-4, **settings)(parent, FORGET, budget=1.0).model
    assert float(noisy.spare.detach().std()) == pytest.approx(0.1 * 1e-2, rel=0.15)  # type: ignore[union-attr, operator]
    with torch.no_grad():
        parent.model.spare += 1.0  # type: ignore[union-attr, operator]
    settings["weight_decay"] = 0.5  # which no optimiser applies where there is no gradient
    assert digest(NoisyGradientDescent(variance=0.0, **settings), parent) == digest(FineTune(**settings), parent)


def test_interrupted_noise_continues(normed: Parent, tmp_path: Path) -> None:
    continues(NoisyGradientDescent(variance=1e-4), normed, tmp_path / "run", stop=3, budget=0.5)
