"""Rows as they enter: what is checked, what is refused, what survives JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import DataError
from expunge.data.dataset import Column, ColumnKind, make_dataset
from expunge.records.form import from_plain, to_plain

NUMBER = Column("n", ColumnKind.NUMERIC)


def made(labels=(0, 1), values=(1.0, 2.0), **more):
    arguments = {"labels": labels, "columns": (NUMBER,), "content": {"n": np.array(values)}, "where": "here"}
    return make_dataset(**(arguments | more))


def test_without_ids_a_row_is_its_position_and_its_own_person():
    rows = made()
    assert rows.ids == rows.subjects == ("row-0", "row-1")
    assert rows.positional
    assert not made(ids=["a", "b"]).positional


def test_classes_are_numbers_then_words_in_order():
    assert made(labels=("b", "a")).classes == ("a", "b")
    assert made(labels=(10, 2)).classes == (2, 10)
    assert made(labels=(10, 2)).labels.tolist() == [1, 0]


def test_classes_of_a_recipe_are_kept():
    rows = made(labels=("b", "b"), classes=("a", "b", "c"))
    assert rows.classes == ("a", "b", "c")
    assert rows.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ({"labels": (), "values": ()}, ["here", "no rows"]),
        ({"columns": ()}, ["no content column"]),
        ({"values": (1.0, 2.0, 3.0)}, ["'n'", "3 rows", "2"]),
        ({"ids": ["a", "a"]}, ["'a'", "more than once", "unique"]),
        ({"ids": ["a"]}, ["1 ids for 2 rows"]),
        ({"subjects": ["a"]}, ["1 subjects for 2 rows"]),
        ({"labels": (0, 0)}, ["one class only", "0"]),
        ({"labels": (0, 7), "classes": (0, 1)}, ["'7'", "0, 1"]),
        ({"values": (1.0, np.nan), "ids": ["a", "b"]}, ["'n'", "row 1 (b)", "finite"]),
        ({"values": (np.inf, 1.0)}, ["row 0", "finite"]),
        ({"values": (1e39, 1.0)}, ["1e+39", "32 bits", "unit"]),
    ],
)
def test_refusals(refused, more, parts):
    with refused(DataError, *parts):
        made(**more)


def test_take_keeps_ids_and_example_names_the_fields(people):
    rows = people(6, subjects=2).take(np.array([4, 1]))
    assert rows.ids == ("row-4", "row-1")
    assert rows.positional
    assert rows.example(0) == {
        "id": "row-4",
        "subject": "person-0",
        "label": 0,
        "content.age": 24.0,
        "content.town": "town-4",
    }


@given(
    st.builds(
        Column,
        name=st.text(max_size=8),
        kind=st.sampled_from(ColumnKind),
        shape=st.lists(st.integers(1, 9), max_size=3).map(tuple),
        layout=st.sampled_from(["", "HW", "HWC", "CHW"]),
        scale=st.floats(1e-6, 10),
    )
)
def test_a_column_survives_json(column):
    assert from_plain(Column, json.loads(json.dumps(to_plain(column))), "column") == column
