"""How columns, words and pixels become one array per row. Nothing here is fitted on data.

Pixels stay 8-bit and are scaled by a constant; numbers pass unchanged (a parameter-free batch norm in front of the
model brings them to scale, its running statistics are training state); categories and words are hashed into a fixed
number of buckets. So forgetting a row changes nothing for the others.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from expunge.core.errors import DataError, InvalidArgument, UnsupportedYet
from expunge.core.hashing import text_bytes
from expunge.data.dataset import Column, ColumnKind, Dataset
from expunge.records.form import Many

MOST_BUCKETS = 1_000_000
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Preparation:
    """What a model's owner does to every row, in constants: (entries · ``scale`` − ``mean``) / ``std``.

    A mean and a standard deviation stand for all entries, or there is one for each channel or number of a row.
    """

    scale: float = 1.0
    mean: Annotated[tuple[float, ...], Many(MOST_BUCKETS)] = (0.0,)
    std: Annotated[tuple[float, ...], Many(MOST_BUCKETS)] = (1.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", float(self.scale))  # 1 and 1.0 are one scale, and one digest
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        if not math.isfinite(self.scale) or self.scale == 0:
            raise InvalidArgument(f"`scale` {self.scale:g} must be a finite number other than 0")
        if not self.mean or not all(map(math.isfinite, self.mean)):
            raise InvalidArgument(f"`mean` {_listed(self.mean)} must be finite numbers, one or one a channel")
        if not self.std or not all(math.isfinite(value) and value > 0 for value in self.std):
            raise InvalidArgument(f"`std` {_listed(self.std)} must be finite numbers above 0, one or one a channel")


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values[:8]) or "without a number"


@dataclass(frozen=True)
class Encoding:
    """Columns in order, how many buckets a category and a text are hashed into, and the owner's ``preparation``.

    Where an owner prepares the rows, nothing else stands between them and the model.
    """

    columns: Annotated[tuple[Column, ...], Many(MOST_BUCKETS)]
    category_buckets: int = 32
    text_buckets: int = 1024
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        for name in ("category_buckets", "text_buckets"):
            if not 1 <= getattr(self, name) <= MOST_BUCKETS:
                raise InvalidArgument(
                    f"{name.replace('_', ' ')} {getattr(self, name)} must be a whole number from 1 to {MOST_BUCKETS}"
                )
        for name in () if self.preparation is None else ("mean", "std"):
            count, entries = len(getattr(self.preparation, name)), self.shape[0]
            if count not in (1, entries):
                what = "channels" if self.is_image else "numbers"
                raise InvalidArgument(
                    f"`{name}` has {count} values, rows have {entries} {what}: give one, or {entries}"
                )

    @property
    def is_image(self) -> bool:
        """One image column alone keeps its three axes; everything else is laid side by side in one row of reals."""
        return len(self.columns) == 1 and len(self._image_like(self.columns[0])) == 3

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row as the model sees it."""
        if self.is_image:
            return self._image_like(self.columns[0])
        return (sum(self._width(column) for column in self.columns),)

    @property
    def scale(self) -> float:
        """The constant that rows are multiplied by in front of the model."""
        if self.preparation is not None:
            return self.preparation.scale
        return self.columns[0].scale if self.is_image else 1.0

    @property
    def standardised(self) -> int:
        """How many leading entries (channels of a real image) pass the parameter-free batch norm."""
        if self.preparation is not None:
            return 0
        if self.is_image:
            return 0 if self.columns[0].kind is ColumnKind.IMAGE else self.shape[0]
        return sum(self._width(column) for column in self.columns if not _hashed(column))

    @property
    def dated(self) -> bool:
        """Whether a column holds dates."""
        return any(column.kind is ColumnKind.DATE for column in self.columns)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and largest value that an entry of an encoded row can have: pixels have a range, real numbers none."""
        if any(column.kind is not ColumnKind.IMAGE for column in self.columns):
            return None
        pixel = np.iinfo(np.uint8)
        return float(pixel.min), float(pixel.max)

    @property
    def hashed(self) -> tuple[str, ...]:
        """Names of the columns whose entries are counts of buckets: no small change of them is a row again."""
        return tuple(column.name for column in self.columns if _hashed(column))

    def encode(self, dataset: Dataset) -> np.ndarray:
        """(n, *shape): uint8 for images of 8 bits, float32 otherwise. Rows that are gone are zeros."""
        self.check_columns(dataset)
        if self.is_image:
            column = self.columns[0]
            encoded = np.ascontiguousarray(_channels_first(dataset.content[column.name], column))
        else:
            ordered = [c for c in self.columns if not _hashed(c)] + [c for c in self.columns if _hashed(c)]
            encoded = np.concatenate([self._flat(column, dataset.content[column.name]) for column in ordered], axis=1)
        if not dataset.present.all():  # the filler of a row that is gone must not be hashed like a missing value
            encoded = np.where(dataset.present.reshape(-1, *[1] * (encoded.ndim - 1)), encoded, encoded.dtype.type(0))
        return encoded

    def check_columns(self, dataset: Dataset) -> None:
        """Data of other columns is refused."""
        if dataset.columns != self.columns:
            raise DataError(
                f"the data has columns {[c.name for c in dataset.columns]}, the recipe was made for "
                f"{[c.name for c in self.columns]}: give the data that the run was trained on"
            )

    def _flat(self, column: Column, values: np.ndarray) -> np.ndarray:
        if column.kind is ColumnKind.CATEGORY:
            return _categories(column.name, values, self.category_buckets)
        if column.kind is ColumnKind.TEXT:
            return _words(column.name, values, self.text_buckets)
        return values.reshape(len(values), -1).astype(np.float32)

    def _width(self, column: Column) -> int:
        if column.kind is ColumnKind.CATEGORY:
            return self.category_buckets
        if column.kind is ColumnKind.TEXT:
            return self.text_buckets
        return int(np.prod(column.shape, dtype=np.int64))

    @staticmethod
    def _image_like(column: Column) -> tuple[int, ...]:
        """(channels, height, width) of an image or a real array laid out as one, else ()."""
        match column.layout, column.shape:
            case "HW", (height, width):
                return (1, height, width)
            case "HWC", (height, width, channels):
                return (channels, height, width)
            case "CHW", (channels, height, width):
                return (channels, height, width)
            case _:
                return ()


def make_encoding(
    dataset: Dataset,
    *,
    category_buckets: int = 32,
    text_buckets: int = 1024,
    preparation: Preparation | None = None,
) -> Encoding:
    """The encoding for a data set's columns."""
    images = [column for column in dataset.columns if column.kind is ColumnKind.IMAGE]
    if images and len(dataset.columns) > 1:
        raise UnsupportedYet(
            f"column {images[0].name!r} holds images beside {len(dataset.columns) - 1} other columns: "
            "one image column alone, or columns without images, can be trained on so far"
        )
    return Encoding(dataset.columns, category_buckets, text_buckets, preparation)


