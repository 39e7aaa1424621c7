"""`test = FILE`: rows that every model is scored on, never split, never seen by tuning."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.study.conftest import study

from expunge.core.errors import InvalidArgument
from expunge.records.study_store import ScoreFile
from expunge.report.leaderboard import leaderboard
from expunge.report.study_results import read_results
from expunge.study import rehearsal
from expunge.study.grid import lay_out
from expunge.study.job import ScoreRun, Tune
from expunge.study.store import Store
from expunge.study.study_file import read_study
from expunge.train.run import Run

Write = Callable[..., Path]
STUDY = """
title = "Tested"
seeds = [0, 1]
references = 2
methods = ["retrain", "fine-tune", "certified-logistic"]

[data.table]
location = "{0}/train.csv"
label = "kind"
test = "{0}/test.csv"

[training.mlp]
model = "mlp"
model_options = {{ width = 8 }}
epochs = 2

[forget.random]
rules = "random:5%:1"
"""


def written(path: Path, rows: int, seed: int, *, columns: tuple[str, ...] = ("a", "b", "town"), **odd: str) -> None:
    """Rows of a table whose label the numbers tell; the test file lacks a town that the others have."""
    generator = np.random.default_rng(seed)
    lines = [",".join((*columns, "kind"))]
    towns = ("Oslo", "Rome", "Bonn") if path.name == "train.csv" else ("Oslo", "Rome")
    for _ in range(rows):
        a, b = generator.normal(size=2)
        told = {"a": f"{a:.3f}", "b": f"{b:.3f}", "town": str(generator.choice(towns)), **odd}
        kind = odd.get("kind", "yes" if a + b > 0 else "no")
        lines.append(",".join([*(told[name] for name in columns), kind]))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written(tmp_path / "train.csv", 300, 1)
    written(tmp_path / "test.csv", 70, 2)
    (tmp_path / "tested.toml").write_text(STUDY.format(tmp_path))
    return tmp_path


def test_figures_are_what_score_says_of_every_run(folder: Path, write_study: Write) -> None:
    found = study(folder / "tested.toml", out=folder / "out", engine="here")
    (setting,) = found["settings"]
    store = Store(folder / "out" / "store")
    (laid,) = (grid := lay_out(read_study(folder / "tested.toml"))).settings

    def scores(keys: Any) -> list[float]:
        return [Run.open(store.place(key)).score(folder / "test.csv")["accuracy"] for key in keys]

    name = "test-file-accuracy"
    rows = {row["label"]: row for row in setting["rows"]}
    for label in ("retrain", "fine-tune"):
        figure = rows[label]["figures"][name]
        assert figure["values"] == pytest.approx(scores(one.unlearn for one in laid.runs[label]), abs=1e-12)
        assert figure["mean"] == pytest.approx(np.mean(figure["values"]))
        assert figure["low"] <= figure["mean"] <= figure["high"]
        assert figure["n"] == 2
    assert setting["original"]["figures"][name]["values"] == pytest.approx(scores(laid.originals.values()), abs=1e-12)
    assert setting["retrained"]["figures"][name]["values"] == pytest.approx(scores(laid.references[0]), abs=1e-12)
    assert name not in rows["certified-logistic"]["figures"]
    jobs = [job for job in grid.jobs if isinstance(job, ScoreRun)]
    assert len(jobs) == 2 + 2 + 3 * 2
    assert found["complete"]
    lines = list(csv.DictReader(io.StringIO((folder / "out" / "results.csv").read_text())))
    assert float(lines[0][f"{name} mean"]) == pytest.approx(rows[lines[0]["row"]]["figures"][name]["mean"], abs=1e-5)
    page = leaderboard(read_results(folder / "out" / "results.json"), out=folder / "page").read_text()
    assert "Test file" in page
    again = study(folder / "tested.toml", out=folder / "out", engine="here")
    assert again["cost"]["reused"] == len(grid.jobs) - 4  # what hangs on a refusal is never begun
    (store.place(jobs[0].key) / ScoreFile.NAME).write_text("{}")
    mended = study(folder / "tested.toml", out=folder / "out", engine="here")
    assert mended["settings"] == again["settings"] == found["settings"]


def test_other_jobs_are_the_same_with_and_without_it(folder: Path) -> None:
    """The file has no part in splits, trainings, evaluations; in tuning none can be reached."""
    text = (folder / "tested.toml").read_text() + "\n[tuning]\ntrials = 1\n"
    (folder / "with.toml").write_text(text)
    (folder / "without.toml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("test =")))
    tested, plain = (lay_out(read_study(folder / f"{name}.toml")) for name in ("with", "without"))
    assert [job.key for job in tested.jobs if not isinstance(job, ScoreRun)] == [job.key for job in plain.jobs]
    rows = {job.key for job in tested.jobs if isinstance(job, ScoreRun)}
    assert rows
    assert not any(rows & set(job.needs) for job in tested.jobs)
    assert any(isinstance(job, Tune) for job in tested.jobs)
    assert "test_file" not in vars(rehearsal)


def test_other_rows_are_other_jobs_and_the_same_rows_elsewhere_are_not(folder: Path) -> None:
    def keys() -> set[str]:
        return {job.key for job in lay_out(read_study(folder / "tested.toml")).jobs if isinstance(job, ScoreRun)}

    first = keys()
    (folder / "elsewhere.csv").write_text((folder / "test.csv").read_text())
    (folder / "tested.toml").write_text(STUDY.format(folder).replace("test.csv", "elsewhere.csv"))
    assert keys() == first
    written(folder / "elsewhere.csv", 70, 3)
    assert not keys() & first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda place: place.unlink(), r"line 10: data file .*test\.csv does not exist: check the path"),
        (lambda place: written(place, 5, 1, columns=("a", "town")), "line 10: .*'b'"),
        (lambda place: place.write_text("a,b,town\n1,2,Rome\n"), "line 10: .*kind"),
        (lambda place: written(place, 5, 1, kind="perhaps"), "line 10: .*perhaps"),
    ],
    ids=["missing", "other columns", "no label", "another class"],
)
def test_what_does_not_fit_is_refused_before_anything_is_computed(
    change: Callable[[Path], Any], words: str, folder: Path
) -> None:
    change(folder / "test.csv")
    with pytest.raises(InvalidArgument, match=words) as refused:
        study(folder / "tested.toml", out=folder / "out", engine="here")
    assert "\n" not in str(refused.value)
    assert not (folder / "out").exists()


def test_a_file_that_changes_while_the_study_runs_fails_the_jobs_and_they_are_tried_again(folder: Path) -> None:
    from expunge.study.opened import OpenedData
    from expunge.study.work import carry_out

    grid = lay_out(read_study(folder / "tested.toml"))
    (run,) = [job for job in grid.jobs if job.title == "train table-mlp, seed 0"]
    (score,) = [job for job in grid.jobs if isinstance(job, ScoreRun) and job.needs == (run.key,)]
    store = Store(folder / "own")
    assert carry_out(run, store, OpenedData()).outcome.value == "done"
    kept = (folder / "test.csv").read_text()
    written(folder / "test.csv", 70, 3)
    entry = carry_out(score, store, OpenedData())
    assert entry.outcome.value == "failed"
    assert "are not those that the study was planned with" in entry.reason
    (folder / "test.csv").write_text(kept)
    assert carry_out(score, store, OpenedData()).outcome.value == "done"


def test_a_test_file_must_be_a_text(folder: Path) -> None:
    (folder / "tested.toml").write_text(STUDY.format(folder).replace('test = "', 'test = 3 # "'))
    with pytest.raises(InvalidArgument, match="line 10: test 3 must be a text"):
        read_study(folder / "tested.toml")
