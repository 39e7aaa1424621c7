"""From the recipe's optimiser to torch's, with the kernels that keep bits."""

from __future__ import annotations

import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.schedule.recipe import Optimiser, OptimiserName


def make_optimiser(described: Optimiser, model: nn.Module) -> torch.optim.Optimizer:
    """A fresh optimiser over all trainable parameters, without the fused and for-each kernels: they differ in bits."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise RunError("the model has no trainable parameters: nothing can be trained or forgotten")
    if described.name is OptimiserName.SGD:
        return torch.optim.SGD(
            parameters,
            lr=described.rate,
            momentum=described.momentum,
            weight_decay=described.weight_decay,
            foreach=False,
            fused=False,
        )
    return torch.optim.AdamW(
        parameters,
        lr=described.rate,
        betas=(described.beta1, described.beta2),
        eps=described.epsilon,
        weight_decay=described.weight_decay,
        foreach=False,
        fused=False,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The calendar's rate for the coming step."""
    for group in optimiser.param_groups:
        group["lr"] = rate
