"""What the tests of several methods share: a forget set, what a method is given, its plan, its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.contract import Given, Method, Need, Parent, Unlearned
from expunge.methods.objective_method import ObjectiveMethod
from expunge.schedule.plan import UnlearningPlan
from expunge.schedule.recipe import Calendar
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch, labelled
from expunge.train.meter import Meter
from expunge.train.objective import Answer, Loss
from expunge.train.state import weights_digest

Problem = Callable[[str], Parent]
MakeParent = Callable[..., Parent]

# Of the 150 pictures who goes and who stays, and who goes of the rows of `columns_of`.
FORGET = np.array([3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26])
RETAIN = np.setdiff1d(np.arange(150), FORGET)
RETAINED = len(RETAIN)
SMALL = np.arange(4)
# Descent whose path has a closed form.
DESCENT: dict[str, Any] = {"momentum": 0.0, "weight_decay": 0.0, "calendar": Calendar.CONSTANT}

on_images = pytest.mark.parametrize("name", ["convolved", "convolved-normed", "residual"])
on_smooth = pytest.mark.parametrize("name", ["plain", "double", "convolved"])  # without batch norm and dropout
on_anything = pytest.mark.parametrize("name", ["plain", "normed", "double", "convolved-normed"])


# What a method is given, and what it plans.


def given_of(
    parent: Parent, needs: frozenset[Need], forget: np.ndarray = FORGET, allowed: float | None = None
) -> Given:
    """The view that the sealed call would hand over, with so many example-steps to spend."""
    return Given(
        parent,
        np.sort(forget),
        needs,
        seed=0,
        meter=Meter(allowed),
    )


def plan_of(
    method: ObjectiveMethod, parent: Parent, forget: np.ndarray = FORGET, allowed: float | None = None
) -> UnlearningPlan:
    """The steps of a method that prepares nothing which its plan depends on."""
    given = given_of(parent, method.needs, forget, allowed)
    teacher = given.original if Need.ORIGINAL in method.needs else None
    plan = method.plan(given, given.student().train(), teacher, still=False)
    assert isinstance(plan, UnlearningPlan)
    return plan


def plan_and_teacher(method: ObjectiveMethod, parent: Parent) -> tuple[UnlearningPlan, nn.Module]:
    """The steps that a method would take without a budget, and the teacher that it prepares."""
    given = given_of(parent, method.needs)
    student = given.student().train()
    teacher = method.prepare(given, student).teacher or given.original
    plan = method.plan(given, student, teacher, still=False)
    assert isinstance(plan, UnlearningPlan)
    return plan, teacher


def nearest(parent: Parent, radius: float) -> np.ndarray:
    """The classes that lie nearest to the forgotten rows."""
    method = BoundaryShrink(radius=radius)
    return method.nearest_classes(given_of(parent, method.needs)).numpy()[np.sort(FORGET)]


# What came out.


def digest(
    method: Method, parent: Parent, budget: float | None = 0.5, forget: np.ndarray = FORGET, **named: Any
) -> str:
    return weights_digest(method(parent, forget, budget=budget, **named).model)


_USUAL: dict[tuple[Method, str, float], str] = {}


def usual_digest(method: Method, parent: Parent, budget: float = 0.5) -> str:
    """The same, made once: what a method with each of its fields changed is compared with."""
    key = (method, parent.weights_digest, budget)
    if key not in _USUAL:
        _USUAL[key] = digest(method, parent, budget)
    return _USUAL[key]


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def edited(method: Method, parent: Parent) -> dict[str, torch.Tensor]:
    """The result where nothing is done but the edit."""
    result = method(parent, FORGET, budget=0.5)
    assert result.steps == 0
    assert result.stopped is not None
    return tensors(result.model)


def passes(model: nn.Module) -> list[int]:
    """How often each batch norm wrote its running statistics."""
    return [int(value) for name, value in model.state_dict().items() if "num_batches" in name]


def statistics(model: nn.Module) -> list[torch.Tensor]:
    """The running statistics, and how often they were written."""
    return [value for name, value in model.state_dict().items() if "running" in name or "num_batches" in name]


def continues(
    method: Method,
    parent: Parent,
    folder: Path,
    *,
    stop: int,
    budget: float,
    forget: np.ndarray = FORGET,
    interval: int = 2,
) -> Unlearned:
    """Interrupted after ``stop`` steps and called again, a method ends with the bits and costs of the whole run."""
    whole = method(parent, forget, budget=budget)

    def interrupt(done: int, total: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    folder.mkdir()
    recorded: dict[str, Any] = {"budget": budget, "workspace": folder, "checkpoint_interval": interval}
    with pytest.raises(KeyboardInterrupt):
        method(parent, forget, progress=interrupt, **recorded)
    begun: list[int] = []
    again = method(parent, forget, progress=lambda done, total: begun.append(done), **recorded)
    assert begun[0] == stop // interval * interval + 1
    assert weights_digest(again.model) == weights_digest(whole.model)
    assert again.cost.example_steps == whole.cost.example_steps
    assert again.guarantee == whole.guarantee
    return again


# Losses and their gradients.


def answer(outputs: torch.Tensor) -> Answer:
    return Answer(outputs, labelled(torch.zeros(len(outputs), 1), torch.zeros(len(outputs), dtype=torch.int64)))


def value_of(loss: Loss) -> torch.Tensor:
    value = loss.value()
    assert value is not None
    return value


def gradient_of(loss: Loss, model: nn.Module) -> torch.Tensor:
    """Flat."""
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(value_of(loss), list(model.parameters()))])


# Parents of one's own.


def rows_of(parent: Parent, *classes: int) -> np.ndarray:
    """The slots of whole classes."""
    return np.flatnonzero(np.isin(parent.examples.labels.numpy(), classes))


def with_model(parent: Parent, model: nn.Module) -> Parent:
    """The same parent with other weights, under the old digest so that every stream stays what it was."""
    return replace(parent, model=model.eval())


def renamed_linear(
    pictures: Dataset, parent_of: MakeParent, weight: torch.Tensor, order: torch.Tensor | None = None
) -> Parent:
    """A linear model of the pictures in float64; ``order`` renames the classes, in labels and output rows alike."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    with torch.no_grad():
        model[1].weight.copy_(weight)
        model[1].bias.zero_()
        if order is not None:
            model[1].weight[order] = weight
    parent = replace(parent_of(pictures, model=model), weights_digest="00" * 32)
    parent.examples.inputs = parent.examples.inputs.double() / 255
    if order is not None:
        parent.examples.labels = order[parent.examples.labels]
    return parent


