"""A model that does not end in a linear layer, which everybody can import."""

from __future__ import annotations

import math

import torch
from torch import nn


class Pooled(nn.Module):
    """A mean over a picture of class scores."""

    def __init__(self, inputs: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs[0], classes, 3, padding=1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.convolution(inputs).mean(dim=(2, 3)) * math.prod(inputs.shape[2:])


def pooled(inputs: tuple[int, ...], classes: int) -> nn.Module:
    return Pooled(inputs, classes)


class Unused(Pooled):
    """The same, with a linear layer behind it that nobody calls."""

    def __init__(self, inputs: tuple[int, ...], classes: int) -> None:
        super().__init__(inputs, classes)
        self.unused = nn.Linear(1, classes)


def unused(inputs: tuple[int, ...], classes: int) -> nn.Module:
    return Unused(inputs, classes)
