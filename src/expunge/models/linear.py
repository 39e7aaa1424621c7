"""One linear layer without a bias: the model of convex training, and of certificates about it."""

from __future__ import annotations

import math

import torch
from torch import nn

from expunge.core.errors import InvalidArgument


class Linear(nn.Module):
    """Scores ``W φ(x)``, where φ lays the row flat, appends a 1 and divides by ``max(1, ‖·‖)``; nothing is fitted.

    ``constant`` appends the 1: it stands for the bias, so that weight decay and noise reach every parameter alike.
    ``unit_rows`` divides: certificates need ‖φ(x)‖ ≤ 1. With both, the last entry carries what the length said.
    ``standardise=False`` lets numbers pass as they are, without the batch norm in front: its running statistics are
    computed from the training rows, so a certificate cannot hold beside it.
    """

    def __init__(self, size: int, classes: int, *, constant: bool, unit_rows: bool, standardise: bool) -> None:
        super().__init__()
        self.constant = constant
        self.unit_rows = unit_rows
        self.takes_raw_numbers = not standardise
        self.head = nn.Linear(size + constant, classes, bias=False)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """φ: (rows, features)."""
        rows = inputs.flatten(1)
        if self.constant:
            rows = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
        if self.unit_rows:
            rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp(min=1.0)
        return rows

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(inputs))


def linear(
    inputs: tuple[int, ...], classes: int, *, constant: bool = True, unit_rows: bool = True, standardise: bool = True
) -> nn.Module:
    """One linear layer without a bias, on rows brought to length 1 at most."""
    for name, value in (("constant", constant), ("unit_rows", unit_rows), ("standardise", standardise)):
        if type(value) is not bool:
            raise InvalidArgument(f"{name} {value!r} must be true or false")
    return Linear(math.prod(inputs), classes, constant=constant, unit_rows=unit_rows, standardise=standardise)


def linear_of(model: nn.Module) -> Linear:
    """The linear layer of the zoo inside a model; any other model is refused."""
    body = getattr(model, "body", model)
    if not isinstance(body, Linear):
        raise InvalidArgument(f"a {type(body).__name__} is no linear model of one layer: train with `model` linear")
    return body


def head_of(model: nn.Module) -> nn.Linear:
    """Its weights: classes × features, without a bias."""
    return linear_of(model).head


def features_of(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What the weights are multiplied with, at the model's own precision."""
    front = getattr(model, "front", None)
    return linear_of(model).features(inputs if front is None else front(inputs))
