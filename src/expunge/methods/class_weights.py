"""Weights that give rows of rare classes of the retain set more of a say."""

from __future__ import annotations

import numpy as np
import torch

from expunge.methods.given import Given
from expunge.tasks.task import ClassTask


def class_weights(given: Given, power: float) -> torch.Tensor | None:
    """For each slot (retained examples of its class) to the minus ``power``; None where that is the same for all.

    Plain means do then. The loss divides by the sum of its weights, so that their common scale means nothing: power 1
    is the usual balance, rows / (classes · count). A slot that is not retained has weight 0 and is never asked for.
    """
    retain = given.retain
    labels = np.concatenate([ClassTask.labels(batch).cpu().numpy() for batch in given.batches(retain)])
    counts = np.bincount(labels)
    if power == 0 or len(np.unique(counts[counts > 0])) <= 1:
        return None
    weights = np.zeros(given.count)
    weights[retain] = (np.maximum(counts, 1) ** -power)[labels]
    return torch.from_numpy(weights).to(given.device)
