"""Prune and match: bare it is fine-tuning; what is drawn anew, the entropies, half precision, the cost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tests.methods.shared import FORGET, Problem, answer, digest, edited, on_anything, plan_of, tensors
from torch import nn

from expunge.methods.fine_tune import FineTune
from expunge.methods.prune_and_match import PruneAndMatch, entropy_gap, round_to_half
from expunge.schedule.plan import Role

SIZE = 16


@on_anything
def test_prune_and_match_with_nothing_on_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    bare = PruneAndMatch(amount=0.0, half=False, entropy_weight=0.0, balance=0.0)
    plain = FineTune(rate=5e-4, epochs=3.2)
    assert digest(bare, parent, budget=2.0) == digest(plain, parent, budget=2.0)
    for change in ({"amount": 0.01}, {"half": True}, {"entropy_weight": 0.1}, {"balance": 0.1}):
        assert digest(replace(bare, **change), parent, budget=2.0) != digest(plain, parent, budget=2.0)


def test_prune_and_match_on_equal_classes_needs_no_weights(problem: Problem) -> None:
    parent = problem("plain")
    labels = parent.examples.labels.numpy()
    least = np.bincount(labels).min()
    surplus = np.concatenate([np.flatnonzero(labels == one)[least - 2 :] for one in range(3)])
    bare = PruneAndMatch(amount=0.0, half=False, entropy_weight=0.0)
    assert digest(bare, parent, forget=surplus) == digest(FineTune(rate=5e-4, epochs=3.2), parent, forget=surplus)


# Pruning.


@on_anything
def test_the_smallest_weights_of_all_layers_are_drawn_anew(name: str, problem: Problem) -> None:
    parent = problem(name)
    before = tensors(parent.model)
    after = edited(PruneAndMatch(amount=0.9, half=False, epochs=0), parent)
    layers = {
        f"{key}.weight": module
        for key, module in parent.model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    assert all(torch.equal(before[key], after[key]) for key in before if key not in layers)
    changed = {key: before[key] != after[key] for key in layers}
    total = sum(module.weight.numel() for module in layers.values())
    assert sum(int(mask.sum()) for mask in changed.values()) == round(0.9 * total)
    redrawn = torch.cat([before[key][changed[key]].abs() for key in layers])
    kept = torch.cat([before[key][~changed[key]].abs() for key in layers])
    assert float(redrawn.max()) <= float(kept.min())
    for key, module in layers.items():
        bound = 1 / math.sqrt(module.in_features if isinstance(module, nn.Linear) else module.weight[0].numel())
        drawn = after[key][changed[key]].double().numpy() / bound
        if len(drawn) > 20:
            assert kstest(drawn, "uniform", args=(-1, 2)).pvalue > 1e-3


def test_draws_do_not_depend_on_the_amount(problem: Problem) -> None:
    parent = problem("plain")
    before = tensors(parent.model)
    few, many = (edited(PruneAndMatch(amount=share, half=False, epochs=0), parent) for share in (0.2, 1.0))
    for key in ("body.1.weight", "body.3.weight"):
        changed = few[key] != before[key]
        assert torch.equal(few[key][changed], many[key][changed])


# Entropies.


def test_entropy_gap_has_its_closed_form() -> None:
    """∂/∂z_i = 2 (H − H₀) (−p_i (log p_i + H)) / B."""
    generator = np.random.default_rng(2)
    student, teacher = (torch.from_numpy(generator.normal(size=(6, 4))) for _ in range(2))
    student.requires_grad_()
    loss = entropy_gap(answer(student), answer(teacher))
    (found,) = torch.autograd.grad(loss, student)

    def beliefs(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return p, -(p * np.log(p)).sum(1, keepdims=True)

    (p, of_student), (_, of_teacher) = beliefs(student.detach().numpy()), beliefs(teacher.numpy())
    expected = 2 * (of_student - of_teacher) * -p * (np.log(p) + of_student) / 6
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
    assert loss.item() == pytest.approx(((of_student - of_teacher) ** 2).mean(), abs=1e-12)


def test_the_original_is_at_its_own_entropies() -> None:
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    loss = entropy_gap(answer(logits), answer(logits.detach()))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


# Half precision, and the cost.


def test_rounding_to_half_and_back(problem: Problem) -> None:
    parent = problem("normed")
    after = edited(PruneAndMatch(amount=0.0, epochs=0), parent)
    for key, value in tensors(parent.model).items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(after[key], expected)
        assert after[key].dtype == value.dtype
    trained = PruneAndMatch(epochs=1)(parent, FORGET, budget=1.0).model  # after the last step, not before the first
    assert all(torch.equal(v, v.half().float()) for v in trained.state_dict().values() if v.is_floating_point())
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1e30], [0.1]]))
    round_to_half(model)
    assert model.weight.flatten().tolist() == [torch.tensor(1e30).item(), torch.tensor(0.1).half().float().item()]


def test_the_cost_of_prune_and_match(problem: Problem) -> None:
    """3.2 passes in whole steps, 4/3 a row; 1 without the teacher."""
    parent = problem("plain")
    method = PruneAndMatch()
    plan = plan_of(method, parent)
    assert plan.total == round(3.2 * math.ceil(138 / SIZE)) == 29
    rows = sum(len(plan.step(index).parts[Role.RETAIN].slots) for index in range(plan.total))
    assert rows == 3 * 138 + 2 * SIZE
    assert method(parent, FORGET, budget=3.0).cost.example_steps == pytest.approx(rows * 4 / 3, abs=1e-9)
    assert replace(method, entropy_weight=0.0)(parent, FORGET, budget=3.0).cost.example_steps == rows
