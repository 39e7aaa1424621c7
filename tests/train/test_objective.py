"""What lies beside the rows of a step: weights by slot, against a loop over rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.methods.fine_tune import FineTune
from expunge.methods.unlearn import unlearn
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.plan import Role, TrainingPlan
from expunge.schedule.schedule import Schedule
from expunge.tasks import TASKS
from expunge.train.examples import Examples
from expunge.train.objective import Extras, Loss, StepBatch, Term
from expunge.train.run import Run
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


class Halves(StepBatch):
    """A step's batch without data: terms of one number, so that what becomes of them can be computed by hand."""

    def __init__(self) -> None:
        self.weight = torch.tensor(3.0, requires_grad=True)
        self.asked: list[str] = []

    def of(self, name: str, factor: float) -> Loss:
        def compute() -> torch.Tensor:
            self.asked.append(name)
            return factor * self.weight

        return Loss((Term(1.0, {name: 3}, compute),))


@pytest.mark.parametrize(("cap", "slope"), [(10.0, -2.0), (5.0, 0.0)])
def test_a_hinge_at_a_cap_pushes_up_to_it_and_no_further(cap: float, slope: float) -> None:
    """½·w + relu(cap − 2·w) at w = 3, and its gradient."""
    step = Halves()
    loss = 0.5 * step.of("retain", 1.0) + step.of("forget", 2.0).through(lambda loss: torch.relu(cap - loss))
    value = loss.value()
    assert value is not None
    assert value.item() == 1.5 + max(0.0, cap - 6.0)
    assert torch.autograd.grad(value, step.weight)[0].item() == 0.5 + slope
    assert loss.thirds == 6
    assert step.asked == ["retain", "forget"]


def test_what_weighs_nothing_is_not_computed_inside_a_function_either() -> None:
    step = Halves()
    inner = step.of("retain", 1.0) + 0.0 * step.of("forget", 2.0)
    assert (inner.through(torch.square)).value() == 9.0
    assert (inner.through(torch.square)).thirds == 3
    assert (0.0 * inner.through(torch.square)).value() is None
    assert (0.0 * step.of("forget", 1.0)).through(torch.square).value() is None
    assert Loss().through(torch.square).thirds == 0
    assert step.asked == ["retain"]


def test_what_two_terms_share_is_counted_once() -> None:
    step = Halves()
    assert (step.of("forget", 1.0) + step.of("forget", 1.0).through(torch.exp)).thirds == 3
    assert (step.of("a", 1.0) - step.of("b", 1.0)).through(torch.square).thirds == 6


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda loss: loss + 2.0, r"2.0 is no loss but a float: .* `loss.through\(function\)`"),
        (lambda loss: 2.0 - loss, "2.0 is no loss but a float"),
        (lambda loss: loss * loss, "a product of two losses"),
        (lambda loss: loss.through(lambda value: value.item()).value(), r"`through` answered 3.0: .*torch.relu"),
        (lambda loss: loss.through(lambda value: value[None]).value(), "`through` answered tensor"),
    ],
)
def test_what_is_no_objective_is_said_with_the_way_to_write_it(write: Callable[[Loss], object], sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        write(Halves().of("forget", 1.0))


@pytest.mark.parametrize("answer", [1.5, None, torch.ones(())])
def test_an_objective_that_answers_no_loss_is_refused_before_the_first_step(
    small_run: Run, pictures: Dataset, tmp_path: Path, answer: object
) -> None:
    class Answers(FineTune):
        name = "answers"

        def objective(self, student: object, batch: object, teacher: object) -> Loss:
            return answer  # type: ignore[return-value]

    with pytest.raises(InvalidArgument, match=f"is no loss but a {type(answer).__name__}"):
        unlearn(small_run, "random:3:1", method=Answers(), out=tmp_path / "run", data=pictures)
