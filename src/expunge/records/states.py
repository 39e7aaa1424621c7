"""Digests of one recorded state: the whole file, and parameters, buffers and optimiser state apart. No torch.

A checkpoint holds ``model.<name>`` for every parameter and persistent buffer, and everything else that a step depends
on under other names. A record names the three parts by the digests that ``train.state.tensors_digest`` gives.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from expunge.records.tensors import TensorFile, TensorsDigest

MODEL_PREFIX = "model."  # of a model's tensors among those of a state


@dataclass(frozen=True, kw_only=True)
class StateDigests:
    """``whole`` is over all tensors as the run's log has it; ``model`` over parameters and buffers together."""

    whole: bytes
    model: bytes
    weights: bytes
    buffers: bytes
    optimiser: bytes


def state_digests(file: TensorFile, buffers: Collection[str]) -> StateDigests:
    """All digests of a checkpoint in one pass over its bytes; ``buffers`` are named without their prefix."""
    tensors = sorted(file.tensors, key=lambda tensor: tensor.name)
    model = [tensor.name for tensor in tensors if tensor.name.startswith(MODEL_PREFIX)]
    moving = {name for name in model if name.removeprefix(MODEL_PREFIX) in buffers}
    whole, both, optimiser = (TensorsDigest(count) for count in (len(tensors), len(model), len(tensors) - len(model)))
    fixed, moved = TensorsDigest(len(model) - len(moving)), TensorsDigest(len(moving))
    for tensor in tensors:
        parts = [(whole, tensor.name)]
        if tensor.name.startswith(MODEL_PREFIX):
            short = tensor.name.removeprefix(MODEL_PREFIX)
            parts += [(both, short), (moved if tensor.name in moving else fixed, short)]
        else:
            parts.append((optimiser, tensor.name))
        for part, name in parts:
            part.begin(name, tensor)
        for piece in file.chunks(tensor):
            for part, _ in parts:
                part.feed(piece)
    return StateDigests(
        whole=whole.digest(),
        model=both.digest(),
        weights=fixed.digest(),
        buffers=moved.digest(),
        optimiser=optimiser.digest(),
    )
