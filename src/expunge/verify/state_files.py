"""Recorded states as files, in the bundle or in a folder beside it, and what stands in them as tensors.

A file is used only if its digests are those of the signed leaf; it is read once, so what was checked is what is used.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from expunge.core.errors import RunError
from expunge.core.wording import counted
from expunge.models.resolver import build_empty
from expunge.records.bundle import MODEL, checkpoint_name
from expunge.records.limits import Code, refused
from expunge.records.record import State
from expunge.records.states import MODEL_PREFIX
from expunge.records.tensors import TensorFile
from expunge.train.optimiser import COUNTER, MOMENTS
from expunge.train.state import Tensors, model_part, tensors_digest, weights_of
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing


@dataclass(frozen=True)
class Parts:
    """Digests of parameters, persistent buffers and optimiser state, as a record's states have them."""

    weights: bytes
    buffers: bytes
    optimiser: bytes

    @classmethod
    def of(cls, tensors: Tensors, buffers: Collection[str]) -> Parts:
        """The digests of a full state; ``buffers`` are named without their prefix."""
        model = model_part(tensors)
        return cls(
            weights=tensors_digest({name: value for name, value in model.items() if name not in buffers}),
            buffers=tensors_digest({name: value for name, value in model.items() if name in buffers}),
            optimiser=tensors_digest(
                {name: value for name, value in tensors.items() if not name.startswith(MODEL_PREFIX)}
            ),
        )

    @classmethod
    def stated(cls, state: State) -> Parts:
        """The digests that the record names."""
        return cls(state.weights, state.buffers, state.optimiser)

    def odd(self, other: Parts) -> list[str]:
        """Which of the three differ, in words."""
        named = {"weights": "weights", "buffers": "buffers", "optimiser": "optimiser state"}
        return [words for name, words in named.items() if getattr(self, name) != getattr(other, name)]


def tensors_in(file: TensorFile) -> Tensors:
    """All tensors of a file, in memory."""
    found: Tensors = {}
    for tensor in file.tensors:
        dtype: torch.dtype = getattr(torch, tensor.kind.name)
        try:
            content = bytearray(file.content(tensor))
        except MemoryError:
            raise EvidenceMissing(
                f"this machine has not the memory for tensor {tensor.name[:60]!r} of {tensor.end - tensor.start} "
                "bytes, so the weights cannot be looked at: verify them on one that has"
            ) from None
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        found[tensor.name] = flat.reshape(tensor.shape)
    return found


class StateFiles:
    """The files of a record's states: in the bundle, or in ``folder`` beside it or its folder checkpoints/."""

    def __init__(self, opened: OpenedRecord, folder: Path | None) -> None:
        if folder is not None and not folder.is_dir():
            raise RunError(f"{folder} is no folder: give the one that holds the checkpoints with `checkpoints` DIR")
        self._opened = opened
        self._folder = folder
        checkpoints = opened.record.checkpoints
        self.states = () if checkpoints is None else checkpoints.states
        self.buffers = frozenset(() if checkpoints is None else checkpoints.buffers)
        self._by_place = {(state.shard, state.step): state for state in self.states}

    def state(self, shard: int, step: int) -> State:
        """What the record says of a state."""
        return self._by_place[shard, step]

    @property
    def missing(self) -> list[State]:
        """States whose file is nowhere."""
        return [state for state in self.states if not self._is_there(state)]

    def load(self, shard: int, step: int) -> Tensors:
        """A state's tensors; refused where they are not those of its leaf."""
        state = self.state(shard, step)
        with self._open(checkpoint_name(shard, step)) as file:
            self._check_shapes(file, f"the state of shard {shard} at step {step}")
            found = tensors_in(file)
        odd = Parts.of(found, self.buffers).odd(Parts.stated(state))
        if odd:
            raise refused(
                Code.CHECKPOINT_LEAF_MISMATCH,
                f"the state of shard {shard} at step {step} holds other {' and '.join(odd)} than its signed leaf: it "
                "was exchanged or altered",
            )
        return found

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors that a state of the recipe's model can hold."""
        recipe = self._opened.recipe
        model = build_empty(recipe)
        found = {f"{MODEL_PREFIX}{name}": tuple(value.shape) for name, value in weights_of(model).items()}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for number, parameter in enumerate(trained):
            for moment in MOMENTS[recipe.optimiser.name]:
                found[f"optimiser.{number}.{moment}"] = () if moment == COUNTER else tuple(parameter.shape)
        return found

    def _check_shapes(self, file: TensorFile, what: str) -> None:
        """Looked at before any tensor is read, so that none can be larger than the recipe's model makes it."""
        odd = [tensor.name for tensor in file.tensors if self._shapes.get(tensor.name) != tensor.shape]
        if odd:
            raise refused(
                Code.CHECKPOINT_LEAF_MISMATCH,
                f"{what} holds a tensor {odd[0][:60]!r} of a name or shape that no state of the recipe's model and "
                "optimiser has: it was exchanged or altered",
            )

    def parent_model(self, digest: bytes) -> Tensors | None:
        """The weights with this digest from the folder's model.safetensors; None where it is not there."""
        if self._folder is None or not (self._folder / MODEL).is_file():
            return None
        with self._read(self._folder / MODEL) as file:
            found = tensors_in(file)
        return found if tensors_digest(found) == digest else None

    def _is_there(self, state: State) -> bool:
        name = checkpoint_name(state.shard, state.step)
        return name in self._opened.bundle or self._beside(name) is not None

    def _beside(self, name: str) -> Path | None:
        if self._folder is None:
            return None
        places = (self._folder / name, self._folder / Path(name).name)
        return next((place for place in places if place.is_file()), None)

    @contextmanager
    def _open(self, name: str) -> Generator[TensorFile]:
        if name in self._opened.bundle:
            with self._opened.bundle.tensors(name) as file:
                yield file
            return
        path = self._beside(name)
        if path is None:
            raise RunError(f"{name} is gone since it was looked for: give it again with `checkpoints` DIR")
        with self._read(path) as file:
            yield file

    @contextmanager
    def _read(self, path: Path) -> Generator[TensorFile]:
        try:
            with path.open("rb") as stream:
                size = stream.seek(0, 2)
                yield TensorFile(stream, size, str(path), self._opened.bundle.limits)
        except OSError as error:
            raise RunError(f"{path} could not be read ({error.strerror or error}): check its rights") from None


def missing_sentence(missing: list[State], of: int) -> str:
    """Which files are not there, and why all of them are needed."""
    first = checkpoint_name(missing[0].shard, missing[0].step)
    return (
        f"{counted(len(missing), 'state')} of {of} have no file in the bundle or in `checkpoints` DIR (the first is "
        f"{first}): all are needed, because what is looked at must not hang on what was handed over"
    )
