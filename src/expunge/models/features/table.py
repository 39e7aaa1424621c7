"""Tables: where numbers lie between edges, and hashed categories, words and pairs of columns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from expunge.core.streams import Stream, below_from_words
from expunge.data.dataset import Column, ColumnKind, Dataset
from expunge.data.encoding import bucket, words_of
from expunge.models.features.contract import Constants, Encoded, FeatureMap, Ragged
from expunge.models.features.edges import MOST_EDGES, bounds_of, table_of_edges

CODES = 2**53  # a category is a whole number below: float64 holds it
MOST_PAIRED = 25
STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class TableMap(FeatureMap):
    """One column 1[v ≥ e] for each edge e of each number; the others are hashed: each code, word, and pair of codes.

    The code of a number is how many edges it reaches. An encoded row is its numbers as they are, then its categories as
    whole numbers, then its words likewise: with text columns the encoded rows are ragged.
    """

    name = "table"
    usual_width: ClassVar[int] = 1024
    usual_penalty: ClassVar[tuple[str, int]] = ("plain", 10)

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of the leading entries of an encoded row: numbers, then categories; an array has one for each."""
        return (*self._names(of_numbers=True), *self._names(of_numbers=False))

    @property
    def numbers(self) -> int:
        """How many of the entries are numbers."""
        return len(self._names(of_numbers=True))

    def _names(self, *, of_numbers: bool) -> list[str]:
        columns = [one for one in self.encoding.columns if one.kind is not ColumnKind.TEXT]
        found = [one for one in columns if (one.kind is not ColumnKind.CATEGORY) is of_numbers]
        return [one.name for one in found for _ in range(int(np.prod(one.shape, dtype=np.int64)))]

    @property
    def _texts(self) -> list[Column]:
        return [one for one in self.encoding.columns if one.kind is ColumnKind.TEXT]

    def encode(self, dataset: Dataset) -> Encoded:
        self.encoding.check_columns(dataset)
        kinds = {column.name: column.kind for column in self.encoding.columns}
        numbers = [
            np.asarray(dataset.content[name], dtype=np.float64).reshape(len(dataset), -1) + 0.0
            for name, kind in kinds.items()
            if kind not in (ColumnKind.CATEGORY, ColumnKind.TEXT)
        ]
        categories = [
            _coded(name, dataset.content[name])[:, None] for name, kind in kinds.items() if kind is ColumnKind.CATEGORY
        ]
        heads = np.concatenate([*numbers, *categories, np.zeros((len(dataset), 0))], axis=1)
        return _with_words(heads, dataset, [one.name for one in self._texts]) if self._texts else heads

    def drawn(self, seed: bytes) -> Constants:
        return {"hash_key": Stream(seed, "features").words(1).view(np.int64)}

    def derived(self, rows: Encoded, present: np.ndarray, *, spares: bool = False) -> Constants:
        bounds = bounds_of(self._numbers(rows)[present])
        return {"bounds": bounds, "edges": table_of_edges(bounds)}

    def features(self, rows: Encoded, constants: Constants) -> np.ndarray:
        rows = rows if isinstance(rows, np.ndarray) else rows[:]
        edges, key = constants["edges"], constants["hash_key"].view(np.uint64)
        found = np.zeros((len(rows), self.width), dtype=np.int32)
        found[:, -1] = 1
        codes = np.empty((len(self.entries), len(rows)), dtype=np.uint64)
        first = 0
        for column in range(self.numbers):
            own = edges[column][np.isfinite(edges[column])]
            reached = np.searchsorted(own, rows[:, column], side="right")
            found[:, first : first + len(own)] = np.arange(len(own)) < reached[:, None]
            codes[column] = reached
            first += len(own)
        codes[self.numbers :] = rows[:, self.numbers : len(codes)].T
        codes = mixed(codes + key + STEP * np.arange(1, len(codes) + 1, dtype=np.uint64)[:, None])
        hashed = list(codes)
        if len(codes) <= MOST_PAIRED:
            hashed += [mixed(one + other) for one, other in combinations(codes, 2)]
        everybody = np.arange(len(rows))
        for words in hashed:
            found[everybody, first + below_from_words(words, self.width - 1 - first)] = 1
        tokens = rows[:, len(codes) :]
        there = np.nonzero(tokens >= 0)
        words = mixed(tokens[there].astype(np.uint64) + key)
        found[there[0], first + below_from_words(words, self.width - 1 - first)] = 1
        return found

    def can_be_derived(self, wide: Constants) -> bool:
        shapes = {"bounds": (2, self.numbers), "edges": (self.numbers, MOST_EDGES)}
        if {name: (value.shape, value.dtype.name) for name, value in wide.items()} != {
            name: (shape, "float64") for name, shape in shapes.items()
        }:
            return False
        bounds = wide["bounds"]
        ranges = np.isfinite(bounds).all() and (bounds[0] <= bounds[1]).all()
        return bool(ranges) and np.array_equal(wide["edges"], table_of_edges(bounds))

    def work(self, rows: Encoded) -> float:
        return float(self.width)

    def moved(self, wide: Constants, constants: Constants) -> str:
        changed = np.flatnonzero((wide["bounds"] != constants["bounds"]).any(axis=0))
        names = sorted({self.entries[column] for column in changed})
        return f"the least or greatest value of {', '.join(names)} is another now"

    def extremes(self, rows: Encoded, constants: Constants) -> np.ndarray:
        numbers = self._numbers(rows)
        return np.concatenate([numbers == end for end in constants["bounds"]], axis=1)

    def _numbers(self, rows: Encoded) -> np.ndarray:
        if isinstance(rows, np.ndarray):
            return rows[:, : self.numbers]
        return rows.values[rows.offsets[:-1, None] + np.arange(self.numbers)]


def mixed(words: np.ndarray) -> np.ndarray:
    """64-bit words whose every bit hangs on every bit of the one before (the finaliser of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _coded(name: str, values: np.ndarray) -> np.ndarray:
    """Every category as a whole number."""
    known = {value: float(bucket(name, value, CODES)) for value in set(values)}
    return np.array([known[value] for value in values])


def _with_words(heads: np.ndarray, dataset: Dataset, texts: list[str]) -> Ragged:
    """Behind the entries of each row the words of its texts, each once and in the order of their numbers."""
    known: dict[tuple[str, str], float] = {}
    rows: list[np.ndarray] = []
    for row, head in enumerate(heads):
        words = {(name, word) for name in texts for word in words_of(dataset.content[name][row])}
        known |= {word: float(bucket(*word, CODES)) for word in words if word not in known}
        rows.append(np.concatenate([head, np.array(sorted(known[word] for word in words))]))
    return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))
