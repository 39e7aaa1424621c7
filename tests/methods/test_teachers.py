"""What scrub, bad-teacher and decoupled-distillation have in common: closed forms, statistics, costs, options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.shared import (
    FORGET,
    RETAINED,
    MakeParent,
    Problem,
    continues,
    digest,
    gradient_of,
    passes,
    plan_and_teacher,
    renamed_linear,
    usual_digest,
    value_of,
)
from torch import nn
from torch.nn import functional

from expunge.core.errors import InvalidArgument, UnsupportedEver
from expunge.data.dataset import Dataset
from expunge.methods.bad_teacher import BadTeacher
from expunge.methods.contract import Method, Parent
from expunge.methods.decoupled_distillation import DecoupledDistillation
from expunge.methods.gradient_ascent import BatchNormMode
from expunge.methods.lookup import make_method
from expunge.methods.objective_method import ObjectiveMethod
from expunge.methods.scrub import Scrub
from expunge.schedule.plan import Role
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.tasks.classification import Classification
from expunge.train.objective import StepBatch

# Objectives against their closed forms, in float64.


@contextmanager
def linear(pictures: Dataset, parent_of: MakeParent) -> Iterator[tuple[Parent, nn.Module]]:
    """A linear parent in float64, and a student that has moved away from it."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    parent = parent_of(pictures, model=model)
    parent.examples.inputs = parent.examples.inputs.double() / 255
    untrained = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    yield replace(parent, initial=lambda: deepcopy(untrained)), student


Delta = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def pulled_back(parent: Parent, student: nn.Module, teacher: nn.Module, slots: np.ndarray, delta: Delta) -> Any:
    """The gradient of the weights from that of each row's logits, given z, the teacher's z and one-hot labels."""
    rows = parent.examples.batch(slots)
    with torch.no_grad():
        on_logits = delta(
            student(rows["inputs"]), teacher(rows["inputs"]), functional.one_hot(rows["labels"], 3).double()
        )
        return torch.cat([(on_logits.T @ rows["inputs"].flatten(1)).reshape(-1), on_logits.sum(0)])


