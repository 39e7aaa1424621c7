"""Single jobs, in this process: what decides them, how they end, what is mended."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.study.conftest import SMALL, contents, pictures

from expunge.core.errors import RunError
from expunge.core.values import Refuted
from expunge.records.document import read_document, seal, write_document
from expunge.records.evaluation import Evaluation
from expunge.records.form import to_plain
from expunge.study.digests import digest_of
from expunge.study.grid import Grid, lay_out
from expunge.study.job import Job, Work
from expunge.study.opened import OpenedData
from expunge.study.store import Entry, JobOutcome, Store
from expunge.study.study_file import read_study
from expunge.study.work import carry_out
from expunge.train.run import Run
from expunge.train.state import read_tensors, write_tensors

Write = Callable[..., Path]


def laid(write: Write, text: str = SMALL, name: str = "small.toml") -> Grid:
    return lay_out(read_study(write(text, name)))


def done(grid: Grid, store: Store, data: OpenedData | None = None) -> dict[str, Entry]:
    """All jobs, one after the other, as far as they can be done."""
    data, found = data or OpenedData(), dict[str, Entry]()
    for job in grid.jobs:
        if all(found[key].outcome is JobOutcome.DONE for key in job.needs if key in found):
            found[job.key] = carry_out(job, store, data)
    return found


def first(grid: Grid, work: Work) -> Job:
    return next(job for job in grid.jobs if job.work == work)


def test_measurements_do_not_pass_from_one_holdout_to_another(write_study: Write, tmp_path: Path) -> None:
    """Two data sets that differ in holdout pixels alone have the same trainings and other test accuracies."""
    pictures(tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as arrays:
        x, y = arrays["x"].copy(), arrays["y"]
    text = SMALL.replace('[data.digits]\nlocation = "digits"', f'[data.one]\nlocation = "{tmp_path / "one.npz"}"')
    from expunge.data.forms import read
    from expunge.data.source import Source
    from expunge.data.splits import Split, split_rows

    codes = split_rows(read(Source(location=str(tmp_path / "one.npz"))), seed=0)
    x[codes == Split.HOLDOUT.code] = 0
    np.savez(tmp_path / "two.npz", x=x, y=y)
    text += f'[data.two]\nlocation = "{tmp_path / "two.npz"}"\n'
    text = text.replace("seeds = [0, 1]", "seeds = [0]").replace("references = 2", "references = 1")
    both, alone = Store(tmp_path / "both"), Store(tmp_path / "alone")
    grid = laid(write_study, text)
    done(grid, both)
    for job in grid.jobs:  # the slow twin: every job in a worker of its own
        if all((entry := alone.entry(key)) and entry.outcome is JobOutcome.DONE for key in job.needs):
            carry_out(job, alone, OpenedData())
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")
    accuracies = {
        probe["unlearned"]["value"]
        for job in grid.jobs
        if job.work == Work.EVALUATE and (both.place(job.key) / "evaluation.json").is_file()
        for probe in json.loads((both.place(job.key) / "evaluation.json").read_text())["probes"]
        if probe["name"] == "test-accuracy"
    }
    assert len(accuracies) > 1


@pytest.mark.parametrize(
    ("before", "after", "shared"),
    [
        ("epochs = 2", "epochs = 2\ncheckpoint_interval = 7", 2),  # exact-replay costs another sum: originals differ
        ('rules = "random:5%:1"', 'rules = "random:5%:2"', 2),
    ],
)
def test_what_changes_a_result_changes_the_key(write_study: Write, before: str, after: str, shared: int) -> None:
    one = {job.key for job in laid(write_study).jobs if job.work == Work.TRAIN}
    other = {job.key for job in laid(write_study, SMALL.replace(before, after)).jobs if job.work == Work.TRAIN}
    assert len(one & other) == shared


def test_an_edited_model_is_another_model(write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from torch import nn\ndef build(inputs, classes):\n"
    source += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, {width}), nn.ReLU(), nn.Linear({width}, classes))\n"
    monkeypatch.syspath_prepend(str(tmp_path))
    text = SMALL.replace('model = "mlp"\nmodel_options = { width = 8 }', 'model = "edited_model:build"')
    keys: list[set[str]] = []
    for width in ("4", "5"):
        (tmp_path / "edited_model.py").write_text(source.replace("{width}", width))
        sys.modules.pop("edited_model", None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        keys.append({job.key for job in laid(write_study, text).jobs})
    assert keys[0].isdisjoint(keys[1])


def test_a_saved_set_is_kept_without_its_place(write_study: Write, tmp_path: Path) -> None:
    from expunge.data.forms import read
    from expunge.data.source import Source
    from expunge.data.splits import Split, split_rows

    digits = read(Source(location="digits"))
    row = int(np.flatnonzero(split_rows(digits, seed=0) == Split.TRAIN.code)[0])
    (tmp_path / "secret-list.txt").write_text(f"{digits.ids[row]}\n")
    grid = laid(write_study, SMALL.replace("random:5%:1", f"ids:{tmp_path / 'secret-list.txt'}"))
    assert not any("secret" in json.dumps(to_plain(job)) for job in grid.jobs)


def test_a_device_that_is_not_here_may_be_elsewhere(write_study: Write, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    grid = laid(write_study, SMALL.replace("epochs = 2", 'epochs = 2\ndevice = "cuda"'))
    entry = carry_out(grid.jobs[0], Store(tmp_path / "store"), OpenedData())
    assert entry.outcome is JobOutcome.FAILED
    assert "torch sees no GPU" in entry.reason


def test_what_diverges_is_not_tried_again(write_study: Write, tmp_path: Path) -> None:
    grid = laid(write_study, SMALL.replace("epochs = 2", "epochs = 2\nrate = 1e30"))
    entry = carry_out(grid.jobs[0], Store(tmp_path / "store"), OpenedData())
    assert entry.outcome is JobOutcome.REFUSED
    assert "no result is written" in entry.reason
    assert not list(Store(tmp_path / "store").place(entry.key).glob("[!e]*"))


def test_what_was_begun_is_kept_when_a_job_fails(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "d.npz")
    text = SMALL.replace('"digits"\n', f'"{tmp_path / "d.npz"}"\n', 1)
    grid = laid(write_study, text.replace("epochs = 2", "epochs = 8\ncheckpoint_interval = 5"))
    store, job = Store(tmp_path / "store"), grid.jobs[0]

    class Interrupted(BaseException):
        pass

    def interrupt(done: int, total: int) -> None:
        if done >= total // 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        carry_out(job, store, OpenedData(), interrupt)
    begun = sorted(path.name for path in store.place(job.key).glob("**/*") if path.is_file())
    assert any(name.endswith(".safetensors") for name in begun)
    (tmp_path / "d.npz").rename(tmp_path / "away.npz")
    assert carry_out(job, store, OpenedData()).outcome is JobOutcome.FAILED
    left = sorted(path.name for path in store.place(job.key).glob("**/*") if path.is_file())
    assert left == sorted([*begun, "entry.json"])
    (tmp_path / "away.npz").rename(tmp_path / "d.npz")
    continued = carry_out(job, store, OpenedData())
    whole = carry_out(job, Store(tmp_path / "other"), OpenedData())
    assert (continued.outcome, continued.digest) == (JobOutcome.DONE, whole.digest)


def test_what_was_begun_elsewhere_is_begun_anew(write_study: Write, tmp_path: Path) -> None:
    store, job = Store(tmp_path / "store"), laid(write_study).jobs[0]
    whole = carry_out(job, store, OpenedData())
    run = store.place(job.key) / "run.json"
    told = json.loads(run.read_text())
    told["status"], told["environment"]["processor"] = "running", "another machine's"
    run.write_text(json.dumps(told))
    store.discard(job.key)
    again = carry_out(job, store, OpenedData())
    assert (again.outcome, again.digest, again.reason) == (JobOutcome.DONE, whole.digest, "")


@pytest.mark.parametrize("name", ["beliefs.safetensors", "run.json"])
def test_damaged_inputs_are_made_again(write_study: Write, tmp_path: Path, name: str) -> None:
    grid, store = laid(write_study), Store(tmp_path / "store")
    done(grid, store)
    whole = contents(tmp_path / "store")
    evaluate = next(job for job in grid.jobs if job.title.startswith("evaluate fine-tune"))
    victim = evaluate.one("run")
    path = store.place(victim) / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    store.discard(evaluate.key)
    failed = carry_out(evaluate, store, OpenedData())
    assert failed.outcome is JobOutcome.FAILED
    assert "1 of the results that this needs were damaged" in failed.reason
    assert store.entry(victim) is None
    done(grid, store)
    assert contents(tmp_path / "store") == whole


def test_an_evaluation_opens_no_model(write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, store = laid(write_study), Store(tmp_path / "store")
    done(grid, store)
    whole = contents(tmp_path / "store")
    evaluations = [job for job in grid.jobs if job.work == Work.EVALUATE and store.place(job.key).is_dir()]
    assert evaluations
    for job in evaluations:
        shutil.rmtree(store.place(job.key))
        store.discard(job.key)
    monkeypatch.delattr(Run, "model")
    done(grid, store)
    assert contents(tmp_path / "store") == whole


def test_a_flipped_weight_is_found_and_made_again(write_study: Write, tmp_path: Path) -> None:
    grid, store = laid(write_study), Store(tmp_path / "store")
    done(grid, store)
    unlearn = next(job for job in grid.jobs if job.work == Work.UNLEARN and "fine-tune" in job.title)
    path = store.place(unlearn.one("original")) / "model.safetensors"
    tensors = read_tensors(path)
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + 1
    write_tensors(path, tensors)
    store.discard(unlearn.key)
    shutil.rmtree(store.place(unlearn.key))
    assert "was altered" in carry_out(unlearn, store, OpenedData()).reason
    assert store.entry(unlearn.one("original")) is None


def test_the_unforeseen_is_told_with_its_line(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("what is this")

    monkeypatch.setattr("expunge.study.work.train", broken)
    entry = carry_out(laid(write_study).jobs[0], Store(tmp_path / "store"), OpenedData())
    assert entry.outcome is JobOutcome.FAILED
    assert entry.reason.startswith("KeyError: 'what is this' (not foreseen; test_work.py, line ")


def test_holm_over_methods(write_study: Write, tmp_path: Path) -> None:
    """A refutation that stands alone at p = .02 does not among two methods, if the other is no clearer."""
    from expunge.study.results import Gathered
    from expunge.study.scheduler import known_outcomes

    study = read_study(write_study(SMALL.replace('"certified-logistic"', '"scrub"')))
    grid, store = lay_out(study), Store(tmp_path / "store")
    done(grid, store)
    (setting,) = grid.settings

    def verdicts(p_values: dict[str, float]) -> dict[str, str]:
        for label, p in p_values.items():
            path = store.place(setting.runs[label][0].evaluate) / "evaluation.json"
            told = read_document(Evaluation, path.read_bytes(), path.name)
            told = seal(replace(told, verdict=Refuted("mean-margin: far off", p)))
            path.write_text(write_document(told))
            entry = store.entry(setting.runs[label][0].evaluate)
            assert entry is not None
            store.keep(replace(entry, digest=digest_of(told)))
        results = Gathered(study, grid, store, known_outcomes(grid.jobs, store))
        return {label: results.verdict(setting, setting.runs[label][0])[0] for label in p_values}

    assert verdicts({"fine-tune": 0.02, "scrub": 0.04}) == {"fine-tune": "Refuted", "scrub": "Refuted"}
    assert verdicts({"fine-tune": 0.03, "scrub": 0.04}) == {"fine-tune": "Undecided", "scrub": "Undecided"}
    assert verdicts({"fine-tune": 0.001, "scrub": 0.06}) == {"fine-tune": "Refuted", "scrub": "Undecided"}


def test_data_that_change_are_refused(write_study: Write, tmp_path: Path) -> None:
    pictures(tmp_path / "d.npz")
    file = write_study(SMALL.replace('"digits"\n', f'"{tmp_path / "d.npz"}"\n', 1))
    jobs = lay_out(read_study(file)).jobs
    store = Store(tmp_path / "store")
    with np.load(tmp_path / "d.npz") as arrays:
        x, y = arrays["x"].copy(), arrays["y"]
        x[0, 0, 0] += 1
        np.savez(tmp_path / "other.npz", x=x, y=y)
    (tmp_path / "other.npz").rename(tmp_path / "d.npz")
    entry = carry_out(jobs[0], store, OpenedData())
    assert entry.outcome.value == "failed"
    assert "are not those that the study was planned with: put them back" in entry.reason
    (tmp_path / "d.npz").unlink()
    entry = carry_out(jobs[0], store, OpenedData())
    assert "d.npz does not exist" in entry.reason
    pictures(tmp_path / "d.npz")
    entry = carry_out(jobs[0], store, OpenedData())
    assert (entry.outcome.value, entry.reason) == ("done", "")


def test_a_full_disk_fails_and_is_mended(write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, store = laid(write_study).jobs[0], Store(tmp_path / "store")

    def full(*_: Any) -> None:
        raise RunError("x could not be written (No space left on device)") from OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("expunge.study.readings.write_with", full)
        entry = carry_out(job, store, OpenedData())
    assert entry.outcome is JobOutcome.FAILED
    assert "No space left" in entry.reason
    assert carry_out(job, store, OpenedData()).outcome is JobOutcome.DONE


def test_where_even_the_note_cannot_be_kept(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, store = laid(write_study).jobs[0], Store(tmp_path / "store")

    def full(*_: Any) -> None:
        raise RunError("entry.json could not be written") from OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "keep", full)
        entry = carry_out(job, store, OpenedData())
    assert entry.outcome is JobOutcome.FAILED
    assert entry.reason.startswith("the store could not be written: make room")
    assert store.entry(job.key) is None
    assert carry_out(job, store, OpenedData()).outcome is JobOutcome.DONE
