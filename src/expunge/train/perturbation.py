"""Noise in the loss for certified removal: drawn under a secret key, kept in the run folder, committed in run.json.

Training minimises ``mean ℓ + (λ/2)‖w‖² + b·w/n`` with ``b ~ N(0, σ²I)`` (Guo et al., 2020). Whoever knows b can take it
away again and compare, so its seed is an HMAC under a key that no public value determines.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

import numpy as np
import torch
from torch import nn

from expunge.core.errors import InvalidArgument, RunError
from expunge.core.files import NEW, write_with
from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.models.linear import head_of
from expunge.models.resolver import build_empty
from expunge.records.run_file import RunFile
from expunge.schedule.plan import Role
from expunge.schedule.recipe import Recipe
from expunge.train.objective import Loss, Objective, StepBatch, Term

KEY_NAME = "noise.key"
KEY_BYTES = 32


def new_key() -> bytes:
    """A key from the operating system's own source: the one thing here that nothing determines."""
    return secrets.token_bytes(KEY_BYTES)


def commitment_of(key: bytes) -> str:
    """SHA-256 of the key, as run.json announces it before the training."""
    return sha256(key).hex()


def read_key(path: Path | str) -> bytes:
    """A key file: 32 raw bytes and nothing else."""
    try:
        found = Path(path).read_bytes()
    except OSError as error:
        raise RunError(
            f"the noise key {path} could not be read ({error.strerror or error}): it is kept nowhere else; put it back"
        ) from None
    if len(found) != KEY_BYTES:
        raise InvalidArgument(
            f"the noise key {path} has {len(found)} bytes, it must have {KEY_BYTES}: copy the {KEY_NAME} of a run, or "
            f"take {KEY_BYTES} random bytes"
        )
    return found


def key_of(folder: Path, told: RunFile) -> bytes | None:
    """The key of a run; None where it was trained without noise. It must be the one that run.json announces."""
    announced = told.noise_commitment
    if announced is None:
        return None
    key = read_key(_waiting(folder) if _waiting(folder).exists() else folder / KEY_NAME)
    if commitment_of(key) != announced:
        raise RunError(
            f"{folder / KEY_NAME} is not the key that run.json announces (SHA-256 {announced[:12]}…): it was "
            "exchanged; put the right one back"
        )
    return key


def keep_key(folder: Path, key: bytes) -> None:
    """Lay the key down for the owner's eyes alone. Until ``reveal_key`` its name is hidden.

    A folder with nothing but hidden names counts as empty: a process killed before run.json stands leaves no ruin.
    """
    if (folder / KEY_NAME).exists():
        return

    def writer(temporary: Path) -> None:
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, NEW, 0o600), "wb") as handle:
            handle.write(key)

    write_with(_waiting(folder), writer)


def reveal_key(folder: Path) -> None:
    """Give the key its name, once run.json announces it."""
    if _waiting(folder).exists():
        _waiting(folder).replace(folder / KEY_NAME)


def _waiting(folder: Path) -> Path:
    return folder / f".{KEY_NAME}"


def draw_noise(recipe: Recipe, key: bytes, lineage_seed: bytes) -> np.ndarray:
    """b: classes × features, float64. HMAC-SHA-256(key, lineage seed) stands in the place of the lineage seed."""
    shape = tuple(head_of(build_empty(recipe)).weight.shape)
    stream = Stream(hmac.digest(key, lineage_seed, "sha256"), "noise")
    return recipe.perturbation * stream.normal(int(np.prod(shape))).reshape(shape)


def perturbed_objective(noise: np.ndarray, rows: int) -> Objective:
    """Plain training plus b·w/n, with n the rows present. A skipped step stays skipped."""
    if rows < 1:
        raise InvalidArgument(f"noise over {rows} rows is undefined: at least one must be present")
    pulled = torch.from_numpy(noise)

    def objective(student: nn.Module, batch: StepBatch, teacher: nn.Module | None = None) -> Loss:
        if batch.size(Role.RETAIN) == 0:
            return Loss()
        weight = head_of(student).weight
        pull = pulled.to(weight)
        return batch.retain_loss(student) + Loss((Term(1.0 / rows, {}, lambda: (pull * weight).sum()),))

    return objective
