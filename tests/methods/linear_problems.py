"""Linear problems at their minimum: rows, the solver, and a parent whose removals can be certified."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.methods.contract import Parent
from expunge.models.linear import features_of, head_of
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import Calendar, Optimiser, Recipe
from expunge.schedule.schedule import Schedule
from expunge.tasks import TASKS
from expunge.tasks.linear import LinearTask
from expunge.train.examples import Examples
from expunge.train.newton_removal import LinearRows, Removal, gradient, hessian, newton_steps
from expunge.train.perturbation import draw_noise
from expunge.train.state import weights_digest
from expunge.train.training import make_recipe

DECAY = 1e-2
SIGMA = 2.0
FIELDS: dict[str, Any] = {
    "model": "linear",
    "task": "logistic",
    "epochs": 300,
    "batch_size": 1000,
    "optimiser": Optimiser(rate=4.0, weight_decay=DECAY, calendar=Calendar.CONSTANT),
    "perturbation": SIGMA,
}


def random_rows(generator: np.random.Generator, count: int, width: int, classes: int = 3) -> LinearRows:
    """Rows of length 1 at most, labels by a noisy linear rule."""
    x = generator.normal(size=(count, width)) * generator.uniform(0.2, 2, width)
    x /= np.maximum(1.0, np.linalg.norm(x, axis=1, keepdims=True))
    y = (x @ generator.normal(size=(width, classes)) + 0.3 * generator.normal(size=(count, classes))).argmax(axis=1)
    return LinearRows(torch.from_numpy(x), torch.from_numpy(y))


def parts(rows: LinearRows, forget: np.ndarray) -> tuple[LinearRows, LinearRows]:
    """(retain, forget)."""
    mask = torch.zeros(len(rows), dtype=torch.bool)
    mask[forget] = True
    return LinearRows(rows.features[~mask], rows.labels[~mask]), LinearRows(rows.features[mask], rows.labels[mask])


def optimum(task: LinearTask, rows: LinearRows, decay: float, noise: torch.Tensor | None = None) -> torch.Tensor:
    """The minimum with noise, by Newton's method from zero down to the last bits."""
    weights = torch.zeros(3, rows.features.shape[1], dtype=torch.float64)
    for _ in range(60):
        left = gradient(task, weights, rows, decay) + (0 if noise is None else noise)
        steps = [torch.linalg.solve(hessian(task, weights, rows, decay, c), left[c]) for c in range(3)]
        weights = weights - torch.stack(steps)
    return weights


def removal_after(steps: int, *arguments: Any, **named: Any) -> Removal:
    found = newton_steps(*arguments, **named)
    for _ in range(steps - 1):
        next(found)
    return next(found)


def certified_parent(dataset: Dataset, *, noise_seed: int | None = 0, double: bool = False, **change: Any) -> Parent:
    """A linear model at the minimum of its perturbed objective, found by the solver instead of the loop."""
    recipe: Recipe = make_recipe(dataset, **{**FIELDS, **change})
    schedule = Schedule.of(recipe, bytes(32), number_units(dataset.subjects))
    examples = Examples(recipe, dataset, torch.device("cpu"))
    model: nn.Module = build(recipe, schedule.seed).eval()
    if double:
        examples.inputs = examples.inputs.double() / 255
        model = build(recipe, schedule.seed).body.double().eval()
    task = TASKS[recipe.task]
    noise = None
    if recipe.perturbation and noise_seed is not None:
        noise = draw_noise(recipe, bytes([noise_seed]) * 32, schedule.seed)
    if isinstance(task, LinearTask) and recipe.model == "linear":
        with torch.no_grad():
            features = features_of(model, examples.inputs).double()
            pull = None if noise is None else torch.from_numpy(noise)
            head_of(model).weight.copy_(optimum(task, LinearRows(features, examples.labels), DECAY, pull))
    return Parent(
        recipe=recipe,
        schedule=schedule,
        root=bytes(32),
        beacon=bytes(32),
        units=number_units(dataset.subjects),
        examples=examples,
        model=model,
        weights_digest=weights_digest(model),
        emptied=np.zeros(0, dtype=np.int64),
        exact_refused=None,
        noise=noise,
    )


def parent_after(parent: Parent, result: Any, slots: np.ndarray) -> Parent:
    """The result as the parent of the next request."""
    return replace(
        parent,
        model=result.model,
        weights_digest=weights_digest(result.model),
        emptied=np.union1d(parent.emptied, slots),
        account=result.account,
    )


def embeddings() -> Dataset:
    """Ninety rows of six given features: few enough that one step may do."""
    rows = random_rows(np.random.default_rng(0), 90, 6)
    return make_dataset(
        labels=rows.labels.tolist(),
        columns=[Column("embedding", ColumnKind.ARRAY, (6,))],
        content={"embedding": rows.features.numpy()},
        where="test embeddings",
    )
