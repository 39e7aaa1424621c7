"""The contract of a task: a few small functions make a model usable by every method, probe and attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

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

    name: ClassVar[str]
    takes: ClassVar[str] = "any model"  # what a method that asks for this kind of task needs, in words

    @abstractmethod
    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """What the model answers: (rows, classes) logits or scores."""

    @abstractmethod
    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Loss of each example, float32 at least, from what the model answered."""

    @abstractmethod
    def margins(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """log(p_y / (1 − p_y)) of each example in float64; higher = more sure of the right answer."""

    def beliefs(self, outputs: torch.Tensor) -> torch.Tensor:
        """Logits whose softmax is the model's belief in each class: the outputs, unless the task says otherwise."""
        return outputs

    def losses(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Loss of each example, float32 at least."""
        return self.loss_of(self.outputs(model, batch), batch)

    def at(self, model: nn.Module, batch: Batch, inputs: torch.Tensor) -> torch.Tensor:
        """Losses with other inputs in the place of the batch's: what gradients in the inputs flow through."""
        return self.losses(model, replace(batch, inputs=inputs))


class ClassTask(Task):
    """A task whose labels are classes: they can be drawn, replaced and counted."""

    takes: ClassVar[str] = "class labels"

    def margins(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = self.beliefs(self.outputs(model, batch).double())
        own = logits.gather(1, batch.labels[:, None])
        others = logits.scatter(1, batch.labels[:, None], -torch.inf)
        return own[:, 0] - torch.logsumexp(others, dim=1)
