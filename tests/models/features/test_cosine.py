"""The map of cosines against whole numbers of Python, and its table against the library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from expunge.core.streams import Stream
from expunge.data.arrays import array_column
from expunge.data.dataset import Dataset, make_dataset
from expunge.data.digits import COLUMN, bundled
from expunge.data.encoding import Encoding
from expunge.models.features.cosine import STEEP, CosineMap, cosines

SEED = bytes(range(32))


def digits(count: int = 30) -> Dataset:
    images, labels = bundled()
    return make_dataset(
        labels=labels[:count].tolist(),
        columns=[COLUMN],
        content={"image": images[:count].reshape(-1, 8, 8)},
        where="test digits",
    )


def arrays(values: np.ndarray) -> Dataset:
    labels = [row % 2 for row in range(len(values))]
    return make_dataset(labels=labels, columns=[array_column("x", values, "")], content={"x": values}, where="arrays")


def test_the_table_is_the_cosine() -> None:
    exact = [round(127 * math.cos(2 * math.pi * step / 1024)) for step in range(1024)]
    assert cosines().tolist() == exact
    assert cosines().dtype == np.int32


def test_features_are_those_of_whole_numbers_in_any_batch() -> None:
    dataset = digits()
    made = CosineMap(Encoding(dataset.columns), 40)
    constants = made.drawn(SEED)
    found = made.features(made.encode(dataset), constants)
    assert found.dtype == np.int32
    words = Stream(SEED, "features").words(39 + 39 * 64 * 12 // 8)
    drawn = words[39:].tobytes()
    for row in range(len(dataset)):
        pixels = [round(255 * int(value) / 16) for value in dataset.content["image"][row].ravel()]
        for column in range(39):
            at = [drawn[12 * (64 * column + entry) :][:12] for entry in range(64)]
            weights = [(sum(bytes_) - 1530) // 16 for bytes_ in at]
            total = sum(pixel * weight for pixel, weight in zip(pixels, weights, strict=True))
            step = (total // (STEEP * 8) + (int(words[column]) >> 54)) % 1024
            assert found[row, column] == round(127 * math.cos(2 * math.pi * step / 1024))
    assert set(found[:, -1]) == {1}
    rows = made.encode(dataset)
    for size in (1, 7):
        parts = [made.features(rows[at : at + size], constants) for at in range(0, len(rows), size)]
        assert np.array_equal(np.concatenate(parts), found)
    assert np.array_equal(made.features(np.asfortranarray(rows), constants), found)
    assert not np.array_equal(made.features(rows, made.drawn(bytes(32))), found)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int16, bool])
def test_real_arrays_lie_on_256_steps_between_their_ends(kind: type) -> None:
    values = (10 * np.random.default_rng(2).normal(size=(20, 5))).astype(int).astype(kind)
    dataset = arrays(values)
    made = CosineMap(Encoding(dataset.columns), 33)
    rows = made.encode(dataset)
    bounds = made.derived(rows, dataset.present)["bounds"]
    low, high = float(values.min()), float(values.max())
    assert bounds.ravel().tolist() == [low, high]
    constants = {**made.drawn(SEED), "bounds": bounds}
    steps = [[round(255 * (float(value) - low) / (high - low)) for value in row] for row in values]
    as_steps = CosineMap(Encoding(arrays(np.array(steps)).columns), 33)
    same = {**constants, "bounds": np.array([[0.0], [255.0]])}
    assert np.array_equal(made.features(rows, constants), as_steps.features(np.array(steps), same))
    far = np.where(rows == high, 1e30, rows)
    assert np.array_equal(made.features(far, constants), made.features(rows, constants))


def test_an_end_that_goes_moves_the_steps_and_is_said() -> None:
    values = np.random.default_rng(2).normal(size=(9, 4))
    dataset = arrays(values)
    made = CosineMap(Encoding(dataset.columns), 33)
    rows = made.encode(dataset)
    wide = made.derived(rows, dataset.present, spares=True)
    holders = made.extremes(rows, wide)
    assert holders.sum(axis=0).tolist() == [1, 1]
    for row in range(9):
        now = made.derived(rows, np.arange(9) != row)
        assert (made.columns(wide, now) is None) == holders[row].any()
    assert made.moved(wide, now) == "the least or greatest entry of the rows is another now"


def test_arrays_of_one_value_are_all_at_the_first_step() -> None:
    dataset = arrays(np.full((3, 2), 7.0))
    made = CosineMap(Encoding(dataset.columns), 33)
    rows = made.encode(dataset)
    found = made.features(rows, {**made.drawn(SEED), **made.derived(rows, dataset.present)})
    assert np.array_equal(found[0, :-1], cosines()[made.drawn(SEED)["phases"]])


def test_pixels_have_no_ends_to_move() -> None:
    dataset = digits(5)
    made = CosineMap(Encoding(dataset.columns), 33)
    assert made.derived(made.encode(dataset), dataset.present) == {}
    assert made.extremes(made.encode(dataset), {}).shape == (5, 0)
