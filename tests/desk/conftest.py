"""A table of people, a run of it, and copies that forget."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ORIGIN

from expunge.records.keys import PRIVATE, keygen
from expunge.train.call import train
from expunge.train.run import Run

SHAPE: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 8, "shards": 2, "slices": 2}
PEOPLE = tuple(f"person-{number}" for number in range(12))


def write_table(path: Path, rows: int = 72) -> Path:
    """Ages and incomes of a dozen people, a few rows each."""
    draw = random.Random(3)
    lines = ["name,age,hours,income"]
    for row in range(rows):
        age, hours = draw.randint(18, 80), draw.randint(0, 60)
        lines.append(f"{PEOPLE[row % len(PEOPLE)]},{age},{hours},{'high' if age + hours > 75 else 'low'}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "people.csv")


@pytest.fixture(scope="session")
def original(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the table, which nobody alters."""
    folder = tmp_path_factory.mktemp("original") / "base"
    return train(str(table), out=folder, label="income", subject="name", checkpoint_interval=2, **SHAPE).path


@pytest.fixture
def base(original: Path, tmp_path: Path) -> Run:
    shutil.copytree(original, tmp_path / "runs" / "base")
    return Run.open(tmp_path / "runs" / "base")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key of a desk of its own, whose log lies beside it."""
    keygen(tmp_path / "keys", ORIGIN)
    return tmp_path / "keys" / PRIVATE
