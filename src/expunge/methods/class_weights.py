"""Weights that give rare classes of the retain set more of a say."""

from __future__ import annotations

import numpy as np
import torch

from expunge.methods.given import Given


def class_weights(given: Given, power: float) -> torch.Tensor | None:
    """(retained examples of each class) to the minus ``power``; None where that is the same for all: plain means do.

    The loss divides by the sum of its weights, so that their common scale means nothing: power 1 is the usual balance,
    rows / (classes · count). A class that nobody retains has weight 0 and is never asked for.
    """
    counts = np.zeros(len(given.recipe.classes), dtype=np.int64)
    for batch in given.batches(given.retain):
        counts += np.bincount(batch.labels.cpu().numpy(), minlength=len(counts))
    present = counts > 0
    if power == 0 or len(np.unique(counts[present])) <= 1:
        return None
    weights = np.zeros(len(counts))
    weights[present] = counts[present] ** -power
    return torch.from_numpy(weights).to(given.device)
