"""Bundles for the tests: the files of one, zips as others write them, and everything that can be asked of one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from expunge.core.errors import RecordError
from expunge.core.hashing import sha256
from expunge.records.bundle import ENVELOPE, FileKind, kind_of, open_bundle
from expunge.records.limits import Limits

MODEL = save({"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(2, np.float32)})
FILES: dict[str, bytes] = {
    ENVELOPE: b'{"payload":"e30="}',
    "commit.json": b"{}",
    "recipe.json": b'{"epochs":3}',
    "leaves.bin": bytes(range(256)),
    "units.bin": b"",
    "trace.bin": b"\x07" * 96,
    "model.safetensors": MODEL,
    "checkpoints/shard-0-step-00000100.safetensors": MODEL,
    "checkpoints/shard-12-step-123456789.safetensors": MODEL,
    "log/checkpoint": b"a note",
    "log/checkpoint-7": b"an earlier note",
    "log/inclusion-" + "0f" * 32 + ".json": b"{}",
    "log/consistency-7.json": b"{}",
    "parents/" + "1e" * 32 + ".json": b"{}",
}


def refused(path: Path, code: str, **limits: int) -> str:
    with pytest.raises(RecordError) as caught:
        open_bundle(path, Limits(**limits))
    assert caught.value.code == code, str(caught.value)
    return str(caught.value)


def zip_of(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    """A zip as Python writes it, with the envelope that every bundle needs."""
    with zipfile.ZipFile(path, "w", how) as target:
        if not any(name == ENVELOPE for name, _ in entries):
            target.writestr(ENVELOPE, b"{}")
        for name, content in entries:
            target.writestr(name, content)
    return path


def read_all(path: Path, limits: Limits | None = None) -> dict[str, bytes]:
    """Everything that a verifier can ask of a bundle, by name."""
    with open_bundle(path, limits or Limits()) as bundle:
        found: dict[str, bytes] = {}
        for name in bundle.names:
            found[name] = bundle.read(name)
            assert (bundle.size(name), bundle.digest(name)) == (len(found[name]), sha256(found[name]))
            if kind_of(name) is FileKind.JSON:
                bundle.json(name)
            if kind_of(name) is FileKind.TENSORS:
                with bundle.tensors(name) as file:
                    file.digest()
        return found
