"""A parent in memory, for any model and data type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import make_pictures
from tests.methods.shared import MakeParent
from torch import nn

from expunge.data.dataset import Dataset
from expunge.methods.contract import Parent
from expunge.models.dropout import seeded_generators
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.plan import TrainingPlan
from expunge.schedule.schedule import Schedule
from expunge.tasks.classification import Classification
from expunge.train.examples import Examples
from expunge.train.loop import carry_out
from expunge.train.meter import Meter
from expunge.train.objective import training_objective
from expunge.train.optimiser import make_optimiser
from expunge.train.state import weights_digest
from expunge.train.training import make_recipe


def make_parent(
    dataset: Dataset,
    *,
    double: bool = False,
    model: nn.Module | str | None = None,
    calibration: Dataset | None = None,
    **fields: Any,
) -> Parent:
    """A trained model, of the zoo or one's own, with what a method may come to know of it."""
    fields = {"model": model if isinstance(model, str) else "mlp", "epochs": 4, "batch_size": 16, **fields}
    model = None if isinstance(model, str) else model
    recipe = make_recipe(dataset, **fields)
    schedule = Schedule.of(recipe, bytes(32), number_units(dataset.subjects))
    examples = Examples(recipe, dataset, torch.device("cpu"))
    nobody = np.zeros(0, dtype=np.int64)
    trained = build(recipe, schedule.seed) if model is None else model
    if double:
        trained = trained.double()
    if model is None:
        trained.train()
        carry_out(
            TrainingPlan(recipe, schedule, 0, nobody),
            student=trained,
            objective=training_objective,
            optimiser=make_optimiser(recipe.optimiser, trained),
            recipe=recipe,
            task=Classification(),
            examples=examples,
            meter=Meter(),
        )
    trained.eval()
    return Parent(
        recipe=recipe,
        schedule=schedule,
        root=bytes(32),
        beacon=bytes(32),
        units=number_units(dataset.subjects),
        examples=examples,
        model=trained,
        weights_digest=weights_digest(trained),
        emptied=nobody,
        exact_refused=None,
        calibration=None if calibration is None else Examples(recipe, calibration, torch.device("cpu")),
    )


@pytest.fixture(scope="session")
def parent_of() -> MakeParent:
    return make_parent


def make_double(dataset: Dataset) -> Parent:
    """A small network in float64, of nobody's zoo."""

    def initial() -> nn.Module:
        with seeded_generators(7):
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 3)).double()

    model = initial()
    recipe = make_recipe(dataset, model="mlp", epochs=4, batch_size=16)
    examples = Examples(recipe, dataset, torch.device("cpu"))
    examples.inputs = examples.inputs.double() / 255
    descent = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(60):
        descent.zero_grad()
        nn.functional.cross_entropy(model(examples.inputs), examples.labels).backward()
        descent.step()
    model.zero_grad()
    parent = make_parent(dataset, model=model, calibration=make_pictures(61, seed=1))
    assert parent.calibration is not None
    parent.calibration.inputs = parent.calibration.inputs.double() / 255
    return replace(parent, examples=examples, initial=initial)


def parent_like(**fields: Any) -> Callable[[Dataset], Parent]:
    """A parent on the pictures with others, never trained on, for calibration."""
    return lambda data: make_parent(data, calibration=make_pictures(61, seed=1), **fields)


PROBLEMS: dict[str, Callable[[Dataset], Parent]] = {
    "plain": parent_like(),
    "normed": parent_like(model_options={"norm": "batch", "dropout": 0.2, "width": 16}),
    "double": make_double,
    "convolved": parent_like(model="cnn", model_options={"width": 4}),
    "convolved-normed": parent_like(model="cnn", model_options={"norm": "batch", "dropout": 0.2, "width": 4}),
    "residual": parent_like(model="resnet18", model_options={"width": 2}, epochs=2),
}


@pytest.fixture(scope="session")
def problem(pictures: Dataset) -> Callable[[str], Parent]:
    """A trained parent by the name of its problem; made once."""
    return cache(lambda name: PROBLEMS[name](pictures))


@pytest.fixture(scope="session")
def parent(problem: Callable[[str], Parent]) -> Parent:
    return problem("plain")


@pytest.fixture(scope="session")
def normed(problem: Callable[[str], Parent]) -> Parent:
    """With batch norm and dropout."""
    return problem("normed")
