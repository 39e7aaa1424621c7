"""A run, and one that forgot somebody, in a folder of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.hygiene.worlds import PERSON, SHAPE, WHOLE, signed

from expunge.data.dataset import Dataset
from expunge.data.salts import draw_salts
from expunge.methods.unlearn import unlearn
from expunge.train.run import Run
from expunge.train.training import train


@pytest.fixture(scope="session")
def original(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(pictures, out=tmp_path_factory.mktemp("original") / "base", checkpoint_interval=3, **SHAPE).path


@pytest.fixture(scope="session")
def original_whole(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(pictures, out=tmp_path_factory.mktemp("whole") / "base", checkpoint_interval=3, **WHOLE).path


@pytest.fixture
def whole(original_whole: Path, tmp_path: Path) -> Path:
    """The same of one shard."""
    shutil.copytree(original_whole, tmp_path / "whole" / "base")
    signed(tmp_path / "whole" / "base")
    return tmp_path / "whole"


@pytest.fixture
def runs(original: Path, tmp_path: Path) -> Path:
    """A folder of runs with the original in it, whose record is taken as signed."""
    shutil.copytree(original, tmp_path / "runs" / "base")
    signed(tmp_path / "runs" / "base")
    return tmp_path / "runs"


@pytest.fixture
def forgot(runs: Path, pictures: Dataset) -> Run:
    return unlearn(runs / "base", PERSON, out=runs / "forgot", data=pictures)


@pytest.fixture
def secret(pictures: Dataset, tmp_path: Path) -> Run:
    """One that forgot somebody under secret salts, in ``tmp_path / "people.salts"``."""
    salts = draw_salts(tmp_path / "people.salts", len(pictures))
    base = train(pictures, out=tmp_path / "runs" / "base", salts=salts.path, checkpoint_interval=3, **WHOLE)
    signed(base.path)
    return unlearn(base, PERSON, out=tmp_path / "runs" / "forgot", data=pictures)
