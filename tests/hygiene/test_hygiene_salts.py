"""The data and the salts: compared when asked for, and destroyed only where nothing needs them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from tests.hygiene.worlds import ANOTHER, PERSON, WHOLE

from expunge.data.dataset import Dataset
from expunge.data.salts import draw_salts, read_salts
from expunge.hygiene.places import Kinship, forgotten_rows
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.declaration import Destroyed
from expunge.records.holds import Remedy
from expunge.train.run import Run
from expunge.train.training import train


def test_the_data_are_compared_only_when_asked_for(pictures: Dataset, runs: Path, forgot: Run) -> None:
    assert any("the data (handed over in memory)" in sentence for sentence in survey(forgot).unseen)
    (place,) = [place for place in survey(forgot, data=pictures).places if place.kinship is Kinship.DATA]
    released = sum(map(len, forgot.released.values()))
    assert place.holdings[0].slots == len(forgot.tombstones) + released == len(forgotten_rows(forgot))
    assert place.holdings[0].remedy is Remedy.OWNER
    erased = pictures.take(np.setdiff1d(np.arange(len(pictures)), forgotten_rows(forgot)))
    assert Kinship.DATA not in {place.kinship for place in survey(forgot, data=erased).places}
    changed = replace(erased, labels=1 - erased.labels % 2)
    assert any("does not match" in sentence for sentence in survey(forgot, data=changed).unseen)


def test_rows_whose_salts_are_gone_are_still_seen_in_the_data(pictures: Dataset, tmp_path: Path) -> None:
    """Nobody can compare them with their leaves any more; that they stand there can be counted."""
    salts = draw_salts(tmp_path / "people.salts", len(pictures))
    base = train(pictures, out=tmp_path / "runs" / "base", salts=salts.path, **WHOLE)
    forgot = unlearn(base, PERSON, out=tmp_path / "runs" / "forgot", data=pictures)
    destroy(survey(forgot, data=pictures), unrecorded=True)
    (place,) = survey(forgot, data=pictures).places
    assert place.kinship is Kinship.DATA
    assert place.holdings[0].slots == len(forgotten_rows(forgot))
    assert "rows stand in their places" in place.holdings[0].why
    erased = pictures.take(np.setdiff1d(np.arange(len(pictures)), forgotten_rows(forgot)))
    assert survey(forgot, data=erased).clean
    assert unlearn(forgot, ANOTHER, out=tmp_path / "next", data=erased).weights_digest


def test_secret_salts_are_listed_and_destroyed_last(secret: Run, pictures: Dataset, tmp_path: Path) -> None:
    path, rows = tmp_path / "people.salts", len(pictures)
    found = survey(secret, data=pictures)
    assert found.ours[-1].remedy is Remedy.SALTS
    assert found.ours[-1].slots == len(forgotten_rows(secret))
    declared = destroy(found)
    assert read_salts(path, rows).destroyed == list(forgotten_rows(secret))
    assert declared.retired[-1] == Destroyed(f"salts of {len(forgotten_rows(secret))} rows")
    assert survey(secret).clean
    path.unlink()
    found = survey(secret)
    assert any("salt file" in sentence for sentence in found.unclear)
    assert not found.clean


def test_what_a_killed_process_left_of_the_salts_is_listed_and_ended(
    secret: Run, pictures: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "people.salts"
    before = read_salts(path, len(pictures))
    second, copy = tmp_path / ".people.salts.0123456789abcdef.part", tmp_path / ".people.salts.part"
    os.link(path, second)
    copy.write_bytes(path.read_bytes()[:999])
    found = survey(secret, data=pictures)
    (place,) = [place for place in found.places if place.kinship is Kinship.SALTS]
    assert {holding.path for holding in place.holdings} == {path, second, copy}
    destroy(found)
    assert not second.exists()
    assert not copy.exists()
    left = read_salts(path, len(pictures))
    gone = forgotten_rows(secret)
    assert left.destroyed == list(gone)
    assert all(left.of(row, 0) == before.of(row, 0) for row in range(len(pictures)) if row not in gone)
    copy.write_bytes(b"expunge/salts/1\n" + before.content)
    found = survey(secret, data=pictures)
    assert [holding.path for holding in found.ours] == [copy], "nothing else is left of them"
    destroy(found)
    assert not copy.exists()
    assert survey(secret).clean
    assert read_salts(path, len(pictures)) == left
