"""The ℓ₁ penalty: none is fine-tuning; soft thresholds, fading by epochs, whose weights it counts."""

from __future__ import annotations

from dataclasses import replace
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
    digest,
    given_of,
    moved,
    on_anything,
    plan_of,
)

from expunge.methods.contract import Parent
from expunge.methods.fine_tune import FineTune
from expunge.methods.l1_sparse import L1Sparse, absolute_sum
from expunge.schedule.plan import Role
from expunge.tasks.classification import Classification
from expunge.train.objective import StepBatch


@on_anything
def test_no_penalty_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    assert digest(L1Sparse(strength=0.0), parent) == digest(FineTune(), parent)
    assert digest(L1Sparse(), parent) != digest(FineTune(), parent)


def test_the_penalty_thresholds_softly(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """½(x − a)² + α|x| ends at sign(a)·max(|a| − α, 0): one epoch of many steps holds α still.

    Within ηα of it for |a| ≥ α. Below that a step across 0 is as long as η(α + |a|), so the last weight lies within it.
    """
    wanted = torch.linspace(-2, 2, 41, dtype=torch.float64)
    start = torch.full((1, 41), 0.37, dtype=torch.float64)
    parent = columns_of(parent_of, monkeypatch, start, np.ones((300, 1)), targets=wanted, batch_size=2)
    rate, strength = 0.05, 0.8
    method = L1Sparse(strength=strength, rate=rate, epochs=1, **DESCENT)
    found = moved(method, parent, np.arange(2))[0]
    size = np.abs(wanted.numpy())
    soft = np.sign(wanted.numpy()) * np.maximum(size - strength, 0)
    outside = size >= strength + 1e-9
    assert (np.abs(found - soft)[outside] <= rate * strength).all()
    assert (np.abs(found - soft)[~outside] <= rate * (strength + size[~outside])).all()
    assert np.abs(found - wanted.numpy()).max() > 0.5 * strength
    assert min(outside.sum(), (~outside).sum()) > 10


def test_the_penalty_fades_from_epoch_to_epoch(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, with α(1 − e/E)·sign(θ) beside the gradient: whole in the first of E epochs, never negative."""
    inputs = np.random.default_rng(4).normal(size=(20, 2))
    weight = torch.tensor([[0.5, -1.0, 0.0], [1.0, 0.01, -0.5]], dtype=torch.float64)
    parent = columns_of(parent_of, monkeypatch, weight.clone(), inputs, batch_size=8)
    method = L1Sparse(strength=0.3, rate=0.1, epochs=4, **DESCENT)
    plan = plan_of(method, parent, SMALL)
    expected = weight.numpy().copy()
    factors = []
    for index in range(plan.total):
        step = plan.step(index)
        rows = step.parts[Role.RETAIN].slots
        gradient = inputs[rows].T @ (inputs[rows] @ expected - (rows % 3)[:, None]) / len(rows)
        factors.append(1 - (index // 2) / 4)
        expected = expected - 0.1 * (gradient + 0.3 * factors[-1] * np.sign(expected))
    assert sorted(set(factors)) == [0.25, 0.5, 0.75, 1.0]
    np.testing.assert_allclose(moved(method, parent, SMALL), expected, rtol=0, atol=1e-12)


def test_the_penalty_counts_trainable_weights_alone(parent: Parent) -> None:
    model = given_of(parent, FineTune.needs).student()
    first, *others = model.parameters()
    first.requires_grad_(False)
    by_hand = sum(float(parameter.detach().abs().double().sum()) for parameter in others)
    assert float(absolute_sum(model).detach()) == pytest.approx(by_hand, rel=1e-5)


def test_a_skipped_step_has_no_penalty(parent: Parent) -> None:
    """A batch with too few rows changes no weight."""
    recipe = replace(parent.recipe, least_present=12)
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 16}
    method = L1Sparse(**settings)
    short = replace(parent, recipe=recipe)
    plan = plan_of(method, short)
    step = replace(plan.step(0), parts={})
    assert method.objective(parent.model, StepBatch(step, plan, parent.examples, Classification()), None).terms == ()
    assert plan.total == 9
    result = method(short, FORGET, budget=1.0)
    assert result.cost.example_steps == RETAINED - RETAINED % 16
