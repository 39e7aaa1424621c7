"""Methods that move the forget set over a boundary: boundary-shrink, boundary-expand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from expunge.core.errors import InvalidArgument, UnsupportedEver
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.methods.boundary_expand import BoundaryExpand, append_output, last_linear
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.contract import Given, Method, Need, Parent
from expunge.methods.gradient_ascent import BatchNormMode
from expunge.methods.lookup import make_method
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.models.front import Fronted, input_space
from expunge.schedule.plan import Role
from expunge.schedule.recipe import Augmentation, Calendar, OptimiserName
from expunge.tasks.classification import TASKS, Classification
from expunge.tasks.task import Batch
from expunge.train.meter import Meter
from expunge.train.objective import StepBatch
from expunge.train.state import weights_digest

FORGET = np.array([3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26])
KINDS = (BoundaryShrink, BoundaryExpand)
Problem = Callable[[str], Parent]
MakeParent = Callable[..., Parent]
EXACT_DESCENT: dict[str, Any] = {"momentum": 0.0, "weight_decay": 0.0, "calendar": Calendar.CONSTANT}


def given_of(parent: Parent, method: Method) -> Given:
    return Given(
        parent,
        np.sort(FORGET),
        method.needs,
        seed=0,
        meter=Meter(),
        workspace=None,
        progress=None,
        checkpoint_interval=None,
        trace=False,
    )


def nearest(parent: Parent, radius: float) -> np.ndarray:
    return BoundaryShrink(radius=radius).nearest_classes(given_of(parent, BoundaryShrink())).numpy()[np.sort(FORGET)]


def digest(method: Method, parent: Parent, budget: float = 2.0) -> str:
    return weights_digest(method(parent, FORGET, budget=budget).model)


def answers(model: nn.Module, inputs: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(inputs).argmax(1).numpy()


def table(parent_of: MakeParent, model: nn.Module | None, scale: float = 1.0, **fields: Any) -> Parent:
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


def linear_parent(parent_of: MakeParent) -> Parent:
    model = nn.Linear(5, 3).double()
    generator = np.random.default_rng(4)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(generator.normal(size=(3, 5))))
        model.bias.copy_(torch.from_numpy(0.1 * generator.normal(size=3)))
    return table(parent_of, model)


# The nearest class.


@pytest.mark.parametrize("name", ["plain", "normed", "double", "convolved-normed"])
def test_at_radius_zero_it_is_the_originals_answer(name: str, problem: Problem) -> None:
    parent = problem(name)
    expected = answers(parent.model, parent.examples.plain(np.sort(FORGET)).inputs)
    assert np.array_equal(nearest(parent, 0.0), expected)


def test_of_a_linear_model_by_its_closed_form(parent_of: MakeParent) -> None:
    """z + ε·W·sign(Wᵀ(p − y)), and real numbers have no range that they would be kept in."""
    parent = linear_parent(parent_of)
    rows = parent.examples.plain(np.sort(FORGET))
    weight, bias = (value.detach() for value in parent.model.parameters())
    z = rows.inputs @ weight.T + bias
    error = torch.softmax(z, 1) - one_hot(rows.labels, 3)
    moved = 0
    for radius in (0.05, 0.3, 2.0):
        shifted = z + radius * torch.sign(error @ weight) @ weight.T
        assert np.array_equal(nearest(parent, radius), shifted.argmax(1).numpy())
        moved += int((shifted.argmax(1) != z.argmax(1)).sum())
    assert moved > 3


def test_rows_that_lie_too_deep_are_counted(parent_of: MakeParent) -> None:
    """Their nearest class is their own: they are taught what they should forget, and the result says so."""
    parent = linear_parent(parent_of)
    own = parent.examples.labels.numpy()[np.sort(FORGET)]
    for radius in (0.01, 0.3, 50.0):
        kept = int((nearest(parent, radius) == own).sum())
        said = f"{kept} of 12 forgotten rows keep their class at radius {radius:g}: they are trained to stay there"
        result = BoundaryShrink(radius=radius)(parent, FORGET, budget=1.0)
        assert result.notices == ((said,) if kept else ())
    assert kept == 0


class Watching(Classification):
    """Keeps what the answers were asked for."""

    def __init__(self) -> None:
        self.asked: list[torch.Tensor] = []

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        if not torch.is_grad_enabled():
            self.asked.append(batch.inputs)
        return super().outputs(model, batch)


def across(parent: Parent, radius: float, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    watching = Watching()
    monkeypatch.setitem(TASKS, "classification", watching)
    nearest(parent, radius)
    assert len(watching.asked) == 1
    return watching.asked[0]


def test_pixels_have_their_range_and_are_not_rounded(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """The radius is a share of 0 … 255 here; a range of 0 … 1, or rounding to 1/255, would give other rows."""
    parent = problem("plain")
    rows = parent.examples.plain(np.sort(FORGET))
    pixels = rows.inputs.float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(parent.model.eval()(pixels), rows.labels), [pixels])
    shifted = pixels.detach() + 0.1 * 255 * gradient.sign()
    found = across(parent, 0.1, monkeypatch)
    torch.testing.assert_close(found, shifted.clamp(0, 255), rtol=0, atol=1e-4)
    assert (shifted < 0).any()
    assert float(found.min()) == 0
    assert float(found.max()) > 100
    assert float((found - found.round()).abs().max()) > 0.4
    defective = (shifted / 255).clamp(0, 1).mul(255).round(), shifted.clamp(0, 1)
    assert all(float((found - other).abs().max()) > 0.4 for other in defective)
    assert float(across(parent, 3.0, monkeypatch).max()) == 255


def test_numbers_are_measured_in_standard_deviations(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column a thousand times as large is moved a thousand times as far, for the model sees neither."""
    parents = [table(parent_of, None, scale) for scale in (1.0, 1000.0)]
    for parent, scale in zip(parents, (1.0, 1000.0), strict=True):
        rows = parent.examples.plain(np.sort(FORGET)).inputs
        step = (across(parent, 0.5, monkeypatch) - rows).abs()
        norm = parent.model.front.norm  # type: ignore[union-attr]
        expected = 0.5 * torch.sqrt(norm.running_var + norm.eps).expand_as(step)  # type: ignore[union-attr, operator]
        torch.testing.assert_close(step, expected, rtol=1e-3, atol=1e-3 * scale)
        assert float(step.min()) > 0.2 * scale


