"""Which tensors of a model are parameters and which are buffers, by their names."""

from __future__ import annotations

from torch import nn

from expunge.models.resolver import build_empty
from expunge.records.states import MODEL_PREFIX
from expunge.schedule.recipe import Recipe
from expunge.train.state import weights_of


def parameter_names(recipe: Recipe) -> tuple[str, ...]:
    """Names, in a checkpoint, of the tensors that an optimiser moves; buffers are not among them."""
    model: nn.Module = build_empty(recipe)
    own = {name for name, value in model.named_parameters() if value.requires_grad}
    return tuple(f"{MODEL_PREFIX}{name}" for name in weights_of(model) if name in own)


def buffer_names(recipe: Recipe) -> tuple[str, ...]:
    """Tensors of the recipe's model that are no parameters, sorted."""
    model = build_empty(recipe)
    fixed = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return tuple(sorted(set(weights_of(model)) - fixed))
