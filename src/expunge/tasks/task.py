"""The contract of a task: a few small functions make a model usable by every method, probe and attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from expunge.core.statistics.margins import correct, losses_at, margins

INPUTS, LABELS = "inputs", "labels"


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows on the device, ready for a model: named tensors with rows first, and the slots that they were gathered from.

    What the names are is the task's to know: ask it. Rows that sit in no data set, such as learnt noise, have no slots.
    """

    tensors: dict[str, torch.Tensor]
    slots: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def take(self, rows: slice | torch.Tensor) -> Batch:
        """Some of the rows, with their slots."""
        slots = None if self.slots is None else self.slots[rows]
        return Batch({name: values[rows] for name, values in self.tensors.items()}, slots)

    def of_slots(self, values: torch.Tensor) -> torch.Tensor:
        """Of something that is given for every slot, what falls to these rows."""
        assert self.slots is not None, "these rows sit in no data set"
        return values[self.slots]

    def replace(self, **tensors: torch.Tensor) -> Batch:
        """The same rows with other tensors in the place of those named."""
        return Batch({**self.tensors, **tensors}, self.slots)


def labelled(inputs: torch.Tensor, labels: torch.Tensor, slots: torch.Tensor | None = None) -> Batch:
    """A batch of inputs with a label each."""
    return Batch({INPUTS: inputs, LABELS: labels}, slots)


class NotTold(Exception):
    """Somebody asked for a signal that the task does not tell."""


class Told(dict[str, np.ndarray]):
    """Signals by name; one that is not there was not told."""

    def __missing__(self, name: str) -> np.ndarray:
        raise NotTold(name)


class Rows(Protocol):
    """What batches are gathered from."""

    def batch(self, slots: np.ndarray) -> Batch:
        """Rows as they are, in the order of their slots."""
        ...


class Task(ABC):
    """Losses, signals and outputs per example, whatever is learnt."""

    name: ClassVar[str]
    takes: ClassVar[str] = "any model"  # what a method that asks for this kind of task needs, in words

    def inputs(self, batch: Batch) -> torch.Tensor:
        """What goes into the model; gradients in the inputs are taken here."""
        return batch[INPUTS]

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """What the model answers: (rows, classes) logits or scores, or whatever the task makes of an answer."""
        return model(self.inputs(batch))

    @abstractmethod
    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Loss of each example, float32 at least, from what the model answered."""

    @abstractmethod
    def signals(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """What is measured of each example, rows first, in float64: "loss" always.

        Where there are classes "margin", by the belief in the answer, "correct" (1 or 0) and "beliefs" (rows, classes);
        where labels are numbers "answer" and "residual", answer minus label, in the labels' units.
        """

    def fit(self, told: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How well rows are answered, of one at least, from their signals: figures by name, as tables show them.

        "accuracy" where there are classes; "mae" and, where labels differ, "r2" where labels are numbers.
        """
        return {"loss": float(told["loss"].mean())}

    def losses(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Loss of each example, float32 at least."""
        return self.loss_of(self.outputs(model, batch), batch)

    def at(self, model: nn.Module, batch: Batch, inputs: torch.Tensor) -> torch.Tensor:
        """Losses with other inputs in the place of the batch's: what gradients in the inputs flow through."""
        return self.losses(model, batch.replace(inputs=inputs))


class ClassTask(Task):
    """A task whose labels are classes: they can be drawn, replaced and counted."""

    takes: ClassVar[str] = "class labels"

    @staticmethod
    def labels(batch: Batch) -> torch.Tensor:
        """The class of each row, by its number."""
        return batch[LABELS]

    def beliefs(self, outputs: torch.Tensor) -> torch.Tensor:
        """Logits whose softmax is the model's belief in each class: the outputs, unless the task says otherwise."""
        return outputs

    def signals(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        beliefs = self.beliefs(self.outputs(model, batch).detach().double()).cpu().numpy()
        return {"beliefs": beliefs, **signals_of(beliefs, self.labels(batch).cpu().numpy())}

    def fit(self, told: Mapping[str, np.ndarray]) -> dict[str, float]:
        return {"accuracy": float(told["correct"].mean())}


def signals_of(beliefs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Of beliefs (rows, classes) that were read before: −log p_y, log(p_y / (1 − p_y)), and whether the answer is y."""
    margin = margins(beliefs, labels)
    return {"loss": losses_at(margin), "margin": margin, "correct": correct(beliefs, labels)}