def image_layout(shape: tuple[int, ...]) -> str:
    """Which axis of an image is the channel: 1, 3 or 4 of them, last axis first; "" where the shape is no image."""
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return "HWC"
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "CHW"
    return ""


def _hashed(column: Column) -> bool:
    return column.kind in (ColumnKind.CATEGORY, ColumnKind.TEXT)


def _channels_first(values: np.ndarray, column: Column) -> np.ndarray:
    if column.layout == "HW":
        values = values[:, None]
    elif column.layout == "HWC":
        values = values.transpose(0, 3, 1, 2)
    return values if column.kind is ColumnKind.IMAGE else values.astype(np.float32)


def bucket(column: str, word: str, buckets: int) -> int:
    """Where a word of a column goes: a fixed hash, the same for every data set and machine."""
    digest = hashlib.sha256(b"expunge/bucket/1" + text_bytes(column) + text_bytes(word)).digest()
    return int.from_bytes(digest[:8], "little") % buckets


def _categories(name: str, values: np.ndarray, buckets: int) -> np.ndarray:
    known: dict[str, int] = {}
    encoded = np.zeros((len(values), buckets), dtype=np.float32)
    for row, value in enumerate(values):
        if value not in known:
            known[value] = bucket(name, value, buckets)
        encoded[row, known[value]] = 1.0
    return encoded


def words_of(text: str) -> list[str]:
    """Lower-cased runs of letters, digits and underscores."""
    return WORD.findall(text.lower())


def _words(name: str, values: np.ndarray, buckets: int) -> np.ndarray:
    known: dict[str, int] = {}
    encoded = np.zeros((len(values), buckets), dtype=np.float32)
    for row, value in enumerate(values):
        for word in words_of(value):
            if word not in known:
                known[word] = bucket(name, word, buckets)
            encoded[row, known[word]] += 1.0
    return np.log1p(encoded)
