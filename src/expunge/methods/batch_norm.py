"""Running statistics are an average over training data: they hold F. What methods may do with them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from expunge.methods.given import Given

BATCHES = 16
SHARE = 0.1  # of the budget at most


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """Every batch norm of a model, however many dimensions it has."""
    kind = nn.modules.batchnorm._NormBase  # pyright: ignore[reportPrivateUsage]
    return [module for module in model.modules() if isinstance(module, kind)]


def freeze_batch_norm(model: nn.Module) -> None:
    """Batch norms in eval mode: a batch of forget examples alone would move their statistics to F."""
    for module in batch_norms(model):
        module.eval()


def calibration_rows(given: Given) -> np.ndarray:
    """A fixed sample of R in whole batches of one size, for a tenth of the budget at most; a third of a step each.

    Cumulative mode averages the batches' variances, not the pooled one: full batches of one size keep that honest.
    """
    retain, allowed = given.retain, given.meter.allowed
    size = min(max(2, given.recipe.batch_size), len(retain))
    if size < 2:
        return retain[:0]
    most = len(retain) if allowed is None else min(len(retain), int(min(given.meter.left, 3 * SHARE * allowed)))
    return given.sample(retain, min(BATCHES, most // size) * size)


def recalibrate(given: Given, model: nn.Module, rows: np.ndarray) -> tuple[str, ...]:
    """Reset the running statistics and take them anew as the cumulative mean over ``rows`` of R; says what was done."""
    norms = [module for module in batch_norms(model) if getattr(module, "track_running_stats", False)]
    if not norms:
        return ()
    if len(rows) == 0:
        return ("batch-norm statistics are those of the original: a tenth of the budget covers no whole batch of R",)
    model.eval()
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()  # type: ignore[operator]
        module.momentum = None  # type: ignore[assignment]
        module.train()
    size = min(len(rows), max(2, given.recipe.batch_size))
    with torch.no_grad():
        for batch in given.batches(rows, size):
            given.task.outputs(model, batch)
            given.meter.forwards(len(batch))
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum  # type: ignore[assignment]
        module.eval()
    return (f"batch-norm statistics are taken anew from {len(rows)} retained rows",)