def test_the_input_space_is_what_the_front_undoes(parent_of: MakeParent, pictures: Dataset) -> None:
    for parent in (table(parent_of, None, 7.0), parent_of(pictures)):
        model = parent.model.eval()
        assert isinstance(model, Fronted)
        space = input_space(model, parent.recipe.inputs)
        values = torch.randn(4, *parent.recipe.inputs.shape, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(model.front(space.rows(values)), values, rtol=1e-4, atol=1e-4)
    assert input_space(nn.Linear(2, 2), parent.recipe.inputs).unit == 1.0


def test_mixed_columns_and_real_images_have_a_space_too(parent_of: MakeParent) -> None:
    generator = np.random.default_rng(0)
    labels = [int(label) for label in generator.integers(0, 2, 40)]
    mixed = make_dataset(
        labels=labels,
        columns=[Column("colour", ColumnKind.CATEGORY), Column("age", ColumnKind.NUMERIC)],
        content={
            "colour": np.array([("red", "blue")[label] for label in labels], dtype=object),
            "age": 40 + 9 * generator.normal(size=40),
        },
        where="test",
    )
    images = make_dataset(
        labels=labels,
        columns=[Column("scan", ColumnKind.ARRAY, (2, 4, 5), "CHW")],
        content={"scan": 5 + generator.normal(size=(40, 2, 4, 5))},
        where="test",
    )
    for data in (mixed, images):
        parent = parent_of(data)
        space = input_space(parent.model, parent.recipe.inputs)
        values = torch.randn(4, *parent.recipe.inputs.shape, generator=torch.Generator().manual_seed(0))
        seen = parent.model.eval().front(space.rows(values))  # type: ignore[operator, union-attr]
        torch.testing.assert_close(seen, values, rtol=1e-3, atol=1e-3)
        assert space.bounds is None
    with pytest.raises(UnsupportedEver, match="column 'colour': words and categories are hashed"):
        BoundaryShrink()(parent_of(mixed), FORGET[:1])
    BoundaryExpand()(parent_of(mixed), FORGET[:1])


def test_a_model_without_gradients_in_its_inputs_is_refused(parent_of: MakeParent) -> None:
    class Stepped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.head((inputs > 0).float())

    parent = table(parent_of, Stepped())
    with pytest.raises(UnsupportedEver, match="no gradient in the rows that come in"):
        BoundaryShrink()(parent, FORGET, budget=1.0)


def test_it_is_found_once_on_rows_as_they_are(pictures: Dataset, parent_of: MakeParent) -> None:
    """Augmentation and dropout have no part in it, and every pass uses the same labels."""
    parent = parent_of(
        pictures, augmentation=Augmentation(flip=True, crop=1), model_options={"dropout": 0.5, "norm": "batch"}
    )
    seen: list[tuple[int, int]] = []

    class Noting(BoundaryShrink):
        name = "noting"

        def prepare(self, given: Given, student: nn.Module) -> Prepared:
            prepared = super().prepare(given, student)
            relabel = prepared.extras.relabel
            assert relabel is not None

            def noted(slots: torch.Tensor, labels: torch.Tensor, epoch: int) -> torch.Tensor:
                found = relabel(slots, labels, epoch)
                seen.extend(zip(slots.tolist(), found.tolist(), strict=True))
                return found

            return replace(prepared, extras=replace(prepared.extras, relabel=noted))

    Noting(radius=0.2, epochs=3)(parent, FORGET, budget=1.0)
    assert len(seen) == 3 * len(FORGET)
    assert dict(seen) == dict(zip(np.sort(FORGET).tolist(), nearest(parent, 0.2).tolist(), strict=True))
    assert len(set(seen)) == len(FORGET)


# The extra class.


@pytest.mark.parametrize("name", ["plain", "normed", "double", "convolved", "residual"])
def test_the_extra_class_is_gone_at_the_end(name: str, problem: Problem) -> None:
    parent = problem(name)
    before = {key: value.shape for key, value in parent.model.state_dict().items()}
    result = BoundaryExpand(rate=0.01)(parent, FORGET, budget=1.0)
    assert {key: value.shape for key, value in result.model.state_dict().items()} == before
    assert [type(m) for m in result.model.modules()] == [type(m) for m in parent.model.modules()]
    assert str(result.model) == str(parent.model)
    with torch.no_grad():
        assert result.model(parent.examples.plain(FORGET).inputs).shape == (len(FORGET), 3)
    assert digest(BoundaryExpand(rate=0.01), parent, 1.0) != parent.weights_digest


def test_without_its_end_there_would_be_a_column_more(parent: Parent) -> None:
    class Unfinished(BoundaryExpand):
        """As in public code: the class stays."""

        name = "unfinished"

        def prepare(self, given: Given, student: nn.Module) -> Prepared:
            return replace(super().prepare(given, student), finish=None)

    result = Unfinished(rate=0.01)(parent, FORGET, budget=1.0)
    with torch.no_grad():
        assert result.model(parent.examples.plain(FORGET).inputs).shape == (len(FORGET), 4)


@pytest.mark.parametrize("budget", [0.01, 1.0])
def test_zero_steps_leave_every_row_as_it_was(budget: float, parent: Parent) -> None:
    """Not one step fits, or none is asked for: the other rows are the same bits."""
    result = BoundaryExpand(epochs=None if budget < 1 else 0, batch_size=12)(parent, FORGET, budget=budget)
    assert result.steps == 0
    assert weights_digest(result.model) == parent.weights_digest


def test_expanding_by_hand(parent_of: MakeParent) -> None:
    """Plain descent towards class C + 1, from a row that was drawn, which is then cut off."""
    parent = linear_parent(parent_of)
    method = BoundaryExpand(rate=0.05, epochs=7, batch_size=12, **EXACT_DESCENT)
    stream = given_of(parent, method).stream("init")
    drawn = (2 * np.concatenate([stream.uniform(5), stream.uniform(1)]) - 1) / np.sqrt(5)
    weight, bias = (value.detach().numpy().copy() for value in parent.model.parameters())
    weight, bias = np.vstack([weight, drawn[:5]]), np.append(bias, drawn[5])
    x = parent.examples.plain(np.sort(FORGET)).inputs.numpy()
    for _ in range(7):
        z = x @ weight.T + bias
        p = np.exp(z - z.max(1, keepdims=True))
        error = p / p.sum(1, keepdims=True) - np.eye(4)[3]
        weight, bias = weight - 0.05 * error.T @ x / len(x), bias - 0.05 * error.mean(0)
    found = method(parent, FORGET, budget=1.0).model
    np.testing.assert_allclose(found.weight.detach().numpy(), weight[:3], rtol=0, atol=1e-6)  # type: ignore[union-attr]
    np.testing.assert_allclose(found.bias.detach().numpy(), bias[:3], rtol=0, atol=1e-6)  # type: ignore[union-attr]


def test_the_row_is_drawn_as_dense_layers_are(parent: Parent) -> None:
    from expunge.core.streams import Stream

    head = nn.Linear(4000, 3)
    old = head.weight.detach().clone()
    append_output(head, Stream(bytes(32), "unlearn/init"))
    new = head.weight[3].detach() * 4000**0.5
    assert torch.equal(head.weight[:3], old)
    assert head.out_features == 4
    assert float(new.abs().max()) <= 1
    assert abs(float(new.mean())) < 0.05
    assert abs(float(new.square().mean()) - 1 / 3) < 0.03


class Tied(nn.Module):
    """The head's weights are used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 3)
        self.second = nn.Linear(5, 3)
        self.second.weight = self.first.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.first(inputs.float()) + self.second(inputs.float())


class Midway(nn.Module):
    """Three hidden units and three classes, the last layer no dense one."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.hidden(inputs.float()) * self.scale


class NoHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 5))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.float() @ self.weight.T


