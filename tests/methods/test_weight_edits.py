"""Identities, oracles and hand counts of the methods that change weights at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Column, ColumnKind, make_dataset
from expunge.methods import selective_synaptic_dampening
from expunge.methods.contract import Parent, Unlearned
from expunge.methods.fisher_noise import FisherNoise
from expunge.methods.lookup import make_method
from expunge.methods.selective_synaptic_dampening import Importance, SelectiveSynapticDampening
from expunge.methods.weight_edit import Recalibrate
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch
from expunge.train.state import weights_digest

ROWS, WIDTH = 40, 4
SMALL = np.arange(8)
REST = np.arange(8, ROWS)


class Squared(Classification):
    """½ (x·w − y)² on the only output."""

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 0.5 * (outputs[:, 0] - batch["labels"].double()) ** 2


def table(parent_of: Callable[..., Parent], model: nn.Module, x: np.ndarray, **fields: Any) -> Parent:
    """A parent in float64 over rows of real numbers, read as they are."""
    labels = np.random.default_rng(6).integers(0, 3, len(x))
    dataset = make_dataset(
        labels=[int(value) for value in labels],
        columns=[Column("x", ColumnKind.ARRAY, (x.shape[1],))],
        content={"x": x},
        where="test",
    )
    parent = parent_of(dataset, model=model, **{"epochs": 1000, "batch_size": 16, **fields})
    parent.examples.inputs = torch.from_numpy(x)
    return parent


@pytest.fixture
def linear(parent_of: Callable[..., Parent], monkeypatch: pytest.MonkeyPatch) -> Parent:
    """Squared loss, one output, no bias; the last column is zero in every row."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(ROWS, WIDTH))
    x[:, -1] = 0
    model = nn.Linear(WIDTH, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(generator.normal(size=(1, WIDTH))))
    monkeypatch.setitem(TASKS, "classification", Squared())
    return table(parent_of, model, x)


@pytest.fixture
def softmax(parent_of: Callable[..., Parent]) -> Parent:
    """One dense layer without a bias in front of a softmax."""
    generator = np.random.default_rng(7)
    model = nn.Linear(WIDTH, 3, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(generator.normal(size=(3, WIDTH))))
    return table(parent_of, model, generator.normal(size=(ROWS, WIDTH)))


def weights(model: nn.Module) -> np.ndarray:
    return np.concatenate([parameter.detach().numpy().reshape(-1) for parameter in model.parameters()])


def by_hand(parent: Parent, selection: float, dampening: float) -> np.ndarray:
    """θ·min(1, λ I_D/I_F) where I_F > α I_D, row by row."""
    x, y = parent.examples.inputs.numpy(), parent.examples.labels.numpy().astype(float)
    theta = weights(parent.model)
    squares = np.array([((xi @ theta - yi) * xi) ** 2 for xi, yi in zip(x, y, strict=True)])
    of_forget, of_all = squares[SMALL].mean(axis=0), squares.mean(axis=0)
    expected = theta.copy()
    for index in range(WIDTH):
        if of_forget[index] > selection * of_all[index]:
            expected[index] *= min(1.0, dampening * of_all[index] / of_forget[index])
    return expected


# Selective synaptic dampening.


@pytest.mark.parametrize("selection", [0.1, 0.9, 1.2])
@pytest.mark.parametrize("dampening", [0.1, 0.5, 1.0])
def test_dampening_by_hand(linear: Parent, selection: float, dampening: float) -> None:
    result = SelectiveSynapticDampening(selection=selection, dampening=dampening)(linear, SMALL, budget=1.0)
    np.testing.assert_allclose(weights(result.model), by_hand(linear, selection, dampening), rtol=0, atol=1e-12)
    assert result.cost.example_steps == ROWS
    assert "importances of the forget set" in result.seen


def test_the_hand_count_moves_something(linear: Parent) -> None:
    theta = weights(linear.model)
    moved = by_hand(linear, 0.9, 0.5) != theta
    assert moved.any()
    assert not moved.all()


@pytest.mark.parametrize("importance", list(Importance))
def test_weights_that_nothing_depends_on_stay(linear: Parent, importance: Importance) -> None:
    """Where I_F = I_D = 0 nothing is selected: neither 0·∞ nor 0/0 may reach a weight."""
    for selection, dampening in ((0.0, 1.0), (0.0, math.inf), (math.inf, 1.0), (math.inf, 0.0)):
        method = SelectiveSynapticDampening(selection=selection, dampening=dampening, importance=importance)
        result = method(linear, SMALL, budget=1.0)
        assert weights(result.model)[-1] == weights(linear.model)[-1]
        assert np.isfinite(weights(result.model)).all()


