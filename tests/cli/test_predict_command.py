"""``expunge predict``: rows in, answers out, for a person, a program and a table."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge
from tests.train.visits import RAW, ROWS, trained, written

from expunge.cli.shared import sized
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


def test_train_and_info_say_what_was_learnt(run: Run, tmp_path: Path, expunge: Expunge) -> None:
    train, calibration = run.told.learnt or ()
    said = (
        f"accuracy {train.figures['accuracy']:.4g} on 96 training rows, "
        f"accuracy {calibration.figures['accuracy']:.4g} on 6 calibration rows"
    )
    named = ("--label", "outcome", "--subject", "person", "--id", "visit", "--epochs", 1, "--batch-size", 16)
    done = expunge("train", run.path.parent / "rows.csv", *named, "--out", run.path)
    assert f"answers as rows are labelled: {said}" in done.out
    info = expunge("info", run.path).out
    whole = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    model = (run.path / "model.safetensors").stat().st_size
    for line in (
        f"answers            {said}",
        "columns            numeric age; categorical town; text note",
        "classes            2: old, young",
        f"size               {sized(whole)} on disk, {whole / model:.3g} times the model's {sized(model)}",
    ):
        assert line in info.splitlines()
    old = tmp_path / "old"
    shutil.copytree(run.path, old)
    told = json.loads((old / "run.json").read_text(encoding="utf-8"))
    del told["learnt"]
    (old / "run.json").write_text(json.dumps(told), encoding="utf-8")
    assert "answers " not in expunge("info", old).out


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (20_500, "20 kB"), (3_000_000, "3 MB"), (5 * 10**9, "5 GB")],
)
def test_sizes_as_people_say_them(count: int, said: str) -> None:
    assert sized(count) == said
