"""What boundary-shrink and boundary-expand have in common: gradients, costs, statistics, options."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.shared import (
    FORGET,
    MakeParent,
    continues,
    digest,
    given_of,
    linear_of,
    nearest,
    numbers_of,
    statistics,
    usual_digest,
    value_of,
)
from torch.nn.functional import one_hot

from expunge.core.errors import InvalidArgument
from expunge.methods.boundary_expand import BoundaryExpand
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.contract import Method, Need, Parent
from expunge.methods.gradient_ascent import BatchNormMode
from expunge.methods.lookup import make_method
from expunge.methods.objective_method import ObjectiveMethod
from expunge.schedule.plan import Role
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.tasks.classification import Classification
from expunge.train.objective import StepBatch
from expunge.train.state import weights_digest

KINDS = (BoundaryShrink, BoundaryExpand)


def test_objective_gradients(parent_of: MakeParent) -> None:
    """On the logits p − y', with y' the nearest class, or the class that was appended."""
    parent = linear_of(parent_of)
    for method, classes in ((BoundaryShrink(radius=0.3), 3), (BoundaryExpand(), 4)):
        given = given_of(parent, method.needs)
        student = given.student().train()
        prepared = method.prepare(given, student)
        plan = method.plan(given, student, None, still=False)
        step = plan.step(0)
        batch = StepBatch(step, plan, parent.examples, Classification(), prepared.extras)
        found = torch.autograd.grad(value_of(method.objective(student, batch, None)), list(student.parameters()))
        slots = step.parts[Role.FORGET].slots
        x = parent.examples.batch(slots)["inputs"]
        wanted = np.full(150, 3) if classes == 4 else np.full(150, -1)
        if classes == 3:
            wanted[np.sort(FORGET)] = nearest(parent, 0.3)
        p = torch.softmax(student(x), 1).detach()
        error = (p - one_hot(torch.from_numpy(wanted[slots]), classes)) / len(slots)
        torch.testing.assert_close(found[0], error.T @ x, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[1], error.sum(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [BoundaryShrink(rate=0.05, radius=0.3), BoundaryExpand(rate=0.05)])
def test_renaming_the_classes_renames_the_result(method: Method, parent_of: MakeParent) -> None:
    order = torch.tensor([2, 0, 1])
    results = []
    for renamed in (False, True):
        parent = replace(linear_of(parent_of), weights_digest="00" * 32)
        if renamed:
            parent.examples.labels = order[parent.examples.labels]
            with torch.no_grad():
                for value in parent.model.parameters():
                    value[order] = value.clone()
        results.append(method(parent, FORGET, budget=1.0).model.weight.detach())  # type: ignore[union-attr]
    torch.testing.assert_close(results[1][order], results[0], rtol=0, atol=1e-10)
    assert not torch.allclose(results[0], linear_of(parent_of).model.weight.detach())  # type: ignore[union-attr]


def test_costs_by_hand(parent: Parent) -> None:
    """12 rows, 4/3 each for the nearest class, and 1 each in 10 passes; of 600 example-steps."""
    shrunk, expanded = (kind()(parent, FORGET, budget=0.5) for kind in KINDS)
    assert shrunk.cost.example_steps == pytest.approx(12 * 4 / 3 + 10 * 12, abs=1e-9)
    assert expanded.cost.example_steps == 10 * 12
    assert shrunk.steps == expanded.steps == 10
    little = BoundaryShrink(batch_size=5, epochs=None)(parent, FORGET, budget=0.05)
    assert little.cost.example_steps == pytest.approx(16 + 5 + 5 + 2, abs=1e-9)
    nothing = BoundaryShrink(batch_size=5)(parent, FORGET, budget=20.9 / 600)
    assert (nothing.steps, nothing.cost.example_steps) == (0, 0)
    assert nothing.stopped == "nothing done: the nearest classes and one step would pass the budget"
    assert "nearest classes of the forget set" in shrunk.seen


@pytest.mark.parametrize("kind", KINDS)
def test_running_statistics_stay(kind: type[ObjectiveMethod], normed: Parent) -> None:
    def same(**settings: Any) -> bool:
        result = kind(rate=0.01, **settings)(normed, FORGET, budget=1.0)
        return all(torch.equal(a, b) for a, b in zip(statistics(result.model), statistics(normed.model), strict=True))

    assert statistics(normed.model)
    assert same()
    assert not same(batch_norm=BatchNormMode.AS_PUBLISHED)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_continued(kind: type[ObjectiveMethod], normed: Parent, tmp_path: Path) -> None:
    """With a class more in its checkpoints than the model has."""
    method = kind(rate=0.01, batch_size=5)
    done = continues(method, normed, tmp_path / "run", stop=5, budget=2.0)
    begun: list[int] = []  # the second time everything but the end is done already
    again = method(
        normed,
        FORGET,
        budget=2.0,
        workspace=tmp_path / "run",
        checkpoint_interval=2,
        progress=lambda done, total: begun.append(done),
    )
    assert begun == []
    assert weights_digest(again.model) == weights_digest(done.model)
    assert again.cost.example_steps == done.cost.example_steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["squared", "logistic"])
def test_any_task_with_classes_will_do(kind: type[ObjectiveMethod], task: str, parent_of: MakeParent) -> None:
    parent = numbers_of(parent_of, None)
    parent = replace(parent, recipe=replace(parent.recipe, task=task))
    assert digest(kind(rate=0.01), parent, 2.0) != parent.weights_digest


BASE = {
    "rate": 0.02,
    "epochs": 4,
    "batch_size": 3,
    "momentum": 0.5,
    "weight_decay": 0.3,
    "calendar": Calendar.CONSTANT,
    "optimiser": OptimiserName.ADAMW,
    "batch_norm": BatchNormMode.AS_PUBLISHED,
}
OPTIONS = [(kind, field, value) for kind in KINDS for field, value in BASE.items()] + [(BoundaryShrink, "radius", 0.5)]


@pytest.mark.parametrize(("kind", "field", "value"), OPTIONS, ids=lambda v: v if isinstance(v, str) else "")
def test_every_option_has_an_effect(kind: type[ObjectiveMethod], field: str, value: object, normed: Parent) -> None:
    assert digest(kind(**{field: value}), normed, 2.0) != usual_digest(kind(), normed, 2.0)


def test_every_field_is_among_the_options() -> None:
    for kind in KINDS:
        tried = {field for one, field, _ in OPTIONS if one is kind}
        assert tried | {"recalibrate"} == {item.name for item in fields(kind)}
        with pytest.raises(InvalidArgument, match="recalibrate needs the retain set"):
            kind(recalibrate=True)
    for bad in ("-1", "nan", "inf"):
        with pytest.raises(InvalidArgument, match="radius"):
            make_method("boundary-shrink", {"radius": bad})
    assert Need.INPUTS in BoundaryShrink.needs
