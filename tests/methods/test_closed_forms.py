"""Influence and the tangent kernel against dense closed forms, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from expunge.core.errors import InvalidArgument, UnsupportedYet
from expunge.data.dataset import Column, ColumnKind, make_dataset
from expunge.methods import influence as influence_file
from expunge.methods.contract import Parent
from expunge.methods.influence import Curvature, Influence
from expunge.methods.lookup import make_method
from expunge.methods.neural_tangent_kernel import NeuralTangentKernel, Targets
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch

ROWS, WIDTH, DECAY = 60, 5, 0.05
SMALL, REST = np.arange(9), np.arange(9, ROWS)


class Squared(Classification):
    """½ ‖z − y‖² with the label as a number in the only output, or one-hot over several."""

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        if outputs.shape[1] == 1:
            return 0.5 * (outputs[:, 0] - batch["labels"].double()) ** 2
        return 0.5 * ((outputs - nn.functional.one_hot(batch["labels"], outputs.shape[1])) ** 2).sum(dim=1)


def made(parent_of: Callable[..., Parent], outputs: int, **fields: Any) -> Parent:
    """A linear model without a bias, somewhere, over rows of normal numbers."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(ROWS, WIDTH))
    dataset = make_dataset(
        labels=[int(value) for value in generator.integers(0, 3, ROWS)],
        columns=[Column("x", ColumnKind.ARRAY, (WIDTH,))],
        content={"x": x},
        where="test",
    )
    start = torch.from_numpy(generator.normal(size=(outputs, WIDTH)))

    def initial() -> nn.Module:
        model = nn.Linear(WIDTH, outputs, bias=False).double()
        with torch.no_grad():
            model.weight.copy_(start)
        return model

    parent = parent_of(dataset, model=initial(), epochs=1000, batch_size=16, **fields)
    parent.examples.inputs = torch.from_numpy(x)
    return replace(parent, initial=initial)


@pytest.fixture
def linear(parent_of: Callable[..., Parent], monkeypatch: pytest.MonkeyPatch) -> Parent:
    monkeypatch.setitem(TASKS, "classification", Squared())
    return made(parent_of, 1)


@pytest.fixture
def wide(parent_of: Callable[..., Parent], monkeypatch: pytest.MonkeyPatch) -> Parent:
    monkeypatch.setitem(TASKS, "classification", Squared())
    return made(parent_of, 3)


def rows(parent: Parent) -> tuple[np.ndarray, np.ndarray]:
    return parent.examples.inputs.numpy(), parent.examples.labels.numpy().astype(float)


def weights(model: nn.Module) -> np.ndarray:
    return np.concatenate([parameter.detach().numpy().reshape(-1) for parameter in model.parameters()])


def at(parent: Parent, theta: np.ndarray) -> Parent:
    """The same parent with other weights."""
    with torch.no_grad():
        parent.model.weight.copy_(torch.from_numpy(theta.reshape(parent.model.weight.shape)))  # type: ignore
    return parent


def ridge(x: np.ndarray, y: np.ndarray, decay: float) -> np.ndarray:
    """Minimum of the mean loss with decay/2 · ‖w‖²."""
    return np.linalg.solve(x.T @ x / len(x) + decay * np.eye(WIDTH), x.T @ y / len(x))


# Influence.


def test_influence_with_the_exact_curvature_is_ridge_retraining(linear: Parent) -> None:
    x, y = rows(linear)
    parent = at(linear, ridge(x, y, DECAY))
    method = Influence(curvature=Curvature.GAUSS_NEWTON, damping=DECAY, products=12)
    result = method(parent, SMALL, budget=10.0)
    np.testing.assert_allclose(weights(result.model), ridge(x[REST], y[REST], DECAY), rtol=0, atol=1e-10)
    assert np.abs(weights(parent.model) - ridge(x[REST], y[REST], DECAY)).max() > 1e-3
    products = (result.cost.example_steps - ROWS) / (2 * len(REST))
    assert products == round(products) <= 12


