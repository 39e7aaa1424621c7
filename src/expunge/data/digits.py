"""The built-in data: scikit-learn's 1,797 real images of handwritten digits, dealt to invented people."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from expunge.core.errors import DataError
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset

if TYPE_CHECKING:
    from expunge.data.source import Source

COLUMN = Column("image", ColumnKind.IMAGE, (8, 8), "HW", 1 / 16)
SMALLEST, SPREAD, STRIDE = 5, 21, 11


def read(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """8×8 grey images with values 0 … 16, labels 0 … 9, ids ``digit-0000`` …, subjects ``person-000`` …"""
    if columns is not None and columns != (COLUMN,):
        raise DataError(
            f"the built-in digits have one column, {COLUMN.name!r}, the recipe was made for "
            f"{[column.name for column in columns]}: give the data that the run was trained on"
        )
    images, labels = bundled()
    everybody = people(len(labels))
    count = source.taken(len(labels), again=columns is not None)
    return make_dataset(
        labels=[int(label) for label in labels[:count]],
        columns=(COLUMN,),
        content={COLUMN.name: images[:count].reshape(-1, 8, 8)},
        ids=[f"digit-{row:04d}" for row in range(count)],
        subjects=everybody[:count],
        classes=classes,
        where=source.shown,
    )


def bundled() -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels from scikit-learn's file; the package itself is not imported, which would take a second."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(name="sklearn")
    with gzip.open(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt", encoding="ascii") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return rows[:, :-1], rows[:, -1]


def people(images: int) -> list[str]:
    """Who wrote which image: person k has the next ``5 + (11 k mod 21)`` images, so 5 to 25 of them.

    When fewer than five images would be left after a person, that person has them too (at most 29). 1,797 images make
    121 people. Nothing is drawn at random.
    """
    subjects: list[str] = []
    person = 0
    while len(subjects) < images:
        left = images - len(subjects)
        size = SMALLEST + STRIDE * person % SPREAD
        size = left if left - size < SMALLEST else size
        subjects += [f"person-{person:03d}"] * size
        person += 1
    return subjects
