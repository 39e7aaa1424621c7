"""Descent by signs: the scale of the loss does not matter, and no weight outruns the rates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.methods.shared import FORGET, SMALL, MakeParent, Problem, columns_of, digest, moved, plan_of

from expunge.methods.contract import Parent
from expunge.methods.fine_tune import FineTune
from expunge.methods.sign_descent import SignDescent
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch


def test_the_scale_of_the_loss_does_not_matter_to_signs(
    normed: Parent, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Louder(Classification):
        def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
            return 4096 * super().loss_of(outputs, batch)

    for parent in (normed, problem("double"), problem("convolved")):
        quiet = digest(SignDescent(), parent), digest(FineTune(), parent)
        with monkeypatch.context() as patched:
            patched.setitem(TASKS, "classification", Louder())
            loud = digest(SignDescent(), parent), digest(FineTune(rate=1e-6), parent)
        assert quiet[0] == loud[0] != parent.weights_digest
        assert quiet[1] != loud[1]


def test_signs_by_hand(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every coordinate moves by the rate or, where its gradient is 0, stays; decay and moments have no part."""
    inputs = np.random.default_rng(5).normal(size=(20, 3))
    inputs[:, 1] = 0
    weight = torch.tensor([[5.0, -1.0], [3.0, 4.0], [-2.0, 0.3]], dtype=torch.float64)
    parent = columns_of(parent_of, monkeypatch, weight.clone(), inputs, batch_size=20)
    kept, labels = inputs[len(SMALL) :], (np.arange(len(SMALL), 20) % 3)[:, None]
    expected = weight.numpy().copy()
    for step in range(6):
        before = expected
        rate = 0.2 * 0.5 * (1 + np.cos(np.pi * step / 6))
        expected = expected - rate * np.sign(kept.T @ (kept @ expected - labels))
        assert np.abs(expected - before).max() <= rate + 1e-15
    found = moved(SignDescent(rate=0.2, epochs=6), parent, SMALL)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.array_equal(found[1], weight.numpy()[1])


def test_no_weight_moves_further_than_the_rates(problem: Problem) -> None:
    parent = problem("double")
    method = SignDescent(rate=1e-3)
    plan = plan_of(replace(method, epochs=2), parent)
    reach = sum(plan.step(index).rate for index in range(plan.total))
    result = replace(method, epochs=2)(parent, FORGET, budget=2.0)
    assert result.steps == plan.total
    pairs = zip(result.model.parameters(), parent.model.parameters(), strict=True)
    far = max(float((after - before).detach().abs().max()) for after, before in pairs)
    assert 0.2 * reach < far <= reach + 1e-12
