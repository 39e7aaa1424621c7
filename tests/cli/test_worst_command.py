"""``expunge worst`` as a person uses it: what it says, what it writes, and the set in another command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge

from expunge.train.training import train


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits") / "run"
    return train("digits", out=out, model="mlp", model_options={"width": 16}, epochs=2).path


def test_worst_and_unlearn(expunge: Expunge, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "hidden.json"
    command = ("worst", digits, "--size", "10%", "--objective", "hidden", "--cap-per-class", "20%", "--out", out)
    told = ("--set", "steps=2", "--set", "epochs=1", "--heuristic", "el2n")
    status, printed, _ = expunge(*command, *told, "--page", tmp_path / "page.html")
    assert status == 0
    for words in (
        "144 of 1,438 rows, by hidden: the most typical examples",
        "loss after unlearning",
        "in 20 random sets",
        "by class: 0 ",
        "example-steps",
        "moved: ",
        "shared by each two sets",
        "el2n high",
        f"--forget {out}",
    ):
        assert words in printed
    assert "hardest" not in printed
    assert "The 144 most typical of 1,438 rows" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert expunge(*command, *told, "--json").json == json.loads(out.read_text())
    status, printed, _ = expunge("unlearn", digits, "--forget", out, "--method", "fine-tune", "--out", tmp_path / "run")
    assert status == 0
    assert "forgot 144 examples" in printed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--objective", "distant", "--proxy", "ridge"), "by distant: the examples whose answers a retraining would"),
        (("--heuristic", "loss", "--end", "high"), "by loss: one end of the original's loss"),
    ],
)
def test_other_rules(more: tuple[str, ...], said: str, expunge: Expunge, digits: Path, tmp_path: Path) -> None:
    status, printed, _ = expunge("worst", digits, "--size", "20", *more, "--out", tmp_path / "set.json")
    assert status == 0
    assert said in printed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--size", "0"), "--size 0 would choose none of 1438 rows: ask for 1 to 1437"),
        (("--size", "100%"), "--size 100% would choose all or more"),
        (("--by", "class", "--size", "10"), "all or more of 10 classes"),
        (("--size", "9", "--end", "low"), "selection 'hidden' has no field 'end'"),
        (("--size", "9", "--objective", "distant", "--proxy", "oracle"), "proxy 'oracle' is not one of ridge, lira"),
        (
            ("--size", "9", "--objective", "distant", "--proxy", "lira"),
            "and --half names none: make them with `expunge halves`, or one with `expunge train … --without",
        ),
        (("--size", "9", "--page", "page.txt"), "page.txt must end in .html"),
        (("--size", "9", "--cap-per-class", "some"), "--cap-per-class 'some' must be a share"),
        (
            ("--size", "9", "--start", "mask", "--rate", "0.01", "--set", "steps=1", "--set", "epochs=1"),
            "--start mask with --rate 0.01: over 1 steps two weights come nearer to each other by",
        ),
    ],
)
def test_what_worst_refuses(more: tuple[str, ...], said: str, expunge: Expunge, digits: Path, tmp_path: Path) -> None:
    status, _, error = expunge("worst", digits, *more, "--out", tmp_path / "set.json")
    assert status == 2
    assert said in " ".join(error.split())
    assert not (tmp_path / "set.json").exists()


def test_the_help_has_an_example(expunge: Expunge) -> None:
    status, printed, _ = expunge("worst", "--help")
    assert status == 0
    assert "Example: expunge worst runs/base --size 10%" in " ".join(printed.split())
