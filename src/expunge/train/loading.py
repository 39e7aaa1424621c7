"""A model from its file of weights, and of its shards' models one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.models.ensemble import Ensemble, MeanAnswer
from expunge.models.resolver import build_empty
from expunge.schedule.recipe import Recipe
from expunge.train.accumulate import accumulated_model
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


def assemble(recipe: Recipe, members: list[nn.Module | None]) -> nn.Module:
    """One model of the shards' models; a shard with nobody left is not asked for an answer."""
    if recipe.shards == 1 and members[0] is not None:
        return members[0]
    if not any(members):
        raise RunError("fewer rows remain than a step needs: nothing can be trained on them; forget fewer, or add rows")
    alive = [member for member in members if member is not None]
    return Ensemble(alive, recipe.voting) if recipe.classes else MeanAnswer(alive)
