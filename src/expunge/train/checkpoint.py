"""A state on disk, and reading it back only if it is the one that was logged."""

from __future__ import annotations

from pathlib import Path

from expunge.core.errors import RunError
from expunge.records.run_log import Checkpointed
from expunge.train.state import Tensors, read_tensors, tensors_digest


def read_checkpoint(path: Path, checkpoint: Checkpointed) -> Tensors | None:
    """The state of a checkpoint, or None where the file is missing, damaged or not the one that was logged."""
    try:
        state = read_tensors(path)
    except RunError:
        return None
    return state if tensors_digest(state).hex() == checkpoint.digest else None
