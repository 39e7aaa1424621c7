"""Features in another process, with one thread and with two: the bytes of this one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.encoding import Encoding
from expunge.models.features.choice import feature_map

MODELS = {"table": "ridge", "cosine": "ridge", "patches": "patch-ridge", "words": "naive-bayes"}
DRAWN = {"table", "cosine"}


def dataset(name: str, count: int = 200) -> Dataset:
    draws = np.random.default_rng(1)
    columns = [Column("x", ColumnKind.IMAGE, (12, 12, 3), "HWC", 1 / 255)]
    content = {"x": draws.integers(0, 256, (count, 12, 12, 3)).astype(np.uint8)}
    if name == "cosine":
        columns, content = [Column("x", ColumnKind.ARRAY, (300,))], {"x": draws.normal(size=(count, 300))}
    if name in ("table", "words"):
        columns = [Column("text", ColumnKind.TEXT)]
        words = draws.integers(0, 400, (count, 9))
        content = {"text": np.array([" ".join(f"w{word}" for word in row) for row in words], dtype=object)}
    if name == "table":
        columns.append(Column("n", ColumnKind.NUMERIC))
        content["n"] = draws.normal(size=count)
    labels = [row % 2 for row in range(count)]
    return make_dataset(labels=labels, columns=columns, content=content, where=name)


def digest(name: str, seed: bytes = bytes(32)) -> str:
    rows = dataset(name)
    made = feature_map(MODELS[name], Encoding(rows.columns), {"width": 512})
    assert made.name == name
    encoded = made.encode(rows)
    constants = {**made.drawn(seed), **made.derived(encoded, rows.present)}
    content = [made.features(encoded, constants), *(constants[name] for name in sorted(constants))]
    return hashlib.sha256(b"".join(np.ascontiguousarray(values).tobytes() for values in content)).hexdigest()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_features_are_the_same_bytes_in_another_process(threads: str) -> None:
    code = f"from {__name__} import *\nprint(*map(digest, MODELS))"
    of_threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    made = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **of_threads}, capture_output=True, text=True, check=True
    )
    assert made.stdout.split() == [digest(name) for name in MODELS]


@pytest.mark.parametrize("name", MODELS)
def test_other_seeds_are_other_features_where_something_is_drawn(name: str) -> None:
    assert (digest(name) != digest(name, bytes([1]) * 32)) is (name in DRAWN)
