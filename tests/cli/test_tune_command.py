"""``expunge tune`` as a person uses it, and ``unlearn --tuned`` with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge
from tests.study.rehearsed import odd_digits

from expunge.records.document import sealed
from expunge.records.form import to_plain
from expunge.records.tuning import Tuning
from expunge.schedule.recipe import Optimiser
from expunge.study.tuning import read_tuning
from expunge.train.training import train


def test_tune_unlearn_evaluate(expunge: Expunge, tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "tuning"
    odd_digits(tmp_path / "odd.npz")
    memorising = Optimiser(name="adamw", rate=5e-3)
    train(str(tmp_path / "odd.npz"), out=base, model="mlp", epochs=20, batch_size=40, optimiser=memorising)
    command = ("tune", base, "--method", "scrub", "--method", "ntk", "--size", "15%", "--trials", 3, "--out", out)
    status, printed, _ = expunge(*command)
    assert status == 0
    for words in (
        "scrub",
        "neural-tangent-kernel",
        "nothing here forgets within this budget (10 % of the training's work)",
        "doing nothing scores 1, one honest retraining about 0.",
        "the 4 twins took",
        "nothing to tune",
    ):
        assert words in printed
    status, printed, error = expunge(*command, "--json")
    assert (status, error) == (0, "")
    assert json.loads(printed) == to_plain(read_tuning(out / "tuning.json"))
    request = ("unlearn", base, "--forget", "random:10%:3", "--method", "scrub")
    status, printed, _ = expunge(*request, "--tuned", out / "tuning.json", "--out", tmp_path / "scrub")
    assert status == 0
    assert "tuned by rehearsal in 3 trials" in printed
    expunge("unlearn", base, "--forget", "random:10%:3", "--method", "retrain", "--out", tmp_path / "retrained")
    notices = []
    for name in ("scrub", "plain"):
        expunge(*request, "--out", tmp_path / name) if name == "plain" else None
        status, printed, _ = expunge("evaluate", tmp_path / name, "--reference", tmp_path / "retrained", "--json")
        assert status == 0
        notices.append(json.loads(printed)["notices"])
    assert not any("untuned" in notice for notice in notices[0])
    assert any("untuned" in notice for notice in notices[1])
    status, _, error = expunge(*request, "--tuned", out / "tuning.json", "--set", "rate=1", "--out", tmp_path / "x")
    assert status == 2
    assert "--set and --tuned exclude each other" in error
    status, _, error = expunge(*request, "--tuned", base / "run.json", "--out", tmp_path / "x")
    assert status == 2
    assert "not a tuning" in error
    old = json.loads((out / "tuning.json").read_text())
    del old["score"]
    (out / "tuning.json").write_text(json.dumps(sealed(Tuning, old)))
    status, _, error = expunge(*request, "--tuned", out / "tuning.json", "--out", tmp_path / "x")
    assert (status, (tmp_path / "x").exists()) == (2, False)
    assert "the tuning chose by score 1, now it is 2" in " ".join(error.split())
    assert "prepare again by `expunge tune` into another folder" in " ".join(error.split())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--method", "retrain"), "has no budget and nothing to tune"),
        (("--method", "scrub", "--kind", "person"), "kind 'person' is not one of random, class, subject"),
        (("--method", "scrub", "--budget", "0"), "budget 0 must be"),
        (("--method", "scrub", "--trials", "0"), "trials 0 must be"),
        (("--method", "scrub", "--oracle", "somewhere"), "--oracle and --forget go together"),
        (("--method", "scrub", "--forget", "class:1"), "--oracle and --forget go together"),
        (("--method", "scrub", "--oracle", "x", "--forget", "class:1", "--kind", "class"), "rehearses nothing"),
        (("--method", "scrub", "--size", "60%"), "may be taken"),
        (("--method", "scrub", "--avoid", "class:11"), "class '11' is not one of"),
        ((), "Missing option '--method'"),
    ],
)
def test_what_tune_refuses(more: tuple[str, ...], words: str, expunge: Expunge, tmp_path: Path, digits: Path) -> None:
    status, _, error = expunge("tune", digits, *more, "--out", tmp_path / "out")
    assert status == 2
    assert words in " ".join(error.split())
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("digits", out=tmp_path_factory.mktemp("digits") / "run", model="mlp", epochs=1).path


def test_a_method_that_is_added_leaves_the_others_in(expunge: Expunge, tmp_path: Path, digits: Path) -> None:
    out = tmp_path / "tuning"
    assert expunge("tune", digits, "--method", "scrub", "--trials", 2, "--out", out)[0] == 0
    assert expunge("tune", digits, "--method", "fine-tune", "--trials", 2, "--out", out)[0] == 0
    assert [entry.method for entry in read_tuning(out / "tuning.json").methods] == ["scrub", "fine-tune"]
    status, _, error = expunge(
        "tune", digits, "--method", "scrub", "--trials", 2, "--size", "", "--out", tmp_path / "x"
    )
    assert (status, "10%" in error) == (2, True)
    lines = (out / "trials.jsonl").read_text().splitlines()
    (out / "trials.jsonl").write_text("\n".join([lines[0], '{"method": "scrub"}', *lines[2:]]) + "\n")
    status, _, error = expunge("tune", digits, "--method", "scrub", "--trials", 2, "--out", out)
    assert status == 2
    assert "trials.jsonl: a kept trial cannot be read" in error.replace("\n", " ")
    assert "choose another --out, or remove this folder" in " ".join(error.split())
