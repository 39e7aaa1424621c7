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
from expunge.tasks.gradients import summed_gradient
from expunge.train.loop import Hooks


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
        prepared = super().prepare(given, student)
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        kept = round(self.keep * sum(parameter.numel() for parameter in parameters))
        if kept == 0:
            return replace(prepared, still="nothing to do: the mask keeps no weight")
        if not self.step_follows(given, student, spent=3 * len(given.forget)):
            return replace(prepared, still="nothing done: rate, epochs or budget covers no mask and step")
        given.declare(Need.GRADIENTS)
        masks = largest(summed_gradient(given.task, student, given.batches(given.forget)), kept)
        given.meter.steps(len(given.forget))
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
