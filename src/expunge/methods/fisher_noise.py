"""Noise where the retain set does not care."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from expunge.methods.contract import Given, Need, check
from expunge.methods.fields import Among, Between, tuned
from expunge.methods.weight_edit import Edited, WeightEdit, sampled
from expunge.tasks.classification import Classification
from expunge.tasks.gradients import label_squared_gradients
from expunge.tasks.task import ClassTask, Task


@dataclass(frozen=True, kw_only=True)
class FisherNoise(WeightEdit):
    """Add noise to each weight, the less the Fisher information of the retain set holds it (Golatkar et al., 2020).

    Variance = strength · (F + floor)^(−power), at most ``cap`` where there is one; F is the exact expectation over the
    model's own labels, which costs one example-step for each class and row.
    """

    name = "fisher-noise"
    aliases = ("fisher",)
    needs = frozenset({Need.RETAIN, Need.GRADIENTS})
    citation = "Golatkar et al., CVPR 2020"
    work = "1 a retained row and class"
    task: ClassVar[type[Task]] = Classification
    strength: float = tuned(1e-7, Between(1e-9, 1e-4))
    power: float = tuned(1.0, Among((0.5, 1.0)))
    floor: float = 1e-8
    cap: float | None = None

    def __post_init__(self) -> None:
        for name in ("strength", "power"):
            value = getattr(self, name)
            check(math.isfinite(value) and value >= 0, f"{name} {value} must be a finite number from 0")
        check(math.isfinite(self.floor) and self.floor > 0, f"floor {self.floor} must be a finite number above 0")
        check(
            self.cap is None or (math.isfinite(self.cap) and self.cap >= 0),
            f"cap {self.cap} must be a finite variance from 0",
        )

    def edit(self, given: Given, student: nn.Module) -> Edited:
        given.declare(Need.GRADIENTS)
        if self.strength == 0:
            return Edited(still="nothing to do: strength is zero")
        assert isinstance(given.task, ClassTask)
        each = len(given.recipe.classes)
        rows, said = sampled(given, given.retain, 3 * each, None, "the Fisher information")
        if len(rows) == 0:
            return Edited(still="nothing done: the Fisher information of one row alone would pass the budget")
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        totals = [torch.zeros_like(parameter) for parameter in parameters]
        for batch in given.batches(rows):
            for total, part in zip(totals, label_squared_gradients(given.task, student, batch), strict=True):
                total += part
            given.meter.steps(each * len(batch))
        stream = given.stream("noise")
        with torch.no_grad():
            for parameter, total in zip(parameters, totals, strict=True):
                variance = self.strength * (total / len(rows) + self.floor) ** -self.power
                if self.cap is not None:
                    variance = variance.clamp(max=self.cap)
                draws = torch.from_numpy(stream.normal(parameter.numel())).to(parameter)
                parameter.add_(draws.reshape(parameter.shape) * variance.sqrt())
        return Edited(notices=(said,) if said else ())
