"""The map of patches against plain loops, its sums in any order and on either library, and the file of filters."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge.core.errors import RunError
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.models.features import patches
from expunge.models.features.patches import FILTERS, FLAT, FLOOR, LEVELS, PatchMap, filters
from studies import patch_filters

SHAPES = {"grey": (1, 13, 12), "colour": (3, 12, 15)}


def pictures(name: str, count: int = 5) -> np.ndarray:
    channels, down, across = SHAPES[name]
    draws = np.random.default_rng(5)
    rows = draws.integers(0, 256, (count, channels, down, across))
    rows[0] = 200  # nothing on it
    rows[1] = 255 * (draws.random(rows[1].shape) < 0.5)
    return rows.astype(np.uint8)


def patch_map(name: str, width: int = 64) -> PatchMap:
    channels, down, across = SHAPES[name]
    column = Column("image", ColumnKind.IMAGE, (channels, down, across), "CHW", 1 / 255)
    return PatchMap(Encoding((column,)), width)


def slowly(row: np.ndarray, name: str, width: int) -> list[int]:
    """One picture, patch by patch in whole numbers."""
    weights, unit = filters(name)
    cells = 2 if name == "colour" else 3
    down, across = (size - 5 for size in row.shape[1:])
    count = (width - 1) // (2 * cells**2)
    found = np.zeros((count, 2, cells**2), dtype=int)
    places = np.zeros(cells**2, dtype=int)
    for y in range(down):
        for x in range(across):
            patch = [int(value) for value in row[:, y : y + 6, x : x + 6].ravel()]
            spread = len(patch) * sum(value**2 for value in patch) - sum(patch) ** 2
            contrast = np.float32(math.sqrt(spread / len(patch) ** 2 + FLAT)) * np.float32(unit / LEVELS)
            cell = y * cells // down * cells + x * cells // across
            places[cell] += 1
            for index in range(count):
                total = sum(int(weight) * value for weight, value in zip(weights[index], patch, strict=True))
                held = np.float32(total) / contrast
                for sign, size in enumerate((held - np.float32(FLOOR), -held - np.float32(FLOOR))):
                    found[index, sign, cell] += round(min(max(float(size), 0), 255))
    sums = [round(math.sqrt(int(found[at]) * 255 / int(places[at[2]]))) for at in np.ndindex(*found.shape)]
    return [*sums, *[0] * (width - 1 - len(sums)), 1]


@pytest.mark.parametrize("name", SHAPES)
def test_features_are_those_of_plain_loops_in_any_batch_and_layout(name: str) -> None:
    rows, made = pictures(name), patch_map(name)
    found = made.features(rows, {})
    assert found.dtype == np.int32
    assert found.tolist() == [slowly(row, name, 64) for row in rows]
    assert found[1:, :-1].max() > 20
    many = np.tile(rows, (4, 1, 1, 1))
    for size in (1, 7, 20):
        parts = [made.features(many[at : at + size], {}) for at in range(0, 20, size)]
        assert np.array_equal(np.concatenate(parts), np.tile(found, (4, 1)))
    lying = np.ascontiguousarray(rows.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(made.features(lying, {}), found)
    assert np.array_equal(made.features(rows.astype(np.float32), {}), found)


def test_colour_enters_the_sums_mirrored_as_well() -> None:
    rows = pictures("colour")
    as_it_is, mirrored = patch_map("colour").views(rows)
    assert np.array_equal(as_it_is, rows)
    assert np.array_equal(mirrored, np.flip(rows, axis=3))
    assert len(patch_map("grey").views(pictures("grey"))) == 1


@pytest.mark.parametrize("name", SHAPES)
def test_sums_of_whole_numbers_are_one_in_any_order_and_library_and_real_ones_are_not(name: str) -> None:
    """Unfolded and multiplied, by a convolution in either layout, and in another order: bit by bit."""
    rows = torch.from_numpy(np.tile(pictures(name, 16), (2, 1, 1, 1))).float()
    channels = rows.shape[1]
    order = np.random.default_rng(4).permutation(36 * channels)

    def ways(weights: np.ndarray) -> list[np.ndarray]:
        unfolded = torch.nn.functional.unfold(rows, 6).numpy()
        kernels = torch.from_numpy(weights).reshape(-1, channels, 6, 6)
        plain = torch.nn.functional.conv2d(rows, kernels)
        last = torch.nn.functional.conv2d(
            rows.to(memory_format=torch.channels_last), kernels.to(memory_format=torch.channels_last)
        )
        return [
            weights @ unfolded,
            np.ascontiguousarray(weights[:, order]) @ np.ascontiguousarray(unfolded[:, order]),
            plain.flatten(2).numpy(),
            last.flatten(2).numpy(),
        ]

    whole = filters(name)[0][:40].astype(np.float32)
    first, *others = ways(whole)
    assert all(np.array_equal(first, other) for other in others)
    first, *others = ways(whole / np.float32(3))
    assert not all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize(("name", "count", "entries"), [("grey", 455, 36), ("colour", 1023, 108)])
def test_filters_are_whole_sum_to_nothing_and_fill_the_widest_map(name: str, count: int, entries: int) -> None:
    found, unit = filters(name)
    assert found.dtype == np.int8
    assert found.shape == (count, entries)
    assert (8192 - 1) // (2 * (9 if name == "grey" else 4)) == count
    assert (found.sum(axis=1, dtype=int) == 0).all()
    assert np.abs(found.astype(int)).sum(axis=1).max() * 255 < 2**24
    assert entries * 255**2 < 2**24  # sums of squares in float32
    assert unit > 0
    assert len(np.unique(found, axis=0)) == count


def test_the_file_of_filters_is_what_its_script_makes() -> None:
    for name, photographs in patch_filters.photographs().items():
        made, unit = patch_filters.whitened(patch_filters.drawn(photographs, name), patch_filters.COUNTS[name])
        assert abs(unit - filters(name)[1]) <= 1
        assert np.abs(made.astype(int) - filters(name)[0]).max() <= 1
    content = patch_filters.written({"one": np.arange(3)})
    assert content == patch_filters.written({"one": np.arange(3)})


def test_another_file_of_filters_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert hashlib.sha256(FILTERS.read_bytes()).hexdigest() == patches.FILTERS_DIGEST
    other = tmp_path / "filters.npz"
    content = FILTERS.read_bytes()
    other.write_bytes(content[:9999] + bytes([content[9999] ^ 1]) + content[10000:])
    monkeypatch.setattr(patches, "FILTERS", other)
    filters.cache_clear()
    with pytest.raises(RunError, match="are not those of this release: install it again"):
        filters("grey")
    filters.cache_clear()
