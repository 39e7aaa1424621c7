"""Runs of the same data under another root are told by their rows, and runs of other data are left out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.hygiene.worlds import SHAPE, files, signed

from expunge.attest.attest import attest
from expunge.data.dataset import Dataset
from expunge.data.salts import draw_salts
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.hygiene.places import Kinship, Place, forgotten_rows
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.holds import Remedy
from expunge.records.keys import keygen
from expunge.train.run import Run
from expunge.train.training import train

SMALL: dict[str, Any] = {"model": "mlp", "epochs": 1, "batch_size": 16}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    rows = [f"p-{row // 3:02d},{row % 7},{row % 11},{'ab'[row % 2]}" for row in range(90)]
    path.write_text("\n".join(["person,one,two,label", *rows]) + "\n")
    return path


def source(table: Path) -> Source:
    return Source(location=str(table), label="label", subject="person")


def take_away(table: Path, who: str) -> None:
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith(who)))


@pytest.fixture
def erased(table: Path, tmp_path: Path) -> Run:
    """One that forgot p-05, beside an original with a record."""
    base = train(source(table), out=tmp_path / "runs" / "base", **SMALL)
    signed(base.path)
    return unlearn(base, "subject:p-05", out=tmp_path / "runs" / "forgot")


def others(run: Run, **given: Any) -> list[Place]:
    return [place for place in survey(run, **given).places if place.kinship is Kinship.OTHER]


@pytest.mark.parametrize("salted", [False, True])
def test_another_split_of_the_same_source_holds_the_same_people(
    salted: bool, erased: Run, table: Path, tmp_path: Path
) -> None:
    salts = draw_salts(tmp_path / "other.salts", 90).path if salted else None
    other = train(source(table), out=erased.path.parent / "other", split_seed=3, salts=salts, **SMALL)
    (place,) = others(erased)
    assert place.path == other.path
    assert {holding.remedy for holding in place.holdings} == {Remedy.OWNER}
    seated = np.flatnonzero(other.commitment.assignment == Split.TRAIN.code)
    assert max(holding.slots for holding in place.holdings) == len(np.intersect1d(seated, forgotten_rows(erased)))
    assert {"model.safetensors"} <= {holding.path.name for holding in place.holdings}
    before = files(other.path)
    destroy(survey(erased))
    assert files(other.path) == before, "its states are those of another commitment"
    assert not survey(erased).clean
    signed(other.path)
    there = unlearn(other, "subject:p-05", out=erased.path.parent / "other-forgot")
    destroy(survey(there))
    assert not others(erased)
    assert survey(erased).clean


def test_in_memory_the_leaves_tell_whose_rows_they_are(
    forgot: Run, pictures: Dataset, pictures_like: Callable[..., Dataset]
) -> None:
    runs = forgot.path.parent
    train(pictures, out=runs / "other", split_seed=3, **SHAPE)
    train(pictures_like(seed=5), out=runs / "stranger", **SHAPE)
    assert [place.path.name for place in others(forgot)] == ["other"]
    assert not any("stranger" in sentence for sentence in survey(forgot).unseen)


def test_what_cannot_be_told_is_said_and_not_clean(forgot: Run, pictures: Dataset, tmp_path: Path) -> None:
    destroy(survey(forgot))
    assert survey(forgot).clean
    salts = draw_salts(tmp_path / "other.salts", len(pictures) - 20).path
    part = pictures.take(np.arange(len(pictures) - 20))
    other = train(part, out=forgot.path.parent / "other", salts=salts, **SHAPE)
    found = survey(forgot)
    assert not found.clean
    assert not found.holdings
    (sentence,) = found.unclear
    assert str(other.path) in sentence
    assert sentence in found.unseen


def test_a_training_on_the_data_without_them_is_no_holding(erased: Run, table: Path) -> None:
    destroy(survey(erased))
    take_away(table, "p-05")
    anew = train(source(table), out=erased.path.parent / "anew", **SMALL)
    assert anew.root != erased.root
    found = survey(erased)
    assert found.clean, found.unseen
    table.write_text(table.read_text() + "p-99,1,1,a\n")
    assert any("anew" in sentence for sentence in survey(erased).unclear), "the data changed: nothing proves it now"


def test_bundles_of_another_commitment_are_named(forgot: Run, pictures: Dataset, tmp_path: Path) -> None:
    runs = forgot.path.parent
    other = train(pictures, out=runs / "other", split_seed=3, **SHAPE)
    key = keygen(tmp_path / "keys", "example.com/unlearning")
    attest(other, key=key, out=runs / "given", log=tmp_path / "log", origin="example.com/unlearning")
    (place,) = [place for place in survey(forgot).places if place.kinship is Kinship.BUNDLE]
    assert place.path == runs / "given"
    assert [holding.remedy for holding in place.holdings] == [Remedy.OWNER]