def slope_of(method: ObjectiveMethod, parent: Parent, student: nn.Module, index: int) -> tuple[Any, Any, Any]:
    plan, teacher = plan_and_teacher(method, parent)
    step = plan.step(index)
    loss = method.objective(student, StepBatch(step, plan, parent.examples, Classification()), teacher)
    return gradient_of(loss, student), step, teacher


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("cross_entropy", "distillation", "temperature"), [(1.0, 0.5, 2.0), (0.3, 2.0, 4.0)])
def test_gradients_of_scrub(
    cross_entropy: float, distillation: float, temperature: float, pictures: Dataset, parent_of: MakeParent
) -> None:
    """γ(p − y) + αT(p_T − t_T) on R, −T(p_T − t_T) on F."""
    method = Scrub(cross_entropy=cross_entropy, distillation=distillation, temperature=temperature)

    def softened(z: torch.Tensor, other: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return temperature * ((z / temperature).softmax(1) - (other / temperature).softmax(1)) / len(z)

    def retained(z: torch.Tensor, other: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return cross_entropy * (z.softmax(1) - y) / len(z) + distillation * softened(z, other, y)

    with linear(pictures, parent_of) as (parent, student):
        found, step, teacher = slope_of(method, parent, student, 0)
        assert set(step.parts) == {Role.FORGET}
        close(found, -pulled_back(parent, student, teacher, step.parts[Role.FORGET].slots, softened))
        found, step, teacher = slope_of(method, parent, student, 1)
        assert set(step.parts) == {Role.RETAIN}
        close(found, pulled_back(parent, student, teacher, step.parts[Role.RETAIN].slots, retained))


@pytest.mark.parametrize(("forget_weight", "temperature"), [(1.0, 1.0), (0.25, 3.0)])
def test_gradients_of_bad_teacher(
    forget_weight: float, temperature: float, pictures: Dataset, parent_of: MakeParent
) -> None:
    """Over all rows of a step together: T(p_T − t_T) by each row's own teacher."""
    method = BadTeacher(forget_weight=forget_weight, temperature=temperature)
    with linear(pictures, parent_of) as (parent, student):
        found, step, teacher = slope_of(method, parent, student, 0)
        sizes = {role: len(part.slots) for role, part in step.parts.items()}
        assert len(sizes) == 2
        everybody = sum(sizes.values())

        def softened(z: torch.Tensor, other: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return temperature * ((z / temperature).softmax(1) - (other / temperature).softmax(1)) / everybody

        forgotten = pulled_back(parent, student, teacher.incompetent, step.parts[Role.FORGET].slots, softened)
        retained = pulled_back(parent, student, teacher.competent, step.parts[Role.RETAIN].slots, softened)
        close(found, forget_weight * forgotten + retained)


def test_gradients_of_decoupled_distillation(pictures: Dataset, parent_of: MakeParent) -> None:
    """(p − t)/B with t = p₀ without the right answer, scaled up to 1."""

    def apart(z: torch.Tensor, other: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        rest = other.softmax(1) * (1 - y)
        return (z.softmax(1) - rest / rest.sum(1, keepdim=True)) / len(z)

    with linear(pictures, parent_of) as (parent, student):
        found, step, teacher = slope_of(DecoupledDistillation(), parent, student, 0)
        close(found, pulled_back(parent, student, teacher, step.parts[Role.FORGET].slots, apart))


def test_decoupled_distillation_begins_at_the_surprise_of_a_miss(pictures: Dataset, parent_of: MakeParent) -> None:
    """The loss at the original is the mean of −log(1 − p_y)."""
    method = DecoupledDistillation()
    with linear(pictures, parent_of) as (parent, _):
        plan, teacher = plan_and_teacher(method, parent)
        step = plan.step(0)
        loss = method.objective(parent.model, StepBatch(step, plan, parent.examples, Classification()), teacher)
        rows = parent.examples.batch(step.parts[Role.FORGET].slots)
        right = parent.model(rows["inputs"]).softmax(1).gather(1, rows["labels"][:, None])
        torch.testing.assert_close(value_of(loss), -torch.log1p(-right).mean(), rtol=1e-12, atol=1e-12)


# Statistics and costs by hand: 4/3 a row that a teacher looks at, too.


def test_forget_passes_of_teachers_write_no_statistics(problem: Problem) -> None:
    normed = problem("normed")
    before = passes(normed.model)
    result = Scrub(epochs=2, forget_epochs=2, batch_size=69, forget_batch_size=4)(normed, FORGET, budget=3.0)
    assert result.steps == 2 * (3 + 2)
    assert passes(result.model) == [count + 2 * 2 for count in before]

    method = BadTeacher(batch_size=9)
    plan, _ = plan_and_teacher(method, normed)
    steps = [plan.step(index) for index in range(plan.total)]
    written = sum(Role.RETAIN in step.parts and len(step.parts[Role.RETAIN].slots) >= 2 for step in steps)
    result = method(normed, FORGET, budget=3.0)
    assert result.steps == len(steps)
    assert 0 < written < sum(len(step.parts) for step in steps)
    assert passes(result.model) == [count + written for count in before]

    result = DecoupledDistillation(epochs=2, rate=0.01)(normed, FORGET, budget=3.0)
    assert passes(result.model) == before
    published = DecoupledDistillation(epochs=2, rate=0.01, batch_norm=BatchNormMode.AS_PUBLISHED)
    result = published(normed, FORGET, budget=3.0)
    assert passes(result.model) == [count + result.steps for count in before]


def test_costs_of_teachers(parent: Parent) -> None:
    f, r, sampled = len(FORGET), RETAINED, round(0.3 * RETAINED)
    for method, thirds in (
        (Scrub(epochs=4, forget_epochs=2), 2 * 4 * f + 4 * 4 * r),
        (Scrub(epochs=4, forget_epochs=2, cross_entropy=0), 2 * 4 * f + 4 * 4 * r),
        (Scrub(epochs=4, forget_epochs=2, distillation=0), 2 * 4 * f + 4 * 3 * r),
        (Scrub(epochs=4, forget_epochs=4, cross_entropy=0, distillation=0), 4 * 4 * f),
        (Scrub(epochs=6, forget_epochs=4, cross_entropy=0, distillation=0), 4 * 4 * f),
        (BadTeacher(), 4 * (f + sampled)),
        (BadTeacher(retain_share=0.33), 4 * (f + 46)),
        (BadTeacher(epochs=3), 3 * 4 * (f + sampled)),
        (BadTeacher(forget_weight=0), 4 * sampled),
        (BadTeacher(retain_share=1), 4 * (f + r)),
        (BadTeacher(retain_share=0), 4 * f),
        (DecoupledDistillation(), 20 * 4 * f),
        (DecoupledDistillation(epochs=2, batch_size=5), 2 * 4 * f),
    ):
        result = method(parent, FORGET, budget=10.0)
        assert round(3 * result.cost.example_steps) == thirds, method
        assert result.stopped is not None
        assert "epochs" in result.stopped


# Directions, names, options.


def whole_loss(method: ObjectiveMethod, parent: Parent, model: nn.Module, index: int) -> float:
    plan, teacher = plan_and_teacher(method, parent)
    loss = method.objective(model, StepBatch(plan.step(index), plan, parent.examples, Classification()), teacher)
    return float(value_of(loss).detach())


@pytest.mark.parametrize(
    ("method", "index"),
    [
        (Scrub(epochs=21, forget_epochs=1, batch_size=150, rate=1e-3, weight_decay=0), 1),
        (BadTeacher(epochs=20, batch_size=150, rate=1e-3), 0),
        (DecoupledDistillation(epochs=20, rate=0.01), 0),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_objective_falls(method: ObjectiveMethod, index: int, problem: Problem) -> None:
    """Each step holds all rows; that of scrub is compared on a retain pass."""
    parent = problem("double")
    result = method(parent, FORGET, budget=10.0)
    assert result.steps >= 20
    assert whole_loss(method, parent, result.model, index) < whole_loss(method, parent, parent.model, index)


@pytest.mark.parametrize(
    "method",
    [Scrub(batch_size=32, epochs=4), BadTeacher(rate=1e-3, epochs=3), DecoupledDistillation(rate=0.01)],
    ids=lambda method: method.name,
)
def test_renaming_the_classes_renames_the_result(method: Method, pictures: Dataset, parent_of: MakeParent) -> None:
    order = torch.tensor([2, 0, 1])
    results = []
    steps = torch.arange(192).double()
    for names in (None, order):
        parent, untrained = (
            renamed_linear(pictures, parent_of, torch.sin(scale * steps).reshape(3, 64), names) for scale in (0.1, 0.7)
        )
        parent = replace(parent, initial=lambda one=untrained.model: deepcopy(one))
        after = method(parent, FORGET, budget=2.0).model[1].weight.detach()  # type: ignore[index, union-attr]
        assert not torch.equal(after, parent.model[1].weight)  # type: ignore[index]
        results.append(after)
    torch.testing.assert_close(results[1][order], results[0], rtol=0, atol=1e-10)


BASE: dict[str, Any] = {
    "rate": 0.002,
    "epochs": 2,
    "batch_size": 7,
    "momentum": 0.5,
    "weight_decay": 0.3,
    "calendar": Calendar.CONSTANT,
    "optimiser": OptimiserName.ADAMW,
    "recalibrate": True,
}
OPTIONS = [
    *((Scrub, {"epochs": 4}, field, value) for field, value in BASE.items()),
    (Scrub, {"epochs": 4}, "forget_batch_size", 3),
    (Scrub, {"epochs": 4}, "forget_epochs", 1),
    (Scrub, {"epochs": 4}, "cross_entropy", 0.4),
    (Scrub, {"epochs": 4}, "distillation", 3.0),
    (Scrub, {"epochs": 4}, "temperature", 4.0),
    *((BadTeacher, {"epochs": 4}, field, value) for field, value in BASE.items()),
    (BadTeacher, {}, "retain_share", 0.5),
    (BadTeacher, {}, "forget_weight", 0.5),
    (BadTeacher, {}, "temperature", 2.0),
    *((DecoupledDistillation, {}, field, value) for field, value in BASE.items() if field != "recalibrate"),
    (DecoupledDistillation, {}, "batch_norm", BatchNormMode.AS_PUBLISHED),
]


@pytest.mark.parametrize(
    ("kind", "settings", "field", "value"), OPTIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_option_has_an_effect(
    kind: type[ObjectiveMethod], settings: dict[str, Any], field: str, value: object, normed: Parent
) -> None:
    plain, changed = kind(**settings), kind(**{**settings, field: value})
    assert usual_digest(plain, normed, 2.0) != digest(changed, normed, 2.0)


def test_every_field_is_among_the_options() -> None:
    from dataclasses import fields

    for kind in (Scrub, BadTeacher, DecoupledDistillation):
        refused = {"recalibrate"} if kind is DecoupledDistillation else set()  # it sees no retained row
        tried = {field for one, _, field, _ in OPTIONS if one is kind}
        assert tried | refused == {f.name for f in fields(kind)}


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("scrub", {"cross_entropy": "-1"}, "cross_entropy -1.0 must be a finite number from 0"),
        ("scrub", {"distillation": "nan"}, "distillation nan must be a finite number from 0"),
        ("scrub", {"temperature": "0"}, "temperature 0.0 must be a finite number above 0"),
        ("scrub", {"forget_epochs": "-1"}, "forget_epochs -1 must be a whole number from 0"),
        ("scrub", {"forget_epochs": "1.5"}, "is not a whole number"),
        ("scrub", {"forget_batch_size": "0"}, "forget_batch_size 0 must be at least 1"),
        ("bad-teacher", {"retain_share": "1.5"}, "retain_share 1.5 must be a share between 0 and 1"),
        ("bad-teacher", {"forget_weight": "inf"}, "forget_weight inf must be a finite number from 0"),
        ("bad-teacher", {"temperature": "-2"}, "temperature -2.0 must be a finite number above 0"),
        ("delete", {"batch_norm": "odd"}, "is not one of eval, as-published"),
        ("delete", {"recalibrate": "true"}, "recalibrate needs the retain set"),
        ("scrub", {"rate": "-1"}, "rate -1.0 must be a finite number from 0"),
        ("bad-teacher", {"epochs": "-1"}, "epochs -1 must be a number from 0"),
    ],
)
def test_settings_of_teachers_are_checked(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_method(name, settings)


@pytest.mark.parametrize("kind", [Scrub, BadTeacher, DecoupledDistillation])
def test_scores_that_are_no_logits_are_refused(kind: type[Method], parent: Parent) -> None:
    squared = replace(parent, recipe=replace(parent.recipe, task="squared"))
    with pytest.raises(UnsupportedEver, match="it needs logits of a softmax over classes; use fine-tune"):
        kind()(squared, FORGET)


@pytest.mark.parametrize("method", [Scrub(epochs=4), BadTeacher(batch_size=8)], ids=lambda method: method.name)
def test_interrupted_and_continued(method: Method, normed: Parent, tmp_path: Path) -> None:
    """Between stretches and within them."""
    continues(method, normed, tmp_path / "run", stop=5, budget=2.0)
