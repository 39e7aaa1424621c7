"""The four larger sets of `studies/exact.toml`, from their publishers' files, official test rows beside them.

    python -m studies.exact_data FOLDER OUT

FOLDER holds a folder for each set: `adult` (adult.data and adult.test of UCI Adult), `imdb` (train and test of the film
reviews of Maas et al., folders neg and pos of texts, or imdb_train.jsonl and imdb_test.jsonl with a label and a text a
line), `fashion_mnist` (its four idx files), `cifar10` (the binary version's batches, or arrays made of them in which a
row holds green, red less green and blue less green, each less its left and then its upper neighbour). Files may end in
.gz or .xz. Of CIFAR-10 two of the five training files are taken. Rows are shuffled by a fixed seed where their order
tells the label. Nothing is downloaded, nothing pickled is read, and no file is replaced.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import lzma
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from studies.pictures import IDX, _cifar_part, _idx_part

COLUMNS = (
    *("age", "workclass", "weight", "education", "education_years", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours", "country", "income"),
)
CIFAR_FILES = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args(arguments)
    try:
        for path, rows in convert(options.folder, options.out):
            print(f"{path}: {rows:,} rows")
    except ExpungeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def convert(folder: Path, out: Path) -> Iterator[tuple[Path, int]]:
    """Every file that is written, and how many rows it holds."""
    for maker, of, suffix in ((_adult, "adult", "csv"), (_imdb, "imdb", "parquet"), (_pictures, "", "npz")):
        names = (of,) if of else ("fashion", "cifar10")
        for name in names:
            for part, ending in (("train", ""), ("test", "-test")):
                path = out / f"{name}{ending}.{suffix}"
                if path.exists():
                    raise InvalidArgument(f"{path} is there already and is not replaced: remove it, or choose another")
                path.parent.mkdir(parents=True, exist_ok=True)
                yield path, maker(folder, name, part, path)


def _text(path: Path) -> str:
    """A text as it is, or packed."""
    for place, opened in ((path, open), (Path(f"{path}.gz"), gzip.open), (Path(f"{path}.xz"), lzma.open)):
        if place.is_file():
            with opened(place, "rt", encoding="utf-8") as stream:
                return str(stream.read())
    raise DataError(f"{path} is missing, also with .gz or .xz: put it there")


def _adult(folder: Path, name: str, part: str, path: Path) -> int:
    lines = _text(folder / name / f"adult.{'data' if part == 'train' else 'test'}").splitlines()
    rows = [[field.strip().removesuffix(".") for field in line.split(",")] for line in lines]
    rows = [row for row in rows if len(row) == len(COLUMNS)]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    return len(rows)


def _imdb(folder: Path, name: str, part: str, path: Path) -> int:
    place = folder / name / part
    if place.is_dir():
        found = [(label, file.read_text(encoding="utf-8")) for label, file in _reviews(place)]
    else:
        lines = _text(folder / name / f"imdb_{part}.jsonl").split("\n")  # reviews hold line ends of other kinds
        told = [json.loads(line) for line in lines if line.strip()]
        found = [(int(one["label"]), str(one["text"])) for one in told]
    order = np.random.default_rng(0).permutation(len(found))
    table = {"review": [found[at][1] for at in order], "label": [found[at][0] for at in order]}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return len(found)


def _reviews(place: Path) -> Iterator[tuple[int, Path]]:
    for label, kind in enumerate(("neg", "pos")):
        yield from ((label, file) for file in sorted((place / kind).glob("*.txt")))


def _pictures(folder: Path, name: str, part: str, path: Path) -> int:
    x, y = _fashion(folder / "fashion_mnist", part) if name == "fashion" else _cifar(folder / "cifar10", part)
    order = np.random.default_rng(0).permutation(len(y))
    np.savez(path, x=x[order], y=y[order])
    return len(y)


def _fashion(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    return _idx_part(folder, *IDX[part == "test"])


def _cifar(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    numbers = range(1, CIFAR_FILES + 1) if part == "train" else (0,)
    parts = [_cifar_file(folder, number) for number in numbers]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _cifar_file(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """One training file, or the test file as number 0."""
    arrays = folder / (f"cifar10_train_{number}of5.npz" if number else "cifar10_test.npz")
    if not arrays.is_file():
        return _cifar_part(folder / (f"data_batch_{number}.bin" if number else "test_batch.bin"))
    with np.load(arrays, allow_pickle=False) as stored:
        planes = np.cumsum(np.cumsum(stored["residual"], axis=2, dtype=np.uint8), axis=3, dtype=np.uint8)
        labels = stored["label"]
    green = planes[0]
    return np.stack([planes[1] + green, green, planes[2] + green], axis=-1), labels


if __name__ == "__main__":
    sys.exit(main())
