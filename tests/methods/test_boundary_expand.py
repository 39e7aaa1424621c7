"""Boundary expand: the extra class comes and goes, its row by hand, and which models it fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.methods.shared import DESCENT, FORGET, MakeParent, Problem, digest, given_of, linear_of, numbers_of
from torch import nn

from expunge.core.errors import UnsupportedEver
from expunge.core.streams import Stream
from expunge.methods.boundary_expand import BoundaryExpand, append_output, last_linear
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.contract import Given, Parent
from expunge.methods.objective_method import Prepared
from expunge.train.state import weights_digest


@pytest.mark.parametrize("name", ["plain", "normed", "double", "convolved", "residual"])
def test_the_extra_class_is_gone_at_the_end(name: str, problem: Problem) -> None:
    parent = problem(name)
    before = {key: value.shape for key, value in parent.model.state_dict().items()}
    result = BoundaryExpand(rate=0.01)(parent, FORGET, budget=1.0)
    assert {key: value.shape for key, value in result.model.state_dict().items()} == before
    assert [type(m) for m in result.model.modules()] == [type(m) for m in parent.model.modules()]
    assert str(result.model) == str(parent.model)
    with torch.no_grad():
        assert result.model(parent.examples.batch(FORGET)["inputs"]).shape == (len(FORGET), 3)
    assert digest(BoundaryExpand(rate=0.01), parent, 1.0) != parent.weights_digest


def test_without_its_end_there_would_be_a_column_more(parent: Parent) -> None:
    class Unfinished(BoundaryExpand):
        """As in public code: the class stays."""

        name = "unfinished"

        def prepare(self, given: Given, student: nn.Module) -> Prepared:
            return replace(super().prepare(given, student), finish=None)

    result = Unfinished(rate=0.01)(parent, FORGET, budget=1.0)
    with torch.no_grad():
        assert result.model(parent.examples.batch(FORGET)["inputs"]).shape == (len(FORGET), 4)


@pytest.mark.parametrize("budget", [0.01, 1.0])
def test_zero_steps_leave_every_row_as_it_was(budget: float, parent: Parent) -> None:
    """Not one step fits, or none is asked for: the other rows are the same bits."""
    result = BoundaryExpand(epochs=None if budget < 1 else 0, batch_size=12)(parent, FORGET, budget=budget)
    assert result.steps == 0
    assert weights_digest(result.model) == parent.weights_digest


def test_expanding_by_hand(parent_of: MakeParent) -> None:
    """Plain descent towards class C + 1, from a row that was drawn, which is then cut off."""
    parent = linear_of(parent_of)
    method = BoundaryExpand(rate=0.05, epochs=7, batch_size=12, **DESCENT)
    stream = given_of(parent, method.needs).stream("init")
    drawn = (2 * np.concatenate([stream.uniform(5), stream.uniform(1)]) - 1) / np.sqrt(5)
    weight, bias = (value.detach().numpy().copy() for value in parent.model.parameters())
    weight, bias = np.vstack([weight, drawn[:5]]), np.append(bias, drawn[5])
    x = parent.examples.batch(np.sort(FORGET))["inputs"].numpy()
    for _ in range(7):
        z = x @ weight.T + bias
        p = np.exp(z - z.max(1, keepdims=True))
        error = p / p.sum(1, keepdims=True) - np.eye(4)[3]
        weight, bias = weight - 0.05 * error.T @ x / len(x), bias - 0.05 * error.mean(0)
    found = method(parent, FORGET, budget=1.0).model
    np.testing.assert_allclose(found.weight.detach().numpy(), weight[:3], rtol=0, atol=1e-6)  # type: ignore[union-attr]
    np.testing.assert_allclose(found.bias.detach().numpy(), bias[:3], rtol=0, atol=1e-6)  # type: ignore[union-attr]


def test_the_row_is_drawn_as_dense_layers_are(parent: Parent) -> None:
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
    parent = numbers_of(parent_of, kind())
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
    parent = numbers_of(parent_of, model)
    result = BoundaryExpand(rate=0.01)(parent, FORGET, budget=1.0).model
    assert [p.requires_grad for p in result.parameters()] == [False, False, True]
    assert torch.equal(result[0].weight, model[0].weight)  # type: ignore[index, union-attr]
    assert not torch.equal(result[2].weight, model[2].weight)  # type: ignore[index, union-attr]
