"""Subjects that may be one person: those that differ in case, white space or Unicode form alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.data.source import Source
from expunge.data.spellings import folded, left_alike, spelt_alike
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.train.training import train

NOBODY = np.zeros(0, dtype=np.int64)


@pytest.mark.parametrize(
    ("one", "other"), [("Ana", "ANA"), (" ana", "ana\t"), ("Zoe\u0301", "zo\u00e9"), ("STRASSE", "stra\u00dfe")]
)
def test_spellings_of_one_name_fold_to_one(one: str, other: str) -> None:
    assert one != other
    assert folded(one) == folded(other)
    assert folded(one) != folded("somebody else")


def spelt(pictures: Dataset, other: str, rows: slice) -> Dataset:
    """The pictures with another spelling in some rows of the first person."""
    subjects = list(pictures.subjects)
    subjects[rows] = [other] * len(subjects[rows])
    return replace(pictures, subjects=tuple(subjects))


def test_a_note_counts_them_and_lists_nobody(pictures: Dataset) -> None:
    first = pictures.subjects[0]
    assert spelt_alike(pictures) is None
    told = spelt_alike(spelt(pictures, f" {first.upper()}", slice(1, 3)))
    assert told is not None
    assert "2 subjects may be 1 person only" in told
    assert first not in told
    assert first.upper() not in told
    assert len(told) <= 400
    alone = replace(pictures, ids=tuple(f"X{row // 2}".lower() if row % 2 else f"X{row // 2}" for row in range(150)))
    assert spelt_alike(replace(alone, subjects=alone.ids)) is None, "ids are no people"


def test_whoever_forgets_one_spelling_hears_of_the_other(pictures: Dataset) -> None:
    first = pictures.subjects[0]
    both = spelt(pictures, first.upper(), slice(1, 3))
    here = np.array([slot for slot, name in enumerate(both.subjects) if name == first])
    told = left_alike(both, here, here)
    assert told is not None
    assert "2 training rows of 1 subject stay" in told
    assert first not in told
    everybody = np.array(sorted({*here.tolist(), 1, 2}))
    assert left_alike(both, everybody, everybody) is None
    assert left_alike(both, here, everybody) is None, "the other spelling was forgotten before"
    assert left_alike(pictures, here, here) is None


def test_train_and_unlearn_say_so(tmp_path: Path) -> None:
    rows = "".join(f"{row % 7},{row % 2},{('Someone', 'SOMEONE')[row % 2]}-{row // 6:02d}\n" for row in range(60))
    (tmp_path / "people.csv").write_text(f"height,grade,who\n{rows}", encoding="utf-8")
    source = Source(location=str(tmp_path / "people.csv"), label="grade", subject="who")
    run = train(source, out=tmp_path / "base", model="mlp", epochs=1)
    assert run.told.notices == (spelt_alike(run.data()[Split.TRAIN]),)
    name = run.data()[Split.TRAIN].subjects[0]
    after = unlearn(run, f"subject:{name}", out=tmp_path / "after")
    assert [note for note in after.told.notices or () if " of 1 subject stay whose names differ" in note]
    assert not [note for note in after.told.notices or () if "omeone-" in note.lower()]
    other = {"So": name.upper(), "SO": name.capitalize()}[name[:2]]
    both = unlearn(after, f"subject:{other}", out=tmp_path / "both")
    assert not [note for note in both.told.notices or () if "stay whose names differ" in note]
    plain = train(
        Source(location=str(tmp_path / "people.csv"), label="grade"), out=tmp_path / "plain", model="mlp", epochs=1
    )
    assert not plain.told.notices
    with pytest.raises(InvalidArgument, match="has no training rows"):
        unlearn(run, "subject:nobody", out=tmp_path / "none")
