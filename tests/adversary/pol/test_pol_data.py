"""The hash of the data: what the published one does not see, and leaves do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.adversary.pol.pol_runs import Proven, fixed, published

from expunge.adversary.pol.proof import printed, prove, published_hash
from expunge.adversary.pol.verdict import PolCheck
from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.data.commitment import commit
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.splits import Split
from expunge.train.training import train

CHANCE = sha256(b"what the verifier of these tests draws")


def picture_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two colour pictures that agree where NumPy prints them: in the corners of every axis."""
    one = Stream(bytes(32), "test-collision").below(256, 32 * 32 * 3).astype(np.uint8).reshape(32, 32, 3)
    other = one.copy()
    middle = slice(3, -3)
    other[middle, middle] = 255 - one[middle, middle]
    other[:3, middle] = 255 - one[:3, middle]
    return one, other


def test_two_pictures_that_differ_in_most_bytes_have_one_hash_as_published() -> None:
    one, other = picture_pair()
    assert np.mean(one != other) > 0.47
    assert str(one) == str(other)
    rows = [pictures_of(np.stack([picture, picture])) for picture in (one, other)]
    assert published_hash(rows[0]) == published_hash(rows[1])
    leaves = [commit(found, np.zeros(2, dtype=np.uint8)).root for found in rows]
    assert leaves[0] != leaves[1]


def pictures_of(pixels: np.ndarray, labels: list[int] | None = None) -> Dataset:
    return make_dataset(
        labels=labels or [row % 2 for row in range(len(pixels))],
        columns=[Column("image", ColumnKind.IMAGE, pixels.shape[1:], "HWC", 1 / 255)],
        content={"image": pixels},
        where="test pictures",
    )


def test_data_that_print_alike_pass_as_published_where_nobody_looks_and_are_refused_by_their_leaves(
    tmp_path: Path,
) -> None:
    one, other = picture_pair()
    draws = Stream(bytes(32), "test-rows").below(256, 24 * one.size).astype(np.uint8).reshape(24, *one.shape)
    pixels = np.concatenate([draws, one[None]])
    rows = pictures_of(pixels)
    run = train(rows, out=tmp_path / "run", model="mlp", model_options={"width": 4}, epochs=2, batch_size=4)
    data = run.data(rows)
    proof, training = prove(run, data=data), data[Split.TRAIN]
    slot = int(np.flatnonzero((training.content["image"] == one).all(axis=(1, 2, 3)))[0])
    changed = training.content["image"].copy()
    changed[slot] = other
    exchanged = replace(training, content={"image": changed})
    found = published(proof, exchanged, delta=1e9)
    assert found.accepted
    refused = fixed(proof, exchanged, delta=1e9)
    assert refused.refused_by == (PolCheck.DATA,)
    assert f"the first is slot {slot}" in refused.reasons[0]


def test_labels_are_not_bound_as_published(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    flipped = replace(found.rows, labels=np.where(np.arange(len(found.rows)) == 7, 0, found.rows.labels))
    if flipped.labels[7] == found.rows.labels[7]:
        flipped = replace(flipped, labels=np.where(np.arange(len(found.rows)) == 7, 1, found.rows.labels))
    assert published_hash(flipped) == published_hash(found.rows)
    assert published(found.proof, flipped, delta=1e9).accepted
    assert fixed(found.proof, flipped, delta=1e9).refused_by == (PolCheck.DATA,)


def test_a_small_array_is_printed_whole_so_that_its_hash_sees_every_byte(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    changed = found.rows.content["image"].copy()
    changed[3, 2, 2] ^= 1
    verdict = published(found.proof, replace(found.rows, content={"image": changed}), delta=1e9)
    assert verdict.refused_by == (PolCheck.DATA,)


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.int64]),
        arrays.array_shapes(max_dims=3, max_side=40),
        elements=st.integers(0, 255),
        fill=st.integers(0, 255),
    )
)
def test_arrays_are_printed_as_numpy_prints_them_whatever_it_is_set_to(array: np.ndarray) -> None:
    expected = str(array)
    with np.printoptions(threshold=5, edgeitems=1, precision=2, linewidth=20):
        assert printed(array) == expected
