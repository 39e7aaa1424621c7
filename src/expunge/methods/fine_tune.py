"""Fine-tuning on the retain set."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from expunge.methods.contract import Need
from expunge.methods.fields import Between, tuned
from expunge.methods.objective_method import ObjectiveMethod
from expunge.train.objective import Loss, StepBatch


@dataclass(frozen=True, kw_only=True)
class FineTune(ObjectiveMethod):
    """Keep training on the retain set and hope that the rest fades (FT; Golatkar et al., 2020)."""

    name = "fine-tune"
    aliases = ("ft", "gd")
    needs = frozenset({Need.RETAIN})
    citation = "Golatkar et al., CVPR 2020"
    work = "1 a retained row and pass"
    rate: float = tuned(0.01, Between(1e-4, 1e-1))

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.retain_loss(student)
