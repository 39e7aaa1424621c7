"""The map of words against counting one by one, and which words enter and leave."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.encoding import Encoding, bucket, words_of
from expunge.models.features.contract import Constants
from expunge.models.features.words import BUCKETS, WordMap

COLUMN = Column("review", ColumnKind.TEXT)
FEW = WordMap(Encoding((COLUMN,)), 33)


def reviews(texts: list[str]) -> Dataset:
    return make_dataset(
        labels=[row % 2 for row in range(len(texts))],
        columns=[COLUMN],
        content={"review": np.array(texts, dtype=object)},
        where="test reviews",
    )


def many(count: int = 60) -> Dataset:
    """Words of falling frequency; one row without any."""
    draws = np.random.default_rng(3)
    picked = (1 + 60 * draws.random((count, 25)) ** 3).astype(int)
    return reviews([" ".join(f"Word{word}," for word in row) for row in picked[1:]] + ["…"])


def held_of(text: str) -> set[int]:
    hashes = [bucket("review", word, 2**64) for word in words_of(text)]
    pairs = [mixed((3 * one + other) % 2**64) for one, other in pairwise(hashes)]
    return {word >> 44 for word in hashes + pairs}


def mixed(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def frequent(texts: list[str], count: int) -> list[int]:
    counts = Counter(token for text in texts for token in held_of(text))
    return sorted(sorted(counts, key=lambda token: (-counts[token], token))[:count])


def test_rows_are_the_buckets_of_words_and_pairs_each_once_and_ascending() -> None:
    texts = ["Good, good film! A good FILM", "", "bad", "bad film", "film bad", "a b"]
    rows = FEW.encode(reviews(texts))
    assert rows.values.dtype == np.int32
    assert len(rows) == len(texts)
    for row, text in enumerate(texts):
        assert rows.values[rows.offsets[row] : rows.offsets[row + 1]].tolist() == sorted(held_of(text))
    assert held_of("bad film") != held_of("film bad")
    side = rows[np.array([2, 1, 3])]
    assert side.shape == (3, 3)
    assert side[1].tolist() == [-1, -1, -1]
    assert side[0].tolist() == [*held_of("bad"), -1, -1]
    assert rows[:].shape == (6, max(len(held_of(text)) for text in texts))
    assert FEW.encode(reviews(["", "!"])).values.size == 0


@pytest.mark.parametrize("spares", [False, True])
def test_features_are_counted_one_by_one_in_any_batch(spares: bool) -> None:
    dataset = many()
    texts = list(dataset.content["review"])
    rows = FEW.encode(dataset)
    present = np.arange(len(dataset)) % 5 != 2
    constants = FEW.derived(rows, present, spares=spares)
    kept = frequent([text for row, text in enumerate(texts) if present[row]], 40 if spares else 32)
    assert constants["buckets"].tolist() == kept
    wanted = np.array([[*[int(token in held_of(text)) for token in kept], 1] for text in texts])
    found = FEW.features(rows, constants)
    assert found.dtype == np.int32
    assert np.array_equal(found, wanted)
    for size in (1, 9, 60):
        parts = [FEW.features(rows[slice(at, at + size)], constants) for at in range(0, len(rows), size)]
        assert np.array_equal(np.concatenate(parts), wanted)


def answering(texts: list[str], gone: set[int]) -> tuple[Constants, Constants, np.ndarray | None]:
    dataset = reviews(texts)
    rows = FEW.encode(dataset)
    wide = FEW.derived(rows, dataset.present, spares=True)
    left = np.array([row not in gone for row in range(len(texts))])
    now = FEW.derived(rows, left)
    columns = FEW.columns(wide, now)
    if columns is not None:  # summing what is left over all columns and choosing is summing over the chosen ones
        assert np.array_equal(FEW.features(rows, wide)[left][:, columns], FEW.features(rows, now)[left])
    return wide, now, columns


def test_ranks_swap_among_the_spares_without_another_look() -> None:
    texts = list(many().content["review"])
    before, after, columns = answering(texts, {1, 2, 3})
    assert len(before["buckets"]) == 40
    assert columns is not None
    assert len(columns) == 33
    assert columns[-1] == 40
    unchanged = FEW.derived(FEW.encode(reviews(texts)), np.ones(len(texts), dtype=bool))
    assert not np.array_equal(after["buckets"], unchanged["buckets"])


def test_a_bucket_from_outside_is_noticed() -> None:
    texts = [f"a{word}" for word in range(80) for _ in range(2)]
    wide, now, columns = answering(texts, set())
    assert columns is not None
    assert now["buckets"].tolist() == frequent(texts, 32)  # equal counts: the lower bucket
    gone = {row for row, text in enumerate(texts) if held_of(text) <= set(wide["buckets"].tolist())}
    _, _, columns = answering(texts, set(sorted(gone)[:20]))
    assert columns is None
    assert "that were not summed are among the 32 most frequent now" in FEW.moved(
        wide, FEW.derived(FEW.encode(reviews(texts)), np.array([row not in gone for row in range(len(texts))]))
    )


@pytest.mark.parametrize(("held", "gone"), [(10, {0, 1}), (50, set(range(30))), (40, set(range(39)))])
def test_where_fewer_words_are_held_than_answer_the_rest_stays_empty(held: int, gone: set[int]) -> None:
    texts = [f"a{word}" for word in range(held)] + [f"a{held - 1}"]
    _, now, columns = answering(texts, gone)
    assert columns is not None or held > 40
    assert (now["buckets"] == BUCKETS).sum() == 32 - min(32, held - len(gone))
