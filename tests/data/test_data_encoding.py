"""Columns, words and pixels as the model sees them: fixed constants and fixed hashes, nothing fitted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from expunge.core.errors import DataError, UnsupportedYet
from expunge.data.dataset import Column, ColumnKind, make_dataset
from expunge.data.encoding import Encoding, bucket, image_layout, make_encoding, words_of
from expunge.records.form import from_plain, to_plain

IMAGE, ARRAY = ColumnKind.IMAGE, ColumnKind.ARRAY


def one_column(column: Column, values: np.ndarray):
    return make_dataset(labels=[0, 1], columns=(column,), content={column.name: values}, where="here")


@pytest.mark.parametrize(
    ("column", "word", "buckets", "expected"),
    [
        ("town", "Berlin", 32, 12),
        ("town", "", 32, 1),
        ("place", "Berlin", 32, 0),
        ("review", "good", 1024, 842),
        ("review", "größe", 1024, 907),
    ],
)
def test_buckets_are_fixed_for_ever(column, word, buckets, expected):
    """A changed hash would silently void every recipe ever written."""
    assert bucket(column, word, buckets) == expected


def test_words_are_lower_cased_runs_of_letters_and_digits():
    assert list(words_of("It's GOOD, really_good: 7/10 Größe!")) == [
        "it",
        "s",
        "good",
        "really_good",
        "7",
        "10",
        "größe",
    ]


def test_a_mixed_table_lays_numbers_first_then_buckets():
    rows = make_dataset(
        labels=[0, 1],
        columns=(
            Column("town", ColumnKind.CATEGORY),
            Column("age", ColumnKind.NUMERIC),
            Column("review", ColumnKind.TEXT),
            Column("scores", ARRAY, (2,)),
        ),
        content={
            "town": np.array(["Berlin", ""], dtype=object),
            "age": np.array([20.0, 21.5]),
            "review": np.array(["good good Größe", ""], dtype=object),
            "scores": np.array([[1, 2], [3, 4]], dtype=np.int16),
        },
        where="here",
    )
    encoding = make_encoding(rows)
    encoded = encoding.encode(rows)
    assert encoding.shape == (3 + 32 + 1024,)
    assert encoded.shape == (2, 3 + 32 + 1024)
    assert encoded.dtype == np.float32
    assert encoding.standardised == 3
    assert encoding.scale == 1.0
    assert encoded[:, :3].tolist() == [[20.0, 1.0, 2.0], [21.5, 3.0, 4.0]]
    town, review = encoded[:, 3:35], encoded[:, 35:]
    assert [np.flatnonzero(row).tolist() for row in town] == [[12], [1]]  # the empty word is a category too
    assert set(town.ravel()) == {0.0, 1.0}
    expected = np.zeros(1024, dtype=np.float32)
    expected[842], expected[907] = np.log1p(np.float32(2)), np.log1p(np.float32(1))
    np.testing.assert_array_equal(review[0], expected)
    assert not review[1].any()


@pytest.mark.parametrize(
    ("layout", "shape", "seen"),
    [("HW", (4, 5), (1, 4, 5)), ("HWC", (4, 5, 3), (3, 4, 5)), ("CHW", (3, 4, 5), (3, 4, 5))],
)
@pytest.mark.parametrize("kind", [IMAGE, ARRAY])
def test_images_have_channels_first(layout, shape, seen, kind):
    dtype = np.uint8 if kind is IMAGE else np.float64
    values = np.arange(2 * np.prod(shape)).reshape(2, *shape).astype(dtype)
    rows = one_column(Column("image", kind, shape, layout, 1 / 255), values)
    encoding = make_encoding(rows)
    encoded = encoding.encode(rows)
    assert encoding.is_image
    assert encoding.shape == seen
    assert encoded.shape == (2, *seen)
    assert encoded.flags.c_contiguous
    assert encoded.dtype == (np.uint8 if kind is IMAGE else np.float32)
    assert encoding.scale == 1 / 255
    assert encoding.standardised == (0 if kind is IMAGE else seen[0])
    channel, line, dot = seen[0] - 1, 2, 3
    at = {"HW": (line, dot), "HWC": (line, dot, channel), "CHW": (channel, line, dot)}[layout]
    assert encoded[1, channel, line, dot] == values[(1, *at)]


def test_a_plain_array_is_one_row_of_reals():
    rows = one_column(Column("x", ARRAY, (2, 2, 2)), np.arange(16).reshape(2, 2, 2, 2))
    encoding = make_encoding(rows)
    assert encoding.shape == (8,)
    assert encoding.encode(rows)[1].tolist() == [8, 9, 10, 11, 12, 13, 14, 15]


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((8, 8), "HW"), ((8, 8, 3), "HWC"), ((3, 8, 8), "CHW"), ((3, 8, 3), "HWC"), ((8, 8, 2), ""), ((8,), "")],
)
def test_layout_by_shape(shape, layout):
    assert image_layout(shape) == layout


def test_rows_that_are_gone_are_zeros_and_move_nobody(people):
    rows = people(6)
    encoding = make_encoding(rows)
    present = np.array([True, False, True, True, True, False])
    town = rows.content["town"].copy()
    town[~present] = ""
    encoded = encoding.encode(replace(rows, present=present, content={**rows.content, "town": town}))
    assert not encoded[~present].any()
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded[present], encoding.encode(rows)[present])


def test_gone_images_are_zeros():
    column = Column("image", IMAGE, (2, 2), "HW", 1 / 255)
    rows = one_column(column, np.full((2, 2, 2), 9, dtype=np.uint8))
    encoded = make_encoding(rows).encode(replace(rows, present=np.array([False, True])))
    assert encoded.dtype == np.uint8
    assert encoded.reshape(2, -1).tolist() == [[0, 0, 0, 0], [9, 9, 9, 9]]


def test_images_beside_columns_are_refused(refused):
    rows = make_dataset(
        labels=[0, 1],
        columns=(Column("image", IMAGE, (2, 2), "HW", 1 / 255), Column("age", ColumnKind.NUMERIC)),
        content={"image": np.zeros((2, 2, 2), np.uint8), "age": np.zeros(2)},
        where="here",
    )
    with refused(UnsupportedYet, "'image'", "1 other"):
        make_encoding(rows)


def test_other_columns_than_the_recipe_has_are_refused(refused, people):
    encoding = Encoding((Column("height", ColumnKind.NUMERIC),))
    with refused(DataError, "'age', 'town'", "'height'"):
        encoding.encode(people(4))


def test_an_encoding_survives_json(people):
    encoding = make_encoding(people(4), category_buckets=8, text_buckets=16)
    assert from_plain(Encoding, json.loads(json.dumps(to_plain(encoding))), "inputs") == encoding
