"""Shrinking the weights that matter more to the forget set than to everything."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from torch import nn

from expunge.methods.contract import Given, Need, check
from expunge.methods.fields import Between, tuned
from expunge.methods.given import CHUNK
from expunge.methods.weight_edit import Edited, WeightEdit, sampled
from expunge.tasks.gradients import squared_gradients, summed_gradient
from expunge.tasks.task import Batch


class Importance(Enum):
    """Squares of each example's gradient, or of the batch mean's, which depends on the batch size (authors' code)."""

    PER_EXAMPLE = "per-example"
    BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class SelectiveSynapticDampening(WeightEdit):
    """Shrink each weight whose squared gradient over F is far above that over all data (SSD; Foster et al., 2024).

    Where I_F > selection · I_D, a weight is multiplied by min(1, dampening · I_D / I_F). I_D is the mean over F and R;
    where the budget does not cover R, over a sample of it.
    """

    name = "selective-synaptic-dampening"
    aliases = ("ssd",)
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.GRADIENTS})
    citation = "Foster et al., AAAI 2024"
    work = "1 a row"
    selection: float = tuned(10.0, Between(0.1, 1e6))
    dampening: float = tuned(1.0, Between(0.1, 10.0, times="selection"))
    importance: Importance = Importance.PER_EXAMPLE

    def __post_init__(self) -> None:
        check(self.selection >= 0, f"selection {self.selection} must be a number from 0, or inf")
        check(self.dampening >= 0, f"dampening {self.dampening} must be a number from 0, or inf")

    def edit(self, given: Given, student: nn.Module) -> Edited:
        given.declare(Need.GRADIENTS)
        forget, retain = given.forget, given.retain
        if not given.meter.fits(3 * len(forget) + 3):
            return Edited(still="nothing done: the importances of the forget set alone would pass the budget")
        if math.isinf(self.selection):
            return Edited(still="nothing to do: no importance exceeds an infinite multiple")
        if self.importance is Importance.PER_EXAMPLE:
            of_forget = self._mean(given, student, forget)
            rows, said = sampled(given, retain, 3, None, "importances of the retain set")
            of_retain = self._mean(given, student, rows)
            share = len(forget) / (len(forget) + len(retain))
            of_all = [share * f + (1 - share) * r for f, r in zip(of_forget, of_retain, strict=True)]
        else:
            of_forget = self._mean(given, student, forget)
            rows, said = sampled(given, np.union1d(forget, retain), 3, None, "importances of all data")
            of_all = self._mean(given, student, rows)
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        with torch.no_grad():
            for parameter, forgotten, everything in zip(parameters, of_forget, of_all, strict=True):
                factor = torch.nan_to_num(self.dampening * everything / forgotten, nan=1.0).clamp(max=1.0)
                parameter.mul_(torch.where(forgotten > self.selection * everything, factor, 1.0))
        return Edited(notices=(said,) if said else (), seen=("importances of the forget set",))

    def _mean(self, given: Given, student: nn.Module, slots: np.ndarray) -> list[torch.Tensor]:
        """Mean squared gradient over some rows, of examples or of batches."""
        of_examples = self.importance is Importance.PER_EXAMPLE
        size = CHUNK if of_examples else given.recipe.batch_size
        square: Callable[[Batch], list[torch.Tensor]] = (
            (lambda batch: squared_gradients(given.task, student, batch))
            if of_examples
            else (lambda batch: [(g / len(batch)) ** 2 for g in summed_gradient(given.task, student, [batch])])
        )
        totals: list[torch.Tensor] | None = None
        count = 0
        for batch in given.batches(slots, size):
            found = square(batch)
            totals = found if totals is None else [total + part for total, part in zip(totals, found, strict=True)]
            count += len(batch) if of_examples else 1
            given.meter.steps(len(batch))
        assert totals is not None
        return [total / count for total in totals]
