"""The page of a chosen set: rows that are there, nothing that runs or is fetched, the same bytes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Refused

from expunge.attacks.worst import worst
from expunge.core.errors import InvalidArgument
from expunge.data.forget_set import ForgetSet
from expunge.records.selection import Selection
from expunge.report.worst_page import MOST_CARDS, worst_page
from expunge.train.run import Run
from expunge.train.training import train

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def filed(pictures: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ForgetSet]:
    """A run of pictures in a file, with hostile names, and a set that was chosen on it."""
    place = tmp_path_factory.mktemp("filed")
    names = np.array([f"{HOSTILE}{row}" for row in range(len(pictures))])
    np.savez(place / "rows.npz", x=pictures.content["image"], y=pictures.labels, ids=names)
    run = train(str(place / "rows.npz"), out=place / "run", model="mlp", model_options={"width": 16}, epochs=2)
    return run, worst(run, size="20%", objective="distant", out=place / "set.json")


def chosen(found: ForgetSet) -> Selection:
    assert found.selection is not None
    return found.selection


def test_chosen_rows_beside_others(filed: tuple[Run, ForgetSet], tmp_path: Path) -> None:
    run, found = filed
    page = worst_page(run, found, out=tmp_path / "a.html").read_text(encoding="utf-8")
    moved = shutil.copytree(run.path, tmp_path / "moved")
    assert worst_page(moved, found, out=tmp_path / "b.html").read_text(encoding="utf-8") == page
    assert len(page) < 1_000_000
    assert page.count("<img") == 2 * MOST_CARDS
    for words in (
        "The 24 of 120 rows that a retraining would change most",
        "Fall of the margin in a ridge regression: <b>",
        "This page holds rows of the data",
        "confirmed once references of fresh seeds say so",
        "Rows at random, chosen or not",
        '<th scope="row">1 distant</th>',
        found.root,
    ):
        assert words in page
    assert "<script" not in page
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;") in page
    assert "http:" not in page
    assert "hardest" not in page
    assert str(run.path) not in page


def test_without_data_and_with_a_doubt(filed: tuple[Run, ForgetSet], tmp_path: Path) -> None:
    run, found = filed
    guards = replace(chosen(found).guards, undecided="the optimiser did not move")
    doubted = replace(found, selection=replace(chosen(found), guards=guards))
    page = worst_page(run, doubted, out=tmp_path / "a.html", data=str(tmp_path / "gone.npz")).read_text(
        encoding="utf-8"
    )
    assert "so no rows are shown." in page
    assert "<img" not in page
    assert "This page holds rows" not in page
    assert "the optimiser did not move: make no row of a table of this set" in page


def test_a_set_that_nobody_chose_has_no_page(filed: tuple[Run, ForgetSet], tmp_path: Path, refused: Refused) -> None:
    run, found = filed
    with refused(InvalidArgument, "has no page", "`expunge worst`"):
        worst_page(run, replace(found, selection=None), out=tmp_path / "a.html")
