"""What a certified removal is computed from, and what forbids it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from expunge.core.errors import RunError, UnsupportedEver
from expunge.methods.batch_norm import batch_norms
from expunge.models.linear import Linear, features_of, head_of
from expunge.schedule.recipe import Recipe
from expunge.tasks import TASKS
from expunge.tasks.linear import LinearTask
from expunge.train.examples import Examples
from expunge.train.newton_removal import LinearRows

LONGEST = 1.0 + 1e-5  # rows of length 1, rounded to float32
RETRAIN = "or use `method` retrain"


@dataclass(frozen=True)
class RemovalRequest:
    """A trained linear model, rows that must go and rows that stay, the training's noise and what was spent before."""

    recipe: Recipe
    model: nn.Module
    examples: Examples
    forget: np.ndarray
    retain: np.ndarray
    noise: np.ndarray | None
    account: Mapping[str, Any] | None

    @property
    def task(self) -> LinearTask:
        return cast(LinearTask, TASKS[self.recipe.task])

    @property
    def weight(self) -> torch.Tensor:
        """Classes × features, as they are stored."""
        return head_of(self.model).weight.detach()

    def check(self, name: str) -> None:
        """One linear layer, on features in which no training row had a part, with one minimum, noise at hand."""
        refused = f"method {name!r} on model {self.recipe.model!r}"
        if not isinstance(getattr(self.model, "body", self.model), Linear):
            raise UnsupportedEver(
                f"{refused}: its loss is not convex in all weights; train with `model` linear, {RETRAIN}"
            )
        if batch_norms(self.model):
            raise UnsupportedEver(
                f"{refused}: numbers pass a batch norm in front, whose running statistics were computed from the rows "
                f"that must go; train with `model_options` standardise=false, {RETRAIN}"
            )
        if self.recipe.optimiser.weight_decay == 0:
            raise UnsupportedEver(
                f"{refused}: without weight decay the minimum need not exist or be the only one; train with a weight "
                f"decay above 0, {RETRAIN}"
            )
        if self.recipe.perturbation and self.noise is None:
            raise RunError(
                f"{refused}: the secret noise of the training is not at hand, so what training left cannot be "
                f"measured; put the noise.key of the run back, {RETRAIN}"
            )

    def rows(self, slots: np.ndarray) -> LinearRows:
        """Features as training saw them, in float64; rows longer than 1 are refused."""
        batch = self.examples.batch(slots)
        with torch.no_grad():
            features = features_of(self.model, self.task.inputs(batch)).double().cpu()
        longest = float(torch.linalg.vector_norm(features, dim=1).max())
        if longest > LONGEST:
            raise UnsupportedEver(
                f"a row has length {longest:.3g}, the bounds of a certificate hold for rows of length 1 at most: train "
                f"with `model_options` unit_rows=true, {RETRAIN}"
            )
        return LinearRows(features, self.task.labels(batch).cpu())