def test_influence_with_woodfisher_is_the_dense_solve(linear: Parent) -> None:
    x, y = rows(linear)
    theta = weights(linear.model)
    gradients = (x @ theta - y)[:, None] * x
    fisher = gradients[REST].T @ gradients[REST] / len(REST)
    pull = len(SMALL) / ROWS * (gradients[SMALL].mean(axis=0) - gradients[REST].mean(axis=0))
    np.testing.assert_allclose(pull, gradients.mean(axis=0) - gradients[REST].mean(axis=0), rtol=0, atol=1e-13)
    for scale, damping in ((1.0, 1e-3), (20.0, 0.5)):
        step = scale * np.linalg.solve(fisher + damping * np.eye(WIDTH), pull)
        result = Influence(scale=scale, damping=damping)(linear, SMALL, budget=10.0)
        np.testing.assert_allclose(weights(result.model), theta + step, rtol=0, atol=1e-10)
        assert result.cost.example_steps == ROWS
        assert result.notices == ()


def test_the_public_recursion_is_not_the_inverse(linear: Parent) -> None:
    """The defect: F⁻¹ ← F⁻¹ − F⁻¹ggᵀF⁻¹/… with g where F⁻¹g belongs. Doing nothing is nearer to the truth."""
    x, y = rows(linear)
    gradients = (x @ weights(linear.model) - y)[:, None] * x
    pull, count, damping = gradients[SMALL].mean(axis=0), len(REST), 1e-3
    truth = np.linalg.solve(gradients[REST].T @ gradients[REST] / count + damping * np.eye(WIDTH), pull)
    right, wrong = np.eye(WIDTH) / damping, pull / damping
    for g in gradients[REST]:
        inverse = right @ g
        right = right - np.outer(inverse, inverse) / (count + g @ inverse)
        wrong = wrong - g * (g @ wrong) / (count + g @ g)
    assert np.linalg.norm(right @ pull - truth) < 1e-9 * np.linalg.norm(truth)
    assert np.linalg.norm(wrong - truth) > 0.5 * np.linalg.norm(truth)


