"""The convolutions of a model: kernels that a method may edit in place."""

from __future__ import annotations

from torch import nn

from expunge.core.errors import UnsupportedEver

KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def kernels(model: nn.Module) -> dict[str, nn.Parameter]:
    """The learnt weights of all convolutions by the name of their layer, in the model's order, shared ones once.

    Weights that are computed from other parameters (weight norm, masks) are left out: an edit of them would be lost.
    """
    found: dict[str, nn.Parameter] = {}
    met: set[int] = set()
    for name, module in model.named_modules():
        weight = learnt_weight(module) if isinstance(module, KINDS) else None
        if weight is not None and id(weight) not in met:
            met.add(id(weight))
            found[name] = weight
    return found


def learnt_weight(module: nn.Module) -> nn.Parameter | None:
    """A layer's own weight where it is a plain parameter that is learnt."""
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    return weight if weight is not None and weight.requires_grad else None


def refuse_without_kernels(method: str, model: nn.Module) -> None:
    """Such a method would be fine-tuning under another name."""
    if not kernels(model):
        raise UnsupportedEver(
            f"method {method!r} on a model without convolutions of plain, learnt weights: its edit is of "
            "such kernels; use fine-tune"
        )
