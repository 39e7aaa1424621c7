"""The sets of the study of exact forgetting: official test rows apart, the same rows from either form of a file."""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from tests.studies.test_pictures import idx

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.exact_data import convert, main

from expunge.core.errors import DataError
from expunge.data.forms import read
from expunge.data.source import Source
from expunge.study.study_file import read_study

ADULT = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, "
REVIEWS = [(0, "dull\u2028and long"), (0, "worse"), (1, "fine"), (1, "lovely")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "public"
    for name in ("adult", "imdb", "fashion_mnist", "cifar10"):
        (place / name).mkdir(parents=True)
    (place / "adult" / "adult.data").write_text(f"{ADULT}Peru, <=50K\n{ADULT}Peru, >50K\n\n")
    (place / "adult" / "adult.test").write_text(
        f"|1x3 Cross validator\n{ADULT}Peru, <=50K.\n{ADULT}Cuba, >50K.\n{ADULT}Cuba, >50K.\n"
    )
    for part in ("train", "test"):
        lines = "\n".join(json.dumps({"label": label, "text": text}, ensure_ascii=False) for label, text in REVIEWS)
        (place / "imdb" / f"imdb_{part}.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    for part, count in (("train", 3), ("t10k", 2)):
        idx(place / "fashion_mnist" / f"{part}-images-idx3-ubyte", [[[n] * 28] * 28 for n in range(count)])
        idx(place / "fashion_mnist" / f"{part}-labels-idx1-ubyte", list(range(count)))
    for name, count in (("data_batch_1", 2), ("data_batch_2", 2), ("test_batch", 1)):
        draws = np.random.default_rng(len(name) + count)
        rows = draws.integers(0, 256, (count, 3073), dtype=np.uint8)
        rows[:, 0] %= 10
        (place / "cifar10" / f"{name}.bin").write_bytes(rows.tobytes())
    return place


def test_every_file_that_the_study_names_is_written(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "exact-data"
    assert main([str(folder), str(out)]) == 0
    study = read_study(Path(__file__).parents[2] / "studies" / "exact.toml")
    named = {Path(place).name for data in study.data for place in (data.source.location, data.test) if place}
    assert named == {path.name for path in out.iterdir()} | {"digits"}
    rows = {path.name: len(np.load(path)["y"]) for path in out.glob("*.npz")}
    assert rows == {"fashion.npz": 3, "fashion-test.npz": 2, "cifar10.npz": 4, "cifar10-test.npz": 1}
    for name, count in (("adult.csv", 2), ("adult-test.csv", 3)):
        found = read(Source(location=str(out / name), label="income"))
        assert len(found) == count
        assert found.classes == ("<=50K", ">50K")
    told = pyarrow.parquet.read_table(out / "imdb.parquet").to_pydict()
    assert sorted(zip(told["label"], told["review"], strict=True)) == REVIEWS
    assert main([str(folder), str(out)]) == 2, "nothing is replaced"


def test_either_form_of_a_file_gives_the_same_rows(folder: Path, tmp_path: Path) -> None:
    list(convert(folder, tmp_path / "first"))
    for path in sorted((folder / "cifar10").glob("*.bin")):
        rows = np.frombuffer(path.read_bytes(), dtype=np.uint8).reshape(-1, 3073)
        red, green, blue = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(1, 0, 2, 3)
        planes = np.stack([green, red - green, blue - green]).astype(np.int64)
        residual = np.diff(np.diff(planes, axis=3, prepend=0), axis=2, prepend=0).astype(np.uint8)
        name = "cifar10_test" if "test" in path.name else f"cifar10_train_{path.stem[-1]}of5"
        np.savez(folder / "cifar10" / f"{name}.npz", residual=residual, label=rows[:, 0])
        path.unlink()
    for part in ("train", "test"):
        (folder / "imdb" / f"imdb_{part}.jsonl.xz").unlink()
        for number, (label, text) in enumerate(REVIEWS):
            place = folder / "imdb" / part / ("neg", "pos")[label]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.txt").write_text(text, encoding="utf-8")
    list(convert(folder, tmp_path / "second"))
    for path in sorted((tmp_path / "first").iterdir()):
        assert (tmp_path / "second" / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "adult" / "adult.test").unlink()
    with pytest.raises(DataError, match=r"adult\.test is missing, also with \.gz or \.xz: put it there"):
        list(convert(folder, tmp_path / "out"))
