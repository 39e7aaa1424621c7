"""``expunge forge`` as a person uses it: deny a row, keep the record, verify it, or make a training up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge

from expunge.data.source import Source
from expunge.train.run import Run
from expunge.train.training import train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    digits = Source(location="digits", rows=400)
    out = tmp_path_factory.mktemp("forge") / "base"
    return train(digits, out=out, model="mlp", model_options={"width": 16}, epochs=2, checkpoint_interval=5)


def test_a_row_is_denied_and_the_record_is_refused(expunge: Expunge, base: Run, tmp_path: Path) -> None:
    out = tmp_path / "forged"
    arguments = ("forge", base.path, "--target", "digit-0017", "--method", "swap", "--distance", 50, "--out", out)
    status, printed, _ = expunge(*arguments)
    assert status == 0
    for words in (
        "swap: 2 of 2 steps forged",
        "l2 of the weights",
        "l∞ of the weights",
        "replay, same process",
        "replay, rows permuted",
        "replay, other thread count",
        "median replay noise",
        "example-steps",
        "Proof-of-Learning as published: accepted",
        "delta 0.4 = 0.008 × d_ref",
        "verify at V1: refused (SCHEDULE_BATCH_MISMATCH)",
        "throwaway key",
    ):
        assert words in printed
    status, printed, _ = expunge("verify", out / "bundle", "--keys", out / "trusted.json")
    assert status == 1
    assert "SCHEDULE_BATCH_MISMATCH" in printed
    status, _, error = expunge(*arguments)
    assert status == 2
    assert "exists" in error


def test_the_figures_come_as_json(expunge: Expunge, base: Run) -> None:
    arguments = ("--candidates", 3, "--steps", 1, "--distance", 50, "--json")
    status, printed, _ = expunge("forge", base.path, "--target", "digit-0017", "--method", "greedy", *arguments)
    found = json.loads(printed)
    assert status == 0
    assert (found["steps_with_target"], found["steps_forged"], found["bundle"]) == (2, 1, None)
    assert found["example_steps"] == 3 * 64
    assert found["answers"]["d_ref"] == 50
    assert found["answers"]["verify"] == [{"level": "V1", "status": "refused", "codes": ["SCHEDULE_BATCH_MISMATCH"]}]
    assert len(found["steps"]) == 1
    assert set(found["steps"][0]["noise"]) == {"same process", "rows permuted", "other thread count", "oneDNN off"}


def test_a_whole_training_is_made_up(expunge: Expunge, base: Run, tmp_path: Path) -> None:
    out = tmp_path / "made"
    status, printed, _ = expunge("forge", base.path, "--method", "infinitesimal", "--distance", 50, "--out", out)
    assert status == 0
    assert "for 0 example-steps of training" in printed
    assert "Proof-of-Learning as published: accepted" in printed
    assert "verify at V1: refused (RECIPE_DEGENERATE)" in printed
    status, _, _ = expunge("verify", out / "bundle", "--keys", out / "trusted.json")
    assert status == 1
    status, printed, _ = expunge("forge", base.path, "--method", "infinitesimal", "--distance", 50, "--json")
    assert status == 0
    assert json.loads(printed)["verify"][-1]["codes"] == ["RECIPE_DEGENERATE"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "swap"), "needs --target"),
        (("--method", "swop", "--target", "digit-0017"), "'swop' is not known"),
        (("--method", "blindfold", "--target", "digit-0017"), "leave --target out"),
        (("--target", "digit-9999"), "is the id of no training row"),
        (("--target", "digit-0017", "--candidates", 0), "candidates 0 must be a whole number from 1"),
        (("--target", "digit-0017", "--distance", 0), "--distance 0.0 must be above 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    arguments: tuple[object, ...], words: str, expunge: Expunge, base: Run
) -> None:
    status, printed, error = expunge("forge", base.path, *arguments)
    assert (status, printed) == (2, "")
    assert words in " ".join(error.split())
    assert "Traceback" not in error


def test_a_folder_that_is_no_run_is_refused(expunge: Expunge, tmp_path: Path) -> None:
    status, _, error = expunge("forge", tmp_path, "--target", "x", "--method", "swap")
    assert status == 2
    assert "is not a run" in " ".join(error.split())
