"""A small study that takes about a second a worker, ways to run it, and an engine that starts no processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.core.hashing import canonical_json, sha256
from expunge.data.digits import read
from expunge.data.source import Source
from expunge.records.document import read_document
from expunge.records.evaluation import Evaluation
from expunge.records.form import to_plain
from expunge.records.tuning import Tuning
from expunge.study.digests import digest_of
from expunge.study.engine import Ended, Engine, Moved
from expunge.study.job import Job
from expunge.study.opened import OpenedData
from expunge.study.store import Store
from expunge.study.study import ENGINES
from expunge.study.study import study as run_study
from expunge.study.work import carry_out
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


class Here(Engine):
    """Jobs in this process: a worker takes seconds to begin, which most tests of results can do without."""

    name = "here"
    places = 1

    def __init__(self, store: Store) -> None:
        self.store, self.data = store, OpenedData()
        self.given: list[Job] = []

    def submit(self, job: Job) -> None:
        self.given.append(job)

    def wait(self, seconds: float) -> list[Ended | Moved]:
        given, self.given = self.given, []
        return [Ended(carry_out(job, self.store, self.data), "this process") for job in given]

    def close(self) -> None:
        self.given.clear()


@pytest.fixture(scope="session", autouse=True)
def engine_here() -> Iterator[None]:
    """``study(…, engine="here")``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENGINES, "here", lambda store, *_: Here(store))
        yield


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
