"""A model from its file of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.models.resolver import build_empty
from expunge.schedule.recipe import Recipe
from expunge.train.accumulate import accumulated_model
from expunge.train.run import assemble
from expunge.train.state import load_weights, read_tensors, weights_digest


def load_model(recipe: Recipe, path: Path, digest: str, alive: Sequence[bool], device: torch.device | str) -> nn.Module:
    """Read model.safetensors; the digest must be the one that was announced."""
    if recipe.accumulated:
        return accumulated_model(recipe, path, digest).to(device)
    model = assemble(recipe, [build_empty(recipe) if lives else None for lives in alive])
    load_weights(model, read_tensors(path), path)
    if weights_digest(model) != digest:
        raise RunError(f"{path} does not hold the weights {digest[:12]}… of its run.json: it was altered")
    return model.to(device).eval()
