"""A probe with a reading of its own enters by an entry point of its package: everything else finds it there."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from examples.own_probe import ShiftedMargin, ShiftedMargins

from expunge.core.statistics.margins import margins
from expunge.core.values import Measurement
from expunge.data.splits import Split
from expunge.records.document import read_document
from expunge.records.documents import declared
from expunge.records.evaluation import Evaluation
from expunge.records.figures import Estimate
from expunge.records.holds import Held, Remedy
from expunge.records.results import Results
from expunge.report.numerals import bare
from expunge.study.grid import lay_out
from expunge.study.readings import file_name
from expunge.study.study_file import read_study
from expunge.train.run import Run

ROOT = Path(__file__).parents[2]
PROBE = (ROOT / "examples" / "own_probe.py").read_text(encoding="utf-8").split("\n\nif __name__")[0].rstrip()
NAME = ShiftedMargin.name
STUDY = """
title = "Own probe"
seeds = [0]
references = 2
methods = ["fine-tune"]

[data.digits]
location = "digits"

[training.mlp]
model = "mlp"
model_options = { width = 8 }
epochs = 2

[forget.random]
rules = "random:5%:1"
"""


SCRIPT = """
from pathlib import Path

import expunge
from expunge.report.leaderboard import leaderboard
from expunge.report.numerals import bare
from expunge.study.grid import lay_out
from expunge.study.store import Store
from expunge.study.study_file import read_study

base = expunge.train("digits", model="mlp", epochs=1, out="runs/base")
forgot, retrained = (expunge.unlearn(base, "random:5%:1", method=m, out=f"runs/{m}") for m in ("fine-tune", "retrain"))
expunge.evaluate(forgot, [retrained])
expunge.report([forgot.path], out="report.html")

first = expunge.study("own.toml", out="out", jobs=1)
leaderboard("out", out="out")
jobs = lay_out(read_study("own.toml")).jobs
Path("jobs.txt").write_text("".join(f"{job.key} {job.work}\\n" for job in jobs))
store = Store(Path("out/store"))
forgot = next(job for job in jobs if job.work == "unlearn")
(kept,) = store.place(forgot.key).glob("reading-shifted-margins-*.safetensors")
content = kept.read_bytes()
kept.unlink()
for job in jobs:
    if job.work == "evaluate":
        store.discard(job.key)
again = expunge.study("own.toml", out="out", jobs=1)
assert again.digest == first.digest
assert again.cost.reused == len(jobs) - 1
assert kept.read_bytes() == content
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is written where somebody else's package with the probe is installed."""
    folder = tmp_path_factory.mktemp("own-probe")
    (folder / "own_package.py").write_text(PROBE, encoding="utf-8")
    installed = folder / "own_package-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n", encoding="utf-8")
    offer = f"[expunge.probes]\n{NAME} = own_package:ShiftedMargin\n"
    (installed / "entry_points.txt").write_text(offer, encoding="utf-8")
    (folder / "own.toml").write_text(STUDY, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_it_is_as_short_as_is_said_and_stands_in_the_page() -> None:
    assert len([line for line in PROBE.splitlines() if line]) <= 40
    assert f"```python\n{PROBE}\n```" in (ROOT / "docs" / "writing-a-probe.md").read_text(encoding="utf-8")


def test_it_is_evaluated_and_reported(made: Path) -> None:
    evaluation = read_document(Evaluation, (made / "runs/fine-tune/evaluation.json").read_bytes(), "evaluation.json")
    probe = evaluation[NAME]
    assert isinstance(probe.unlearned, Measurement)
    assert isinstance(probe.original, Measurement)
    assert probe.original.value != probe.unlearned.value != probe.reference_mean
    run = Run.open(made / "runs" / "fine-tune")
    rows, slots = run.data()[Split.TRAIN], run.forget_set.slots
    with torch.no_grad():
        answered = run.model()(torch.from_numpy(run.recipe.inputs.encode(rows))[slots] + 0.05)
    assert probe.unlearned.value == pytest.approx(margins(answered.double().numpy(), rows.labels[slots]).mean())
    page = (made / "report.html").read_text(encoding="utf-8")
    assert NAME in page
    assert bare(probe.unlearned.value, "margin") in page


def test_it_has_its_figures_in_a_study(made: Path) -> None:
    results = read_document(Results, (made / "out/results.json").read_bytes(), "results.json")
    (setting,) = results.settings
    (row,) = setting.rows
    found = (row.figures, row.figures.differences, setting.original, setting.retrained)
    assert all(isinstance(figures[NAME], Estimate) for figures in found if figures is not None)
    mean = row.figures.mean(NAME)
    (line,) = csv.DictReader((made / "out/results.csv").read_text(encoding="utf-8").splitlines())
    assert float(line[f"{NAME} mean"]) == pytest.approx(mean, rel=1e-5)
    for page in ("leaderboard.html", "methods/fine-tune.html"):
        assert f'data-key="{NAME}"' in (made / "out" / page).read_text(encoding="utf-8")


def test_what_it_reads_is_declared_to_hold_rows() -> None:
    """Hygiene lists and removes it with everything else that was read off forgotten rows."""
    named = declared(file_name(ShiftedMargins(), bytes(32)))
    assert named is not None
    assert (named.holds.held, named.holds.remedy) == (Held.ROWS, Remedy.REMOVE)
    assert file_name(ShiftedMargins(), bytes(32)) != file_name(ShiftedMargins(shift=0.1), bytes(32))


def test_evaluations_alone_are_jobs_of_their_own(made: Path) -> None:
    """Whatever a store holds without the probe is reused, but for what was measured."""
    there = [line.split() for line in (made / "jobs.txt").read_text(encoding="utf-8").splitlines()]
    here = [(job.key, job.work) for job in lay_out(read_study(made / "own.toml")).jobs]
    assert [work for _, work in here] == [work for _, work in there]
    assert {work for (key, work), (other, _) in zip(here, there, strict=True) if key != other} == {"evaluate"}
