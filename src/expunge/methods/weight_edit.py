"""Methods that change the weights at once, without steps of an optimiser."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import final

import numpy as np
import torch
from torch import nn

from expunge.methods.batch_norm import batch_norms, calibration_rows, recalibrate
from expunge.methods.contract import Given, Method, Outcome


class Recalibrate(Enum):
    """Whether batch-norm statistics are taken anew: where an edit changed a layer before one, after any edit, never."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class Edited:
    """What became of an edit: why nothing moved, if so, and what to know of it."""

    still: str | None = None
    notices: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WeightEdit(Method):
    """An edit in eval mode. What it computes is counted, and samples rows where the budget does not cover all."""

    recalibrate: Recalibrate = Recalibrate.AUTO

    @abstractmethod
    def edit(self, given: Given, student: nn.Module) -> Edited:
        """Change the student's weights in place."""

    @final
    def unlearn(self, given: Given) -> Outcome:
        student = given.student().eval()
        rows = np.zeros(0, dtype=np.int64)
        if self.recalibrate is not Recalibrate.OFF and batch_norms(student):
            rows = calibration_rows(given)
        given.meter.kept = len(rows)
        before = [parameter.detach().clone() for parameter in student.parameters()]
        edited = self.edit(given, student)
        given.meter.kept = 0
        if given.progress is not None:
            given.progress(1, 1)
        changed = [not torch.equal(old, new) for old, new in zip(before, student.parameters(), strict=True)]
        notices = edited.notices
        wanted = self.recalibrate is Recalibrate.ON or _before_a_norm(student, changed)
        if any(changed) and wanted and self.recalibrate is not Recalibrate.OFF:
            notices += recalibrate(given, student, rows)
        return Outcome(
            model=student,
            steps=0,
            stopped=edited.still or (None if any(changed) else "nothing to do: no weight was to be changed"),
            notices=notices,
            seen=edited.seen,
        )


def _before_a_norm(model: nn.Module, changed: list[bool]) -> bool:
    """Whether a changed parameter stands before a batch norm, in the order in which the modules are listed."""
    moved = {id(parameter) for parameter, yes in zip(model.parameters(), changed, strict=True) if yes}
    norms = {id(module) for module in batch_norms(model)}
    seen = False
    for module in model.modules():
        if id(module) in norms and seen:
            return True
        seen = seen or any(id(parameter) in moved for parameter in module.parameters(recurse=False))
    return False


def sampled(given: Given, slots: np.ndarray, thirds_each: int, most: int | None, what: str) -> tuple[np.ndarray, str]:
    """As many of some rows as are asked for and the budget covers, and a sentence where it covers fewer."""
    wanted = len(slots) if most is None else min(most, len(slots))
    count = given.affordable(wanted, thirds_each)
    said = "" if count == wanted else f"{what} over {count} of {wanted} rows: the budget covers no more"
    return given.sample(slots, count), said


@torch.no_grad()
def move(model: nn.Module, change: torch.Tensor) -> None:
    """Add a flat vector to the parameters with ``requires_grad``, in their order."""
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    parts = change.split([parameter.numel() for parameter in learnt])
    for parameter, part in zip(learnt, parts, strict=True):
        parameter.add_(part.reshape(parameter.shape))
