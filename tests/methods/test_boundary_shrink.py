"""Boundary shrink: the nearest class of every kind of row, found once, and in the units that the model sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.methods.shared import FORGET, MakeParent, Problem, linear_of, nearest, numbers_of, on_anything
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from expunge.core.errors import UnsupportedEver
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.methods.boundary_expand import BoundaryExpand
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.contract import Given, Parent
from expunge.methods.objective_method import Prepared
from expunge.models.front import Fronted, input_space
from expunge.schedule.recipe import Augmentation
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch


@on_anything
def test_at_radius_zero_it_is_the_originals_answer(name: str, problem: Problem) -> None:
    parent = problem(name)
    with torch.no_grad():
        expected = parent.model.eval()(parent.examples.batch(np.sort(FORGET))["inputs"]).argmax(1).numpy()
    assert np.array_equal(nearest(parent, 0.0), expected)


def test_of_a_linear_model_by_its_closed_form(parent_of: MakeParent) -> None:
    """z + ε·W·sign(Wᵀ(p − y)), and real numbers have no range that they would be kept in."""
    parent = linear_of(parent_of)
    rows = parent.examples.batch(np.sort(FORGET))
    weight, bias = (value.detach() for value in parent.model.parameters())
    z = rows["inputs"] @ weight.T + bias
    error = torch.softmax(z, 1) - one_hot(rows["labels"], 3)
    moved = 0
    for radius in (0.05, 0.3, 2.0):
        shifted = z + radius * torch.sign(error @ weight) @ weight.T
        assert np.array_equal(nearest(parent, radius), shifted.argmax(1).numpy())
        moved += int((shifted.argmax(1) != z.argmax(1)).sum())
    assert moved > 3


def test_rows_that_lie_too_deep_are_counted(parent_of: MakeParent) -> None:
    """Their nearest class is their own: they are taught what they should forget, and the result says so."""
    parent = linear_of(parent_of)
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
            self.asked.append(batch["inputs"])
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
    rows = parent.examples.batch(np.sort(FORGET))
    pixels = rows["inputs"].float().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(parent.model.eval()(pixels), rows["labels"]), [pixels])
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
    parents = [numbers_of(parent_of, None, scale) for scale in (1.0, 1000.0)]
    for parent, scale in zip(parents, (1.0, 1000.0), strict=True):
        rows = parent.examples.batch(np.sort(FORGET))["inputs"]
        step = (across(parent, 0.5, monkeypatch) - rows).abs()
        norm = parent.model.front.norm  # type: ignore[union-attr]
        expected = 0.5 * torch.sqrt(norm.running_var + norm.eps).expand_as(step)  # type: ignore[union-attr, operator]
        torch.testing.assert_close(step, expected, rtol=1e-3, atol=1e-3 * scale)
        assert float(step.min()) > 0.2 * scale


def test_the_input_space_is_what_the_front_undoes(parent_of: MakeParent, pictures: Dataset) -> None:
    for parent in (numbers_of(parent_of, None, 7.0), parent_of(pictures)):
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

    parent = numbers_of(parent_of, Stepped())
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

            def noted(batch: Batch, epoch: int) -> Batch:
                found = relabel(batch, epoch)
                seen.extend(zip(found.slots.tolist(), found["labels"].tolist(), strict=True))  # type: ignore[union-attr]
                return found

            return replace(prepared, extras=replace(prepared.extras, relabel=noted))

    Noting(radius=0.2, epochs=3)(parent, FORGET, budget=1.0)
    assert len(seen) == 3 * len(FORGET)
    assert dict(seen) == dict(zip(np.sort(FORGET).tolist(), nearest(parent, 0.2).tolist(), strict=True))
    assert len(set(seen)) == len(FORGET)
