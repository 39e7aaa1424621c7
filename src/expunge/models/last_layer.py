"""The layer that a model ends in, what goes into it, and the weights that stand before it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn


def last_layer(model: nn.Module) -> nn.Module | None:
    """The last module that owns weights itself."""
    owners = [module for module in model.modules() if any(True for _ in module.parameters(recurse=False))]
    return owners[-1] if owners else None


def last_linear(model: nn.Module) -> nn.Linear | None:
    """The layer that a model ends in, if it is linear."""
    layer = last_layer(model)
    return layer if isinstance(layer, nn.Linear) else None


def weights_before(model: nn.Module) -> frozenset[str]:
    """Names of the weights that are none of the last layer's."""
    layer = last_layer(model)
    last = set[int]() if layer is None else {id(one) for one in layer.parameters(recurse=False)}
    return frozenset(name for name, one in model.named_parameters() if id(one) not in last)


@contextmanager
def entering(layer: nn.Module) -> Generator[list[torch.Tensor]]:
    """What goes into a layer meanwhile, pass by pass."""
    seen: list[torch.Tensor] = []
    with layer.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach())):
        yield seen
