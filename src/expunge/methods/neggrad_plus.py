"""Descent on the retain set with ascent on the forget set."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from expunge.methods.contract import Need, check
from expunge.methods.fields import Among, tuned
from expunge.methods.objective_method import ObjectiveMethod
from expunge.train.objective import Loss, StepBatch


@dataclass(frozen=True, kw_only=True)
class NegGradPlus(ObjectiveMethod):
    """Descend on the retain set while climbing on the forget set (NegGrad+; Kurmanji et al., 2023)."""

    name = "neggrad-plus"
    aliases = ("neggrad+",)
    needs = frozenset({Need.FORGET, Need.RETAIN})
    citation = "Kurmanji et al., NeurIPS 2023"
    work = "1 a row of either batch and step"
    rate: float = 0.01
    balance: float = tuned(0.95, Among((0.5, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999)))

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.balance <= 1, f"balance {self.balance} must lie between 0 and 1")

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return self.balance * batch.retain_loss(student) - (1 - self.balance) * batch.forget_loss(student)
