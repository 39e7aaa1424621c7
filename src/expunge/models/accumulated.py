"""An accumulated model as a module: its tensors are buffers, and whoever asks for answers meets nothing new."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from expunge.models.sums import accumulation_of
from expunge.schedule.recipe import Recipe


class Accumulated(nn.Module):
    """Rows as the recipe's map encodes them go in, logarithms of probabilities (rows, classes) come out."""

    def __init__(self, recipe: Recipe, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.accumulation = accumulation_of(recipe)
        for name, value in weights.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        weights = {name: value.cpu().numpy() for name, value in self.named_buffers()}
        answers = self.accumulation.answers(weights, inputs.detach().cpu().numpy())
        return torch.from_numpy(answers).to(inputs.device)
