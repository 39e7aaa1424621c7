"""80/5/15 by a seed of its own; people kept in training by rows, kept together by subject."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Column, ColumnKind, make_dataset
from expunge.data.splits import SMALLEST_GROUP, SPLITS, Split, SplitBy, split_rows


def persons(sizes):
    subjects = [f"p{person}" for person, size in enumerate(sizes) for _ in range(size)]
    return make_dataset(
        labels=[0] * len(subjects),
        classes=(0, 1),
        columns=(Column("n", ColumnKind.NUMERIC),),
        content={"n": np.zeros(len(subjects))},
        subjects=subjects,
        where="persons",
    )


def test_codes():
    assert [split.code for split in SPLITS] == [0, 1, 2]
    assert SPLITS == (Split.TRAIN, Split.CALIBRATION, Split.HOLDOUT)


@pytest.mark.parametrize(
    ("rows", "counts"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (10, (8, 0, 2)), (100, (80, 5, 15)), (1797, (1438, 90, 269))]
)
def test_shares_by_rows(people, rows, counts):
    data = people(rows) if rows > 1 else persons([1])
    assert tuple(np.bincount(split_rows(data, seed=4), minlength=3)) == counts


def test_a_split_is_fixed_for_ever(people):
    """A changed split would move people between training and holdout of runs that exist."""
    assert "".join(map(str, split_rows(people(40)))) == FIXED_BY_ROWS
    assert "".join(map(str, split_rows(people(40, subjects=8), seed=2, by=SplitBy.SUBJECT))) == FIXED_BY_SUBJECT


FIXED_BY_ROWS = "0020200022000001000000000020100000002000"
FIXED_BY_SUBJECT = "0000000200000002000000020000000200000002"


@pytest.mark.parametrize("by", SplitBy)
def test_the_seed_alone_decides(people, by):
    data = people(200, subjects=40)
    first = split_rows(data, seed=1, by=by)
    np.testing.assert_array_equal(first, split_rows(data, seed=1, by=by))
    assert (first != split_rows(data, seed=2, by=by)).any()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=25), st.integers(0, 2**64 - 1))
def test_by_rows_everybody_with_five_rows_is_trained_on(sizes, seed):
    data = persons(sizes)
    codes = split_rows(data, seed=seed)
    trained = {data.subjects[row] for row in np.flatnonzero(codes == Split.TRAIN.code)}
    assert {f"p{person}" for person, size in enumerate(sizes) if size >= SMALLEST_GROUP} <= trained
    assert (codes == Split.TRAIN.code).sum() == max(1, round(0.8 * len(data)))


def test_nobody_with_five_rows_is_left_out_by_chance():
    """One in 3,125 of these people would be, in each of 60 splits of 400."""
    data = persons([SMALLEST_GROUP] * 400)
    for seed in range(60):
        trained = {data.subjects[row] for row in np.flatnonzero(split_rows(data, seed=seed) == Split.TRAIN.code)}
        assert len(trained) == 400


@given(st.lists(st.integers(1, 12), min_size=1, max_size=25), st.integers(0, 2**64 - 1))
def test_by_subject_nobody_is_divided(sizes, seed):
    data = persons(sizes)
    codes = split_rows(data, seed=seed, by=SplitBy.SUBJECT)
    for person in set(data.subjects):
        assert len(set(codes[np.array(data.subjects) == person])) == 1
    assert (codes == Split.TRAIN.code).sum() >= round(0.8 * len(data))


def test_by_subject_shares_are_near_80_5_15_when_people_are_many():
    codes = split_rows(persons([3] * 1000), seed=9, by=SplitBy.SUBJECT)
    np.testing.assert_allclose(np.bincount(codes) / 3000, (0.80, 0.05, 0.15), atol=0.002)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range_are_refused(refused, people, seed):
    with refused(InvalidArgument, str(seed), "split seed"):
        split_rows(people(10), seed=seed)
