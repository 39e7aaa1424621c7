"""Forgetting where the network is replaced by its tangent at the initial weights, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.errors import UnsupportedYet
from expunge.methods.contract import Given, Need, Parent, check
from expunge.methods.weight_edit import Edited, WeightEdit, move
from expunge.tasks.task import ClassTask, Task
from expunge.train.curvature.tangent_kernel import tangent_difference

MOST_ENTRIES = 5e8


class Targets(Enum):
    """1 for the own class and 0 for the others, or +1 and −1."""

    ONE_HOT = "one-hot"
    MARGIN = "margin"


@dataclass(frozen=True, kw_only=True)
class NeuralTangentKernel(WeightEdit):
    """Move the weights as retraining would if the network were its tangent (NTK; Golatkar et al., 2020).

    θ += scale · (w_R − w_D), w_I = w₀ + J_Iᵀ (J_I J_Iᵀ + damping·I)⁻¹ (t_I − f₀(I)), J at the initial weights. The
    damping is the recipe's weight decay unless said. ``samples`` bounds the retained rows; the budget may do so too.
    """

    name = "neural-tangent-kernel"
    aliases = ("ntk",)
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.INIT, Need.GRADIENTS})
    citation = "Golatkar et al., ECCV 2020"
    work = "1 a row and output, and 1 a row"
    task: ClassVar[type[Task]] = ClassTask
    scale: float = 1.0
    damping: float | None = None
    targets: Targets = Targets.ONE_HOT
    samples: int | None = None

    def __post_init__(self) -> None:
        check(math.isfinite(self.scale) and self.scale >= 0, f"scale {self.scale} must be a finite number from 0")
        check(
            self.damping is None or (math.isfinite(self.damping) and self.damping > 0),
            f"damping {self.damping} must be a finite number above 0",
        )
        check(self.samples is None or self.samples >= 1, f"samples {self.samples} must be a whole number from 1")

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        staying = len(parent.examples) - len(forget) - len(parent.emptied)
        rows = len(forget) + min(staying, self.samples or staying)
        parameters = sum(parameter.numel() for parameter in parent.model.parameters())
        entries = rows * len(parent.recipe.classes) * parameters
        if entries > MOST_ENTRIES:
            raise UnsupportedYet(
                f"method {self.name!r} with {rows} rows × {len(parent.recipe.classes)} outputs × {parameters} "
                f"parameters = {entries:.1e} entries: {MOST_ENTRIES:.0e} at most; set samples lower, or use influence"
            )
        if self._damping(parent.recipe.optimiser.weight_decay) <= 0:
            raise UnsupportedYet(f"method {self.name!r} on a recipe without weight decay: set damping above 0")

    def edit(self, given: Given, student: nn.Module) -> Edited:
        given.declare(Need.GRADIENTS)
        if self.scale == 0:
            return Edited(still="nothing to do: scale is zero")
        forget, retain = given.forget, given.retain
        each = len(given.recipe.classes) + 1
        wanted = min(len(retain), self.samples or len(retain))
        count = min(wanted, given.affordable(len(forget) + wanted, 3 * each) - len(forget))
        if count < 1:
            return Edited(still="nothing done: the tangents of the forget set alone would pass the budget")
        kept = given.sample(retain, count)
        slots = np.union1d(forget, kept)
        start = given.initial().eval()
        batch = given.examples.batch(slots)
        change = tangent_difference(
            given.task,
            start,
            batch,
            self._targets(ClassTask.labels(batch), len(given.recipe.classes), next(start.parameters()).dtype),
            self._damping(given.recipe.optimiser.weight_decay),
            torch.from_numpy(~np.isin(slots, forget)).to(given.device),
        )
        given.meter.steps(each * len(slots))
        move(student, self.scale * change)
        said = (f"retained tangents of {count} of {wanted} rows: the budget covers no more",) if count < wanted else ()
        return Edited(notices=said, seen=("tangents of the forget set",))

    def _damping(self, weight_decay: float) -> float:
        return weight_decay if self.damping is None else self.damping

    def _targets(self, labels: torch.Tensor, classes: int, dtype: torch.dtype) -> torch.Tensor:
        own = nn.functional.one_hot(labels, classes).to(dtype)
        return own if self.targets is Targets.ONE_HOT else 2 * own - 1
