"""What stands in front of a model: a constant scale for pixels, a parameter-free batch norm for real numbers."""

from __future__ import annotations

import torch
from torch import nn

from expunge.data.encoding import Encoding


class Front(nn.Module):
    """Brings encoded rows to the scale a model expects, without a constant that was fitted on data.

    The running statistics of the batch norm are training state: a replay covers them. A model may ask for its numbers
    as they are.
    """

    def __init__(self, encoding: Encoding, *, raw_numbers: bool = False) -> None:
        super().__init__()
        self.scale = encoding.scale
        self.standardised = 0 if raw_numbers else encoding.standardised
        self.norm: nn.Module | None = None
        if self.standardised:
            kind = nn.BatchNorm2d if encoding.is_image else nn.BatchNorm1d
            self.norm = kind(self.standardised, affine=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        values = inputs.float()
        if self.norm is None:
            return values if self.scale == 1.0 else values * self.scale
        if self.standardised == values.shape[1]:
            return self.norm(values)
        return torch.cat([self.norm(values[:, : self.standardised]), values[:, self.standardised :]], dim=1)


class Fronted(nn.Module):
    """A model with its front. ``addressed_dropout`` says that all its draws are addressed by chair."""

    def __init__(self, encoding: Encoding, body: nn.Module, *, addressed_dropout: bool) -> None:
        super().__init__()
        self.front = Front(encoding, raw_numbers=getattr(body, "takes_raw_numbers", False) is True)
        self.body = body
        self.addressed_dropout = addressed_dropout
        self.unready: str | None = None  # why its state cannot be kept in named tensors

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.body(self.front(inputs))
