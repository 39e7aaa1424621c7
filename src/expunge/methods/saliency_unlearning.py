"""Random labels, on the weights that matter most to the forget set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from expunge.methods.contract import Given, Need, check
from expunge.methods.fields import Between, tuned
from expunge.methods.magnitude import largest
from expunge.methods.objective_method import Prepared
from expunge.methods.random_labels import SuccessiveRandomLabels
from expunge.train.loop import Hooks

CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class SaliencyUnlearning(SuccessiveRandomLabels):
    """Successive random labels under a mask of the most salient weights (SalUn; Fan et al., 2024).

    The mask keeps the ``keep`` share of all trainable weights with the largest magnitude of the summed forget-set
    gradient at the original weights. Weights outside it stay as they were to the bit, momentum and decay included.
    """

    name = "saliency-unlearning"
    aliases = ("salun",)
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.GRADIENTS})
    citation = "Fan et al., ICLR 2024"
    work = "1 a forgotten row for the mask, then 1 a row and pass"
    rate: float = tuned(0.013, Between(1e-4, 1e-1))
    keep: float = tuned(0.5, Between(0.1, 1.0, log=False))

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.keep <= 1, f"keep {self.keep} must be a share of the weights between 0 and 1")

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        prepared = self.prepared(given, student)
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        kept = round(self.keep * sum(parameter.numel() for parameter in parameters))
        if kept == 0:
            return replace(prepared, still="nothing to do: the mask keeps no weight")
        if not self.step_follows(given, student, spent=3 * len(given.forget)):
            return replace(prepared, still="nothing done: rate, epochs or budget covers no mask and step")
        masks = largest(forget_gradient(given, student), kept)
        originals = [parameter.detach().clone() for parameter in parameters]
        shares = [mask.to(parameter.dtype) for mask, parameter in zip(masks, parameters, strict=True)]

        @torch.no_grad()
        def restore(optimiser: torch.optim.Optimizer) -> None:
            """Weights outside the mask go back, and nothing is left of them in the moments."""
            for parameter, original, mask, share in zip(parameters, originals, masks, shares, strict=True):
                torch.where(mask, parameter, original, out=parameter.data)
                for moment in optimiser.state[parameter].values():
                    if isinstance(moment, torch.Tensor) and moment.shape == parameter.shape:
                        moment.mul_(share)

        return replace(prepared, hooks=Hooks(after_update=restore), seen=("gradient of the forget set", *prepared.seen))


def forget_gradient(given: Given, student: nn.Module) -> list[torch.Tensor]:
    """Gradient of the summed loss over F at the original weights, in eval mode; costs one example-step each."""
    given.declare(Need.GRADIENTS)
    model = given.student().eval()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for start in range(0, len(given.forget), CHUNK):
        batch = given.examples.plain(given.forget[start : start + CHUNK])
        loss = given.task.losses(model, batch).sum()
        for total, gradient in zip(sums, torch.autograd.grad(loss, parameters, materialize_grads=True), strict=True):
            total += gradient
        given.meter.steps(len(batch))
    return sums
