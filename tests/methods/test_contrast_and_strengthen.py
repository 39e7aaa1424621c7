"""Contrast and strengthen: the two losses by their closed forms, the three turns, statistics and costs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.shared import (
    FORGET,
    RETAIN,
    Problem,
    answer,
    digest,
    given_of,
    on_anything,
    passes,
    plan_of,
    statistics,
    value_of,
)
from torch import nn

from expunge.methods.contrast_and_strengthen import ContrastAndStrengthen, Turn, flatness
from expunge.methods.fine_tune import FineTune
from expunge.schedule.plan import Role, UnlearningPlan, Walk
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.tasks import TASKS
from expunge.train.objective import StepBatch
from expunge.train.optimiser import make_optimiser

SIZE = 16


@on_anything
@pytest.mark.parametrize(
    "none", [{"uniform_epochs": 0, "forget_epochs": 0}, {"uniform_rate": 0.0, "contrast_rate": 0.0}]
)
def test_contrast_and_strengthen_without_forget_passes_is_fine_tuning(
    name: str, none: dict[str, Any], problem: Problem
) -> None:
    tuned: dict[str, Any] = {"weight_decay": 0.01, "calendar": Calendar.CONSTANT, "epochs": 8}
    plain = digest(FineTune(rate=0.02 * SIZE / 64, **tuned), problem(name), budget=3.0)
    assert digest(ContrastAndStrengthen(rate=0.02, **none), problem(name), budget=3.0) == plain
    for kept in none:
        value = 1 if kept.endswith("epochs") else 1e-3
        assert digest(ContrastAndStrengthen(rate=0.02, **{**none, kept: value}), problem(name), budget=3.0) != plain


# The losses.


def test_the_uniform_pass_has_gradient_p_minus_one_over_c() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 5))).requires_grad_()
    (found,) = torch.autograd.grad(flatness(answer(logits)), logits)
    expected = (torch.softmax(logits.detach(), 1) - 1 / 5) / 7
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    p = torch.softmax(logits.detach(), 1)
    by_hand = sum(0.2 * math.log(0.2 / float(value)) for value in p.flatten()) / 7
    assert flatness(answer(logits)).item() == pytest.approx(by_hand, abs=1e-12)


def test_the_contrast_has_its_closed_form_and_no_gradient_in_the_retained() -> None:
    """∂/∂z_f = Σ_r (q_fr − 1/R) z_r / (F·T), with q_f the softmax over retained rows of z_f·z_r / T."""
    generator = np.random.default_rng(1)
    forgotten, retained = (torch.from_numpy(generator.normal(size=(rows, 4))) for rows in (3, 6))
    forgotten.requires_grad_()
    method = ContrastAndStrengthen(temperature=1.7)
    loss = method.contrast(answer(forgotten), answer(retained))
    (found,) = torch.autograd.grad(loss, forgotten)
    total, expected = 0.0, np.zeros((3, 4))
    z, others = forgotten.detach().numpy(), retained.numpy()
    for f in range(3):
        likeness = np.array([z[f] @ other / 1.7 for other in others])
        q = np.exp(likeness) / np.exp(likeness).sum()
        total -= np.log(q).mean() / 3
        expected[f] = sum((q[r] - 1 / 6) * others[r] for r in range(6)) / (3 * 1.7)
    assert loss.item() == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_the_retained_side_of_the_contrast_has_no_gradient(problem: Problem) -> None:
    parent = problem("double")
    method = ContrastAndStrengthen(uniform_epochs=0)
    model = given_of(parent, method.needs).student().train()
    plan = plan_of(method, parent)
    assert plan.step(0).turn == Turn.CONTRAST
    batch = StepBatch(plan.step(0), plan, parent.examples, TASKS["classification"])
    found = torch.autograd.grad(value_of(method.objective(model, batch, None)), list(model.parameters()))
    parts = plan.step(0).parts
    forgotten, retained = (
        model(parent.examples.batch(parts[role].slots)["inputs"]) for role in (Role.FORGET, Role.RETAIN)
    )
    alone, both = (-torch.log_softmax(forgotten @ other.T / 1.15, 1).mean() for other in (retained.detach(), retained))
    expected = torch.autograd.grad(alone, list(model.parameters()), retain_graph=True)
    wrong = torch.autograd.grad(both, list(model.parameters()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert max(float((a - b).abs().max()) for a, b in zip(expected, wrong, strict=True)) > 1e-4


def test_the_forget_passes_flatten_beliefs(problem: Problem) -> None:
    parent = problem("plain")
    rows = parent.examples.batch(FORGET)
    flatter = ContrastAndStrengthen(epochs=0, uniform_epochs=20)(parent, FORGET, budget=3.0).model
    with torch.no_grad():
        before, after = (flatness(answer(model(rows["inputs"]))) for model in (parent.model, flatter))
    assert after < before


def test_the_contrast_falls(problem: Problem) -> None:
    parent = problem("plain")
    method = ContrastAndStrengthen(uniform_epochs=0, rate=1e-12, weight_decay=0.0, epochs=8, contrast_rate=0.01)
    result = method(parent, FORGET, budget=4.0)

    def contrast(model: nn.Module) -> float:
        parts = (parent.examples.batch(slots)["inputs"] for slots in (np.sort(FORGET), RETAIN))
        return method.contrast(*(answer(model(inputs)) for inputs in parts)).item()

    assert contrast(result.model) < contrast(parent.model)


# The turns.


def rows_in_steps(plan: UnlearningPlan, role: Role) -> list[int]:
    """How many rows of a role each step has."""
    parts = [plan.step(index).parts for index in range(plan.total)]
    return [len(of[role].slots) if role in of else 0 for of in parts]


def test_three_turns_with_optimisers_of_their_own(problem: Problem) -> None:
    parent = problem("plain")
    method = ContrastAndStrengthen(epochs=2.5, batch_size=5, momentum=0.7)
    plan = plan_of(method, parent)
    forget, retain = math.ceil(12 / 5), math.ceil(138 / 5)
    steps = [plan.step(index) for index in range(plan.total)]
    turns = [step.turn for step in steps]
    halves = [round(forget / 2), round(retain / 2)]
    expected = [(Turn.UNIFORM, forget), *[(Turn.CONTRAST, forget), (Turn.RETAIN, retain)] * 2]
    expected += [(Turn.CONTRAST, halves[0]), (Turn.RETAIN, halves[1])]
    assert turns == [turn for turn, count in expected for _ in range(count)]
    rates = {turn: [step.rate for step in steps if step.turn == turn] for turn in Turn}
    assert set(rates[Turn.UNIFORM]) == {5e-3}
    assert set(rates[Turn.RETAIN]) == {1e-3 * 5 / 64}
    total = len(rates[Turn.CONTRAST])
    cosine = [3e-4 * 0.5 * (1 + math.cos(math.pi * at / total)) for at in range(total)]
    assert rates[Turn.CONTRAST] == pytest.approx(cosine)
    decays = {stretch.turn: stretch.optimiser.weight_decay for stretch in method.stretches(parent.recipe)}
    assert decays == {Turn.RETAIN: 0.01, Turn.UNIFORM: 0.0, Turn.CONTRAST: 0.0}
    assert {stretch.optimiser.momentum for stretch in method.stretches(parent.recipe)} == {0.7}
    walks = {stretch.turn: stretch.walk for stretch in method.stretches(parent.recipe)}
    assert walks == {Turn.RETAIN: Walk.RETAIN, Turn.UNIFORM: Walk.FORGET, Turn.CONTRAST: Walk.PAIRED_BY_FORGET}


def test_adam_and_decay_reach_every_turn(problem: Problem) -> None:
    method = ContrastAndStrengthen(optimiser=OptimiserName.ADAM)
    kinds = {
        type(make_optimiser(stretch.optimiser, problem("plain").model))
        for stretch in method.stretches(problem("plain").recipe)
    }
    assert kinds == {torch.optim.Adam}


def test_the_budget_bounds_contrast_and_strengthen(problem: Problem) -> None:
    """None goes on with the retain set; forget_epochs beyond the epochs are not begun; cosines span planned steps."""
    parent = problem("plain")
    endless = ContrastAndStrengthen(epochs=None, forget_epochs=1)
    plan = plan_of(endless, parent, allowed=700.0)
    turns = [plan.step(index).turn for index in range(plan.total)]
    assert turns[:2] == [Turn.UNIFORM, Turn.CONTRAST]
    assert set(turns[2:]) == {Turn.RETAIN}
    assert 700 - SIZE < sum(rows_in_steps(plan, Role.RETAIN)[2:]) + 2 * 12 + SIZE / 3 <= 700
    few, many = (plan_of(ContrastAndStrengthen(epochs=1, forget_epochs=count), parent) for count in (1, 9))
    assert few.total == many.total == 2 + math.ceil(138 / SIZE)


def test_the_cost_of_contrast_and_strengthen(problem: Problem) -> None:
    parent = problem("plain")
    result = ContrastAndStrengthen(epochs=2, batch_size=5)(parent, FORGET, budget=3.0)
    beside = 2 * 3 * 5  # two passes of three steps, with five retained rows beside each
    assert result.cost.example_steps == pytest.approx(3 * 12 + beside / 3 + 2 * 138, abs=1e-9)
    assert result.stopped == "own epochs (2) are done"


def test_contrast_passes_write_statistics_of_the_retain_set_alone(problem: Problem) -> None:
    parent = problem("normed")
    method = ContrastAndStrengthen(epochs=1)

    alone = replace(method, epochs=0)(parent, FORGET, budget=1.0).model  # the uniform pass alone
    assert all(torch.equal(a, b) for a, b in zip(statistics(parent.model), statistics(alone), strict=True))
    plan = plan_of(method, parent)
    result = method(parent, FORGET, budget=3.0).model
    written = sum(rows > 0 for rows in rows_in_steps(plan, Role.RETAIN))
    assert written == 1 + math.ceil(138 / SIZE)
    assert passes(result) == [count + written for count in passes(parent.model)]
