"""Weights, buffers and optimiser state as named tensors: canonical bytes, digests, safetensors files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from expunge.core.errors import Diverged, RunError
from expunge.core.files import write_bytes
from expunge.core.hashing import sha256, text_bytes, u32, u64
from expunge.records.states import MODEL_PREFIX
from expunge.records.tensors import TENSORS_TAG
from expunge.train.optimiser import COUNTER

Tensors = dict[str, torch.Tensor]


def weights_of(model: nn.Module) -> Tensors:
    """Parameters and persistent buffers by name; tied tensors once, under their first name."""
    found: Tensors = {}
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            continue
        address = (value.data_ptr(), tuple(value.shape), tuple(value.stride()))
        if value.numel() and address in seen:
            continue
        seen.add(address)
        found[name] = value.detach()
    return found


def optimiser_state(optimiser: torch.optim.Optimizer) -> Tensors:
    """Moments and counters by parameter number."""
    found: Tensors = {}
    for number, parameter in enumerate(_parameters(optimiser)):
        for name, value in sorted(optimiser.state.get(parameter, {}).items()):
            if isinstance(value, torch.Tensor):
                found[f"{number}.{name}"] = value.detach()
    return found


def gradients_of(model: nn.Module) -> Tensors:
    """The gradients that the optimiser is about to take, by parameter name; parameters without one are left out."""
    return {name: value.grad.detach() for name, value in model.named_parameters() if value.grad is not None}


def full_state(model: nn.Module, *optimisers: torch.optim.Optimizer) -> Tensors:
    """Everything that a step depends on besides its batch."""
    state = as_model_part(weights_of(model))
    for turn, optimiser in enumerate(optimisers):
        state.update({f"{_turn(turn)}.{name}": value for name, value in optimiser_state(optimiser).items()})
    return state


def model_part(state: Mapping[str, torch.Tensor]) -> Tensors:
    """Parameters and buffers of a full state, by their own names."""
    return {name.removeprefix(MODEL_PREFIX): value for name, value in state.items() if name.startswith(MODEL_PREFIX)}


def as_model_part(weights: Mapping[str, torch.Tensor]) -> Tensors:
    """A model's parameters and buffers, named as in a full state."""
    return {f"{MODEL_PREFIX}{name}": value for name, value in weights.items()}


def _turn(number: int) -> str:
    """Name of an optimiser among a model's: most have one."""
    return "optimiser" if number == 0 else f"optimiser-{number}"


def copied(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """A snapshot on the CPU that later steps do not touch."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """SHA-256 over (name, dtype, shape, bytes), sorted by name."""
    parts: list[bytes | memoryview] = [TENSORS_TAG, u32(len(tensors))]
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        parts.append(text_bytes(name) + text_bytes(str(value.dtype).removeprefix("torch.")))
        parts.append(u32(value.dim()) + b"".join(u64(size) for size in value.shape))
        parts.append(_raw(value))
    return sha256(*parts)


def _raw(value: torch.Tensor) -> memoryview:
    """The tensor's own bytes, not copied."""
    return value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else memoryview(b"")


def weights_digest(model: nn.Module) -> str:
    """Digest of the canonical weights, as people and records name a model."""
    return tensors_digest(weights_of(model)).hex()


def state_digest(model: nn.Module, optimiser: torch.optim.Optimizer) -> bytes:
    """Digest of weights, buffers and optimiser state."""
    return tensors_digest(full_state(model, optimiser))


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """A safetensors file, whole or not at all."""
    write_bytes(path, save({name: tensors[name].contiguous() for name in sorted(tensors)}))


def read_tensors(path: Path) -> Tensors:
    """Read a safetensors file; anything else is refused."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise RunError(f"{path} is missing: the run cannot be opened without it") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{path} is not a readable safetensors file ({error}): it was cut short or altered") from None


def check_finite(tensors: Mapping[str, torch.Tensor]) -> None:
    """Weights and buffers that are no numbers are no result."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise Diverged(
                f"{name} holds values that are not finite: no result is written; the rate is too high, or the data "
                "hold numbers too large to be trained on"
            )


def load_weights(model: nn.Module, tensors: Mapping[str, torch.Tensor], where: Path | str) -> None:
    """Copy weights into existing tensors, name by name; missing, extra or misshapen ones are refused."""
    own = weights_of(model)
    _same_names(set(own), set(tensors), where)
    with torch.no_grad():
        for name, target in own.items():
            source = tensors[name]
            if source.shape != target.shape or source.dtype != target.dtype:
                raise RunError(
                    f"{where}: tensor {name!r} is {tuple(source.shape)} {source.dtype}, the model has "
                    f"{tuple(target.shape)} {target.dtype}: the file belongs to another recipe"
                )
            target.copy_(source)


def load_full_state(
    model: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    state: Mapping[str, torch.Tensor],
    where: Path | str,
) -> None:
    """Take up a checkpoint: weights into the model's tensors, moments and counters into the optimisers'."""
    load_weights(model, model_part(state), where)
    for turn, optimiser in enumerate(optimisers):
        prefix = f"{_turn(turn)}."
        moments = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        _load_moments(optimiser, moments, where)


def _load_moments(optimiser: torch.optim.Optimizer, moments: Mapping[str, torch.Tensor], where: Path | str) -> None:
    parameters = _parameters(optimiser)
    optimiser.state.clear()
    for name, value in moments.items():
        number, _, field = name.partition(".")
        if not number.isdigit() or int(number) >= len(parameters):
            raise RunError(f"{where}: optimiser state {name!r} belongs to no parameter: the file was altered")
        parameter = parameters[int(number)]
        if field == COUNTER:
            optimiser.state[parameter][field] = value.to("cpu", copy=True)
        else:  # it lies in memory as its parameter does, on the same device
            optimiser.state[parameter][field] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _parameters(optimiser: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _same_names(own: set[str], found: set[str], where: Path | str) -> None:
    if own != found:
        odd = sorted(own ^ found)[:3]
        raise RunError(f"{where}: tensors {odd} are missing or unknown: the file belongs to another recipe")
