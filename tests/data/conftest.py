"""What several tests of the data layer need: refusals in one sentence, small tables, CSV files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset

# Files are written in these tests: on a busy machine time says nothing about what is tested.
settings.register_profile("files", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("files")

Refused = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def people() -> Callable[..., Dataset]:
    """``people(20, ids=True, subjects=3)``: rows with a number and a word, labels 0 and 1 in turn."""

    def build(count: int, *, ids: bool = False, subjects: int | None = None) -> Dataset:
        return make_dataset(
            labels=[row % 2 for row in range(count)],
            columns=(Column("age", ColumnKind.NUMERIC), Column("town", ColumnKind.CATEGORY)),
            content={
                "age": np.arange(count, dtype=np.float64) + 20,
                "town": np.array([f"town-{row % 7}" for row in range(count)], dtype=object),
            },
            ids=[f"id-{row}" for row in range(count)] if ids else None,
            subjects=[f"person-{row % subjects}" for row in range(count)] if subjects else None,
            where="a table",
        )

    return build


@pytest.fixture(scope="session")
def write_csv() -> Callable[..., str]:
    """Header and rows as the csv module writes them; the path as text."""

    def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(header)
            writer.writerows(rows)
        return str(path)

    return write
