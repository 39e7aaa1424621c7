"""Dropout whose draws are addressed by chair: an empty chair moves no neighbour's draw.

Zoo models use ``AddressedDropout``. Any other module draws from torch's, NumPy's and Python's own generators: these
are seeded from the same stream before each forward pass and put back afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from expunge.core.errors import RunError
from expunge.core.streams import Stream

LANES = 4  # 16-bit draws per 64-bit word


@dataclass(frozen=True, slots=True)
class DropoutAddress:
    """Where a forward pass draws: a stream, and which chairs of the full batch are seated."""

    seed: bytes
    purpose: str
    shard: int
    step: int
    chairs: np.ndarray
    width: int

    def stream(self) -> Stream:
        return Stream(self.seed, self.purpose, self.shard, self.step)


class _Draws:
    """The draws of one forward pass: layers take their words in the order in which they are called."""

    def __init__(self, address: DropoutAddress) -> None:
        self._address = address
        self._stream: Stream | None = None

    def lanes(self, features: int) -> np.ndarray:
        """uint16 draws (seated chairs, features), cut out of those of the full batch."""
        if self._stream is None:
            self._stream = self._address.stream()
        per_chair = -(-features // LANES)
        words = self._stream.words(self._address.width * per_chair).reshape(self._address.width, per_chair)
        return words[self._address.chairs].astype("<u8").view("<u2")[:, :features]


_current: list[_Draws] = []


@contextmanager
def addressed(address: DropoutAddress, model: torch.nn.Module) -> Generator[None]:
    """Give a forward pass its draws, whoever wrote the model."""
    if getattr(model, "addressed_dropout", False):
        _current.append(_Draws(address))
        try:
            yield
        finally:
            _current.pop()
        return
    with seeded_generators(address.stream().word()):
        yield


@contextmanager
def seeded_generators(word: int) -> Generator[None]:
    """Seed torch's, NumPy's and Python's generators, and put them back afterwards."""
    cuda = torch.cuda.is_available()
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    cuda_states = torch.cuda.get_rng_state_all() if cuda else []
    torch.default_generator.manual_seed(word % 2**63)  # torch.manual_seed writes out the stack for each absent device
    if cuda:
        torch.cuda.manual_seed_all(word % 2**63)
    np.random.seed(word % 2**32)  # noqa: NPY002
    random.seed(word)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda_states)


class AddressedDropout(torch.nn.Module):
    """Zeroes each feature with probability ``share`` (in steps of 2⁻¹⁶) and scales the rest."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.threshold = round(share * 65536)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self.training or self.threshold == 0:
            return inputs
        if not _current:
            raise RunError("dropout in training mode needs the loop's draws: call the model in eval mode")
        features = inputs[0].numel()
        kept = _current[-1].lanes(features) >= self.threshold
        mask = torch.from_numpy(kept.astype(np.float32)).to(inputs.device, inputs.dtype)
        return inputs * mask.reshape(inputs.shape) * (65536.0 / (65536 - self.threshold))

    def extra_repr(self) -> str:
        return f"share={self.share}"
