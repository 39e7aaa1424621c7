"""Fine-tuning with noise in every gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from expunge.methods.contract import Given, check
from expunge.methods.fields import Between, tuned
from expunge.methods.fine_tune import FineTune
from expunge.methods.objective_method import Prepared
from expunge.schedule.plan import Step
from expunge.train.loop import Hooks


@dataclass(frozen=True, kw_only=True)
class NoisyGradientDescent(FineTune):
    """Fine-tune on the retain set with Gaussian noise in every gradient (NGD; Chourasia & Shah, 2023).

    ``variance`` is that of the noise in each coordinate. It joins the gradient before momentum and decay, and it
    reaches every trainable weight.
    """

    name = "noisy-gradient-descent"
    aliases = ("ngd",)
    citation = "Chourasia & Shah, ICML 2023"
    variance: float = tuned(1e-7, Between(1e-8, 1e-4))

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            math.isfinite(self.variance) and self.variance >= 0,
            f"variance {self.variance} must be a finite number from 0",
        )

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        if self.variance == 0:
            return Prepared()
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        sizes = [parameter.numel() for parameter in parameters]
        scale = math.sqrt(self.variance)

        def add_noise(step: Step) -> None:
            """The draws of a step depend on its number alone, so that a run can be continued anywhere."""
            drawn = torch.from_numpy(scale * given.stream("noise", step.index).normal(sum(sizes)))
            for parameter, part in zip(parameters, drawn.split(sizes), strict=True):
                noise = part.reshape(parameter.shape).to(parameter.device, parameter.dtype)
                parameter.grad = noise if parameter.grad is None else parameter.grad.add_(noise)

        return Prepared(hooks=Hooks(before_update=add_noise))
