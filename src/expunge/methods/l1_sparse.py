"""Fine-tuning towards few weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from expunge.methods.contract import check
from expunge.methods.fields import Between, tuned
from expunge.methods.fine_tune import FineTune
from expunge.schedule.plan import Role
from expunge.train.objective import Loss, StepBatch, Term


@dataclass(frozen=True, kw_only=True)
class L1Sparse(FineTune):
    """Fine-tune on the retain set under a fading penalty on the sum of absolute weights (Jia et al., 2023).

    In epoch e of E, counted from 0, the penalty is ``strength``·(1 − e/E)·‖θ‖₁ over the trainable weights: it prunes
    first, and the last epochs repair. E is what the budget allows.
    """

    name = "l1-sparse"
    aliases = ()
    citation = "Jia et al., NeurIPS 2023"
    strength: float = tuned(1e-3, Between(1e-6, 1e-2))

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            math.isfinite(self.strength) and self.strength >= 0,
            f"strength {self.strength} must be a finite number from 0",
        )

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        if batch.size(Role.RETAIN) == 0:  # a skipped step changes no weight
            return Loss()
        step = batch.step
        penalty = Loss((Term(1.0, {}, lambda: absolute_sum(student)),))
        return batch.retain_loss(student) + self.strength * (1 - step.epoch / step.epochs) * penalty


def absolute_sum(model: nn.Module) -> torch.Tensor:
    """‖θ‖₁ of the trainable weights."""
    return torch.stack([parameter.abs().sum() for parameter in model.parameters() if parameter.requires_grad]).sum()
