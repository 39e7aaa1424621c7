"""Giving forgotten rows a class of their own for a while."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.errors import UnsupportedEver
from expunge.core.streams import Stream
from expunge.methods.batch_norm import freeze_batch_norm
from expunge.methods.contract import Given, Need, Parent
from expunge.methods.fields import Between, tuned
from expunge.methods.gradient_ascent import BatchNormMode
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.models.dropout import seeded_generators
from expunge.tasks.task import INPUTS, Batch, ClassTask, Task
from expunge.train.objective import Extras, Loss, StepBatch


@dataclass(frozen=True, kw_only=True)
class BoundaryExpand(ObjectiveMethod):
    """Train forgotten rows into one class more than there are, then take that class away (Chen et al., 2023)."""

    name = "boundary-expand"
    needs = frozenset({Need.FORGET})
    citation = "Chen et al., CVPR 2023"
    work = "1 a forgotten row and pass"
    task: ClassVar[type[Task]] = ClassTask
    rate: float = tuned(1e-3, Between(1e-5, 1e-2))
    epochs: int | float | None = 10
    batch_norm: BatchNormMode = BatchNormMode.EVAL

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        """One more output is tried on a row of zeros, so that what cannot be extended is found before anything else."""
        classes = len(parent.recipe.classes)
        head = last_linear(parent.model, classes)
        answers = None
        if head is not None:
            model = deepcopy(parent.model).eval()
            extended = last_linear(model, classes)
            assert extended is not None
            append_output(extended, Stream(bytes(32), "unlearn/init"))
            zeros = torch.zeros_like(parent.examples.batch(forget[:1])[INPUTS])
            answers = _width(model, zeros)
        if answers != classes + 1:
            raise UnsupportedEver(
                f"{self.name} on this model: it appends one output to a dense layer of {classes} outputs that ends "
                "the model, and found none that can be extended; use boundary-shrink or random-labels, which leave "
                "the model's shape alone"
            )

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        if self.batch_norm is BatchNormMode.EVAL:
            freeze_batch_norm(student)
        classes = len(given.recipe.classes)
        head = last_linear(student, classes)
        assert head is not None
        before = append_output(head, given.stream("init"))

        def relabel(batch: Batch, epoch: int) -> Batch:
            return batch.replace(labels=torch.full_like(ClassTask.labels(batch), classes))

        return Prepared(extras=Extras(relabel=relabel), finish=lambda: take_away(head, before))

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.forget_loss(student, writes=self.batch_norm is BatchNormMode.AS_PUBLISHED)


def last_linear(model: nn.Module, classes: int) -> nn.Linear | None:
    """The last dense layer, in the order of the modules, with as many outputs as classes and weights of its own."""
    found = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == classes]
    if not found:
        return None
    holders = [id(one) for module in model.modules() for one in module.parameters(recurse=False)]
    own = dict(found[-1].named_parameters(recurse=False))
    plain = set(own) - {"bias"} == {"weight"}
    return found[-1] if plain and all(holders.count(id(one)) == 1 for one in own.values()) else None


@torch.no_grad()
def append_output(head: nn.Linear, stream: Stream) -> dict[str, nn.Parameter]:
    """One more row, drawn as dense layers are: uniform within ±1/√inputs. Returns the parameters of before."""
    before = dict(head.named_parameters(recurse=False))
    reach = head.in_features**-0.5
    for name, old in before.items():
        row = old[:1]
        drawn = torch.from_numpy(reach * (2 * stream.uniform(row.numel()) - 1)).to(old.device, old.dtype)
        longer = torch.cat([old, drawn.reshape(row.shape)])
        setattr(head, name, nn.Parameter(longer, requires_grad=old.requires_grad))
    head.out_features += 1
    return before


@torch.no_grad()
def take_away(head: nn.Linear, before: dict[str, nn.Parameter]) -> None:
    """Without the last row again, in the very parameters that the layer had."""
    for name, old in before.items():
        old.copy_(getattr(head, name)[: len(old)])
        setattr(head, name, old)
    head.out_features -= 1


def _width(model: nn.Module, rows: torch.Tensor) -> int | None:
    """How many outputs a model has for some rows; None where it fails."""
    try:
        with torch.no_grad(), seeded_generators(0):
            outputs = model(rows)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
        return None
    return outputs.shape[1] if isinstance(outputs, torch.Tensor) and outputs.dim() == 2 else None
