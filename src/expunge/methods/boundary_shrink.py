"""Pushing forgotten rows over the nearest decision boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.errors import UnsupportedEver
from expunge.methods.batch_norm import freeze_batch_norm
from expunge.methods.contract import Given, Need, Parent, check
from expunge.methods.fields import Between, tuned
from expunge.methods.gradient_ascent import BatchNormMode
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.models.front import input_space
from expunge.tasks.task import Batch, ClassTask, Task
from expunge.train.objective import Extras, Loss, StepBatch


@dataclass(frozen=True, kw_only=True)
class BoundaryShrink(ObjectiveMethod):
    """Train forgotten rows towards the class that lies nearest to each of them (Chen et al., 2023).

    The nearest class is what the original, in eval mode, answers at x + radius · sign of the loss's gradient in x. The
    radius is in the units that the model sees: pixels scaled to 0 … 1 (and kept in their range), numbers in standard
    deviations.
    """

    name = "boundary-shrink"
    needs = frozenset({Need.FORGET, Need.INPUTS, Need.ORIGINAL})
    citation = "Chen et al., CVPR 2023"
    work = "4/3 a forgotten row for the nearest class, then 1 a forgotten row and pass"
    task: ClassVar[type[Task]] = ClassTask
    rate: float = tuned(1e-3, Between(1e-5, 1e-2))
    epochs: int | float | None = 10
    radius: float = 0.1
    batch_norm: BatchNormMode = BatchNormMode.EVAL

    def __post_init__(self) -> None:
        super().__post_init__()
        check(math.isfinite(self.radius) and self.radius >= 0, f"radius {self.radius} must be a finite number from 0")

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        hashed = parent.recipe.inputs.hashed
        if hashed:
            raise UnsupportedEver(
                f"{self.name} on column {hashed[0]!r}: words and categories are hashed into buckets, which no small "
                "step leads across; use random-labels or decoupled-distillation, which change no input"
            )

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        if self.batch_norm is BatchNormMode.EVAL:
            freeze_batch_norm(student)
        rows = len(given.forget)
        batch = min(rows, self.batch_size or given.recipe.batch_size)
        if not given.meter.fits(4 * rows + 3 * batch):
            return Prepared(still="nothing done: the nearest classes and one step would pass the budget")
        nearest = self.nearest_classes(given)

        def relabel(batch: Batch, epoch: int) -> Batch:
            return batch.replace(labels=batch.of_slots(nearest))

        own = given.examples.batch(given.forget)
        same = int((own.of_slots(nearest) == ClassTask.labels(own)).sum())
        said = f"{same} of {rows} forgotten rows keep their class at radius {self.radius:g}"
        return Prepared(
            extras=Extras(relabel=relabel),
            notices=(f"{said}: they are trained to stay there",) if same else (),
            seen=("nearest classes of the forget set",),
        )

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.forget_loss(student, writes=self.batch_norm is BatchNormMode.AS_PUBLISHED)

    def nearest_classes(self, given: Given) -> torch.Tensor:
        """For every slot of F what the original answers one signed step up its loss; −1 elsewhere.

        An input gradient costs one example-step, the answer a third.
        """
        given.declare(Need.INPUTS)
        original = given.original
        space = input_space(original, given.recipe.inputs)
        nearest: list[torch.Tensor] = []
        for batch in given.batches(given.forget):
            inputs = given.task.inputs(batch)
            rows = inputs if inputs.is_floating_point() else inputs.float()
            rows.requires_grad_(True)
            losses = given.task.at(original, batch, rows)
            if losses.grad_fn is None:
                raise UnsupportedEver(
                    f"{self.name} on this model: its loss has no gradient in the rows that come in; use random-labels "
                    "or decoupled-distillation, which change no input"
                )
            (gradient,) = torch.autograd.grad(losses.sum(), [rows])
            given.meter.steps(len(batch))
            with torch.no_grad():
                across = space.bounded(rows + self.radius * space.unit * gradient.sign())
                answers = given.task.outputs(original, batch.replace(inputs=across))
            given.meter.forwards(len(batch))
            nearest.append(answers.argmax(dim=1))
        found = torch.full((given.count,), -1, dtype=torch.int64, device=given.device)
        found[torch.from_numpy(given.forget).to(given.device)] = torch.cat(nearest)
        return found
