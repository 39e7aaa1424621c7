"""Forged contents: neighbours whose pixels are altered so that an empty chair is not noticed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.adversary.forging.forging_runs import Trained, forge, reached, target_of, trained

from expunge.adversary.forging import altered_content
from expunge.adversary.forging.altered_content import Content
from expunge.adversary.forging.answers import altered_rows, together, with_encoded
from expunge.adversary.forging.forgery import find_forger, forge_log
from expunge.adversary.forging.reordering import Leave
from expunge.core.errors import UnsupportedYet
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.encoding import make_encoding
from expunge.data.splits import Split


@pytest.fixture(scope="module")
def plain(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained("plain", pictures, tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize("kind", ["plain", "batch norm", "dropout", "augmented", "cnn"])
def test_altered_neighbours_are_legal_and_never_worse_than_leaving_x_out(
    kind: str, pictures: Dataset, tmp_path: Path
) -> None:
    found = trained(kind, pictures, tmp_path / "run")
    state, target = found.state(), target_of(found)
    forged = forge(Content(steps=30, rows=3), found, target)
    left = forge(Leave(), found, target)
    assert forged.slots is not None
    assert left.slots is not None
    assert np.array_equal(forged.slots, left.slots)
    assert np.array_equal(forged.slots, state.part.slots[state.part.slots != target])
    assert forged.chairs is not None
    assert 1 <= len(forged.contents) <= 3
    pixels = found.rows.content["image"]
    for slot, row in forged.contents.items():
        assert slot in forged.slots
        assert row.dtype == np.uint8
        assert row.shape == (1, 8, 8)
        assert pixels.min() <= row.min() <= row.max() <= pixels.max()
    assert reached(state, forged) <= reached(state, left) * (1 + 1e-5)


def test_descent_on_contents_gets_somewhere(plain: Trained) -> None:
    state, target = plain.state(), target_of(plain)
    forged, left = forge(Content(steps=40), plain, target), forge(Leave(), plain, target)
    assert reached(state, forged) < 0.9 * reached(state, left)
    assert any(not np.array_equal(row[0], plain.rows.content["image"][slot]) for slot, row in forged.contents.items())
    assert left.example_steps == 0


def test_columns_of_words_cannot_be_altered_a_little(tmp_path: Path) -> None:
    words = np.array(["red", "green", "blue", "grey"] * 20, dtype=object)
    numbers = np.linspace(-1, 1, 80, dtype=np.float32)
    data = make_dataset(
        labels=[int(value > 0) for value in numbers],
        columns=[Column("word", ColumnKind.CATEGORY), Column("size", ColumnKind.NUMERIC)],
        content={"word": words, "size": numbers},
        where="test",
    )
    found = trained("plain", data, tmp_path / "run")
    with pytest.raises(UnsupportedYet, match="'word' is hashed"):
        forge(Content(steps=1), found, target_of(found))


def numbers(key: int) -> Dataset:
    """Rows of four numbers, drawn, and whether their sum is above 0."""
    values = np.random.Generator(np.random.Philox(key=key)).standard_normal((90, 4)).astype(np.float32)
    return make_dataset(
        labels=[int(row.sum() > 0) for row in values],
        columns=[Column("x", ColumnKind.ARRAY, (4,))],
        content={"x": values},
        where="test",
    )


def test_numbers_are_altered_within_what_rows_have(tmp_path: Path) -> None:
    found = trained("plain", numbers(5), tmp_path / "run")
    state, target = found.state(), target_of(found)
    forged = forge(Content(steps=25), found, target)
    pool = found.rows.content["x"][found.without(target)]
    assert all((pool.min(0) <= row).all() and (row <= pool.max(0)).all() for row in forged.contents.values())
    assert reached(state, forged) <= reached(state, forge(Leave(), found, target)) * (1 + 1e-5)


def test_altering_contents_counts_every_pass(plain: Trained) -> None:
    state = plain.state()
    passes: Iterator[int] = itertools.count()
    model = state.model()
    rows: list[int] = []

    def watched(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        next(passes)
        rows.append(len(inputs[0]))

    model.register_forward_hook(watched)
    forged = forge(Content(steps=5), plain, target_of(plain), state=state)
    assert forged.forwards == sum(rows)
    # every pass goes back once; the descents, one more than there are steps, go back through both once more
    assert forged.backwards == sum(rows) + 6 * 3 * 15


def test_contents_that_help_nobody_are_not_altered(plain: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(altered_content._Problem, "plain_residual", lambda self, values: float("inf"))
    forged = forge(Content(steps=3), plain, target_of(plain))
    assert (forged.slots, forged.contents) == (None, {})
    assert forged.example_steps > 0


def test_the_contents_that_are_kept_are_the_best_that_were_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of real numbers nothing is rounded, so nothing but a copy keeps them from moving on."""
    found = trained("plain", numbers(6), tmp_path / "run")
    met: list[tuple[float, np.ndarray]] = []
    honest = altered_content._Problem.plain_residual

    def watched(self: altered_content._Problem, values: torch.Tensor) -> float:
        reached = honest(self, values)
        met.append((reached, values.detach().numpy().copy()))
        return reached

    monkeypatch.setattr(altered_content._Problem, "plain_residual", watched)
    state = found.state()
    forged = forge(Content(steps=30, rows=15, rate=0.3), found, target_of(found), state=state)
    assert forged.slots is not None
    _, best = min(met, key=lambda pair: pair[0])
    assert len({reached for reached, _ in met}) > 20
    for slot, row in forged.contents.items():
        assert np.array_equal(row, best[forged.slots.tolist().index(slot)])


