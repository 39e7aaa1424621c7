"""Digests of one recorded state: the whole file, and parameters, buffers and optimiser state apart. No torch.

A checkpoint holds ``model.<name>`` for every parameter and persistent buffer, and everything else that a step depends
on under other names. A record names the three parts by the digests that ``train.state.tensors_digest`` gives.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256

from expunge.core.hashing import text_bytes, u32, u64
from expunge.records.tensors import Tensor, TensorFile

MODEL = "model."


@dataclass(frozen=True, kw_only=True)
class StateDigests:
    """``whole`` is over all tensors as the run's log has it; ``model`` over parameters and buffers together."""

    whole: bytes
    model: bytes
    weights: bytes
    buffers: bytes
    optimiser: bytes


class _Part:
    """A digest over some of a file's tensors, fed tensor by tensor in the order of their names."""

    def __init__(self, names: Collection[str]) -> None:
        self._state = sha256(b"expunge/tensors/1" + u32(len(names)))

    def begin(self, name: str, tensor: Tensor) -> None:
        self._state.update(text_bytes(name) + text_bytes(tensor.kind.name))
        self._state.update(u32(len(tensor.shape)) + b"".join(u64(length) for length in tensor.shape))

    def feed(self, piece: bytes) -> None:
        self._state.update(piece)

    @property
    def digest(self) -> bytes:
        return self._state.digest()


def state_digests(file: TensorFile, buffers: Collection[str]) -> StateDigests:
    """All digests of a checkpoint in one pass over its bytes; ``buffers`` are named without their prefix."""
    tensors = sorted(file.tensors, key=lambda tensor: tensor.name)
    model = [tensor.name for tensor in tensors if tensor.name.startswith(MODEL)]
    moving = {name for name in model if name.removeprefix(MODEL) in buffers}
    whole = _Part([tensor.name for tensor in tensors])
    both, fixed, moved = _Part(model), _Part([name for name in model if name not in moving]), _Part(moving)
    optimiser = _Part([tensor.name for tensor in tensors if not tensor.name.startswith(MODEL)])
    for tensor in tensors:
        parts = [(whole, tensor.name)]
        if tensor.name.startswith(MODEL):
            short = tensor.name.removeprefix(MODEL)
            parts += [(both, short), (moved if tensor.name in moving else fixed, short)]
        else:
            parts.append((optimiser, tensor.name))
        for part, name in parts:
            part.begin(name, tensor)
        for piece in file.chunks(tensor):
            for part, _ in parts:
                part.feed(piece)
    return StateDigests(
        whole=whole.digest,
        model=both.digest,
        weights=fixed.digest,
        buffers=moved.digest,
        optimiser=optimiser.digest,
    )