@pytest.mark.parametrize("kind", [Tied, Midway, NoHead])
def test_models_that_cannot_be_extended_are_refused(kind: type[nn.Module], parent_of: MakeParent) -> None:
    parent = table(parent_of, kind())
    with pytest.raises(UnsupportedEver, match=r"appends one output to a dense layer of 3 outputs.*use boundary-shrink"):
        BoundaryExpand()(parent, FORGET)
    BoundaryShrink()(parent, FORGET)


def test_parametrised_weights_are_not_extended() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)))
    assert last_linear(model, 3) is None
    assert last_linear(nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 4)), 3) is not None


def test_frozen_parameters_and_a_layer_without_bias(parent_of: MakeParent) -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3, bias=False)).double()
    model[0].requires_grad_(False)
    parent = table(parent_of, model)
    result = BoundaryExpand(rate=0.01)(parent, FORGET, budget=1.0).model
    assert [p.requires_grad for p in result.parameters()] == [False, False, True]
    assert torch.equal(result[0].weight, model[0].weight)  # type: ignore[index, union-attr]
    assert not torch.equal(result[2].weight, model[2].weight)  # type: ignore[index, union-attr]


# Both.


def test_objective_gradients(parent_of: MakeParent) -> None:
    """On the logits p − y', with y' the nearest class, or the class that was appended."""
    parent = linear_parent(parent_of)
    for method, classes in ((BoundaryShrink(radius=0.3), 3), (BoundaryExpand(), 4)):
        given = given_of(parent, method)
        student = given.student().train()
        prepared = method.prepare(given, student)
        plan = method.plan(given, student, None, still=False)
        step = plan.step(0)
        batch = StepBatch(step, plan, parent.examples, Classification(), prepared.extras)
        value = method.objective(student, batch, None).value()
        assert value is not None
        found = torch.autograd.grad(value, list(student.parameters()))
        slots = step.parts[Role.FORGET].slots
        x = parent.examples.plain(slots).inputs
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
        parent = replace(linear_parent(parent_of), weights_digest="00" * 32)
        if renamed:
            parent.examples.labels = order[parent.examples.labels]
            with torch.no_grad():
                for value in parent.model.parameters():
                    value[order] = value.clone()
        results.append(method(parent, FORGET, budget=1.0).model.weight.detach())  # type: ignore[union-attr]
    torch.testing.assert_close(results[1][order], results[0], rtol=0, atol=1e-10)
    assert not torch.allclose(results[0], linear_parent(parent_of).model.weight.detach())  # type: ignore[union-attr]


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
    def buffers(model: nn.Module) -> list[torch.Tensor]:
        return [value for key, value in model.state_dict().items() if "running" in key or "num_batches" in key]

    def same(**settings: Any) -> bool:
        result = kind(rate=0.01, **settings)(normed, FORGET, budget=1.0)
        return all(torch.equal(a, b) for a, b in zip(buffers(result.model), buffers(normed.model), strict=True))

    assert buffers(normed.model)
    assert same()
    assert not same(batch_norm=BatchNormMode.AS_PUBLISHED)


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_and_continued(kind: type[ObjectiveMethod], normed: Parent, tmp_path: Path) -> None:
    """With a class more in its checkpoints than the model has."""
    method = kind(rate=0.01, batch_size=5)
    whole = method(normed, FORGET, budget=2.0)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    (tmp_path / "run").mkdir()
    with pytest.raises(KeyboardInterrupt):
        method(normed, FORGET, budget=2.0, workspace=tmp_path / "run", checkpoint_interval=2, progress=stop)
    begun: list[int] = []
    for expected in ([5], []):  # the second time everything but the end is done already
        begun.clear()
        again = method(
            normed,
            FORGET,
            budget=2.0,
            workspace=tmp_path / "run",
            checkpoint_interval=2,
            progress=lambda done, total: begun.append(done),
        )
        assert begun[:1] == expected
        assert weights_digest(again.model) == weights_digest(whole.model)
        assert again.cost.example_steps == whole.cost.example_steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["squared", "logistic"])
def test_any_task_with_classes_will_do(kind: type[ObjectiveMethod], task: str, parent_of: MakeParent) -> None:
    parent = table(parent_of, None)
    parent = replace(parent, recipe=replace(parent.recipe, task=task))
    assert digest(kind(rate=0.01), parent) != parent.weights_digest


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
    assert digest(kind(**{field: value}), normed) != digest(kind(), normed)


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
