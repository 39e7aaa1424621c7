"""One Newton-like step from the optimum of all data towards that of the retain set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from torch import nn

from expunge.methods.contract import Given, Need, check
from expunge.methods.fields import Between, tuned
from expunge.methods.weight_edit import Edited, WeightEdit, move
from expunge.tasks.gradients import flat, per_example_gradients, summed_gradient
from expunge.train.curvature.conjugate_gradient import conjugate_gradient
from expunge.train.curvature.products import gauss_newton_product
from expunge.train.curvature.woodfisher import inverse_fisher_product

PRODUCTS = 20  # of a Gauss–Newton solution, unless said
MOST_ENTRIES = 400_000_000  # of the matrix of single examples' gradients


class Curvature(Enum):
    """H_R as the empirical Fisher information of single gradients, or as Gauss–Newton by conjugate gradients."""

    WOODFISHER = "woodfisher"
    GAUSS_NEWTON = "gauss-newton"


@dataclass(frozen=True, kw_only=True)
class Influence(WeightEdit):
    """Undo the pull of the forget set by the inverse curvature of the retain set (IU; Izzo et al., 2021).

    θ += scale · (H_R + damping·I)⁻¹ (∇L_D − ∇L_R), where ∇L_D − ∇L_R = (n_F/N)(ḡ_F − ḡ_R). If the budget does not
    cover the retain set, ḡ_R is the mean over a sample, and the curvature over a part of it. Gauss–Newton takes 20
    ``products`` at most unless said.
    """

    name = "influence"
    aliases = ("iu",)
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.GRADIENTS})
    citation = "Izzo et al., AISTATS 2021; WoodFisher: Singh & Alistarh, NeurIPS 2020"
    work = "1 a row, and with gauss-newton 2 a sampled row and product"
    scale: float = tuned(1.0, Between(0.1, 20.0))
    samples: int = 1000
    damping: float = tuned(1e-3, Between(1e-5, 1.0))
    curvature: Curvature = Curvature.WOODFISHER
    products: int | None = None

    def __post_init__(self) -> None:
        check(math.isfinite(self.scale) and self.scale >= 0, f"scale {self.scale} must be a finite number from 0")
        check(self.samples >= 1, f"samples {self.samples} must be a whole number from 1")
        check(
            math.isfinite(self.damping) and self.damping > 0, f"damping {self.damping} must be a finite number above 0"
        )
        check(
            self.products is None or self.curvature is Curvature.GAUSS_NEWTON,
            f"products {self.products} with curvature {self.curvature.value}: only gauss-newton takes products",
        )
        check(
            self.products is None or self.products >= 2,
            f"products {self.products} must be at least 2: one of them checks the solution",
        )

    def edit(self, given: Given, student: nn.Module) -> Edited:
        given.declare(Need.GRADIENTS)
        if self.scale == 0:
            return Edited(still="nothing to do: scale is zero")
        forget, retain = given.forget, given.retain
        if not given.meter.fits(3 * (len(forget) + 1)):
            return Edited(still="nothing done: the gradient of the forget set alone would pass the budget")
        pull = self._gradient(given, student, forget) / len(forget)
        if self.curvature is Curvature.WOODFISHER:
            step, notices = self._by_woodfisher(given, student, pull, retain)
        else:
            step, notices = self._by_conjugate_gradient(given, student, pull, retain)
        step = self.scale * len(forget) / (len(forget) + len(retain)) * step
        move(student, step)
        return Edited(notices=notices, seen=("gradient of the forget set",))

    def _by_woodfisher(
        self, given: Given, student: nn.Module, pull: torch.Tensor, retain: np.ndarray
    ) -> tuple[torch.Tensor, tuple[str, ...]]:
        """The same rows serve both ḡ_R and the curvature: their gradients are taken once."""
        rows = given.sample(retain, given.affordable(len(retain), 3))
        held = max(1, min(self.samples, len(rows), MOST_ENTRIES // max(1, pull.numel())))
        curved = given.sample(rows, held)
        single = per_example_gradients(given.task, student, given.examples.batch(curved))
        given.meter.steps(len(curved))
        rest = np.setdiff1d(rows, curved)
        mean = (single.sum(dim=0) + self._gradient(given, student, rest)) / len(rows)
        said = _said(len(rows), len(retain), len(curved), min(self.samples, len(retain)))
        return inverse_fisher_product(single, pull - mean, self.damping), said

    def _by_conjugate_gradient(
        self, given: Given, student: nn.Module, pull: torch.Tensor, retain: np.ndarray
    ) -> tuple[torch.Tensor, tuple[str, ...]]:
        """A third of what is left goes to ḡ_R, the rest to products."""
        rows = given.sample(retain, max(1, given.affordable(len(retain), 9)))
        mean = self._gradient(given, student, rows) / len(rows)
        most = self.products or PRODUCTS
        curved = given.sample(rows, min(self.samples, given.affordable(len(rows), 6 * most)))
        if len(curved) == 0:
            return torch.zeros_like(pull), ("the budget covers no product: nothing done",)
        batches = list(given.batches(curved))
        found = conjugate_gradient(
            lambda vector: gauss_newton_product(given.task, student, batches, vector),
            pull - mean,
            damping=self.damping,
            tolerance=1e-12 if pull.dtype == torch.float64 else 1e-5,
            most=most - 1,
        )
        given.meter.steps(2 * len(curved) * found.products)
        said = _said(len(rows), len(retain), len(curved), min(self.samples, len(retain)))
        if not found.converged:
            said += (f"conjugate gradients stopped after {found.iterations} with a residual of {found.residual:.1e}",)
        return found.vector, said

    def _gradient(self, given: Given, student: nn.Module, slots: np.ndarray) -> torch.Tensor:
        """Sum over rows."""
        given.meter.steps(len(slots))
        return flat(summed_gradient(given.task, student, given.batches(slots)))


def _said(rows: int, retain: int, curved: int, wanted: int) -> tuple[str, ...]:
    said: tuple[str, ...] = ()
    if rows < retain:
        said += (f"the retain gradient over {rows} of {retain} rows: the budget covers no more",)
    if curved < wanted:
        said += (f"the curvature over {curved} of {wanted} rows: budget or memory hold no more",)
    return said
