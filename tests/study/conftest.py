"""A small study that takes about a second a worker, and ways to run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.core.hashing import canonical_json, sha256
from expunge.data.digits import read
from expunge.data.source import Source
from expunge.records.evaluation import Evaluation
from expunge.records.form import read_document, to_plain
from expunge.records.tuning import Tuning
from expunge.study.digests import digest_of
from expunge.study.store import Store
from expunge.study.study import study as run_study
from expunge.train.state import read_tensors, tensors_digest


def study(path: Path, **told: Any) -> dict[str, Any]:
    """A study's results as ``--json`` prints them."""
    return to_plain(run_study(path, **told))


SMALL = """
title = "Small"
seeds = [0, 1]
references = 2
methods = ["retrain", "fine-tune", "certified-logistic"]

[data.digits]
location = "digits"

[training.mlp]
model = "mlp"
model_options = { width = 8 }
epochs = 2

[forget.random]
rules = "random:5%:1"
"""


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str = SMALL, name: str = "small.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def pictures(path: Path, count: int = 400) -> None:
    """Some of the digits as a file of arrays."""
    digits = read(Source(location="digits"), None, None)
    (name,) = digits.content
    np.savez(path, x=digits.content[name][:count], y=digits.labels[:count])


def contents(store: Path) -> dict[str, tuple[str, ...]]:
    """What a store holds, read from its files, without times and places."""
    return {
        entry.key: (entry.outcome.value, entry.digest, *digests_of(Store(store).place(entry.key)))
        for entry in Store(store).entries()
    }


def digests_of(folder: Path) -> list[str]:
    """Digests of an entry's weights, answers, forget set, and of its evaluation or tuning without the clock."""
    found: list[str] = []
    for name in ("model.safetensors", "beliefs.safetensors"):
        if (folder / name).is_file():
            found.append(tensors_digest(read_tensors(folder / name)).hex())
    for name, kind in (("evaluation.json", Evaluation), ("tuning.json", Tuning)):
        if (folder / name).is_file():
            found.append(digest_of(read_document(kind, (folder / name).read_bytes(), name)))
    if (folder / "forget.json").is_file():
        found.append(sha256(canonical_json(json.loads((folder / "forget.json").read_text()))).hex())
    return found
