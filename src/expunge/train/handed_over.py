"""Weights that somebody else trained: read from safetensors or memory, and taken up to the byte."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.schedule.fields import require_kind
from expunge.train.state import Tensors, read_tensors

HandedOver = Path | str | Mapping[str, torch.Tensor] | nn.Module
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
CONVERT = (
    "from torch import load; from safetensors.torch import save_file; "
    "w = load({source!r}, map_location='cpu', weights_only=True); "
    "save_file({{k: v.clone() for k, v in w.get('state_dict', w).items()}}, {target!r})"
)


def handed_over(weights: HandedOver) -> Tensors:
    """The tensors by their owner's names."""
    kinds = (str, os.PathLike, nn.Module, Mapping)
    require_kind("weights", weights, kinds, "a file that ends in .safetensors, a state dict or a module")
    if not isinstance(weights, nn.Module | Mapping):
        return _read(Path(weights))
    state: Mapping[str, Any] = weights.state_dict() if isinstance(weights, nn.Module) else weights
    odd = next((name for name, value in state.items() if not isinstance(value, torch.Tensor)), None)
    if odd is not None:
        raise InvalidArgument(
            f"{odd!r} of the weights is a {type(state[odd]).__name__}, no tensor: give a state dict, or the module"
        )
    return {name: value.detach() for name, value in state.items()}


def _read(path: Path) -> Tensors:
    if path.suffix.lower() in PICKLES:
        line = CONVERT.format(source=str(path), target=str(path.with_suffix(".safetensors")))
        raise InvalidArgument(
            f"{path} is a pickle, which can run code and is never read: convert it once where it was made, with "
            f'`python -c "{line}"`'
        )
    if path.suffix.lower() != ".safetensors":
        raise InvalidArgument(f"{path} must be a file of weights that ends in .safetensors")
    if not path.is_file():
        raise InvalidArgument(f"{path} does not exist: check the path of the weights")
    return read_tensors(path)


def take_up(model: nn.Module, weights: Mapping[str, torch.Tensor], factory: str) -> None:
    """Copy weights into a model's tensors, name by name; of tied tensors one will do, and all must be alike."""
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    tied: dict[Any, list[str]] = {}
    for name, value in own.items():
        address = (value.data_ptr(), tuple(value.shape), tuple(value.stride())) if value.numel() else name
        tied.setdefault(address, []).append(name)
    missing = [names[0] for names in tied.values() if not weights.keys() & set(names)]
    unknown = sorted(weights.keys() - own.keys())
    if missing or unknown:
        raise InvalidArgument(
            f"the weights do not fit model {factory!r}: {_names(missing, 'are missing')}, "
            f"{_names(unknown, 'are unknown')}: name the factory and the options that made this model"
            f"{_wrapped(unknown)}"
        )
    for names in tied.values():
        given = [weights[name] for name in names if name in weights]
        target, source = own[names[0]], given[0]
        if source.shape != target.shape or source.dtype != target.dtype:
            raise InvalidArgument(
                f"the weights do not fit model {factory!r}: {names[0]!r} is {_form(source)}, the model has "
                f"{_form(target)}: name the factory and the options that made this model"
            )
        if not all(torch.equal(source, other) for other in given[1:]):
            raise InvalidArgument(
                f"{', '.join(names[:3])} are one tensor of model {factory!r} and differ in the weights: name the "
                "factory that made this model"
            )
        with torch.no_grad():
            target.copy_(source)


def _names(names: list[str], state: str) -> str:
    return f"{len(names)} tensors {state}" + (f" ({', '.join(map(repr, names[:2]))})" if names else "")


def _wrapped(unknown: list[str]) -> str:
    if unknown and all(name.startswith("module.") for name in unknown):
        return "; names behind 'module.' come from a wrapper: save `model.module.state_dict()`"
    return ""


def _form(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
