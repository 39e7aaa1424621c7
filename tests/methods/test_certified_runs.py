"""Certified removal through run folders and the command line: accounts, refusals, alterations."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import run_json
from tests.methods.linear_problems import DECAY, FIELDS, SIGMA

from expunge.core.errors import ExpungeError, UnsupportedEver
from expunge.core.values import Certified, Empirical
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.lookup import find_method
from expunge.methods.removal_account import allowance
from expunge.methods.unlearn import unlearn
from expunge.models.linear import features_of, head_of
from expunge.tasks.linear import Logistic
from expunge.train.examples import Examples
from expunge.train.newton_removal import LinearRows, gradient
from expunge.train.perturbation import KEY_BYTES, KEY_NAME, draw_noise, read_key
from expunge.train.run import Run
from expunge.train.training import train

PERSON = "subject:someone-02"


@pytest.fixture(scope="module")
def base(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(pictures, out=tmp_path_factory.mktemp("certified") / "base", **FIELDS)


def test_two_requests_on_disk_share_an_account(base: Run, pictures: Dataset, tmp_path: Path) -> None:
    first = unlearn(base, PERSON, method="certified-logistic", out=tmp_path / "first", data=pictures)
    second = unlearn(first, "subject:someone-03", method="newton", out=tmp_path / "second", data=pictures)
    for child in (first, second):
        assert child.guarantee == Certified(1.0, 1e-4)
        assert run_json(child)["trajectory"] == "none"
        assert (child.path / KEY_NAME).read_bytes() == (base.path / KEY_NAME).read_bytes()
        assert any("is spent of the gradient" in notice for notice in run_json(child)["notices"])
    assert "account" not in run_json(base)
    spent = [np.array(run_json(child)["account"]["spent"]) for child in (first, second)]
    added = run_json(second)["account"]["removals"][1]["added"]
    np.testing.assert_allclose(spent[0] + np.array(added), spent[1], rtol=1e-12)
    assert run_json(second)["account"]["training"] == run_json(first)["account"]["training"]
    assert len(run_json(second)["account"]["removals"]) == 2
    retrained = unlearn(
        base, [PERSON, "subject:someone-03"], method="retrain", out=tmp_path / "retrained", data=pictures
    )
    assert "account" not in run_json(retrained)
    assert np.abs(weights_of(second) - weights_of(retrained)).max() < 1e-3
    assert np.abs(weights_of(second) - weights_of(base)).max() > 1e-2
    afresh = unlearn(retrained, "subject:someone-04", method="newton", out=tmp_path / "afresh", data=pictures)
    assert len(run_json(afresh)["account"]["removals"]) == 1
    again = unlearn(first, "subject:someone-03", method="newton", out=tmp_path / "again", data=pictures)
    assert again.weights_digest == second.weights_digest
    assert run_json(again)["account"] == run_json(second)["account"]


def weights_of(run: Run) -> np.ndarray:
    return head_of(run.model()).weight.detach().double().numpy()


def test_float32_training_alone_leaves_little(base: Run, pictures: Dataset, tmp_path: Path) -> None:
    """Full batches with momentum reach a gradient far below what the noise hides: no float64 polish is needed."""
    child = unlearn(base, PERSON, method="newton", out=tmp_path / "child", data=pictures)
    left = max(run_json(child)["account"]["training"])
    assert 0 < left < 0.01 * allowance(SIGMA, 1.0, 1e-4, 3)
    rows = Examples(base.recipe, base.data(pictures)[Split.TRAIN], torch.device("cpu")).batch(np.arange(120))
    features = features_of(base.model(), rows["inputs"]).detach().double()
    noise = draw_noise(base.recipe, read_key(base.path / KEY_NAME), base.schedule.seed)
    weights = torch.from_numpy(weights_of(base))
    found = gradient(Logistic(), weights, LinearRows(features, rows["labels"]), DECAY) + torch.from_numpy(noise)
    expected = torch.linalg.vector_norm(found, dim=1).tolist()
    for said, true in zip(run_json(child)["account"]["training"], expected, strict=True):
        assert true <= said <= 1.1 * true  # two digits, rounded up: what is published tells no more
        assert float(f"{said:.1e}") == pytest.approx(said, rel=1e-12)


def test_a_refusal_writes_nothing(pictures: Dataset, tmp_path: Path) -> None:
    careless = train(pictures, out=tmp_path / "careless", **{**FIELDS, "epochs": 3})
    with pytest.raises(UnsupportedEver, match="use `method` retrain"):
        unlearn(careless, PERSON, method="newton", out=tmp_path / "child", data=pictures)
    assert not (tmp_path / "child").exists()


def test_other_methods_work_on_linear_runs(base: Run, pictures: Dataset, tmp_path: Path) -> None:
    tuned = unlearn(base, PERSON, method="fine-tune", out=tmp_path / "tuned", data=pictures)
    assert tuned.guarantee == Empirical()
    with pytest.raises(UnsupportedEver, match="the account of this run stands at"):
        unlearn(tuned, "subject:someone-03", method="newton", out=tmp_path / "child", data=pictures)


def test_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train digits, forget a person under a certificate, evaluate. The noise key is given: one from the system's own
    randomness would make another draw of every run of this test."""
    from expunge.cli.main import main

    def expunge(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["expunge", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        found = capsys.readouterr()
        assert int(stop.value.code or 0) == (2 if found.err.startswith("error") else 0), found.err
        return found.out if "--json" in arguments else found.out + found.err

    linear = ("train", "digits", "--task", "logistic", "--model", "linear")
    tuned = ("--rate", 4, "--calendar", "constant", "--weight-decay", 1e-3, "--batch-size", 2000, "--epochs", 400)
    key = tmp_path / "given.key"
    key.write_bytes(bytes(range(KEY_BYTES)))
    noise = ("--perturbation", 1, "--noise-key", key)
    out = expunge(*linear, *tuned, *noise, "--out", tmp_path / "base")
    assert "trained linear on 1438 rows" in out
    forget = ("--forget", "subject:person-017")
    out = expunge("unlearn", tmp_path / "base", *forget, "--method", "newton", "--out", tmp_path / "child")
    assert "guarantee Certified(ε=1, δ=0.0001)" in out
    assert "is spent of the gradient" in out
    retrain = ("unlearn", tmp_path / "base", *forget, "--method", "retrain")
    expunge(*retrain, "--out", tmp_path / "same-noise")
    expunge(*retrain, "--set", "training_seed=1", "--out", tmp_path / "retrained")
    before, after, anew = (weights_of(Run.open(tmp_path / name)) for name in ("base", "child", "same-noise"))
    assert np.linalg.norm(after - anew) < 1e-3 * np.linalg.norm(before - anew)
    shown = expunge("evaluate", tmp_path / "child", "--reference", tmp_path / "retrained", "--json")
    probes = {probe["name"]: probe for probe in json.loads(shown)["probes"]}
    assert probes["test-accuracy"]["unlearned"]["value"] > 0.9
    assert len(probes["mean-margin"]["references"]) == 1
    assert "task 'poetry' is not known: choose one of classification, logistic, squared" in expunge(
        "train", "digits", "--task", "poetry", "--out", tmp_path / "no"
    )
    assert "perturbation 1 with task classification" in expunge(
        "train", "digits", "--perturbation", 1, "--out", tmp_path / "no"
    )
    assert "noise key" in expunge("train", "digits", "--noise-key", tmp_path / "none", "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()
    assert find_method("newton").name == "certified-logistic"


def test_an_account_that_was_altered_is_refused(base: Run, pictures: Dataset, tmp_path: Path) -> None:
    child = unlearn(base, PERSON, method="newton", out=tmp_path / "child", data=pictures)
    honest = json.loads((child.path / "run.json").read_text(encoding="utf-8"))
    spent = honest["account"]["spent"]
    wrong: list[tuple[Any, str]] = [
        ({**honest["account"], "spent": [-1.0] * len(spent)}, "not one of 3 classes"),
        ({**honest["account"], "spent": [0.0] * len(spent)}, "does not add up"),
        ({**honest["account"], "spent": spent[:2]}, "not one of 3 classes"),
        ({**honest["account"], "spent": "abc"}, "cannot be read"),
        ({**honest["account"], "removals": []}, "not one of 3 classes"),
        ("x", "account holds 'x' where an object is needed"),
        (None, "its account is gone"),
    ]
    for number, (account, words) in enumerate(wrong):
        altered = {name: value for name, value in honest.items() if name != "account"}
        if account is not None:
            altered["account"] = account
        (child.path / "run.json").write_text(json.dumps(altered), encoding="utf-8")
        with pytest.raises(ExpungeError, match=words):
            unlearn(child.path, "subject:someone-05", method="newton", out=tmp_path / f"next-{number}", data=pictures)
        assert not (tmp_path / f"next-{number}").exists()
    (child.path / "run.json").write_text(json.dumps(honest), encoding="utf-8")
    again = unlearn(child.path, "subject:someone-05", method="newton", out=tmp_path / "again", data=pictures)
    assert len(run_json(again)["account"]["removals"]) == 2
