"""What lies beside the rows of a step: weights by slot, against a loop over rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from expunge.data.dataset import Dataset
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.plan import Role, TrainingPlan
from expunge.schedule.schedule import Schedule
from expunge.tasks import TASKS
from expunge.train.examples import Examples
from expunge.train.objective import Extras, StepBatch
from expunge.train.training import make_recipe

NOBODY = np.zeros(0, dtype=np.int64)


@pytest.mark.parametrize("task", ["classification", "squared", "logistic"])
def test_weights_of_single_slots_equal_a_loop_over_rows(pictures: Dataset, task: str) -> None:
    """Value and gradient of the weighted mean; one slot weighs as much as a hundred others, one nothing."""
    recipe = make_recipe(pictures, model="linear" if task != "classification" else "mlp", task=task, batch_size=16)
    schedule = Schedule.of(recipe, bytes(32), number_units(pictures.subjects))
    plan, examples = TrainingPlan(recipe, schedule, 0, NOBODY), Examples(recipe, pictures, torch.device("cpu"))
    step, model = plan.step(0), build(recipe, schedule.seed)
    slots = step.parts[Role.RETAIN].slots
    weights = torch.from_numpy(np.random.default_rng(1).uniform(0.5, 2, len(examples)))
    weights[slots[3]], weights[slots[5]] = 100.0, 0.0
    loss = StepBatch(step, plan, examples, TASKS[task], Extras(slot_weights=weights)).retain_loss(model).value()
    assert loss is not None
    found = torch.autograd.grad(loss, list(model.parameters()))
    total, shares = 0.0, weights / weights[slots].sum()
    sums = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for slot in slots:
        (one,) = TASKS[task].losses(model, examples.batch(np.array([slot])))
        total += float(shares[slot]) * one.item()
        for held, gradient in zip(sums, torch.autograd.grad(one, list(model.parameters())), strict=True):
            held += float(shares[slot]) * gradient
    assert loss.item() == pytest.approx(total, rel=1e-6)
    for one, other in zip(found, sums, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6 * float(other.abs().max()))
