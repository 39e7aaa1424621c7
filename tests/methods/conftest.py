"""A parent in memory, for any model and data type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from expunge.data.dataset import Dataset
from expunge.methods.contract import Parent
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

MakeParent = Callable[..., Parent]


def make_parent(dataset: Dataset, *, double: bool = False, model: nn.Module | None = None, **fields: Any) -> Parent:
    """A trained model with what a method may come to know of it."""
    fields = {"model": "mlp", "epochs": 4, "batch_size": 16, **fields}
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
    )


@pytest.fixture(scope="session")
def parent_of() -> MakeParent:
    return make_parent


@pytest.fixture(scope="session")
def parent(pictures: Dataset) -> Parent:
    return make_parent(pictures)


@pytest.fixture(scope="session")
def normed(pictures: Dataset) -> Parent:
    """With batch norm and dropout."""
    return make_parent(pictures, model_options={"norm": "batch", "dropout": 0.2, "width": 16})
