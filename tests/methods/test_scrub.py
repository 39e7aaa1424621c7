"""Scrub: what its forget passes do alone, the turns that passes take, the rate, one optimiser for all."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.shared import FORGET, RETAIN, MakeParent, Problem, on_anything, on_smooth, plan_of
from torch import nn
from torch.nn import functional

from expunge.data.dataset import Dataset
from expunge.methods.contract import Parent
from expunge.methods.divergence import divergence
from expunge.methods.fine_tune import FineTune
from expunge.methods.scrub import MILESTONES, Scrub
from expunge.schedule.plan import Role, Walk
from expunge.schedule.recipe import Augmentation, Calendar, OptimiserName
from expunge.train.objective import Answer, Loss, Pass, StepBatch
from expunge.train.state import weights_digest

# Forget passes alone.


def quiet() -> Scrub:
    """Forget passes alone, without decay."""
    return Scrub(cross_entropy=0, distillation=0, weight_decay=0, epochs=3, forget_batch_size=5)


@on_smooth
def test_forget_passes_alone_move_nothing(name: str, problem: Problem) -> None:
    """The student is the teacher, where the divergence is flat: to the bit, whatever the optimiser makes of it."""
    parent = problem(name)
    result = quiet()(parent, FORGET, budget=1.0)
    assert weights_digest(result.model) == parent.weights_digest
    assert result.steps == 3 * 3
    assert 3 * result.cost.example_steps == 3 * 4 * len(FORGET)


def test_forget_passes_alone_move_nothing_under_augmentation(pictures: Dataset, parent_of: MakeParent) -> None:
    """The teacher sees the very rows that the student sees."""
    parent = parent_of(pictures, model="cnn", model_options={"width": 4}, augmentation=Augmentation(flip=True, crop=1))
    result = quiet()(parent, FORGET, budget=1.0)
    assert result.steps == 9
    assert weights_digest(result.model) == parent.weights_digest


def test_what_else_moves_a_student_that_is_its_teacher(problem: Problem) -> None:
    """Batch norm and dropout in training mode, weight decay, and the rounding errors of the usual divergence."""

    class Rounding(Scrub):
        """The same objective through a log-softmax."""

        name = "rounding"

        def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
            def usual(answer: Answer, taught: Answer) -> torch.Tensor:
                return functional.kl_div(
                    answer.outputs.log_softmax(1), taught.outputs.softmax(1), reduction="batchmean"
                )

            assert teacher is not None
            return -batch.term(usual, Pass(student, Role.FORGET), Pass(teacher, Role.FORGET, gradient=False))

    def furthest(method: Scrub, name: str) -> float:
        parent = problem(name)
        moved = method(parent, FORGET, budget=1.0).model
        pairs = zip(moved.parameters(), parent.model.parameters(), strict=True)
        return max(float((after - before).detach().abs().max()) for after, before in pairs)

    settings: dict[str, Any] = {"cross_entropy": 0, "distillation": 0, "epochs": 1, "forget_epochs": 1}
    assert furthest(Scrub(**settings, weight_decay=0), "plain") == 0
    assert furthest(Scrub(**settings, weight_decay=0), "normed") > 1e-4
    assert furthest(Scrub(**settings, weight_decay=5e-4), "plain") > 1e-4
    assert furthest(Rounding(**settings, weight_decay=0), "plain") > 1e-5


def test_the_forget_pass_of_scrub_climbs(problem: Problem) -> None:
    """Once a retain pass has moved the student."""
    parent = problem("double")
    rows = parent.examples.batch(FORGET)

    def distance(method: Scrub) -> float:
        moved = method(parent, FORGET, budget=10.0).model
        with torch.no_grad():
            return float(divergence(parent.model(rows["inputs"]), moved(rows["inputs"])).mean())

    settings: dict[str, Any] = {"epochs": 6, "batch_size": 150, "weight_decay": 0, "rate": 2e-3}
    assert distance(Scrub(forget_epochs=6, **settings)) > 2 * distance(Scrub(forget_epochs=0, **settings))


# All passes.


@on_anything
def test_scrub_without_forgetting_and_distillation_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    described = replace(parent.recipe.optimiser, milestones=MILESTONES, decay=0.1)
    parent = replace(parent, recipe=replace(parent.recipe, optimiser=described))
    scrub = Scrub(forget_epochs=0, distillation=0)(parent, FORGET, budget=2.0)
    plain = FineTune(rate=5e-4, optimiser=OptimiserName.ADAM, calendar=Calendar.STEP, epochs=10, batch_size=64)(
        parent, FORGET, budget=2.0
    )
    assert plain.steps > 10
    assert weights_digest(scrub.model) == weights_digest(plain.model)
    assert scrub.cost.example_steps == plain.cost.example_steps


def roles(method: Scrub, parent: Parent) -> str:
    plan = plan_of(method, parent)
    steps = [plan.step(index) for index in range(plan.total)]
    assert all(step.turn == 0 for step in steps)
    return "".join("F" if Role.FORGET in step.parts else "R" for step in steps)


def test_passes_of_scrub_take_turns(parent: Parent) -> None:
    """Three forget batches and two retain batches a pass."""
    sizes: dict[str, Any] = {"batch_size": 100, "forget_batch_size": 5}
    assert roles(Scrub(epochs=5, **sizes), parent) == "FFFRR" * 3 + "RR" * 2
    assert roles(Scrub(epochs=2, **sizes), parent) == "FFFRR" * 2
    assert roles(Scrub(epochs=1.5, **sizes), parent) == "FFFRRFFFR"
    assert roles(Scrub(epochs=2.5, forget_epochs=1, **sizes), parent) == "FFFRR" + "RRR"
    assert roles(Scrub(epochs=2, forget_epochs=0, **sizes), parent) == "RRRR"
    assert roles(Scrub(epochs=0, **sizes), parent) == ""
    without_end = Scrub(epochs=None, forget_epochs=1, **sizes)
    assert [(stretch.walk, stretch.epochs) for stretch in without_end.stretches(parent.recipe)] == [
        (Walk.FORGET, 1),
        (Walk.RETAIN, 1),
        (Walk.RETAIN, None),
    ]


def test_the_rate_of_scrub_falls_three_times(parent: Parent) -> None:
    """Over all passes together."""
    plan = plan_of(Scrub(epochs=4, batch_size=14, forget_batch_size=2), parent)
    rates = [plan.step(index).rate for index in range(plan.total)]
    fallen = [sum(index >= share * plan.total for share in (0.5, 0.8, 0.9)) for index in range(plan.total)]
    expected = [5e-4 * 0.1**times for times in fallen]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert len({round(rate, 12) for rate in rates}) == 4


def test_scrub_keeps_one_optimiser_through_its_passes(parent: Parent) -> None:
    """By hand: Adam's moments of the forget pass reach the retain pass."""
    method = Scrub(epochs=1, batch_size=150, forget_batch_size=12, weight_decay=0.1, calendar=Calendar.CONSTANT)
    result = method(parent, FORGET, budget=1.0).model
    by_hand, teacher = deepcopy(parent.model).train(), parent.model
    descent = torch.optim.Adam(by_hand.parameters(), lr=5e-4, weight_decay=0.1, foreach=False)
    for slots, forget in ((np.sort(FORGET), True), (RETAIN, False)):
        rows = parent.examples.batch(slots)
        answered = by_hand(rows["inputs"])
        with torch.no_grad():
            taught = teacher(rows["inputs"])
        soft = 4 * divergence(taught / 2, answered / 2).mean()
        loss = -soft if forget else functional.cross_entropy(answered, rows["labels"]) + 0.5 * soft
        descent.zero_grad()
        loss.backward()
        descent.step()
    for found, expected in zip(result.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-6)
