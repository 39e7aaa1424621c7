"""A state on disk, and reading it back only if it is the one that was logged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from expunge.core.errors import RunError
from expunge.train.state import Tensors, read_tensors, tensors_digest


@dataclass(frozen=True)
class Checkpoint:
    """A state on disk after ``step`` calendar steps; ``thirds`` and ``seconds`` are what this run spent up to it."""

    shard: int
    step: int
    digest: str
    thirds: int
    seconds: float

    @property
    def name(self) -> str:
        return f"shard-{self.shard}-step-{self.step:08d}.safetensors"


def read_checkpoint(path: Path, checkpoint: Checkpoint) -> Tensors | None:
    """The state of a checkpoint, or None where the file is missing, damaged or not the one that was logged."""
    try:
        state = read_tensors(path)
    except RunError:
        return None
    return state if tensors_digest(state).hex() == checkpoint.digest else None
