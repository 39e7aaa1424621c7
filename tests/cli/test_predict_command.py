"""``expunge predict``: rows in, answers out, for a person, a program and a table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge
from tests.train.visits import RAW, ROWS, trained, written

from expunge.train.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("predict"), epochs=1)


def test_the_expunge(run: Run, tmp_path: Path, expunge: Expunge) -> None:
    raw = written(tmp_path / "raw.csv", ROWS[:30], (*RAW, "outcome"))
    told = run.predict(raw)
    done = expunge("predict", run.path, raw, "--out", tmp_path / "answers.csv", "--score")
    assert done.status == 0, done.err
    right = sum(label == row[-1] for label, row in zip(told.labels, ROWS, strict=False))
    assert "30 rows answered (" in done.out
    assert f"accuracy {right / 30:.4g}" in done.out
    text = (tmp_path / "answers.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["id", "answer", "probability old", "probability young"]
    assert [(row["id"], row["answer"]) for row in rows] == list(zip(told.ids, told.labels, strict=True))
    assert [float(row["probability old"]) for row in rows] == told.probabilities[:, 0].tolist()
    assert expunge("predict", run.path, raw, "--format", "csv").out == text
    assert expunge("predict", run.path, raw, "--json").json["rows"] == list(told.rows())
    assert expunge("predict", run.path, raw, "--format", "json").json["score"] == {}
    shown = expunge("predict", run.path, raw).out
    assert "v19" in shown
    assert "v20" not in shown
    assert "10 more" in shown
    for wrong in (raw, tmp_path / "answers.txt"):
        assert "must end in .csv" in expunge("predict", run.path, raw, "--out", wrong).err
    both = expunge("predict", run.path, raw, "--json", "--format", "csv")
    assert (both.status, "exclude each other" in both.err) == (2, True)


def test_an_exported_model_answers_as_its_run(run: Run, tmp_path: Path, expunge: Expunge) -> None:
    folder = tmp_path / "model"
    done = expunge("export", run.path, "--out", folder)
    assert done.status == 0, done.err
    assert "exported mlp in" in done.out
    assert "guarantee Exact" in done.out
    assert "to run it: model = expunge.load(FOLDER)" in done.out
    assert expunge("export", run.path, "--out", folder, "--json").json["trained"] == run.weights_digest
    raw = written(tmp_path / "raw.csv", ROWS[:30], RAW)
    answers = [expunge("predict", place, raw, "--json").json["rows"] for place in (run.path, folder)]
    assert [row["answer"] for row in answers[0]] == [row["answer"] for row in answers[1]]
    for verb in (("info", folder), ("unlearn", folder, "--forget", "subject:p3", "--out", tmp_path / "forgot")):
        refused = expunge(*verb)
        assert refused.status == 2
        assert "is an exported model and no run" in refused.err
    assert "holds something else already: choose another --out" in expunge("export", run.path, "--out", run.path).err
