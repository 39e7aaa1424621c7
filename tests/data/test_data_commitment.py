"""The commitment: published vectors, and a data set that is opened again after some rows were forgotten."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import DataError
from expunge.core.hashing import example_bytes, sha256
from expunge.data.commitment import commit, leaf, leaf_of, leaves, open_again, open_salt, tombstones_digest
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.splits import SPLITS, Split, split_rows

EXAMPLE = {
    "id": "img-0007",
    "image": np.array([[0, 1], [2, 255]], dtype=np.uint8),
    "label": 3,
    "subject": "person-42",
}


def test_vector_of_an_example():
    content = example_bytes(EXAMPLE)
    assert len(content) == 160
    assert sha256(content).hex() == "80b1fcd35120921245c053bf63e86bf841af984935cd7c20e86dd3d5d632cfdc"


def test_vectors_of_commitment_and_leaf():
    salt = bytes(range(32))
    commitment = sha256(b"expunge/salted/1", salt, example_bytes(EXAMPLE))
    assert commitment.hex() == "7ef730a28de526b738a8f7dc1a41b7ec2659e174f76d7f0e41b739766761be1f"
    hashed = leaf_of(example_bytes(EXAMPLE), 7, salt)
    assert hashed.hex() == "0edf0d60974f0531626dccbbc06362709e19dd2cc20e595307db47cad3cd0d72"


def test_vector_of_tombstones_in_any_order_and_named_twice():
    expected = "7a6b1cf25ad354f540da492390d5c9b87a529089c643e6c679dcdeeb805179fc"
    assert tombstones_digest([3, 17, 42]).hex() == expected
    assert tombstones_digest(np.array([42, 3, 17, 3])).hex() == expected


def test_a_leaf_by_hand(people):
    """The same bytes put together with ``hashlib`` alone."""
    rows = people(3, ids=True, subjects=2)
    name = lambda text: len(text).to_bytes(8, "little") + text.encode()  # noqa: E731
    fields = [
        ("content.age", b"\x04" + np.float64(22).tobytes()),
        ("content.town", b"\x01" + name("town-2")),
        ("id", b"\x01" + name("id-2")),
        ("label", b"\x03" + (0).to_bytes(8, "little")),
        ("subject", b"\x01" + name("person-0")),
    ]
    example = b"expunge/example/1" + (5).to_bytes(4, "little") + b"".join(name(key) + value for key, value in fields)
    salt = hashlib.sha256(b"expunge/open-salt/1" + (2).to_bytes(8, "little")).digest()
    salted = hashlib.sha256(b"expunge/salted/1" + salt + example).digest()
    entry = b"expunge/leaf/1" + (2).to_bytes(8, "little") + salted
    assert leaves(rows)[2] == hashlib.sha256(b"\x00" + entry).digest()
    assert open_salt(2) == salt
    assert leaf(rows, 2, 2, b"s" * 32) != leaf(rows, 2, 2)


def test_each_split_has_its_own_slots_and_root(people):
    rows = people(40)
    assignment = split_rows(rows)
    committed = commit(rows, assignment)
    for split in SPLITS:
        part = rows.take(np.flatnonzero(assignment == split.code))
        assert committed.leaves[split.code] == leaves(part)
    assert committed.root == committed.roots[Split.TRAIN]
    assert len(set(committed.roots.values())) == 3


def same(left: Dataset, right: Dataset, rows: np.ndarray) -> None:
    """These rows are equal in every field."""
    for row in rows.tolist():
        assert left.example(row) == right.example(row)


def without(rows: Dataset, gone: list[int]) -> Dataset:
    """What a source hands over after rows were removed: positions, and ids made from them, start anew."""
    kept = rows.take(np.setdiff1d(np.arange(len(rows)), gone))
    if not rows.positional:
        return kept
    ids = tuple(f"row-{row}" for row in range(len(kept)))
    return replace(kept, ids=ids, subjects=ids if rows.ids == rows.subjects else kept.subjects)


def opened(rows: Dataset, gone: list[int], forgotten: list[int]) -> tuple[dict[Split, Dataset], dict[Split, Dataset]]:
    """The splits before, and those of the data set without ``gone`` rows; ``forgotten`` are rows of the source."""
    assignment = split_rows(rows)
    train = np.flatnonzero(assignment == Split.TRAIN.code)
    before = {split: rows.take(np.flatnonzero(assignment == split.code)) for split in SPLITS}
    slots = np.searchsorted(train, forgotten)
    assert np.array_equal(train[slots], forgotten), "the test forgets training rows"
    return before, open_again(without(rows, gone), commit(rows, assignment), slots)


def training_rows(rows: Dataset) -> list[int]:
    return np.flatnonzero(split_rows(rows) == Split.TRAIN.code).tolist()


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("subjects", [None, 4])
@pytest.mark.parametrize("which", ["none", "first", "last", "several", "all but one"])
def test_forgotten_rows_may_be_missing(people, ids, subjects, which):
    rows = people(30, ids=ids, subjects=subjects)
    train = training_rows(rows)
    gone = {"none": [], "first": train[:1], "last": train[-1:], "several": train[3:12:2], "all but one": train[1:]}[
        which
    ]
    before, after = opened(rows, gone, train[1:] if which == "all but one" else sorted({*gone, train[5]}))
    for split in SPLITS:
        there = after[split].present
        assert len(after[split]) == len(before[split])
        same(after[split], before[split], np.flatnonzero(there))
        if split is not Split.TRAIN:
            assert there.all()
    assert np.flatnonzero(~after[Split.TRAIN].present).tolist() == [train.index(row) for row in gone]
    absent = after[Split.TRAIN].take(np.flatnonzero(~after[Split.TRAIN].present))
    assert not absent.content["age"].any()
    assert set(absent.content["town"]) <= {""}
    assert all(name.startswith("gone-") for name in (*absent.ids, *absent.subjects))


@pytest.mark.parametrize("ids", [False, True])
def test_a_forgotten_row_with_a_twin_right_behind_it(ids):
    """Without ids of their own the twins look the same, and the one that is left must not be taken for the other."""
    rows = make_dataset(
        labels=[0, 1] * 15,
        columns=(Column("n", ColumnKind.NUMERIC),),
        content={"n": np.repeat(np.arange(15.0), 2)},
        ids=[f"id-{row}" for row in range(30)] if ids else None,
        where="twins",
    )
    rows = replace(rows, labels=np.zeros(30, dtype=np.int64))  # pairs are equal in label too
    train = training_rows(rows)
    pairs = [row for row in train if row % 2 == 0 and row + 1 in train]
    assert pairs
    for row in pairs:
        before, after = opened(rows, [row], [row])
        assert np.flatnonzero(~after[Split.TRAIN].present).tolist() == [train.index(row)]
        assert after[Split.TRAIN].present[train.index(row + 1)]
        same(after[Split.TRAIN], before[Split.TRAIN], np.flatnonzero(after[Split.TRAIN].present))


@given(st.data())
def test_any_equal_rows_any_forgotten_any_missing(data):
    """A few different contents, many twins: every row that was not forgotten is found again, in its seat."""
    count = data.draw(st.integers(4, 14), label="rows")
    values = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count), label="values")
    rows = make_dataset(
        labels=[0] * count,
        classes=(0, 1),
        columns=(Column("n", ColumnKind.NUMERIC),),
        content={"n": np.array(values, dtype=np.float64)},
        where="twins",
    )
    train = training_rows(rows)
    forgotten = sorted(data.draw(st.sets(st.sampled_from(train), max_size=len(train) - 1), label="forgotten"))
    gone = sorted(data.draw(st.sets(st.sampled_from(forgotten)), label="gone")) if forgotten else []
    before, after = opened(rows, gone, forgotten)
    there = after[Split.TRAIN].present
    assert int((~there).sum()) == len(gone)
    same(after[Split.TRAIN], before[Split.TRAIN], np.flatnonzero(there))
    assert {train[slot] for slot in np.flatnonzero(~there)} <= set(forgotten)


def test_subjects_that_look_like_positions_stay_what_they_are(people):
    rows = people(20)
    rows = replace(rows, subjects=tuple(f"row-{row // 2}" for row in range(20)))
    gone = training_rows(rows)[0]
    before, after = opened(rows, [gone], [gone])
    same(after[Split.TRAIN], before[Split.TRAIN], np.arange(1, len(before[Split.TRAIN])))


def reopen(rows: Dataset, changed: Dataset, forgotten: tuple[int, ...] = ()) -> None:
    open_again(changed, commit(rows, split_rows(rows)), np.array(forgotten, dtype=np.int64))


@pytest.mark.parametrize("ids", [False, True])
def test_a_missing_row_that_was_not_forgotten_is_refused(refused, people, ids):
    rows = people(20, ids=ids)
    first, second = training_rows(rows)[:2]
    with refused(DataError, f"row {second}", "already forgotten", "`data`"):
        reopen(rows, without(rows, [second]), (0,))
    with refused(DataError, "row 19", "is missing"):
        reopen(rows, without(rows, [19]))
    assert first != second


def test_a_forgotten_slot_counts_for_training_rows_only(refused, people):
    rows = people(20, ids=True)
    row = int(np.flatnonzero(split_rows(rows) == Split.HOLDOUT.code)[0])
    with refused(DataError, f"row {row} ", "does not match"):
        reopen(rows, without(rows, [row]), tuple(range(16)))


@pytest.mark.parametrize("forgotten", [(), (7,)])
def test_changes_are_refused(refused, people, forgotten):
    rows = people(20, ids=True, subjects=3)
    row = training_rows(rows)[7]
    labels, ages, towns = rows.labels.copy(), rows.content["age"].copy(), rows.content["town"].copy()
    labels[row], ages[row], towns[row] = 1 - labels[row], np.nextafter(ages[row], 99), "elsewhere"
    subjects = (*rows.subjects[:row], "somebody", *rows.subjects[row + 1 :])
    for changed in (
        replace(rows, labels=labels),
        replace(rows, content={**rows.content, "age": ages}),
        replace(rows, content={**rows.content, "town": towns}),
        replace(rows, subjects=subjects),
        replace(rows, ids=(*rows.ids[:row], "new", *rows.ids[row + 1 :])),
    ):
        with refused(DataError, "row", "does not match", "same order"):
            reopen(rows, changed, forgotten)


@pytest.mark.parametrize("ids", [False, True])
def test_another_order_is_refused(refused, people, ids):
    rows = people(20, ids=ids)
    order = np.arange(20)
    order[[3, 4]] = 4, 3
    turned = rows.take(order)
    with refused(DataError, "row 3 ", "same order"):
        reopen(rows, turned if ids else replace(turned, ids=rows.ids, subjects=rows.ids))


def test_further_rows_are_refused(refused, people):
    with refused(DataError, "2 rows that were never committed", "'id-20'", "new training"):
        reopen(people(20, ids=True), people(22, ids=True))
    with refused(DataError, "1 rows that were never committed", "'id-20'"):
        rows = people(21, ids=True)
        reopen(people(20, ids=True), without(rows, training_rows(people(20, ids=True))[:1]), (0,))
