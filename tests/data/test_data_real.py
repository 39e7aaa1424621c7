"""Rows of real data sets through the ordinary forms, committed and opened again."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from expunge.data.commitment import commit, open_again
from expunge.data.dataset import ColumnKind
from expunge.data.encoding import make_encoding
from expunge.data.forms import read
from expunge.data.source import Source
from expunge.data.splits import Split, split_rows

pytestmark = pytest.mark.realdata
NAMES = (
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,capital_gain,"
    "capital_loss,hours_per_week,native_country,income\n"
)
NUMBERS = {"age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"}


@pytest.fixture(scope="module")
def folder() -> Path:
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    named = os.environ.get("EXPUNGE_REALDATA")
    place = Path(named) if named else beside
    if not place.is_dir():
        pytest.skip(f"no folder of real data: set EXPUNGE_REALDATA or put one at {beside}")
    return place


def opened_without(source: Source, rows: np.ndarray, shorter: Source) -> None:
    """Commit all rows, read again without the first training ``rows``, and find every other row in its seat."""
    before = read(source)
    assignment = split_rows(before)
    after = open_again(
        read(shorter, columns=before.columns, classes=before.classes), commit(before, assignment), np.arange(len(rows))
    )[Split.TRAIN]
    train = before.take(np.flatnonzero(assignment == Split.TRAIN.code))
    assert np.flatnonzero(~after.present).tolist() == list(range(len(rows)))
    assert after.ids[len(rows) :] == train.ids[len(rows) :]
    encoding = make_encoding(before)
    kept = train.take(np.arange(len(rows), len(train)))
    np.testing.assert_array_equal(encoding.encode(after)[len(rows) :], encoding.encode(kept))
    assert not encoding.encode(after)[: len(rows)].any()


def first_training_rows(source: Source, count: int) -> np.ndarray:
    return np.flatnonzero(split_rows(read(source)) == Split.TRAIN.code)[:count]


def test_adult_as_csv(folder, tmp_path):
    with gzip.open(folder / "adult" / "adult.data.gz", "rt", encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.reader(lines, skipinitialspace=True) if len(row) == 15][:3000]
    full, shorter = tmp_path / "adult.csv", tmp_path / "shorter.csv"

    def write(path: Path, kept: list[list[str]]) -> Source:
        with path.open("w", encoding="utf-8", newline="") as handle:
            handle.write(NAMES)
            csv.writer(handle).writerows(kept)
        return Source(location=str(path), label="income")

    source = write(full, rows)
    data = read(source)
    assert len(data) == 3000
    assert data.classes == ("<=50K", ">50K")
    assert {column.name for column in data.columns if column.kind is ColumnKind.NUMERIC} == NUMBERS
    assert {column.kind for column in data.columns} == {ColumnKind.NUMERIC, ColumnKind.CATEGORY}
    assert make_encoding(data).shape == (6 + 8 * 32,)
    gone = first_training_rows(source, 5)
    opened_without(source, gone, write(shorter, [row for at, row in enumerate(rows) if at not in set(gone.tolist())]))


def test_fashion_mnist_as_arrays(folder, tmp_path):
    def idx(name: str) -> np.ndarray:
        with gzip.open(folder / "fashion_mnist" / name) as stream:
            content = stream.read()
        shape = np.frombuffer(content, ">u4", content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)

    x, y = idx("t10k-images-idx3-ubyte.gz")[:2000], idx("t10k-labels-idx1-ubyte.gz")[:2000]
    np.savez(tmp_path / "full.npz", x=x, y=y)
    source = Source(location=str(tmp_path / "full.npz"))
    data = read(source)
    assert data.classes == tuple(range(10))
    assert make_encoding(data).shape == (1, 28, 28)
    gone = first_training_rows(source, 5)
    kept = np.setdiff1d(np.arange(2000), gone)
    np.savez(tmp_path / "shorter.npz", x=x[kept], y=y[kept])
    opened_without(source, gone, Source(location=str(tmp_path / "shorter.npz")))
