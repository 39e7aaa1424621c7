"""A study from end to end in worker processes: figures, continuing, sharing, what goes wrong half-way."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.study.conftest import SMALL, contents, pictures, study
from tests.study.rehearsed import odd_digits

from expunge.core.errors import InvalidArgument
from expunge.measure.evaluate import evaluate
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.form import to_plain
from expunge.records.published import PARTS
from expunge.report.leaderboard import leaderboard
from expunge.report.study_results import read_results
from expunge.study.progress import StudyStanding
from expunge.study.store import Store
from expunge.study.training_job import REFERENCE_SEEDS
from expunge.train.run import Run
from expunge.train.training import train

Write = Callable[..., Path]
MEMORISING = 'epochs = 20\nbatch_size = 40\noptimiser = "adamw"\nrate = 5e-3'
TUNED = SMALL.replace("epochs = 2", "epochs = 2\n[tuning]\ntrials = 3").replace('"certified-logistic"', '"scrub"')


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("small")
    text = SMALL.replace("references = 2", "references = 2\nas_published = true")
    (folder / "small.toml").write_text(text)
    return study(folder / "small.toml", out=folder / "out", jobs=2), folder


def row(results: dict[str, Any], label: str) -> dict[str, Any]:
    return next(row for row in results["settings"][0]["rows"] if row["label"] == label)


def test_the_figures_are_those_of_the_single_commands(small: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """The slow twin: train, unlearn, retrain and evaluate by hand."""
    results, _ = small
    recipe: dict[str, Any] = {"model": "mlp", "model_options": {"width": 8}, "epochs": 2}
    values: dict[str, list[float]] = {"gap": [], "utility": [], "cost": [], "average": []}
    printed: dict[str, list[float]] = {"original": [], "unlearned": [], "reference_mean": []}
    for seed in (0, 1):
        original = train("digits", out=tmp_path / f"original-{seed}", seed=seed, **recipe)
        references = [
            unlearn(
                original,
                "random:5%:1",
                method=Retrain(training_seed=REFERENCE_SEEDS + number),
                out=tmp_path / f"reference-{seed}-{number}",
            )
            for number in range(2)
        ]
        run = unlearn(original, "random:5%:1", method="fine-tune", seed=seed, out=tmp_path / f"run-{seed}")
        told = to_plain(evaluate(run, references, as_published=True))
        (attack,) = (one for one in told["as_published"] if one["name"] == "membership-classifier")
        for whose, found in printed.items():
            found.append(attack[whose])
        done = row(results, "fine-tune")["seeds"][seed]
        assert done["weights_digest"] == run.weights_digest
        assert (done["verdict"].lower(), done["reason"]) == (told["verdict"]["verdict"], told["verdict"]["detail"])
        probes = {probe["name"]: probe for probe in told["probes"]}
        margin, accuracy = probes["mean-margin"], probes["test-accuracy"]
        own = margin["unlearned"]["value"] - np.mean([reference["value"] for reference in margin["references"]])
        values["gap"].append(abs(own) / margin["one_unit"])
        values["utility"].append(
            np.mean([reference["value"] for reference in accuracy["references"]]) - accuracy["unlearned"]["value"]
        )
        values["cost"].append(run.result.example_steps / original.result.example_steps)
    figures = row(results, "fine-tune")["figures"]
    assert figures["forgetting-gap"]["values"] == pytest.approx(values["gap"], rel=1e-9)
    assert figures["utility-gap"]["values"] == pytest.approx(values["utility"], abs=1e-12)
    assert figures["cost"]["values"] == pytest.approx(values["cost"], rel=1e-12)
    setting = results["settings"][0]
    for where, whose in (("original", "original"), ("retrained", "reference_mean")):
        found = setting[where]["as_published"]["membership-classifier"]
        assert found == {"mean": pytest.approx(np.mean(printed[whose]), abs=1e-9), "n": 1}
    own = row(results, "fine-tune")["as_published"]
    assert own["membership-classifier"]["mean"] == pytest.approx(np.mean(printed["unlearned"]), abs=1e-9)
    assert set(own) == {"unlearning-accuracy", *PARTS, "average-gap"}
    assert "as_published" not in row(results, "certified-logistic"), "nothing was done"


def test_every_row_says_how_it_ended(small: tuple[dict[str, Any], Path]) -> None:
    results, _ = small
    assert results["complete"]
    assert row(results, "retrain")["guarantee"] == "Exact"
    assert row(results, "retrain")["tuning"] == {"state": "takes no budget"}
    assert row(results, "fine-tune")["tuning"] == {"state": "untuned"}
    assert [mark["mark"] for mark in row(results, "fine-tune")["marks"]] == ["untuned"]
    refused = row(results, "certified-logistic")
    assert [seed["status"] for seed in refused["seeds"]] == ["refused", "refused"]
    assert refused["guarantee"] is None
    assert refused["figures"]["cost"] == {"undecided": "nothing was measured"}
    assert {problem["status"] for problem in results["problems"]} == {"refused"}
    assert all("convex" in problem["reason"] for problem in results["problems"])
    cost = results["cost"]
    assert (cost["jobs"], cost["refused"], cost["failed"], cost["left_out"]) == (16, 2, 0, 2)


def test_every_seed_says_what_its_verdict_means(small: tuple[dict[str, Any], Path]) -> None:
    """Known of what equals a retraining bit for bit, and how much may be left where that was measured."""
    results, _ = small
    for row in (row for setting in results["settings"] for row in setting["rows"]):
        done = [seed for seed in row["seeds"] if seed["status"] == "done"]
        assert all(seed["outcome"] for seed in done)
        if row["method"] == "retrain":
            assert {seed["outcome"] for seed in done} == {"same"}
        for seed in done:
            assert seed["outcome"] not in ("remembers", "too much") or seed["verdict"] == "Refuted"
            assert (seed["outcome"] == "little left") <= (seed["verdict"] == "Supported" and "at_most" in seed)


def test_what_is_written_is_what_is_returned(small: tuple[dict[str, Any], Path]) -> None:
    results, folder = small
    out = folder / "out"
    assert json.loads((out / "results.json").read_text()) == results
    rows = list(csv.DictReader(io.StringIO((out / "results.csv").read_text())))
    assert [found["row"] for found in rows] == ["retrain", "fine-tune", "certified-logistic"]
    assert float(rows[1]["cost mean"]) == pytest.approx(row(results, "fine-tune")["figures"]["cost"]["mean"], rel=1e-5)
    assert rows[2]["cost mean"] == ""
    told = json.loads((out / "progress.json").read_text())
    assert (told["total"], told["done"], told["refused"], told["waiting"]) == (16, 12, 2, 0)
    log = (out / "study.log").read_text().splitlines()
    assert "refused: unlearn certified-logistic" in "".join(log)
    assert log[-1].endswith("12 of 16 done, 2 refused, 2 left out, 0 running")


def test_a_second_time_nothing_is_computed(small: tuple[dict[str, Any], Path]) -> None:
    results, folder = small
    again = study(folder / "small.toml", out=folder / "out", jobs=1)
    assert again["cost"]["reused"] == 14
    assert again["digest"] == results["digest"]
    assert again["settings"] == results["settings"]


@pytest.mark.parametrize("content", ["", "xx", "{}", "[]", "altered", "gone"])
@pytest.mark.parametrize("work", ["unlearn", "evaluate"])
def test_damaged_results_are_made_again(
    small: tuple[dict[str, Any], Path], tmp_path: Path, content: str, work: str
) -> None:
    results, folder = small
    shutil.copytree(folder / "out" / "store", tmp_path / "store")
    store = Store(tmp_path / "store")
    entry = next(found for found in store.entries() if found.title.startswith(f"{work} fine-tune"))
    path = store.place(entry.key) / {"unlearn": "run.json", "evaluate": "evaluation.json"}[work]
    if content == "gone":
        path.unlink()
    elif content == "altered":
        told = json.loads(path.read_text())
        if work == "evaluate":
            told["verdict"]["verdict"] = "supported"
        else:
            told["example_steps"] = 1.0
        path.write_text(json.dumps(told))
    else:
        path.write_text(content)
    warned: list[str] = []
    again = study(
        folder / "small.toml", out=tmp_path / "out", store=tmp_path / "store", engine="here", warn=warned.append
    )
    assert again["settings"][0]["rows"][1]["verdicts"] == results["settings"][0]["rows"][1]["verdicts"]
    assert again["digest"] == results["digest"]
    assert len(warned) == 1
    assert str(path) in warned[0]
    assert contents(tmp_path / "store") == contents(folder / "out" / "store")


def test_drawing_computes_nothing(small: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    results, folder = small
    drawn = study(folder / "small.toml", out=folder / "out", draw_only=True)
    assert drawn["settings"] == results["settings"]
    with pytest.raises(InvalidArgument, match="`draw_only` finds no store at"):
        study(folder / "small.toml", out=tmp_path / "out", draw_only=True)
    assert not (tmp_path / "out" / "store").exists()
    Store(tmp_path / "empty")
    with pytest.raises(InvalidArgument, match="holds none of the 16 jobs of this study: there is nothing to draw"):
        study(folder / "small.toml", out=folder / "out", store=tmp_path / "empty", draw_only=True)
    assert json.loads((folder / "out" / "results.json").read_text())["settings"] == results["settings"]
    some = Store(tmp_path / "some")
    for entry in Store(folder / "out" / "store").entries():
        if "seed 1" not in entry.title:
            shutil.copytree(Store(folder / "out" / "store").place(entry.key), some.place(entry.key))
    half = study(folder / "small.toml", out=tmp_path / "half", store=tmp_path / "some", draw_only=True)
    assert not half["complete"]
    assert [seed["status"] for seed in row(half, "fine-tune")["seeds"]] == ["done", "missing"]


def test_one_job_at_a_time_gives_the_same(small: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    results, folder = small
    alone = study(folder / "small.toml", out=tmp_path / "out", jobs=1)
    assert alone["digest"] == results["digest"]
    assert contents(tmp_path / "out" / "store") == contents(folder / "out" / "store")


def test_a_longer_study_reuses_a_shorter_one(small: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, folder = small
    shutil.copytree(folder / "out" / "store", tmp_path / "store")
    shorter = (folder / "small.toml").read_text()
    longer = shorter.replace("seeds = [0, 1]", "seeds = [1, 2]").replace('"fine-tune"', '"fine-tune", "scrub"')
    (tmp_path / "longer.toml").write_text(longer)
    results = study(tmp_path / "longer.toml", out=tmp_path / "out", store=tmp_path / "store", engine="here")
    # of seed 1: the original, three unlearnings (one refused) and two evaluations; and both references
    assert results["cost"]["reused"] == 8


def test_runs_of_the_store_are_ordinary_runs(small: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, folder = small
    store = Store(folder / "out" / "store")
    kept = [store.place(entry.key) for entry in store.entries() if entry.work == "unlearn" and entry.digest]
    run = Run.open(kept[0])
    assert run.parent.recipe == run.recipe
    assert unlearn(run, "subject:person-017", method="retrain", out=tmp_path / "again").weights_digest


COMMAND = (
    "import sys; from expunge.study.study import study; study(sys.argv[1], out=sys.argv[2], store=sys.argv[3], jobs=2)"
)


def started(file: Path, out: Path, store: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", COMMAND, str(file), str(out), str(store)], stderr=subprocess.PIPE)


def test_killed_at_random_moments_it_ends_the_same(write_study: Write, tmp_path: Path) -> None:
    """More kills, thirty of them, are in ``python -m benchmarks.kills study``."""
    file = write_study(TUNED)
    undisturbed = study(file, out=tmp_path / "whole", engine="here")
    draws = random.Random(7)
    for _ in range(4):
        process = started(file, tmp_path / "out", tmp_path / "store")
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=draws.uniform(1.5, 4.0))
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)  # its lock goes with it; the store is what counts
    results = study(file, out=tmp_path / "out", store=tmp_path / "store", engine="here")
    assert results["digest"] == undisturbed["digest"]
    assert contents(tmp_path / "store") == contents(tmp_path / "whole" / "store")


def test_two_studies_at_once_do_no_harm(write_study: Write, tmp_path: Path) -> None:
    one, other = write_study(SMALL), write_study(SMALL, "other.toml")
    process = started(one, tmp_path / "a", tmp_path / "store")
    study(other, out=tmp_path / "b", store=tmp_path / "store", jobs=1)
    _, error = process.communicate(timeout=280)
    assert process.returncode == 0, error.decode()
    found = [json.loads((tmp_path / name / "results.json").read_text()) for name in "ab"]
    assert found[0]["digest"] == found[1]["digest"]
    assert [made["cost"]["failed"] for made in found] == [0, 0]
    log = "".join((tmp_path / name / "study.log").read_text() for name in "ab")
    assert "failed" not in log


def test_one_folder_is_one_studys(write_study: Write, tmp_path: Path, small: tuple[dict[str, Any], Path]) -> None:
    _, folder = small
    with pytest.raises(InvalidArgument, match="holds the study 'small', this one is 'other': choose another folder"):
        study(write_study(SMALL, "other.toml"), out=folder / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("x")
    with pytest.raises(InvalidArgument, match=r"is not empty and no study \(it holds 'x'\)"):
        study(write_study(), out=tmp_path / "mine")
    with pytest.raises(InvalidArgument, match="`engine` 'rai' is not one of local, ray"):
        study(write_study(), out=tmp_path / "out", engine="rai")
    with pytest.raises(InvalidArgument, match="`jobs` 0 must be a whole number from 1 to 1024"):
        study(write_study(), out=tmp_path / "out", jobs=0)
    with pytest.raises(InvalidArgument, match="`address` auto is for `engine` ray"):
        study(write_study(), out=tmp_path / "out", address="auto")


def test_data_that_are_gone_half_way_lose_nothing(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes away once a job is done, and with it the one worker that has read it."""
    monkeypatch.setattr("expunge.study.progress.EVERY_SECONDS", 0.0)
    pictures(tmp_path / "d.npz")
    file = write_study(SMALL.replace('"digits"\n', f'"{tmp_path / "d.npz"}"\n', 1))
    before: list[int] = children(os.getpid())
    taken: list[int] = []

    def take_away(standing: StudyStanding) -> None:
        if standing.done and not taken:
            taken.extend(pid for pid in children(os.getpid()) if pid not in before)
            (tmp_path / "d.npz").rename(tmp_path / "moved.npz")
            for pid in taken:
                os.kill(pid, signal.SIGKILL)

    results = study(file, out=tmp_path / "out", jobs=1, show=take_away)
    assert taken
    assert results["cost"]["failed"] > 0
    assert "d.npz does not exist: check the path" in results["problems"][0]["reason"]
    kept = results["cost"]["jobs"] - results["cost"]["failed"] - results["cost"]["left_out"]
    assert kept > 0
    (tmp_path / "moved.npz").rename(tmp_path / "d.npz")
    mended = study(file, out=tmp_path / "out", engine="here")
    assert mended["cost"]["failed"] == 0
    assert mended["cost"]["reused"] >= kept


