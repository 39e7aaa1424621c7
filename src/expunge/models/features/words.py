"""Texts: which of their most frequent words, and pairs of words side by side, they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from expunge.data.dataset import Dataset
from expunge.data.encoding import bucket, words_of
from expunge.models.features.contract import Constants, Encoded, FeatureMap, Ragged
from expunge.models.features.table import mixed

BITS = 20
BUCKETS = 2**BITS  # a word or pair is the top bits of its hash
SPARE = (5, 4)  # of every 4 columns that answer, 5 are summed: words change ranks without another look at the rows


@dataclass(frozen=True)
class WordMap(FeatureMap):
    """1 for each of the ``width`` − 1 buckets that most rows present hold, ties to the lower one, where a row holds it.

    An encoded row is the buckets of one text, each once, ascending. Where fewer are held, the last columns stay 0.
    """

    name = "words"
    usual_width: ClassVar[int] = 2048
    usual_penalty: ClassVar[tuple[str, int]] = ("bayes", 0)

    def penalty(self, classes: int) -> tuple[str, int]:
        return self.usual_penalty if classes == 2 else ("spread", 1)

    def encode(self, dataset: Dataset) -> Ragged:
        self.encoding.check_columns(dataset)
        (column,) = self.encoding.columns
        places: dict[str, int] = {}
        said = [
            np.array([places.setdefault(word, len(places)) for word in words_of(text)], dtype=np.int64)
            for text in dataset.content[column.name]
        ]
        hashes = np.array([bucket(column.name, word, 2**64) for word in places], dtype=np.uint64)
        rows = [_buckets(hashes[words]) for words in said]
        return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))

    def derived(self, rows: Encoded, present: np.ndarray, *, spares: bool = False) -> Constants:
        row, tokens = _held(rows)
        counts = np.bincount(tokens[present[row]], minlength=BUCKETS)
        kept = (self.summed if spares else self.width) - 1
        most = np.argsort(-counts, kind="stable")[:kept]
        most = most[counts[most] > 0]
        return {"buckets": np.concatenate([np.sort(most), np.full(kept - len(most), BUCKETS)])}

    def features(self, rows: Encoded, constants: Constants) -> np.ndarray:
        buckets = constants["buckets"]
        place = np.full(BUCKETS + 1, -1)
        place[buckets] = np.arange(len(buckets))
        row, tokens = _held(rows)
        at = place[tokens]
        found = np.zeros((len(rows), len(buckets) + 1), dtype=np.int32)
        found[row[at >= 0], at[at >= 0]] = 1
        found[:, -1] = 1
        return found

    def work(self, rows: Encoded) -> float:
        return len(_held(rows)[0]) / max(1, len(rows))

    def columns(self, wide: Constants, constants: Constants) -> np.ndarray | None:
        summed, buckets = wide["buckets"], constants["buckets"][constants["buckets"] < BUCKETS]
        if not np.isin(buckets, summed).all():
            return None
        at = np.searchsorted(summed, buckets)
        others = np.setdiff1d(np.arange(len(summed)), at)  # nobody holds them where fewer words are held than answer
        return np.concatenate([at, others[: self.width - 1 - len(at)], [len(summed)]])

    def lighter(self, wide: Constants, held: np.ndarray) -> tuple[Constants, np.ndarray]:
        buckets = np.where(held[:-1] > 0, wide["buckets"], BUCKETS)
        order = np.argsort(buckets, kind="stable")
        return {"buckets": buckets[order]}, np.append(order, len(order))

    @property
    def summed(self) -> int:
        return self.width * SPARE[0] // SPARE[1]

    def answering(self, wide: Constants, held: np.ndarray) -> Constants:
        most = np.argsort(-held[:-1], kind="stable")[: self.width - 1]
        most = most[held[most] > 0]
        return {"buckets": np.append(np.sort(wide["buckets"][most]), np.full(self.width - 1 - len(most), BUCKETS))}

    def can_be_derived(self, wide: Constants) -> bool:
        buckets = wide.get("buckets", np.zeros(0))
        if set(wide) != {"buckets"} or buckets.dtype != np.int64 or buckets.shape != (self.summed - 1,):
            return False
        words = buckets[buckets != BUCKETS]
        known = len(words) == 0 or bool(0 <= words.min() <= words.max() < BUCKETS)
        return known and bool((np.diff(words) > 0).all() and (buckets[len(words) :] == BUCKETS).all())

    def moved(self, wide: Constants, constants: Constants) -> str:
        entered = np.setdiff1d(constants["buckets"], wide["buckets"])
        return f"{len(entered)} words that were not summed are among the {self.width - 1:,} most frequent now"


def _buckets(words: np.ndarray) -> np.ndarray:
    """Those of a text's hashed words, and of each with the next, ascending."""
    pairs = mixed(words[:-1] * np.uint64(3) + words[1:])
    found = np.sort(np.concatenate([words, pairs]) >> np.uint64(64 - BITS)).astype(np.int32)
    return found[np.diff(found, prepend=-1) > 0]


def _held(rows: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """Row and bucket of everything held."""
    if isinstance(rows, Ragged):
        return np.repeat(np.arange(len(rows)), np.diff(rows.offsets)), rows.values
    where = np.nonzero(rows >= 0)
    return where[0], rows[where].astype(np.int64)
