"""Gradients of single examples and their squares, against a plain loop over rows and by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.models.zoo import cnn, mlp, resnet18
from expunge.tasks import gradients
from expunge.tasks.classification import Classification
from expunge.tasks.gradients import (
    flat,
    label_squared_gradients,
    mean_gradient,
    output_gradients,
    per_example_gradients,
    pieces,
    squared_gradients,
    summed_gradient,
)
from expunge.tasks.linear import Logistic
from expunge.tasks.task import Batch, Task, labelled

TASK = Classification()
Patch = pytest.MonkeyPatch


class HalfSquare(Task):
    """½ (output − label)², one output."""

    name = "half-square"

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return model(batch["inputs"])

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 0.5 * (outputs[:, 0] - batch["labels"]).square()

    def signals(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        raise NotImplementedError


# Models that try each way through.


class Sequences(nn.Module):
    """Dense layers and a layer norm over several places per row."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.norm(self.first(inputs.view(-1, 3, 4)))).mean(dim=1))


class PlacesFirst(Sequences):
    """The same with rows second; with three rows the shapes do not tell."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        places = inputs.view(-1, 3, 4).transpose(0, 1)
        return self.last(torch.tanh(self.norm(self.first(places))).mean(dim=0))


class Twice(nn.Module):
    """One layer, called once and its weight used a second time; ``bare`` hides the second use from hooks."""

    def __init__(self, bare: bool) -> None:
        super().__init__()
        self.first, self.last, self.bare = nn.Linear(12, 12), nn.Linear(12, 3), bare

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.first(inputs))
        again = nn.functional.linear(hidden, self.first.weight) if self.bare else self.first(hidden)
        return self.last(torch.tanh(again))


class Tied(nn.Module):
    """Two layers that hold one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.second.weight = self.first.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.first(inputs)))))


class LooksAtData(nn.Module):
    """Goes one way or the other by the sign of its inputs' sum."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(12, 3), nn.Linear(12, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.up(inputs) if float(inputs.sum()) > 0 else self.down(inputs)


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor) -> torch.Tensor:
        return 2 * inputs

    @staticmethod
    def backward(ctx: Any, *back: torch.Tensor) -> torch.Tensor:
        return 2 * back[0]


class OwnFunction(nn.Module):
    """A function of its own that has no batching rule."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return _Doubled.apply(self.layer(inputs))  # pyright: ignore


class Counts(nn.Module):
    """Writes to its buffers even in eval mode, in both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen = self.seen + len(inputs)
        return self.layer(inputs)


class RowsMeet(nn.Module):
    """Takes the batch's mean away; a row alone is its own mean."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs - 0.5 * inputs.mean(dim=0))


