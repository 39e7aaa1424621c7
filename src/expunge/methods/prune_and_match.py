"""Drawing the smallest weights anew, then training back to the original's certainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.errors import UnsupportedEver
from expunge.methods.class_weights import class_weights
from expunge.methods.contract import Given, Need, Parent, check
from expunge.methods.convolutions import KINDS, learnt_weight
from expunge.methods.fields import Between, tuned
from expunge.methods.magnitude import smallest
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Role
from expunge.tasks.classification import Classification
from expunge.tasks.task import Task
from expunge.train.objective import Answer, Extras, Loss, Pass, StepBatch


@dataclass(frozen=True, kw_only=True)
class PruneAndMatch(ObjectiveMethod):
    """Draw the smallest weights anew and train on R to the original's entropies (PRMQ; NeurIPS contest, 2023).

    Of all weights of convolutions and dense layers together (no biases, norms or embeddings) the ``amount`` of smallest
    magnitude is drawn anew, uniformly in ±√(1/fan-in), even where the budget covers no step. The loss is CE, weighted
    by (retained rows of a class)^−``balance``, plus ``entropy_weight`` times the mean squared distance between the
    entropies of p and of the original's p₀. With ``half`` the result is rounded to half precision and back.
    """

    name = "prune-and-match"
    aliases = ("prmq",)
    needs = frozenset({Need.RETAIN, Need.ORIGINAL})
    citation = "NeurIPS unlearning contest, 2023; as reported by Cadet et al., 2024"
    edits = True
    work = "4/3 a retained row and pass"
    task: ClassVar[type[Task]] = Classification
    rate: float = tuned(5e-4, Between(1e-4, 1e-1))
    epochs: int | float | None = 3.2
    amount: float = tuned(0.99, Between(0.3, 0.999, log=False))
    entropy_weight: float = 1.0
    balance: float = 0.1
    half: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.amount <= 1, f"amount {self.amount} must be a share of the weights between 0 and 1")
        for name in ("entropy_weight", "balance"):
            value = getattr(self, name)
            check(math.isfinite(value) and value >= 0, f"{name} {value} must be a finite number from 0")

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        if not layer_weights(parent.model):
            raise UnsupportedEver(
                f"method {self.name!r} on a model without convolutions and dense layers: it has no learnt weights of "
                "theirs to draw anew; use fine-tune"
            )

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        weights = layer_weights(student)
        masks = smallest(weights, round(self.amount * sum(map(torch.numel, weights))))
        stream = given.stream("init")
        with torch.no_grad():
            for weight, mask in zip(weights, masks, strict=True):
                drawn = torch.from_numpy(stream.uniform(weight.numel())).to(weight).reshape(weight.shape)
                weight.copy_(torch.where(mask, (2 * drawn - 1) / math.sqrt(weight[0].numel()), weight))
        return Prepared(
            extras=Extras(slot_weights=class_weights(given, self.balance)),
            finish=(lambda: round_to_half(student)) if self.half else None,
        )

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        assert teacher is not None
        matched = batch.term(
            entropy_gap, Pass(student, Role.RETAIN, writes=True), Pass(teacher, Role.RETAIN, gradient=False)
        )
        return batch.retain_loss(student) + self.entropy_weight * matched


def layer_weights(model: nn.Module) -> list[nn.Parameter]:
    """The learnt weights of all convolutions and dense layers, in the model's order, shared ones once."""
    layers = [module for module in model.modules() if isinstance(module, (*KINDS, nn.Linear))]
    found = {id(weight): weight for layer in layers if (weight := learnt_weight(layer)) is not None}
    return list(found.values())


def entropy_gap(student: Answer, teacher: Answer) -> torch.Tensor:
    """Mean over rows of (H(p) − H(p₀))²."""
    return (entropy(student.outputs) - entropy(teacher.outputs)).square().mean()


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """H(p) of each row, in nats."""
    wide = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    logs = torch.log_softmax(wide, dim=1)
    return -(logs.exp() * logs).sum(dim=1)


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Every real number of the model to half precision and back, in place; what half cannot hold stays as it was."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            rounded = tensor.half().to(tensor.dtype)
            tensor.copy_(torch.where(rounded.isfinite(), rounded, tensor))