def test_contents_that_rounding_puts_back_are_no_forgery(plain: Trained) -> None:
    """Steps of descent that are far smaller than a pixel's unit leave an empty chair and nothing else."""
    for chair in range(16):
        forged = forge(Content(steps=4, rate=1e-7), plain, target_of(plain, chair))
        assert (forged.slots, forged.contents) == (None, {})


# What is handed over to a verifier.


def test_altered_contents_go_back_into_their_columns() -> None:
    generator = np.random.Generator(np.random.Philox(key=1))
    pixels = generator.integers(0, 255, size=(6, 4, 4, 3), dtype=np.uint8)
    colour = make_dataset(
        labels=[0, 1] * 3,
        columns=[Column("x", ColumnKind.IMAGE, (4, 4, 3), "HWC", 1 / 255)],
        content={"x": pixels},
        where="test",
    )
    encoding = make_encoding(colour)
    encoded = encoding.encode(colour)
    changed = 255 - encoded[2]
    found = with_encoded(colour, encoding, {2: changed})
    assert np.array_equal(encoding.encode(found)[2], changed)
    assert np.array_equal(np.delete(encoding.encode(found), 2, 0), np.delete(encoded, 2, 0))
    assert np.array_equal(colour.content["x"], pixels)
    numbers = make_dataset(
        labels=[0, 1] * 3,
        columns=[Column("a", ColumnKind.NUMERIC), Column("b", ColumnKind.ARRAY, (2,))],
        content={"a": np.arange(6.0), "b": np.arange(12).reshape(6, 2)},
        where="test",
    )
    encoding = make_encoding(numbers)
    found = with_encoded(numbers, encoding, {1: np.array([0.25, 7.4, 8.6], dtype=np.float32)})
    assert found.content["a"][1] == 0.25
    assert found.content["b"][1].tolist() == [7, 9]


def test_the_data_are_put_together_in_the_order_of_their_source(plain: Trained, pictures: Dataset) -> None:
    opened = plain.run.data(pictures)
    found = together(opened, plain.run.commitment.assignment)
    assert found.ids == pictures.ids
    assert np.array_equal(found.content["image"], pictures.content["image"])


def test_only_a_content_forger_hands_over_other_rows(plain: Trained, pictures: Dataset) -> None:
    swapped = forge_log(plain.run, plain.rows.ids[3], find_forger("swap"), data=pictures)
    assert altered_rows(swapped) is swapped.opened
    forgery = forge_log(plain.run, plain.rows.ids[3], Content(steps=20), data=pictures)
    before, after = (rows[Split.TRAIN].content["image"] for rows in (forgery.opened, altered_rows(forgery)))
    moved = np.flatnonzero((before != after).any(axis=(1, 2)))
    assert len(moved)
    assert 3 not in moved
    assert set(moved.tolist()) <= {slot for step in forgery.found for slot in step.forged.contents}
