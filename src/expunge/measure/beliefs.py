"""What a model answers to every row of its data, read once: whoever measures it needs no model any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from expunge.core.errors import RunError
from expunge.core.files import write_with
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.schedule.recipe import Recipe
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.run import Run


@dataclass(frozen=True)
class Beliefs:
    """Logits of a softmax in float64 for every training and holdout row; NaN where the row is no longer there."""

    weights_digest: str
    train: np.ndarray
    holdout: np.ndarray


ReadBeliefs = Callable[[Run], Beliefs]


def read_beliefs(run: Run, rows: Mapping[Split, Dataset], device: torch.device) -> Beliefs:
    """Ask a run's model about all rows, in eval mode and at the recipe's precision, not augmented. Call it pinned."""
    model = run.model(device)
    found = {split: _answers(model, run.recipe, rows[split], device) for split in (Split.TRAIN, Split.HOLDOUT)}
    return Beliefs(run.weights_digest, found[Split.TRAIN], found[Split.HOLDOUT])


def _answers(model: nn.Module, recipe: Recipe, rows: Dataset, device: torch.device) -> np.ndarray:
    there = np.flatnonzero(rows.present)
    found = np.full((len(rows), len(recipe.classes)), np.nan)
    if len(there):
        found[there] = signals(recipe, model, Examples(recipe, rows, device), there)["beliefs"]
    return found


def write_beliefs(path: Path, found: Beliefs) -> None:
    """Keep them as named arrays."""
    arrays = {"train": found.train, "holdout": found.holdout}
    write_with(path, lambda temporary: save_file(arrays, temporary, {"weights_digest": found.weights_digest}))


def stored_beliefs(path: Path, weights_digest: str) -> Beliefs:
    """Read back what ``write_beliefs`` wrote for these weights."""
    try:
        with safe_open(path, "numpy") as stored:
            told = (stored.metadata() or {}).get("weights_digest")
            train, holdout = stored.get_tensor("train"), stored.get_tensor("holdout")
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path} could not be read ({reason}): remove it, and it is made again") from None
    if told != weights_digest:
        raise RunError(f"{path} holds the answers of other weights than {weights_digest[:12]}…: remove it")
    return Beliefs(weights_digest, train, holdout)
