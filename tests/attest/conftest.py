"""A desk for each file of tests, with a training and an unlearning of it, and copies of both that may be altered."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.attest.attested import Desk, unsigned

from expunge.data.dataset import Dataset
from expunge.records.keys import SigningKey
from expunge.train.run import Run


@pytest.fixture(scope="module")
def desk(owner: SigningKey, pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk on which each test attests runs of its own; nothing there is altered."""
    return Desk(tmp_path_factory.mktemp("desk"), owner, pictures)


@pytest.fixture(scope="module")
def base(desk: Desk) -> Run:
    return desk.train("base")


@pytest.fixture(scope="module")
def forgot(desk: Desk, base: Run) -> Run:
    return desk.unlearn(base, "subject:someone-02", "forgot")


@pytest.fixture
def other(desk: Desk, base: Run, forgot: Run, tmp_path: Path) -> Desk:
    """A copy with ``base`` and ``forgot``, unsigned."""
    return unsigned(desk, (base, forgot), tmp_path / "desk")
