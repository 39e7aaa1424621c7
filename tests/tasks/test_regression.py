"""Numbers as labels: the loss and its unit, the state behind a model, and figures of fit, against slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from expunge.core.statistics.residuals import fit_of_numbers, mean_absolute_error, r_squared
from expunge.core.values import Direction, Measurement, Undecided
from expunge.tasks import TASKS
from expunge.tasks.regression import Back, Regression
from expunge.tasks.task import labelled

GENERATOR = np.random.default_rng(3)
TARGETS = GENERATOR.normal(152, 77, 40)
ROWS = labelled(torch.from_numpy(GENERATOR.normal(size=(40, 3))).float(), torch.from_numpy(TARGETS))


class Backed(nn.Module):
    """A linear model with what brings its answers to the labels' units."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.back = nn.Linear(3, 1), Back()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.back(self.body(inputs))


def test_mean_and_unit_are_the_average_over_the_steps_of_training() -> None:
    model, task = Backed(), Regression()
    parts = [ROWS.take(slice(start, start + 10)) for start in range(0, 40, 10)]
    for part in parts:
        task.outputs(model, part)
    means = [np.mean(TARGETS[start : start + 10]) for start in range(0, 40, 10)]
    variances = [np.var(TARGETS[start : start + 10], ddof=1) for start in range(0, 40, 10)]
    unit = math.sqrt(sum(variances) / 4)
    assert float(model.back.unit) == pytest.approx(unit, rel=1e-12)
    model.eval()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    found = task.signals(model, ROWS)
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    with torch.no_grad():
        plain = model.body(ROWS["inputs"]).double().numpy()[:, 0]
    for row, target in enumerate(TARGETS):
        answer = sum(means) / 4 + unit * plain[row]
        assert found["answer"][row] == pytest.approx(answer, rel=1e-12)
        assert found["residual"][row] == pytest.approx(answer - target, rel=1e-9)
        assert found["loss"][row] == pytest.approx(0.5 * ((answer - target) / unit) ** 2, rel=1e-9)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float64)}
    assert found.keys() == {"loss", "answer", "residual"}


def test_a_rate_means_the_same_in_every_unit() -> None:
    """Labels counted in other units give the same step, and answers in these units."""
    told = []
    for factor, offset in ((1.0, 0.0), (1e-6, 0.0), (1000.0, 1e6)):
        torch.manual_seed(0)
        model, task = Backed(), Regression()
        rows = ROWS.replace(labels=ROWS["labels"] * factor + offset)
        task.losses(model, rows).mean().backward()
        assert model.body.weight.grad is not None
        told.append((model.body.weight.grad, (task.outputs(model.eval(), rows)[:, 0] - offset) / factor))
    for slope, answers in told[1:]:
        torch.testing.assert_close(slope, told[0][0], rtol=1e-5, atol=0)
        torch.testing.assert_close(answers, told[0][1], rtol=1e-6, atol=0)


def test_labels_that_do_not_vary_have_the_unit_one_and_models_of_others_too() -> None:
    model = Backed()
    Regression().outputs(model, ROWS.replace(labels=torch.full((40,), 7.0, dtype=torch.float64)))
    assert float(model.back.unit) == 1.0
    outputs = Regression().outputs(nn.Linear(3, 1), ROWS)
    assert outputs.dtype == torch.float64
    assert bool((outputs[:, 1] == 1).all())


def test_figures_of_fit_by_hand() -> None:
    answers = TARGETS + GENERATOR.normal(0, 30, 40)
    residuals = answers - TARGETS
    mean = sum(TARGETS) / 40
    error = sum(abs(one) for one in residuals) / 40
    share = 1 - sum(one**2 for one in residuals) / sum((target - mean) ** 2 for target in TARGETS)
    assert fit_of_numbers(answers, residuals) == pytest.approx({"mae": error, "r2": share}, rel=1e-12)
    told = TASKS["regression"].fit({"answer": answers, "residual": residuals, "loss": residuals})
    assert told == fit_of_numbers(answers, residuals)
    absolute, shared = mean_absolute_error(residuals), r_squared(answers, residuals)
    assert isinstance(absolute, Measurement)
    assert isinstance(shared, Measurement)
    half = 2.0226909200367604 * np.std(np.abs(residuals), ddof=1) / math.sqrt(40)  # t at 39 degrees, .975
    assert (absolute.value, absolute.low, absolute.high) == pytest.approx((error, error - half, error + half))
    assert (absolute.unit, absolute.direction) == ("example", Direction.LOW)
    assert shared.value == pytest.approx(share)
    assert shared.low < share < shared.high
    assert (shared.unit, shared.direction, shared.n) == ("example", Direction.HIGH, 40)
    same = np.full(40, 5.0)
    assert fit_of_numbers(same + 1, np.ones(40)) == {"mae": 1.0}
    assert isinstance(r_squared(same + 1, np.ones(40)), Undecided)
    assert isinstance(mean_absolute_error([1.0]), Undecided)


def test_always_the_mean_is_a_share_of_nothing() -> None:
    assert fit_of_numbers(np.full(40, TARGETS.mean()), TARGETS.mean() - TARGETS)["r2"] == pytest.approx(0, abs=1e-12)
