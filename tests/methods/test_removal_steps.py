"""Newton steps that remove rows from a linear head, in float64: closed forms, identities, bounds, counts."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.linear_problems import DECAY, optimum, parts, random_rows, removal_after
from tests.train import newton_twin as newton

from expunge.tasks.linear import LinearTask, Logistic, Squared
from expunge.train.newton_removal import LinearRows, Removal, RemovalBound, gradient, hessian, newton_steps


def residual(
    task: LinearTask, removal: Removal, retain: LinearRows, decay: float, noise: torch.Tensor | float = 0.0
) -> Any:
    return torch.linalg.vector_norm(gradient(task, removal.weights, retain, decay) + noise, dim=1)


@pytest.mark.parametrize("task", [Squared(), Logistic()], ids=lambda task: task.name)
def test_gradient_and_hessian_equal_autograd_row_by_row(task: LinearTask) -> None:
    generator = np.random.default_rng(0)
    rows = random_rows(generator, 12, 4)
    weights = torch.from_numpy(generator.normal(size=(3, 4)))

    def objective(flat: torch.Tensor) -> torch.Tensor:
        losses = [task.each((x @ flat.T)[None], y[None]).sum() for x, y in zip(rows.features, rows.labels, strict=True)]
        return torch.stack(losses).sum() + 0.5 * DECAY * len(rows) * flat.square().sum()

    expected = torch.autograd.functional.jacobian(objective, weights)
    torch.testing.assert_close(gradient(task, weights, rows, DECAY), expected, rtol=0, atol=1e-12)
    full = torch.autograd.functional.hessian(objective, weights)
    for label in range(3):
        found = hessian(task, weights, rows, DECAY, label)
        torch.testing.assert_close(found, full[label, :, label, :], rtol=0, atol=1e-12)
        assert all(not full[label, :, other, :].any() for other in range(3) if other != label)


@pytest.mark.parametrize("count", [1, 7])
def test_squared_loss_is_the_solvers_retrain(count: int) -> None:
    """O1: one step from the minimum on D is the minimum on R, and both are the ridge closed forms."""
    generator = np.random.default_rng(count)
    rows = random_rows(generator, 60, 5)
    retain, forget = parts(rows, np.arange(count))
    task = Squared()
    theta = optimum(task, rows, DECAY)
    removal = removal_after(1, task, theta, retain, forget, DECAY)

    def solved(part: LinearRows) -> np.ndarray:
        x, y = part.features.numpy(), np.eye(3)[part.labels.numpy()]
        return np.linalg.solve(x.T @ x + DECAY * len(x) * np.eye(5), x.T @ y).T

    np.testing.assert_allclose(theta.numpy(), solved(rows), atol=1e-10)
    np.testing.assert_allclose(removal.weights.numpy(), solved(retain), atol=1e-10)
    assert float(removal.added.max()) < 1e-10
    # θ_R = θ_D + H_R⁻¹ (X_Fᵀ(X_F θ_D − y_F) + λmθ_D): the ridge grows with the rows, so its share leaves with F
    x = retain.features.numpy()
    xf, yf = forget.features.numpy(), np.eye(3)[forget.labels.numpy()]
    h = x.T @ x + DECAY * len(x) * np.eye(5)
    right = xf.T @ (xf @ theta.numpy().T - yf) + DECAY * count * theta.numpy().T
    np.testing.assert_allclose(removal.weights.numpy(), (theta.numpy().T + np.linalg.solve(h, right)).T, atol=1e-10)


@pytest.mark.parametrize("task", [Squared(), Logistic()], ids=lambda task: task.name)
@pytest.mark.parametrize("steps", [1, 2])
def test_nothing_owed_is_the_identity(task: LinearTask, steps: int) -> None:
    rows = random_rows(np.random.default_rng(1), 40, 4)
    retain, _ = parts(rows, np.arange(1))
    nobody = LinearRows(rows.features[:0], rows.labels[:0])
    weights = optimum(task, rows, DECAY)
    removal = removal_after(steps, task, weights, retain, nobody, DECAY)
    torch.testing.assert_close(removal.weights, weights, rtol=0, atol=1e-12)
    assert float(removal.added.max()) < 1e-10


@pytest.mark.parametrize("count", [1, 4, 16])
def test_logistic_removal_comes_near_the_retrained(count: int) -> None:
    """O6: the distance falls fifty times for up to 16 of 400; a second step squares what the first left."""
    rows = random_rows(np.random.default_rng(count), 400, 6)
    retain, forget = parts(rows, np.arange(count))
    task = Logistic()
    before, wanted = optimum(task, rows, DECAY), optimum(task, retain, DECAY)
    one, two = (removal_after(steps, task, before, retain, forget, DECAY).weights for steps in (1, 2))
    distances = [float((weights - wanted).norm()) for weights in (before, one, two)]
    assert distances[0] > 50 * distances[1]
    assert distances[1] > 50 * distances[2] or distances[2] < 1e-12


@cache
def case_of(case: int) -> tuple[LinearRows, float, torch.Tensor, int, torch.Tensor]:
    """A random problem with its noise, how many of its rows are to go, and its minimum."""
    generator = np.random.default_rng(case)
    rows = random_rows(generator, int(generator.integers(30, 120)), int(generator.integers(2, 8)))
    decay = 10.0 ** generator.uniform(-3, -0.5)
    noise = torch.from_numpy(generator.normal(size=(3, rows.features.shape[1]))) * generator.choice([0.0, 1.0, 5.0])
    return rows, decay, noise, int(generator.integers(1, 10)), optimum(Logistic(), rows, decay, noise)


@pytest.mark.parametrize("bound", list(RemovalBound))
@pytest.mark.parametrize("steps", [1, 2])
def test_the_gradient_left_stays_under_the_bound(bound: RemovalBound, steps: int) -> None:
    """O6: 200 random cases, from the minimum with noise; rounding to float32 included."""
    ratios = []
    for case in range(200):
        rows, decay, noise, count, minimum = case_of(case)
        retain, forget = parts(rows, np.arange(count))
        stored = torch.float32 if case % 2 else torch.float64
        weights = minimum.to(stored).double()
        start = torch.linalg.vector_norm(gradient(Logistic(), weights, rows, decay) + noise, dim=1)
        removal = removal_after(steps, Logistic(), weights, retain, forget, decay, bound=bound, stored=stored)
        left = residual(Logistic(), removal, retain, decay, noise)
        assert bool((left <= start + removal.added + 1e-10).all()), case
        assert torch.equal(removal.weights, removal.weights.to(stored).double())
        ratios.append(float((left / (start + removal.added)).max()))
    assert max(ratios) <= 1 + 1e-6
    if steps == 1 and bound is RemovalBound.DATA_DEPENDENT:
        assert np.median(ratios) > 1e-3  # a bound, not an excuse


def test_the_bounds_by_their_formulas() -> None:
    rows = random_rows(np.random.default_rng(3), 80, 4)
    retain, forget = parts(rows, np.arange(5))
    weights = optimum(Logistic(), rows, DECAY)
    u = removal_after(1, Logistic(), weights, retain, forget, DECAY).weights - weights
    x = retain.features
    expected = [0.25 * np.linalg.norm(x.numpy(), 2) * float(row.norm()) * float((x @ row).norm()) for row in u]
    longest = float(x.norm(dim=1).max())
    found = removal_after(1, Logistic(), weights, retain, forget, DECAY).added
    assert found.tolist() == pytest.approx([longest * value for value in expected], rel=1e-9)
    worst = removal_after(1, Logistic(), weights, retain, forget, DECAY, bound=RemovalBound.WORST_CASE).added
    assert (DECAY * weights.norm(dim=1)).max() < 1
    assert worst.tolist() == pytest.approx([4 * 0.25 * 5**2 / (DECAY**2 * 75)] * 3, rel=1e-9)
    assert bool((found <= worst).all())


@pytest.mark.parametrize("task", [Squared(), Logistic()], ids=lambda task: task.name)
def test_every_class_on_its_own_is_the_binary_problem(task: LinearTask) -> None:
    """Against the solver of binary problems in ``train/curvature``: minimum, step and bound, class by class."""
    generator = np.random.default_rng(9)
    rows = random_rows(generator, 80, 5)
    noise = torch.from_numpy(generator.normal(size=(3, 5)))
    retain, forget = parts(rows, np.arange(6))
    start = optimum(task, rows, DECAY, noise)
    removal = removal_after(1, task, start, retain, forget, DECAY)
    loss = newton.SquaredLoss() if isinstance(task, Squared) else newton.LogisticLoss()
    for label in range(3):
        own = (rows.labels == label).double()
        labels = own if isinstance(task, Squared) else 2 * own - 1
        whole = newton.LinearProblem(rows.features, labels, loss, DECAY, noise[label])
        kept, gone = whole.only(torch.arange(6, 80)), whole.only(torch.arange(6))
        assert torch.allclose(newton.minimise(whole, torch.zeros(5).double()), start[label], rtol=0, atol=1e-9)
        step = newton.removal_step(kept, gone, start[label])
        assert torch.allclose(start[label] + step, removal.weights[label], rtol=0, atol=1e-12)
        bound = float(newton.residual_bound(kept, step, task.lipschitz))
        assert float(removal.added[label]) == pytest.approx(bound, abs=1e-11)


def test_rows_are_counted_as_they_are_passed_over() -> None:
    rows = random_rows(np.random.default_rng(4), 50, 4)
    retain, forget = parts(rows, np.arange(6))
    arguments = Logistic(), torch.zeros(3, 4, dtype=torch.float64), retain, forget, DECAY
    counts = [(found.gradients, found.hessians) for found, _ in zip(newton_steps(*arguments), range(2), strict=False)]
    assert counts == [(6, 44), (6 + 2 * 44, 88)]
    known = gradient(Logistic(), arguments[1], retain, DECAY)
    assert removal_after(2, *arguments, kept=known).gradients == 6 + 44
