"""``expunge study`` as a person uses it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from expunge.cli.main import main
from expunge.cli.study import drawn
from expunge.study.progress import StudyStanding

STUDY = """
title = "Tiny"
references = 1
methods = ["retrain"]
[[method]]
name = "fine-tune"
label = "fine-tune [/] twice [bold]"
set = { rate = 0.02 }
[data.digits]
location = "digits"
[training.mlp]
model = "mlp"
model_options = { width = 4 }
epochs = 1
[forget.random]
rules = "random:5%:1"
"""


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    (tmp_path / "tiny.toml").write_text(STUDY)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["expunge", "study", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        found = capsys.readouterr()
        return int(stop.value.code or 0), found.out, found.err

    return call


def test_a_study_from_the_command_line(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, printed, log = run(tmp_path / "tiny.toml", "--out", out, "--jobs", 1)
    assert status == 0, log
    assert "fine-tune [/] twice [bold]" in printed  # names are not taken for markup
    assert "verdicts on methods, over trainings" in printed
    assert f"report: {out / 'leaderboard.html'}" in printed
    assert "6 of 6 done" in log
    assert {path.name for path in (out / "methods").iterdir()} == {"retrain.html", "fine-tune.html"}
    status, printed, _ = run(tmp_path / "tiny.toml", "--out", out, "--jobs", 1, "--json")
    assert status == 0
    told: dict[str, Any] = json.loads(printed)
    assert told["cost"]["reused"] == 6
    assert told["command"].startswith("expunge study ")
    status, drawn_again, _ = run(tmp_path / "tiny.toml", "--out", out, "--draw", "--json")
    assert status == 0
    assert json.loads(drawn_again)["settings"] == told["settings"]


def test_what_is_wrong_is_one_sentence(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(STUDY.replace("epochs = 1", "epoch = 1"))
    for arguments, rule in (
        ((bad, "--out", tmp_path / "out"), f"{bad}, line 14: a training has no 'epoch'"),
        ((tmp_path / "tiny.toml", "--out", tmp_path / "out", "--draw", "--jobs", 2), "--draw computes nothing"),
        ((tmp_path / "tiny.toml", "--out", tmp_path / "out", "--jobs", 0), "--jobs 0 must be a whole number"),
        ((tmp_path / "tiny.toml", "--out", tmp_path / "tiny.toml"), "tiny.toml cannot be used as --out"),
        ((tmp_path / "tiny.toml", "--out", tmp_path / "out", "--store", tmp_path), "is not empty and not a store"),
        ((tmp_path / "none.toml", "--out", tmp_path / "out"), "none.toml is missing"),
    ):
        status, printed, error = run(*arguments)
        assert status == 2
        assert printed == ""
        assert rule in error.replace("\n", " ")
        assert "Traceback" not in error
    assert not (tmp_path / "out" / "results.json").exists()


def test_failed_jobs_make_status_one(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    (tmp_path / "tiny.toml").write_text(STUDY.replace("epochs = 1", 'epochs = 1\ndevice = "cuda"'))
    status, printed, _ = run(tmp_path / "tiny.toml", "--out", tmp_path / "out", "--jobs", 1)
    assert status == 1
    assert "failed: train digits-mlp, seed 0: device 'cuda' is not available here" in printed.replace("\n", " ")
    assert "mend what they say, then run the same command again" in printed


def test_the_live_view_names_what_runs() -> None:
    standing = StudyStanding(
        total=40,
        done=10,
        reused=2,
        refused=1,
        failed=1,
        left_out=1,
        running=tuple(f"unlearn [{number}]" for number in range(10)),
        elapsed=60.0,
        left=120.0,
    )
    console = Console(width=200, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(drawn(standing))
    console.file.close()
    text = console.export_text()
    assert "10 of 40 done, 2 of them before, 1 refused, 1 failed, 1 left out, 10 running, end expected" in text
    assert "unlearn [7]" in text
    assert "unlearn [8]" not in text
    assert "and 2 more" in text