def test_enough_dampening_constant_is_the_identity(normed: Parent) -> None:
    forget = np.arange(12)
    free = SelectiveSynapticDampening(selection=0.5, dampening=1e12)(normed, forget, budget=1.0)
    assert weights_digest(free.model) == normed.weights_digest
    assert free.stopped is not None
    bound = SelectiveSynapticDampening(selection=0.5, dampening=1.0)(normed, forget, budget=1.0)
    assert weights_digest(bound.model) != normed.weights_digest


@pytest.mark.parametrize("importance", list(Importance))
def test_weights_never_grow_or_change_sign(normed: Parent, importance: Importance) -> None:
    method = SelectiveSynapticDampening(selection=0.5, dampening=3.0, importance=importance)
    before, after = weights(normed.model), weights(method(normed, np.arange(12), budget=1.0).model)
    assert (np.abs(after) <= np.abs(before)).all()
    assert (after * before >= 0).all()
    assert (after != before).any()


def test_importances_do_not_depend_on_batches_but_the_authors_do(
    linear: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defect: squaring the mean over a batch makes the result a function of the batch size."""

    def run(importance: Importance, chunk: int, batch_size: int) -> np.ndarray:
        monkeypatch.setattr(selective_synaptic_dampening, "CHUNK", chunk)
        parent = replace(linear, recipe=replace(linear.recipe, batch_size=batch_size))
        method = SelectiveSynapticDampening(selection=0.1, dampening=0.5, importance=importance)
        return weights(method(parent, SMALL, budget=1.0).model)

    fine = [run(Importance.PER_EXAMPLE, chunk, size) for chunk, size in ((1, 16), (7, 16), (256, 4))]
    np.testing.assert_allclose(fine[0], fine[1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(fine[0], fine[2], rtol=0, atol=1e-12)
    assert np.abs(run(Importance.BATCH, 256, 4) - run(Importance.BATCH, 256, 16)).max() > 1e-3


def test_a_small_budget_samples_the_retain_set_and_says_so(linear: Parent) -> None:
    """20 example-steps: 8 for the forget set, 12 for a sample of the 32 others."""
    result = SelectiveSynapticDampening(selection=0.1)(linear, SMALL, budget=20 / (1000 * ROWS))
    assert result.cost.example_steps == 20
    assert result.notices == ("importances of the retain set over 12 of 32 rows: the budget covers no more",)
    nothing = SelectiveSynapticDampening(selection=0.1)(linear, SMALL, budget=8 / (1000 * ROWS))
    assert nothing.cost.example_steps == 0
    assert "would pass the budget" in str(nothing.stopped)


# Fisher noise.


def fisher_by_hand(parent: Parent, slots: np.ndarray) -> np.ndarray:
    """p(1 − p)x² averaged over rows."""
    x = parent.examples.inputs.numpy()[slots]
    logits = x @ weights(parent.model).reshape(3, WIDTH).T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.einsum("nc,nj->cj", p * (1 - p), x**2).reshape(-1) / len(x)


@pytest.mark.parametrize(("power", "cap"), [(1.0, None), (0.5, None), (1.0, 1.5e-6)])
def test_fisher_noise_by_hand(softmax: Parent, power: float, cap: float | None) -> None:
    method = FisherNoise(strength=1e-7, power=power, cap=cap)
    result = method(softmax, SMALL, budget=1.0, seed=3)
    variance = 1e-7 * (fisher_by_hand(softmax, REST) + 1e-8) ** -power
    if cap is not None:
        assert (variance > cap).any()
        variance = np.minimum(variance, cap)
    from expunge.core.streams import Stream, lineage_seed, unlearning_digest

    seed = lineage_seed(
        unlearning_digest(softmax.recipe.digest, bytes.fromhex(softmax.weights_digest), 3), softmax.root, softmax.beacon
    )
    draws = Stream(seed, "unlearn/noise").normal(len(variance))
    np.testing.assert_allclose(
        weights(result.model), weights(softmax.model) + draws * np.sqrt(variance), rtol=0, atol=1e-12
    )
    assert result.cost.example_steps == 3 * len(REST)


def test_standardised_noise_is_normal(parent: Parent) -> None:
    """(θ' − θ)/sd over the weights of a network, sd from the exact Fisher information."""
    from expunge.tasks.gradients import label_squared_gradients

    forget = np.arange(12)
    result = FisherNoise(strength=1e-6)(parent, forget, budget=10.0)
    batch = parent.examples.batch(np.arange(12, 150))
    parts = label_squared_gradients(Classification(), parent.model, batch)
    fisher = np.concatenate([part.detach().numpy().reshape(-1) for part in parts]) / len(batch)
    sd = np.sqrt(1e-6 / (fisher + 1e-8))
    scores = (weights(result.model) - weights(parent.model)) / sd
    large = sd > 1e-4  # smaller steps are rounded away in float32
    assert large.sum() > 5000
    assert kstest(scores[large], "norm").pvalue > 1e-3
    assert kstest(1.1 * scores[large], "norm").pvalue < 1e-3


def test_a_small_budget_samples_the_fisher_information(softmax: Parent) -> None:
    result = FisherNoise()(softmax, SMALL, budget=20 / (1000 * ROWS))
    assert result.cost.example_steps == 18
    assert result.notices == ("the Fisher information over 6 of 32 rows: the budget covers no more",)
    nothing = FisherNoise()(softmax, SMALL, budget=2 / (1000 * ROWS))
    assert (nothing.cost.example_steps, weights_digest(nothing.model)) == (0, softmax.weights_digest)


# Batch-norm statistics after an edit.


def statistics(result: Unlearned | Parent) -> list[np.ndarray]:
    return [value.numpy() for name, value in result.model.state_dict().items() if "running" in name]


def test_statistics_are_taken_anew_after_an_edit_before_a_norm(normed: Parent) -> None:
    """Off: those of the original. On: the cumulative mean over a sample of R, by hand; counted at a third a row."""
    fields = {"strength": 1e-6}
    budget = 3.0
    off = FisherNoise(recalibrate=Recalibrate.OFF, **fields)(normed, np.arange(12), budget=budget)
    auto = FisherNoise(**fields)(normed, np.arange(12), budget=budget)
    assert all(np.array_equal(a, b) for a, b in zip(statistics(off), statistics(normed), strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(statistics(auto), statistics(normed), strict=True))
    assert np.array_equal(weights(off.model), weights(auto.model))
    rows = round(3 * (auto.cost.example_steps - off.cost.example_steps))
    assert rows == 128  # eight whole batches of 16 among 138 retained rows

    from expunge.core.streams import Stream, lineage_seed, stable_order, unlearning_digest

    seed = lineage_seed(
        unlearning_digest(normed.recipe.digest, bytes.fromhex(normed.weights_digest), 0), normed.root, normed.beacon
    )
    retain = np.arange(12, 150)
    slots = np.sort(retain[stable_order(Stream(seed, "unlearn/sample").words(150)[retain])][:rows])
    hidden = auto.model.body[1](auto.model.body[0](auto.model.front(normed.examples.batch(slots)["inputs"])))  # type: ignore
    batches = hidden.detach().reshape(-1, 16, hidden.shape[1])
    mean, variance = statistics(auto)
    np.testing.assert_allclose(mean, batches.mean(dim=1).mean(dim=0).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, batches.var(dim=1).mean(dim=0).numpy(), rtol=1e-5, atol=1e-6)


def test_no_statistics_are_taken_where_nothing_changed(normed: Parent) -> None:
    result = FisherNoise(strength=0.0, recalibrate=Recalibrate.ON)(normed, np.arange(12), budget=3.0)
    assert weights_digest(result.model) == normed.weights_digest
    assert result.cost.example_steps == 0


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ssd", {"selection": "-1"}, "selection -1.0 must be"),
        ("ssd", {"dampening": "nan"}, "dampening nan must be"),
        ("ssd", {"importance": "odd"}, "is not one of per-example, batch"),
        ("ssd", {"recalibrate": "odd"}, "is not one of auto, on, off"),
        ("fisher", {"strength": "-1"}, "strength -1.0 must be"),
        ("fisher", {"power": "inf"}, "power inf must be"),
        ("fisher", {"floor": "0"}, "floor 0.0 must be"),
        ("fisher", {"cap": "-1"}, "cap -1.0 must be"),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_method(name, settings)