def test_influence_samples_what_the_budget_and_the_memory_hold(linear: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    training = 1000 * ROWS
    result = Influence(samples=10)(linear, SMALL, budget=29 / training)
    assert result.cost.example_steps == 29
    assert result.notices == ("the retain gradient over 20 of 51 rows: the budget covers no more",)
    monkeypatch.setattr(influence_file, "MOST_ENTRIES", 4 * WIDTH)
    small = Influence(samples=10)(linear, SMALL, budget=10.0)
    assert small.notices == ("the curvature over 4 of 10 rows: budget or memory hold no more",)
    assert small.cost.example_steps == ROWS
    nothing = Influence()(linear, SMALL, budget=9 / training)
    assert (nothing.cost.example_steps, nothing.stopped) == (
        0,
        "nothing done: the gradient of the forget set alone would pass the budget",
    )
    for share in (15, 30, 80, 200, 1000):
        gauss = Influence(curvature=Curvature.GAUSS_NEWTON, products=4)(linear, SMALL, budget=share / training)
        assert gauss.cost.example_steps <= share


def test_conjugate_gradients_that_stop_early_say_so(linear: Parent) -> None:
    result = Influence(curvature=Curvature.GAUSS_NEWTON, products=2, damping=1e-5)(linear, SMALL, budget=10.0)
    assert "conjugate gradients stopped after 1 with a residual of" in result.notices[-1]


# The neural tangent kernel.


@pytest.mark.parametrize("targets", list(Targets))
def test_the_tangent_of_a_linear_model_is_ridge_around_the_start(wide: Parent, targets: Targets) -> None:
    x, y = rows(wide)
    start = weights(wide.model).reshape(3, WIDTH)
    wanted = np.eye(3)[y.astype(int)]
    if targets is Targets.MARGIN:
        wanted = 2 * wanted - 1

    def trained(slots: np.ndarray) -> np.ndarray:
        xi, ti = x[slots], wanted[slots]
        hessian = xi.T @ xi + DECAY * np.eye(WIDTH)
        return start + np.linalg.solve(hessian, xi.T @ (ti - xi @ start.T)).T

    parent = at(wide, trained(np.arange(ROWS)))
    result = NeuralTangentKernel(damping=DECAY, targets=targets)(parent, SMALL, budget=10.0)
    np.testing.assert_allclose(weights(result.model), trained(REST).reshape(-1), rtol=0, atol=1e-10)
    assert np.abs(trained(REST) - trained(np.arange(ROWS))).max() > 1e-3
    assert result.cost.example_steps == 4 * ROWS


def test_forgetting_one_point_is_a_rank_one_update(linear: Parent) -> None:
    """Sherman–Morrison on the ridge system around the start."""
    x, _ = rows(linear)
    y = np.ones(ROWS)  # the only output's target: a label is one-hot over one class
    linear = replace(linear, recipe=replace(linear.recipe, classes=(0,)))
    linear.examples.labels = torch.zeros(ROWS, dtype=torch.int64)
    start = weights(linear.model)
    inverse = np.linalg.inv(x.T @ x + DECAY * np.eye(WIDTH))
    trained = start + inverse @ x.T @ (y - x @ start)
    point = x[17]
    leverage = point @ inverse @ point
    expected = trained + inverse @ point * (point @ trained - y[17]) / (1 - leverage)
    result = NeuralTangentKernel(damping=DECAY)(at(linear, trained), np.array([17]), budget=10.0)
    np.testing.assert_allclose(weights(result.model), expected, rtol=0, atol=1e-10)


def test_the_tangent_kernel_bounds_its_rows(wide: Parent) -> None:
    result = NeuralTangentKernel(damping=DECAY, samples=20)(wide, SMALL, budget=10.0)
    assert result.cost.example_steps == 4 * 29
    assert result.notices == ()
    result = NeuralTangentKernel(damping=DECAY)(wide, SMALL, budget=80 / (1000 * ROWS))
    assert result.cost.example_steps == 80
    assert result.notices == ("retained tangents of 11 of 51 rows: the budget covers no more",)


def test_what_the_tangent_kernel_refuses(wide: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    optimiser = replace(wide.recipe.optimiser, weight_decay=0.0)
    bare = replace(wide, recipe=replace(wide.recipe, optimiser=optimiser))
    with pytest.raises(UnsupportedYet, match="without weight decay: set damping above 0"):
        NeuralTangentKernel()(bare, SMALL)
    monkeypatch.setattr("expunge.methods.neural_tangent_kernel.MOST_ENTRIES", 800)
    with pytest.raises(UnsupportedYet, match=r"60 rows × 3 outputs × 15 parameters = 2.7e.03 entries.*samples lower"):
        NeuralTangentKernel()(wide, SMALL)
    NeuralTangentKernel(samples=5)(wide, SMALL)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("iu", {"scale": "inf"}, "scale inf must be"),
        ("iu", {"samples": "0"}, "samples 0 must be"),
        ("iu", {"damping": "0"}, "damping 0.0 must be"),
        ("iu", {"products": "1", "curvature": "gauss-newton"}, "products 1 must be at least 2"),
        ("iu", {"products": "9"}, "only gauss-newton takes products"),
        ("iu", {"scale": "-1"}, "scale -1.0 must be"),
        ("ntk", {"scale": "-1"}, "scale -1.0 must be"),
        ("iu", {"curvature": "odd"}, "is not one of woodfisher, gauss-newton"),
        ("ntk", {"scale": "nan"}, "scale nan must be"),
        ("ntk", {"damping": "-1"}, "damping -1.0 must be"),
        ("ntk", {"samples": "0"}, "samples 0 must be"),
        ("ntk", {"targets": "odd"}, "is not one of one-hot, margin"),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_method(name, settings)
