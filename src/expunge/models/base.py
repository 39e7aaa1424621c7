"""Weights that a training begins with instead of the seed's: a file that its recipe names by digest."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from expunge.core.errors import InvalidArgument, RunError
from expunge.core.files import read_bytes
from expunge.core.hashing import sha256
from expunge.models.front import Fronted

_places: dict[str, Path] = {}  # where the file of a digest was offered last


def offer(path: Path | str, digest: str | None = None) -> str:
    """Make a file known as a base, and say its SHA-256; one that is not of ``digest`` is refused."""
    place = Path(path)
    found = sha256(read_bytes(place, "the base")).hex()
    if digest is not None and found != digest:
        raise InvalidArgument(
            f"{place} is not the base {digest[:16]}… of the recipe, it is {found[:16]}…: give that one"
        )
    _read(place, found)
    _places[found] = place
    return found


def place_of_base(digest: str) -> Path:
    """Where the file lies; one that nobody offered in this process is asked for."""
    if digest not in _places:
        raise RunError(
            f"the recipe begins with the base {digest[:16]}…, which is not at hand: give its file with `base`"
        )
    return _places[digest]


def begin_with(model: Fronted, digest: str) -> None:
    """Put the base's tensors in the place of the seed's; those that it does not name stay the seed's."""
    place = place_of_base(digest)
    tensors = _read(place, digest)
    whole = all(name.startswith(("body.", "front.", "back.")) for name in tensors)
    target = model.state_dict() if whole else model.body.state_dict()
    for name, value in tensors.items():
        there = target.get(name)
        if not isinstance(there, torch.Tensor) or there.shape != value.shape or there.dtype != value.dtype:
            stands = "nothing" if there is None else f"{there.dtype} of shape {tuple(there.shape)}"
            raise InvalidArgument(
                f"the base {place} has {name!r}, {value.dtype} of shape {tuple(value.shape)}, where the model has "
                f"{stands}: name weights as the model does, and leave out those that are to come from the seed"
            )
        with torch.no_grad():
            there.copy_(value)


@functools.lru_cache(maxsize=1)
def _read(place: Path, digest: str) -> dict[str, torch.Tensor]:
    content = read_bytes(place, "the base")
    if sha256(content).hex() != digest:
        raise RunError(f"the base {place} is no longer {digest[:16]}…: it was changed; restore it")
    try:
        found = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InvalidArgument(
            f"the base {place} is no safetensors file ({error}): write it with "
            "`safetensors.torch.save_file(model.state_dict(), path)`"
        ) from None
    if not found:
        raise InvalidArgument(f"the base {place} holds no tensor: leave it out")
    return found
