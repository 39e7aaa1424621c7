"""What a tree may ask of a row, which questions a node is offered, and which of them is the best."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from expunge.core.streams import Stream, below_from_words
from expunge.models.features.table import mixed

PURPOSE = "forest"
DEEPEST = 14
FEWEST = 8  # rows that a node is split with
CANDIDATES = 60
BUCKETS = 12  # of a column of categories
SILENT, UNDIVIDED = -2, -1  # in the place of a split: nothing is asked; no candidate divides the rows
LARGEST_TABLE = 2**22  # entries that are counted at once

Offered = tuple[np.ndarray, np.ndarray]  # columns and splits of candidates, (nodes, 60) each


@dataclass(frozen=True, eq=False)
class Questions:
    """Whether a number reaches an edge, or a category is hashed into one of 12 buckets: one column, one of its splits.

    ``edges`` are ascending and filled with infinity, a row of them for each leading number of an encoded row; behind
    the numbers stand ``categories``. The values of a column fall into cells, one more than its edges or one for each
    bucket; a question is whether a row's cell lies in a range of them.
    """

    edges: np.ndarray
    categories: int

    @cached_property
    def splits(self) -> np.ndarray:
        """How many questions there are about each column."""
        return np.append(np.isfinite(self.edges).sum(axis=1), np.full(self.categories, BUCKETS)).astype(np.int64)

    @cached_property
    def _firsts(self) -> np.ndarray:
        """The first cell of each column, and how many cells there are."""
        numbers = np.arange(len(self.splits)) < len(self.edges)
        return np.cumsum(np.append(0, self.splits + numbers))

    def cells(self, rows: np.ndarray, salts: np.ndarray) -> np.ndarray:
        """(rows, columns): the cell that every entry falls into; a salt for each row, or one for all, hashes them."""
        numbers = len(self.edges)
        found = np.empty(rows.shape, dtype=np.int64)
        for column, edges in enumerate(self.edges):
            found[:, column] = np.searchsorted(edges[: self.splits[column]], rows[:, column], side="right")
        words = mixed(rows[:, numbers:].astype(np.uint64) + salts.view(np.uint64)[:, None])
        found[:, numbers:] = below_from_words(words, BUCKETS)
        return found + self._firsts[:-1]

    def ranges(self, columns: np.ndarray, splits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From which cell to before which a row's answer is yes."""
        first = self._firsts[columns] + splits
        numbers = columns < len(self.edges)
        return first + numbers, np.where(numbers, self._firsts[columns + 1], first + 1)

    def candidates(self, seed: bytes, trees: np.ndarray, paths: np.ndarray) -> Offered:
        """(nodes, 60) columns and splits that nodes are offered: a column first, then one of its questions."""
        asked = np.flatnonzero(self.splits)
        drawn = [
            Stream(seed, PURPOSE, tree, path).words(2 * CANDIDATES)
            for tree, path in zip(trees.tolist(), paths.tolist(), strict=True)
        ]
        words = np.array(drawn, dtype=np.uint64).reshape(-1, 2 * CANDIDATES)
        columns = asked[below_from_words(words[:, :CANDIDATES], len(asked))]
        return columns, below_from_words(words[:, CANDIDATES:], self.splits[columns])

    def says_yes(self, cells: np.ndarray, who: np.ndarray, split: np.ndarray) -> np.ndarray:
        """The answer of each of these rows to the question of its node."""
        start, end = self.ranges(split[:, 1], split[:, 2])
        cell = cells[who, split[:, 1]]
        return (start <= cell) & (cell < end)

    def counted(
        self,
        cells: np.ndarray,
        labels: np.ndarray,
        who: np.ndarray,
        nodes: np.ndarray,
        offered: Offered,
        classes: int,
    ) -> np.ndarray:
        """(nodes, 60, classes): how many rows of each class say yes to what their node is offered.

        ``who`` of the rows are counted, each at one of ``nodes``.
        """
        columns, size = offered[0], int(self._firsts[-1])
        start, end = self.ranges(*offered)
        found = np.empty((*columns.shape, classes), dtype=np.int64)
        at_once = max(1, LARGEST_TABLE // (size * classes))
        for first in range(0, len(columns), at_once):
            here = slice(first, first + at_once)
            mine = np.flatnonzero((nodes >= first) & (nodes < first + at_once))
            sums = np.zeros((len(columns[here]), size + 1, classes), dtype=np.int64)
            cell = sums[:, 1:]
            for some in np.array_split(mine, 1 + cells.shape[1] * len(mine) // LARGEST_TABLE):
                index = (nodes[some, None] - first) * size + cells[who[some]]
                index = index * classes + labels[who[some], None]
                cell += np.bincount(index.ravel(), minlength=cell.size).reshape(cell.shape)
            sums = sums.cumsum(axis=1)
            which = np.arange(len(sums))[:, None]
            found[here] = sums[which, end[here]] - sums[which, start[here]]
        return found


def salts(seed: bytes, trees: int) -> np.ndarray:
    """What hashes the categories of each tree: no two of them share a bucket in every tree."""
    return np.array([Stream(seed, PURPOSE, tree).word() for tree in range(trees)], dtype=np.uint64).view(np.int64)


def best(counts: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """The candidate of least Gini impurity for each node, the lowest of equal ones; −1 where none divides its rows.

    ``counts`` of the classes at nodes, and of those of them who say yes to each candidate. Least impurity is the
    largest Σ yes²/Σ yes + Σ no²/Σ no over classes: sums of squares below 2⁵³, two divisions, one addition.
    """
    others = counts[:, None] - sides
    yes, no = sides.sum(axis=2), others.sum(axis=2)
    purity = (sides**2).sum(axis=2) / np.maximum(yes, 1) + (others**2).sum(axis=2) / np.maximum(no, 1)
    purity[(yes == 0) | (no == 0)] = -1.0
    return np.where(purity.max(axis=1) < 0, UNDIVIDED, purity.argmax(axis=1))


def chosen(counts: np.ndarray, sides: np.ndarray, offered: Offered) -> np.ndarray:
    """(nodes, 3): the best candidate of each node, its column and its split; −1 throughout where there is none."""
    found = best(counts, sides)
    which = np.arange(len(found))
    split = np.stack([found, offered[0][which, found], offered[1][which, found]], axis=1)
    return np.where(found[:, None] < 0, UNDIVIDED, split)