def in_place() -> nn.Module:
    return nn.Sequential(
        nn.Linear(12, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.SELU(inplace=True), nn.Linear(8, 3)
    )


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
    model[0].register_forward_hook(lambda _layer, _inputs, output: 3 * output)
    return model


def _of_doubled(layer: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(2 * inputs, layer.weight, layer.bias)


def patched() -> nn.Module:
    model = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
    model[0].forward = MethodType(_of_doubled, model[0])
    return model


def partly_frozen() -> nn.Module:
    model = mlp((12,), 3, width=6, depth=2)
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index not in (0, 3))
    return model


class WithUnused(nn.Module):
    """A layer that no answer depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.layer = nn.Linear(2, 2), nn.Linear(12, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs)


IMAGE, VECTOR = (1, 8, 8), (12,)
PLAIN: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: mlp(VECTOR, 3, width=6, depth=2), VECTOR),
    "mlp batch norm": (lambda: mlp(VECTOR, 3, width=6, norm="batch"), VECTOR),
    "mlp group norm": (lambda: mlp(VECTOR, 3, width=12, norm="group"), VECTOR),
    "cnn": (lambda: cnn(IMAGE, 3, width=3), IMAGE),
    "cnn group norm": (lambda: cnn(IMAGE, 3, width=4, norm="group"), IMAGE),
    "resnet18 batch norm": (lambda: resnet18(IMAGE, 3, width=4), IMAGE),
    "resnet18 group norm": (lambda: resnet18(IMAGE, 3, width=4, norm="group"), IMAGE),
    "strides and dilation": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, (3, 2), (2, 1), (1, 0), (1, 2)), nn.Tanh(), nn.Flatten(), nn.Linear(96, 3)
        ),
        IMAGE,
    ),
    "sequences": (Sequences, VECTOR),
    "in place": (in_place, VECTOR),
    "hooked": (hooked, VECTOR),
    "partly frozen": (partly_frozen, VECTOR),
    "unused layer": (WithUnused, VECTOR),
    "counts": (Counts, VECTOR),
}
MAPPED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "tied": (Tied, VECTOR),
    "called twice": (lambda: Twice(bare=False), VECTOR),
    "used twice": (lambda: Twice(bare=True), VECTOR),
    "patched": (patched, VECTOR),
    "rows second": (PlacesFirst, VECTOR),
    "rows meet": (RowsMeet, VECTOR),
    "groups": (
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 3)),
        IMAGE,
    ),
    "circular": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1, padding_mode="circular"), nn.Flatten(), nn.Linear(128, 3)),
        IMAGE,
    ),
}
LOOPED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "looks at the data": (LooksAtData, VECTOR),
    "own function": (OwnFunction, VECTOR),
}
ALL = PLAIN | MAPPED | LOOPED


def made(name: str, rows: int = 5, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Batch]:
    """A model with running statistics that are not the identity, and rows for it."""
    torch.manual_seed(0)
    make, shape = ALL[name]
    model = make().to(dtype).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model, labelled(torch.randn(rows, *shape, dtype=dtype), torch.arange(rows) % 3)


# The slow twins.


def loop(model: nn.Module, batch: Batch, values: Callable[[nn.Module, Batch], torch.Tensor]) -> torch.Tensor:
    """(rows, columns, parameters), one backward pass each, on a copy."""
    model = copy.deepcopy(model).eval()
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rows: list[torch.Tensor] = []
    for row in range(len(batch)):
        one = labelled(batch["inputs"][row : row + 1], batch["labels"][row : row + 1])
        count = values(model, one).shape[1]
        found: list[torch.Tensor] = []
        for column in range(count):
            gradients_ = torch.autograd.grad(values(model, one)[0, column], learnt, allow_unused=True)
            parts = [torch.zeros_like(p) if g is None else g for p, g in zip(learnt, gradients_, strict=True)]
            found.append(torch.cat([part.flatten() for part in parts]))
        rows.append(torch.stack(found))
    return torch.stack(rows)


def losses(model: nn.Module, batch: Batch) -> torch.Tensor:
    return TASK.losses(model, batch)[:, None]


def log_chances(model: nn.Module, batch: Batch) -> torch.Tensor:
    return torch.log_softmax(model(batch["inputs"]), dim=1)


def close(found: torch.Tensor, wanted: torch.Tensor, slack: float = 1e-10) -> None:
    assert found.shape == wanted.shape
    assert float(wanted.abs().max()) > 1e-6  # two times nothing would be equal too
    torch.testing.assert_close(found, wanted, rtol=slack, atol=slack)


# O14: every way gives the numbers of the loop.


@pytest.mark.parametrize("name", ALL)
def test_gradients_of_single_examples_are_those_of_a_loop(name: str) -> None:
    model, batch = made(name)
    close(per_example_gradients(TASK, model, batch), loop(model, batch, losses)[:, 0])
    close(output_gradients(TASK, model, batch), loop(model, batch, TASK.outputs))


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ALL)
def test_squared_gradients_are_those_of_a_loop(name: str, rows: int) -> None:
    model, batch = made(name, rows)
    wanted = loop(model, batch, losses).square().sum((0, 1))
    found = squared_gradients(TASK, model, batch)
    assert [one.shape for one in found] == [one.shape for one in model.parameters() if one.requires_grad]
    close(flat(found), wanted)


@pytest.mark.parametrize("name", ["mlp batch norm", "cnn", "resnet18 batch norm", "sequences", "tied", "own function"])
def test_label_squares_are_expectations_over_all_labels(name: str) -> None:
    model, batch = made(name, 3)
    chances = torch.softmax(model(batch["inputs"]), dim=1).detach()[:, :, None]
    wanted = (chances * loop(model, batch, log_chances).square()).sum((0, 1))
    close(flat(label_squared_gradients(TASK, model, batch)), wanted)
    unread = labelled(batch["inputs"], torch.zeros_like(batch["labels"]))
    close(flat(label_squared_gradients(TASK, model, unread)), wanted)


def test_label_squares_follow_the_beliefs_of_the_task() -> None:
    model, batch = made("mlp")

    def beliefs(model: nn.Module, batch: Batch) -> torch.Tensor:
        return torch.log_softmax(nn.functional.logsigmoid(model(batch["inputs"])), dim=1)

    chances = beliefs(model, batch).exp().detach()[:, :, None]
    wanted = (chances * loop(model, batch, beliefs).square()).sum((0, 1))
    close(flat(label_squared_gradients(Logistic(), model, batch)), wanted)


@pytest.mark.parametrize("name", ["resnet18 batch norm", "cnn", "rows second", "looks at the data"])
def test_squares_do_not_depend_on_how_rows_are_cut(name: str, monkeypatch: Patch) -> None:
    model, batch = made(name, 7)
    whole = flat(squared_gradients(TASK, model, batch))
    parts = [flat(squared_gradients(TASK, model, part)) for part in pieces(batch, 3)]
    close(torch.stack(parts).sum(0), whole)
    size = sum(parameter.numel() for parameter in model.parameters())
    monkeypatch.setattr(gradients, "ENTRIES", 2 * size)
    monkeypatch.setattr(gradients, "CACHED_ENTRIES", 3 * 36)
    close(flat(squared_gradients(TASK, model, batch)), whole)
    close(per_example_gradients(TASK, model, batch).square().sum(0), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_of_the_model_is_kept(dtype: torch.dtype) -> None:
    model, batch = made("cnn group norm", dtype=dtype)
    assert per_example_gradients(TASK, model, batch).dtype == dtype
    for squares in (squared_gradients(TASK, model, batch), label_squared_gradients(TASK, model, batch)):
        assert {one.dtype for one in squares} == {dtype}
    wanted = loop(model, batch, losses).square().sum((0, 1))
    close(flat(squared_gradients(TASK, model, batch)), wanted, 1e-4)


# Which way is taken.


def forbid(monkeypatch: Patch, name: str) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError(f"{name} was not meant to be used here")

    monkeypatch.setattr(gradients, name, refuse)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_models_are_squared_layer_by_layer(name: str, monkeypatch: Patch) -> None:
    model, batch = made(name)
    forbid(monkeypatch, "_jacobians")
    squared_gradients(TASK, model, batch)


@pytest.mark.parametrize("name", MAPPED | LOOPED)
def test_other_models_are_not(name: str, monkeypatch: Patch) -> None:
    model, batch = made(name)
    forbid(monkeypatch, "_add_factored_squares")
    squared_gradients(TASK, model, batch)


@pytest.mark.parametrize("name", PLAIN | MAPPED)
def test_mappable_models_are_not_taken_row_by_row(name: str, monkeypatch: Patch) -> None:
    model, batch = made(name)
    forbid(monkeypatch, "_one_by_one")
    per_example_gradients(TASK, model, batch)


@pytest.mark.parametrize("name", LOOPED)
def test_the_rest_is(name: str, monkeypatch: Patch) -> None:
    model, batch = made(name)
    forbid(monkeypatch, "_one_by_one")
    with pytest.raises(AssertionError, match="not meant"):
        per_example_gradients(TASK, model, batch)


def test_an_error_of_the_model_itself_is_not_swallowed() -> None:
    model, batch = made("mlp")
    wrong = labelled(batch["inputs"][:, :5], batch["labels"])
    for compute in (per_example_gradients, squared_gradients, output_gradients):
        with pytest.raises(RuntimeError, match="shapes"):
            compute(TASK, model, wrong)


# The caller's model.


@pytest.mark.parametrize("name", ["resnet18 batch norm", "counts", "tied", "partly frozen", "looks at the data"])
def test_the_model_is_left_as_it_was(name: str) -> None:
    model, batch = made(name)
    model.train()
    next(model.children()).eval()
    for index, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, index)

    def seen() -> list[Any]:
        state = {key: value.clone() for key, value in model.state_dict().items()}
        modes = [(module.training, len(module._forward_hooks)) for module in model.modules()]
        held = [(id(one), one.requires_grad, one.grad.clone()) for one in model.parameters()]  # pyright: ignore
        return [state, modes, held]

    before = seen()
    with torch.no_grad():
        found = [
            per_example_gradients(TASK, model, batch),
            output_gradients(TASK, model, batch),
            *squared_gradients(TASK, model, batch),
            *label_squared_gradients(TASK, model, batch),
            *summed_gradient(TASK, model, [batch]),
            *mean_gradient(TASK, model, [batch]),
        ]
    torch.testing.assert_close(seen(), before, rtol=0, atol=0)
    assert not any(one.requires_grad for one in found)


def test_modes_come_back_after_an_error() -> None:
    model, batch = made("mlp batch norm")
    model.train()
    with pytest.raises(RuntimeError):
        squared_gradients(TASK, model, labelled(batch["inputs"][:, :5], batch["labels"]))
    assert all(module.training for module in model.modules())


# Sums.


def test_summed_and_mean_gradients_over_batches() -> None:
    model, batch = made("cnn group norm", 7)
    each = loop(model, batch, losses)[:, 0]
    close(flat(summed_gradient(TASK, model, pieces(batch, 3))), each.sum(0))
    close(flat(mean_gradient(TASK, model, pieces(batch, 3))), each.mean(0))


def test_what_has_no_gradient_is_refused() -> None:
    model, batch = made("mlp")
    nothing = labelled(batch["inputs"][:0], batch["labels"][:0])
    for compute in (per_example_gradients, output_gradients, squared_gradients):
        with pytest.raises(InvalidArgument, match="no rows"):
            compute(TASK, model, nothing)
    with pytest.raises(InvalidArgument, match="one row at least"):
        mean_gradient(TASK, model, [])
    model.requires_grad_(False)
    with pytest.raises(InvalidArgument, match="requires_grad"):
        squared_gradients(TASK, model, batch)


# O8: closed forms.


def test_fisher_information_of_a_softmax_layer() -> None:
    torch.manual_seed(1)
    model = nn.Linear(5, 4, bias=False).double()
    inputs = torch.randn(9, 5, dtype=torch.float64)
    chances = torch.softmax(model(inputs), dim=1).detach()
    wanted = (chances * (1 - chances)).T @ inputs.square()
    close(label_squared_gradients(TASK, model, labelled(inputs, torch.zeros(9, dtype=torch.long)))[0], wanted, 1e-12)


def test_squared_loss_with_unit_noise() -> None:
    """Residuals of size 1 exactly: the mean squared gradient is the mean of x², by hand on three weights."""
    model = nn.Linear(3, 1, bias=False).double()
    nn.init.constant_(model.weight, 0.25)
    inputs = torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 1.0]], dtype=torch.float64)
    labels = model(inputs).detach()[:, 0] + torch.tensor([1.0, -1.0], dtype=torch.float64)
    (found,) = squared_gradients(HalfSquare(), model, labelled(inputs, labels))
    close(found / 2, torch.tensor([[5.0, 2.5, 0.5]], dtype=torch.float64), 1e-12)
