"""Salts that are called secret and are none: refused by the owner's own training, and by whoever gets their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.verify.levels.replaying import finding_of, sealed, story_of, verified

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.data.salts import DESTROYED, HEADER, SALT_BYTES, SecretSalts, draw_salts, open_salt
from expunge.data.splits import split_rows
from expunge.records.keys import SigningKey
from expunge.records.verdict import Level, Status
from expunge.train import committed
from expunge.train.run import Run
from expunge.train.training import train

FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 1, "batch_size": 32, "checkpoint_interval": 4}


def open_file(pictures: Dataset, path: Path) -> Path:
    """A salt file that gives every row the salt that everybody can compute: the root is that of open salts."""
    splits = split_rows(pictures)
    slots = [int((splits[:row] == splits[row]).sum()) for row in range(len(pictures))]
    path.write_bytes(HEADER + b"".join(open_salt(slot) for slot in slots))
    return path


def repeated(pictures: Dataset, path: Path) -> Path:
    """Secret salts, of which two rows share one."""
    content = bytearray(draw_salts(path.with_name("drawn.salts"), len(pictures)).content)
    content[-SALT_BYTES:] = content[:SALT_BYTES]
    path.write_bytes(HEADER + content)
    return path


@pytest.mark.parametrize("make", [open_file, repeated])
def test_salts_that_hide_nothing_are_refused_where_they_are_called_secret(
    make: Any,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    salts = make(pictures, tmp_path / "a.salts")
    for commit_only in (False, True):
        with pytest.raises(InvalidArgument, match=r"hides nothing of row .*`commit_only` draws secret salts into it"):
            train(pictures, out=tmp_path / "run", salts=salts, commit_only=commit_only, **FIELDS)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(committed, "_secret", lambda salts: salts)  # an owner with a program of their own
    run = train(pictures, out=tmp_path / "run", salts=salts, **FIELDS)
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    verdict = verified(bundle, trusted, "V3", data=pictures, salts=salts)
    assert [code.value for code in verdict.codes] == ["CONTENT_LEAF_MISMATCH"]
    assert "the commitment calls its salts secret" in finding_of(verdict, "content", Level.V2).detail


def test_an_open_commitment_is_what_such_a_file_makes(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committed, "_secret", lambda salts: salts)
    roots = {
        run.root
        for run in (
            train(pictures, out=tmp_path / "open", **FIELDS),
            train(pictures, out=tmp_path / "secret", salts=open_file(pictures, tmp_path / "a.salts"), **FIELDS),
        )
    }
    assert len(roots) == 1


def test_rows_whose_salts_hide_nothing_are_found_wherever_they_sit(tmp_path: Path) -> None:
    """The open salt of any slot counts, for who sits where is in the bundle; salts that are gone are nobody's."""
    drawn = np.frombuffer(draw_salts(tmp_path / "a.salts", 9).content, dtype=np.uint8).reshape(9, SALT_BYTES)
    rows = [bytes(row) for row in drawn]
    assert SecretSalts(tmp_path, b"".join(rows)).hiding_nothing == []
    rows[2] = rows[6] = DESTROYED
    assert SecretSalts(tmp_path, b"".join(rows)).hiding_nothing == []
    rows[1], rows[8], rows[5] = open_salt(7), open_salt(8), rows[3]
    assert SecretSalts(tmp_path, b"".join(rows)).hiding_nothing == [1, 5, 8]


def test_a_run_that_was_begun_under_drawn_salts_goes_on(pictures: Dataset, tmp_path: Path) -> None:
    salts = tmp_path / "a.salts"
    train(pictures, out=tmp_path / "run", salts=salts, commit_only=True, **FIELDS)
    assert isinstance(train(pictures, out=tmp_path / "run", salts=salts, **FIELDS), Run)
