"""What the methods that train on have in common (noise, wrong labels, a penalty, signs): costs, directions, options."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from tests.methods.shared import (
    FORGET,
    RETAINED,
    MakeParent,
    Problem,
    digest,
    given_of,
    renamed_linear,
    usual_digest,
    value_of,
)
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.methods.contract import Method, Parent
from expunge.methods.l1_sparse import L1Sparse
from expunge.methods.lookup import make_method
from expunge.methods.noisy_gradient_descent import NoisyGradientDescent
from expunge.methods.objective_method import ObjectiveMethod
from expunge.methods.random_labels import Amnesiac, LabelOrder
from expunge.methods.sign_descent import SignDescent
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.tasks.classification import Classification
from expunge.train.objective import StepBatch


def test_costs_by_hand(parent: Parent) -> None:
    f, r = len(FORGET), RETAINED
    for method, rows in (
        (NoisyGradientDescent(epochs=2), 2 * r),
        (L1Sparse(epochs=2), 2 * r),
        (SignDescent(epochs=2), 2 * r),
        (Amnesiac(), 3 * (f + r)),
        (Amnesiac(epochs=2, order=LabelOrder.FORGET_THEN_RETAIN), 2 * (f + r)),
    ):
        result = method(parent, FORGET, budget=10.0)
        assert result.cost.example_steps == rows
        assert result.stopped is not None
        assert "epochs" in result.stopped


@pytest.mark.parametrize(
    "method",
    [
        NoisyGradientDescent(epochs=20, batch_size=150, weight_decay=0),
        L1Sparse(epochs=20, batch_size=150, strength=1e-2),
        SignDescent(epochs=20, batch_size=150),
        Amnesiac(epochs=20, batch_size=150, rate=1e-3),
    ],
    ids=lambda method: method.name,
)
def test_the_objective_falls(method: ObjectiveMethod, problem: Problem) -> None:
    parent = problem("double")
    given = given_of(parent, method.needs)
    extras = method.prepare(given, given.student()).extras
    plan = method.plan(given, parent.model, None, still=False)
    assert plan.total == 20

    def loss(model: nn.Module) -> float:
        batch = StepBatch(plan.step(0), plan, parent.examples, Classification(), extras)
        return float(value_of(method.objective(model, batch, None)).detach())

    assert loss(method(parent, FORGET, budget=10.0).model) < loss(parent.model)


class Renamed(Amnesiac):
    """Wrong labels that are renamed along with the classes."""

    name = "renamed"

    def label(self, drawn: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return ORDER[super().label(drawn, torch.argsort(ORDER)[own])]


ORDER = torch.tensor([2, 0, 1])


@pytest.mark.parametrize(
    ("method", "other"),
    [(L1Sparse(), L1Sparse()), (SignDescent(), SignDescent()), (Amnesiac(), Renamed())],
    ids=lambda method: method.name,
)
def test_renaming_the_classes_renames_the_result(
    method: Method, other: Method, pictures: Dataset, parent_of: MakeParent
) -> None:
    results = []
    weight = torch.sin(0.1 * torch.arange(192).double()).reshape(3, 64)
    for one, order in ((method, None), (other, ORDER)):
        parent = renamed_linear(pictures, parent_of, weight, order)
        results.append(one(parent, FORGET, budget=0.5).model[1].weight.detach())  # type: ignore[index, union-attr]
    torch.testing.assert_close(results[1][ORDER], results[0], rtol=0, atol=1e-10)


BASE: dict[str, Any] = {
    "rate": 0.002,
    "epochs": 1,
    "batch_size": 7,
    "momentum": 0.5,
    "weight_decay": 0.3,
    "calendar": Calendar.CONSTANT,
    "optimiser": OptimiserName.ADAMW,
    "recalibrate": True,
}
ONE_WAY = ("momentum", "weight_decay", "optimiser")
OPTIONS: list[tuple[type[ObjectiveMethod], str, object]] = [
    *((kind, field, value) for kind in (NoisyGradientDescent, L1Sparse, Amnesiac) for field, value in BASE.items()),
    *((SignDescent, field, value) for field, value in BASE.items() if field not in ONE_WAY),
    (NoisyGradientDescent, "variance", 1e-5),
    (L1Sparse, "strength", 1e-2),
    (Amnesiac, "order", LabelOrder.FORGET_THEN_RETAIN),
]


@pytest.mark.parametrize(("kind", "field", "value"), OPTIONS, ids=lambda value: getattr(value, "name", str(value)))
def test_every_option_has_an_effect(kind: type[ObjectiveMethod], field: str, value: object, normed: Parent) -> None:
    assert usual_digest(kind(), normed, 2.0) != digest(kind(**{field: value}), normed, 2.0)


def test_every_field_is_among_the_options() -> None:
    for kind in (NoisyGradientDescent, L1Sparse, Amnesiac, SignDescent):
        tried = {field for one, field, _ in OPTIONS if one is kind}
        refused = set(ONE_WAY) if kind is SignDescent else set()
        assert tried | refused == {item.name for item in fields(kind)}


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ngd", {"variance": "-1"}, "variance -1.0 must be a finite number from 0"),
        ("ngd", {"variance": "inf"}, "variance inf must be a finite number from 0"),
        ("l1-sparse", {"strength": "-1"}, "strength -1.0 must be a finite number from 0"),
        ("l1-sparse", {"strength": "nan"}, "strength nan must be a finite number from 0"),
        ("sign-descent", {"momentum": "0.9"}, "momentum 0.9 must be 0: signs know neither momentum nor decay"),
        ("sign-descent", {"weight_decay": "0.1"}, "weight_decay 0.1 must be 0: signs know"),
        ("sign-descent", {"weight_decay": "none"}, "weight_decay None must be 0: signs know"),
        ("sign-descent", {"optimiser": "sgd"}, "optimiser sgd must be sign: .* use fine-tune with another optimiser"),
        ("sign-descent", {"rate": "inf"}, "rate inf must be a finite number from 0"),
        ("amnesiac", {"order": "sideways"}, "is not one of mixed, forget-then-retain"),
        ("amnesiac", {"momentum": "1"}, "momentum 1.0 must lie"),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_method(name, settings)
