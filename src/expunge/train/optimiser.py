"""From the recipe's optimiser to torch's, with the kernels that keep bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.schedule.recipe import Optimiser, OptimiserName

COUNTER = "step"  # one number; every other moment has the shape of its parameter
MOMENTS: Mapping[OptimiserName, frozenset[str]] = {
    OptimiserName.SGD: frozenset({"momentum_buffer"}),
    OptimiserName.ADAM: frozenset({COUNTER, "exp_avg", "exp_avg_sq"}),
    OptimiserName.ADAMW: frozenset({COUNTER, "exp_avg", "exp_avg_sq"}),
    OptimiserName.SIGN: frozenset(),
}  # what an optimiser may keep of each parameter


def make_optimiser(described: Optimiser, model: nn.Module) -> torch.optim.Optimizer:
    """A fresh optimiser over all trainable parameters, without the fused and for-each kernels: they differ in bits."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise RunError("the model has no trainable parameters: nothing can be trained or forgotten")
    if described.name is OptimiserName.SIGN:
        return _SignDescent(parameters, rate=described.rate)
    if described.name is OptimiserName.SGD:
        return torch.optim.SGD(
            parameters,
            lr=described.rate,
            momentum=described.momentum,
            weight_decay=described.weight_decay,
            foreach=False,
            fused=False,
        )
    kind = torch.optim.Adam if described.name is OptimiserName.ADAM else torch.optim.AdamW
    return kind(
        parameters,
        lr=described.rate,
        betas=(described.beta1, described.beta2),
        eps=described.epsilon,
        weight_decay=described.weight_decay,
        foreach=False,
        fused=False,
    )


class _SignDescent(torch.optim.Optimizer):
    """θ ← θ − η·sign(gradient), sign(0) = 0; no moments, no decay: the gradient's scale does not matter."""

    def __init__(self, parameters: Iterable[torch.Tensor], *, rate: float) -> None:
        super().__init__(parameters, {"lr": rate})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad.sign(), alpha=-group["lr"])


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The calendar's rate for the coming step."""
    for group in optimiser.param_groups:
        group["lr"] = rate
