"""Turning every kernel over its diagonal, then fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from expunge.core.errors import UnsupportedEver
from expunge.methods.contract import Given, Need, Parent
from expunge.methods.convolutions import kernels, refuse_without_kernels
from expunge.methods.fields import Between, tuned
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.train.objective import Loss, StepBatch


@dataclass(frozen=True, kw_only=True)
class ConvolutionTranspose(ObjectiveMethod):
    """Swap height and width of every square kernel, then train on the retain set (CT; NeurIPS contest, 2023).

    Kernels that are not square, or one pixel, stay as they are and are listed in the result. The edit is in place and
    costs nothing; even where the budget covers no step it is done.
    """

    name = "convolution-transpose"
    aliases = ("ct",)
    needs = frozenset({Need.RETAIN})
    citation = "NeurIPS unlearning contest, 2023; as reported by Cadet et al., 2024"
    edits = True
    work = "1 a retained row and pass"
    rate: float = tuned(1e-3, Between(1e-4, 1e-1))
    epochs: int | float | None = 3

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        refuse_without_kernels(self.name, parent.model)
        if not any(turns(kernel) for kernel in kernels(parent.model).values()):
            raise UnsupportedEver(
                f"method {self.name!r} on a model without square kernels of more than one pixel: swapping height and "
                "width would change nothing; use fine-tune"
            )

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        found = kernels(student)
        for kernel in found.values():
            transpose(kernel)
        left = ", ".join(name for name, kernel in found.items() if not turns(kernel))
        return Prepared(notices=(f"kernels left as they were, not square or one pixel: {left}",) if left else ())

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.retain_loss(student)


def turns(kernel: torch.Tensor) -> bool:
    """Whether a weight (out, in, height, width) is of square kernels that a swap can change."""
    return kernel.dim() == 4 and kernel.shape[2] == kernel.shape[3] > 1


@torch.no_grad()
def transpose(kernel: nn.Parameter) -> None:
    """Swap height and width in place, so that whoever holds the parameter keeps it."""
    if turns(kernel):
        kernel.copy_(kernel.transpose(2, 3).clone())
