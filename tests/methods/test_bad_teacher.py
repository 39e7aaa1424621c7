"""Bad teacher: who teaches, whom, and that nothing moves where everybody teaches the original."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from tests.methods.shared import FORGET, RETAINED, Problem, given_of, on_smooth, plan_and_teacher

from expunge.methods.bad_teacher import BadTeacher, Teachers
from expunge.methods.contract import Parent
from expunge.models.resolver import build
from expunge.train.state import weights_digest


def stubborn(**fields: Any) -> BadTeacher:
    return BadTeacher(weight_decay=0, epochs=2, batch_size=16, **fields)


@on_smooth
def test_bad_teacher_that_teaches_the_original_moves_nothing(name: str, problem: Problem) -> None:
    """Without a pull on F, or where the untrained network is the original, every gradient is 0."""
    parent = problem(name)
    for method, any_parent in (
        (stubborn(forget_weight=0), parent),
        (stubborn(), replace(parent, initial=lambda: deepcopy(parent.model))),
        (stubborn(temperature=2.0), replace(parent, initial=lambda: deepcopy(parent.model))),
    ):
        result = method(any_parent, FORGET, budget=2.0)
        assert weights_digest(result.model) == parent.weights_digest
        assert result.steps == 2 * 4
    assert weights_digest(stubborn()(parent, FORGET, budget=2.0).model) != parent.weights_digest


def test_the_teachers_are_the_initial_weights_and_the_original(normed: Parent) -> None:
    _, teachers = plan_and_teacher(BadTeacher(), normed)
    assert isinstance(teachers, Teachers)
    assert weights_digest(teachers.incompetent) == weights_digest(build(normed.recipe, normed.schedule.seed))
    assert weights_digest(teachers.competent) == normed.weights_digest
    assert not any(module.training for module in teachers.modules())
    assert not any(parameter.requires_grad for parameter in teachers.parameters())


def test_bad_teacher_samples_the_retain_set_once(parent: Parent) -> None:
    method = BadTeacher(epochs=3, batch_size=10)
    retain, forget = method.members(given_of(parent, method.needs))
    assert len(retain) == round(0.3 * RETAINED)
    assert not np.isin(retain, FORGET).any()
    plan, _ = plan_and_teacher(method, parent)
    seen = [np.concatenate([p.slots for p in plan.step(i).parts.values()]) for i in range(plan.total)]
    each = plan.total // 3
    for epoch in range(3):
        rows = np.concatenate(seen[epoch * each : (epoch + 1) * each])
        assert np.array_equal(np.sort(rows), np.union1d(retain, forget))