FACTORY = """
import os
from torch import nn
def fatal(inputs, classes):
    if os.environ.get("EXPUNGE_TEST_WORKER") and {when}:
        os.kill(os.getpid(), 9)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> str:
    """A model whose factory kills the worker that calls it."""
    (tmp_path / "fatal_model.py").write_text(FACTORY.replace("{when}", when))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("fatal_model", None)
    return SMALL.replace('model = "mlp"\nmodel_options = { width = 8 }', 'model = "fatal_model:fatal"')


def test_a_worker_that_dies_is_replaced(write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "died"
    when = f"not os.path.exists({str(mark)!r}) and not open({str(mark)!r}, 'w').close()"
    text = planted(tmp_path, monkeypatch, when)
    monkeypatch.setattr("expunge.study.local.WORKER_VARIABLES", {"EXPUNGE_TEST_WORKER": "1"})
    results = study(write_study(text), out=tmp_path / "out", jobs=1)
    assert mark.exists()
    assert results["cost"]["failed"] == 0


def test_a_job_that_always_kills_its_worker_fails_alone(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = planted(tmp_path, monkeypatch, "True")
    text += '[training.mlp]\nmodel = "mlp"\nmodel_options = { width = 8 }\nepochs = 1\n'
    text = text.replace("seeds = [0, 1]\nreferences = 2", "seeds = [0]\nreferences = 1")
    text = text.replace('[training.mlp]\nmodel = "fatal', '[training.fatal]\nmodel = "fatal')
    monkeypatch.setattr("expunge.study.local.WORKER_VARIABLES", {"EXPUNGE_TEST_WORKER": "1"})
    results = study(write_study(text), out=tmp_path / "out", jobs=2)
    assert results["cost"]["failed"] == 2  # the original and the reference of the fatal model
    assert not results["complete"]
    reasons = {problem["reason"] for problem in results["problems"] if problem["status"] == "failed"}
    assert reasons == {"the worker process died 2 times (signal 9): perhaps for want of memory; use fewer `jobs`"}
    fatal, sound = sorted(results["settings"], key=lambda setting: setting["recipe"])
    assert {seed["status"] for row in fatal["rows"] for seed in row["seeds"]} == {"missing"}
    assert {seed["status"] for row in sound["rows"] for seed in row["seeds"]} == {"done", "refused"}


def test_workers_end_with_their_study(write_study: Write, tmp_path: Path) -> None:
    process = started(write_study(TUNED), tmp_path / "out", tmp_path / "store")
    deadline = time.monotonic() + 240
    while not (found := children(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    while any(Path(f"/proc/{pid}").exists() for pid in found) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_tuned_fields_are_used_and_said(write_study: Write, tmp_path: Path) -> None:
    odd_digits(tmp_path / "odd.npz")
    told = TUNED.replace('location = "digits"', f'location = "{tmp_path / "odd.npz"}"').replace(
        "random:5%", "random:15%"
    )
    told = told.replace("width = 8", "width = 128").replace("epochs = 2", MEMORISING)
    results = study(write_study(told), out=tmp_path / "out", engine="here")
    scrub = row(results, "scrub")
    assert scrub["tuning"]["state"] == "tuned"
    assert scrub["tuning"]["trials"] == 3
    assert scrub["tuning"]["score"] <= scrub["tuning"]["default_score"]
    store = Store(tmp_path / "out" / "store")
    (tune,) = [entry for entry in store.entries() if entry.title == "tune scrub, digits-mlp random"]
    chosen = json.loads((store.place(tune.key) / "tuning.json").read_text())["methods"][0]["chosen"]["fields"]
    assert scrub["fields"] == chosen
    assert "untuned" not in [mark["mark"] for mark in scrub["marks"]]
    assert row(results, "retrain")["tuning"] == {"state": "takes no budget"}
    (setting,) = results["settings"]
    assert setting["nothing_forgets"].startswith(
        "nothing here forgets within this budget (10 % of the training's work)"
    )


def test_where_nothing_is_to_forget_a_study_says_so(write_study: Write, tmp_path: Path) -> None:
    """Hardly trained on digits: the defaults are kept, and no trial is made."""
    results = study(write_study(TUNED), out=tmp_path / "out", engine="here")
    scrub = row(results, "scrub")
    assert (scrub["tuning"]["trials"], scrub["tuning"]["kept_default"]) == (1, True)
    assert scrub["fields"] == scrub["defaults"]
    (setting,) = results["settings"]
    assert setting["nothing_forgets"].startswith("nothing to forget in this rehearsal: the original lies 0.")
    page = (leaderboard(read_results(tmp_path / "out" / "results.json"), out=tmp_path / "page")).read_text()
    assert "The search said beforehand: nothing to forget in this rehearsal" in page


def test_an_interrupt_from_the_keyboard_can_be_continued(write_study: Write, tmp_path: Path) -> None:
    file = write_study(TUNED)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "expunge.cli.main", "study", str(file), "--out", str(out), "--jobs", "2"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 240
    while not list(out.glob("store/??/*/entry.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=280)
    if process.returncode == 0:
        pytest.skip("the machine is so fast that the study ended")
    assert process.returncode == 130
    assert "interrupted, nothing is lost: run the same command again" in error.decode()
    assert "Traceback" not in error.decode()
    assert study(file, out=out, engine="here")["complete"]


def test_studies_in_threads_of_one_process(write_study: Write, tmp_path: Path) -> None:
    """The Python face holds no hidden state: two at once from one program."""
    file = write_study()
    found: list[str] = []

    def one(name: str) -> None:
        found.append(study(file, out=tmp_path / name, store=tmp_path / "store", jobs=1)["digest"])

    threads = [threading.Thread(target=one, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert len(found) == 2
    assert found[0] == found[1]