class Columns(Classification):
    """½ Σ_c (x·w_c − y_c)², with the labels as targets unless there are others for each column."""

    targets: torch.Tensor | None = None

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        targets = batch["labels"].double()[:, None] if self.targets is None else self.targets
        return 0.5 * (outputs - targets).square().sum(1)


class ColumnModel(nn.Module):
    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.weight


def columns_of(
    parent_of: MakeParent,
    monkeypatch: pytest.MonkeyPatch,
    weight: torch.Tensor,
    inputs: np.ndarray,
    *,
    targets: torch.Tensor | None = None,
    batch_size: int,
) -> Parent:
    """A parent whose model is one weight, (inputs, columns), in float64: each column is a descent of its own."""
    rows, width = inputs.shape
    table = make_dataset(
        labels=[row % 3 for row in range(rows)],
        columns=[Column("x", ColumnKind.ARRAY, (width,))],
        content={"x": inputs},
        where="test",
    )
    parent = parent_of(table, model=ColumnModel(weight), epochs=1000, batch_size=batch_size)
    parent.examples.inputs = torch.from_numpy(inputs)
    task = Columns()
    task.targets = targets
    monkeypatch.setitem(TASKS, "classification", task)
    return parent


def moved(method: Method, parent: Parent, forget: np.ndarray) -> np.ndarray:
    """The weight of a parent of columns, afterwards."""
    return method(parent, forget, budget=5.0).model.weight.detach().numpy()  # type: ignore[union-attr, return-value]


def numbers_of(parent_of: MakeParent, model: nn.Module | None, scale: float = 1.0, **fields: Any) -> Parent:
    """Rows of five real numbers in three classes that overlap."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 150)
    x = scale * (generator.normal(size=(150, 5)) + 0.8 * generator.normal(size=(3, 5))[labels])
    data = make_dataset(
        labels=[int(label) for label in labels],
        columns=[Column("x", ColumnKind.ARRAY, (5,))],
        content={"x": x},
        where="test",
    )
    parent = parent_of(data, model=model, **fields)
    if model is not None:
        parent.examples.inputs = torch.from_numpy(x)
    return parent


def linear_of(parent_of: MakeParent) -> Parent:
    """A dense layer on such rows."""
    model = nn.Linear(5, 3).double()
    generator = np.random.default_rng(4)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(generator.normal(size=(3, 5))))
        model.bias.copy_(torch.from_numpy(0.1 * generator.normal(size=3)))
    return numbers_of(parent_of, model)


class Odd(nn.Module):
    """Kernels of all shapes, one of them used twice."""

    def __init__(self, side: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, side, padding=side // 2)
        self.flat = nn.Conv2d(2, 2, (1, 3), padding=(0, 1))
        self.point = nn.Conv2d(2, 2, 1)
        self.first = nn.Conv2d(2, 2, side, padding=side // 2)
        self.second = nn.Conv2d(2, 2, side, padding=side // 2)
        self.second.weight = self.first.weight
        self.frozen = nn.Conv2d(2, 2, side, padding=side // 2).requires_grad_(False)
        self.head = nn.Linear(128, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.point(self.flat(self.stem(inputs)))
        hidden = self.frozen(self.second(torch.relu(self.first(hidden))))
        return self.head(hidden.flatten(1))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(5)
    return make()
