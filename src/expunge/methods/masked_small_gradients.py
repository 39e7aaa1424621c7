"""Drawing the kernels' idlest weights anew, then fine-tuning mostly those."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from expunge.methods.contract import Given, Need, Parent, check
from expunge.methods.convolutions import kernels, refuse_without_kernels
from expunge.methods.fields import Between, tuned
from expunge.methods.magnitude import smallest
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Step
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.train.loop import Hooks
from expunge.train.objective import Loss, StepBatch


@dataclass(frozen=True, kw_only=True)
class MaskedSmallGradients(ObjectiveMethod):
    """Draw anew the kernel weights that least tell F from R, then fine-tune (MSG; NeurIPS contest, 2023).

    They are, in each convolution, the ``fraction`` of smallest magnitude of ∇[CE(as many retained rows as F has) −
    CE(F)] at the original, batch norms and dropout in eval mode; means over batches are added up. They are drawn from
    N(0, 2/fan-out). While the model is trained on R, the gradients of the kernels' other weights are multiplied by
    ``factor``; the rate rises over the first half of the planned steps and falls over the second.
    """

    name = "masked-small-gradients"
    aliases = ("msg",)
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.GRADIENTS})
    citation = "NeurIPS unlearning contest, 2023; as reported by Cadet et al., 2024"
    work = "2 a forgotten row for the mask, then 1 a retained row and pass"
    rate: float = tuned(1e-3, Between(1e-4, 1e-1))
    epochs: int | float | None = 5
    batch_size: int | None = 64
    calendar: Calendar = Calendar.WARM_UP
    fraction: float = tuned(0.3, Between(0.05, 0.95, log=False))
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.fraction <= 1, f"fraction {self.fraction} must be a share of the weights between 0 and 1")
        check(math.isfinite(self.factor) and self.factor >= 0, f"factor {self.factor} must be a finite number from 0")
        check(
            self.optimiser is not OptimiserName.SIGN or self.factor in (0, 1),
            f"factor {self.factor} with optimiser sign has no effect, as only the gradient's sign is read: choose sgd",
        )

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        refuse_without_kernels(self.name, parent.model)

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        weights = list(kernels(student).values())
        masks = [torch.zeros_like(weight, dtype=torch.bool) for weight in weights]
        if self.fraction > 0:
            rows = given.forget, given.sample(given.retain, len(given.forget))
            spent = 3 * sum(len(slots) for slots in rows)
            tuned_after = self.rate > 0 and self.epochs != 0  # kernels drawn anew and never trained are no result
            fits = self.step_follows(given, student, spent=spent) if tuned_after else given.meter.fits(spent)
            if not fits:
                return Prepared(still="nothing done: the mask and the first step would pass the budget")
            masks = [
                smallest([gradient], round(self.fraction * gradient.numel()))[0]
                for gradient in self._gradient(given, *rows)
            ]
        stream, scales = given.stream("init"), [torch.ones_like(weight) for weight in weights]
        with torch.no_grad():
            for weight, mask, scale in zip(weights, masks, scales, strict=True):
                scale[~mask] = self.factor
                drawn = torch.from_numpy(stream.normal(weight.numel())).to(weight).reshape(weight.shape)
                weight.copy_(torch.where(mask, drawn * math.sqrt(2 / fan_out(weight)), weight))

        def damp(step: Step) -> None:
            for weight, scale in zip(weights, scales, strict=True):
                if weight.grad is not None:
                    weight.grad.mul_(scale)

        return Prepared(
            hooks=Hooks(before_update=None if self.factor == 1 else damp),
            seen=("gradient of the forget set",) if self.fraction else (),
        )

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.retain_loss(student)

    def _gradient(self, given: Given, forget: np.ndarray, retain: np.ndarray) -> list[torch.Tensor]:
        """Σ over batches of ∇CE(R's sample) − ∇CE(F), for each kernel; costs one example-step a row."""
        given.declare(Need.GRADIENTS)
        model = given.student().eval()
        weights = list(kernels(model).values())
        sums = [torch.zeros_like(weight) for weight in weights]
        for sign, slots in ((1.0, retain), (-1.0, forget)):
            for batch in given.batches(slots, self.batch_size or given.recipe.batch_size):
                loss = given.task.losses(model, batch).mean()
                given.meter.steps(len(batch))
                for total, gradient in zip(
                    sums, torch.autograd.grad(loss, weights, materialize_grads=True), strict=True
                ):
                    total.add_(gradient, alpha=sign)
        return sums


def fan_out(weight: torch.Tensor) -> int:
    """Outputs times places of a kernel (out, in, …)."""
    return weight.shape[0] * math.prod(weight.shape[2:])
