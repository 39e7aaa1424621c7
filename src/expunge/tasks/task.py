"""The contract of a task: three small functions make a model usable by every method, probe and attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import nn


@dataclass(frozen=True)
class Batch:
    """Rows on the device, ready for a model."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Task(ABC):
    """Losses, margins and outputs per example, whatever is learnt."""

    name: str

    @abstractmethod
    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """What the model answers: (rows, classes) logits."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Loss of each example, float32 at least."""

    @abstractmethod
    def margins(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """log(p_y / (1 − p_y)) of each example in float64; higher = more sure of the right answer."""

    def at(self, model: nn.Module, batch: Batch, inputs: torch.Tensor) -> torch.Tensor:
        """Losses with other inputs in the place of the batch's: what gradients in the inputs flow through."""
        return self.losses(model, replace(batch, inputs=inputs))
