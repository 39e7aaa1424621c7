"""A training that begins with weights from elsewhere names them, and is exact relative to them alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import run_json
from tests.verify.levels.replaying import finding_of, sealed, story_of, verified
from torch import nn

from expunge.cli.main import main
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.hashing import sha256
from expunge.core.values import Exact
from expunge.data.dataset import Dataset
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.models import base as bases
from expunge.models.resolver import build
from expunge.records.keys import SigningKey
from expunge.records.limits import Code
from expunge.records.record import GuaranteePart
from expunge.records.verdict import Level, Status
from expunge.train.run import Run
from expunge.train.training import make_recipe, train

PERSON = "subject:someone-03"
FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16, "checkpoint_interval": 4}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    found = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU()).state_dict()
    save_file(found, tmp_path / "old.safetensors")
    return tmp_path / "old.safetensors"


@pytest.fixture
def run(weights: Path, pictures: Dataset, tmp_path: Path) -> Run:
    return train(pictures, out=tmp_path / "run", base=weights, **FIELDS)


def test_training_begins_with_the_base_and_the_seed_gives_the_rest(run: Run, weights: Path, pictures: Dataset) -> None:
    digest = sha256(weights.read_bytes()).hex()
    first = build(run.recipe, run.schedule.seed).state_dict()
    assert torch.equal(first["body.1.weight"], load_file(weights)["1.weight"])
    assert run.recipe.base == digest == run_json(run)["recipe"]["base"]
    assert run.guarantee == Exact(digest)
    assert str(run.guarantee) == f"Exact relative to base {digest[:16]}…; what the base saw before is not covered"
    assert run_json(run)["guarantee"] == {"kind": "exact", "base": digest}


def test_a_recipe_without_a_base_keeps_its_digest(pictures: Dataset, tmp_path: Path, run: Run) -> None:
    plain = train(pictures, out=tmp_path / "plain", **FIELDS)
    assert "base" not in run_json(plain)["recipe"]
    assert plain.guarantee == Exact()
    assert plain.recipe.digest != run.recipe.digest
    assert plain.weights_digest != run.weights_digest


def test_a_folder_stands_alone_and_forgets_exactly_relative_to_its_base(
    run: Run, weights: Path, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.unlink()
    monkeypatch.setattr(bases, "_places", {})
    bases._read.cache_clear()
    replayed = unlearn(Run.open(run.path), PERSON, out=tmp_path / "replayed", data=pictures)
    retrained = unlearn(Run.open(run.path), PERSON, method="retrain", out=tmp_path / "retrained", data=pictures)
    assert replayed.weights_digest == retrained.weights_digest
    assert replayed.guarantee == retrained.guarantee == run.guarantee
    assert (replayed.path / "base.safetensors").is_file()
    said = survey(replayed, data=pictures)
    assert "base.safetensors" not in str(said)


def test_a_record_names_its_base_and_is_verified_with_it(
    run: Run, weights: Path, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    story = story_of(unlearn(run, PERSON, out=tmp_path / "forgot", data=pictures), owner)
    record = story.record
    assert record.guarantee.base == bytes.fromhex(run.recipe.base or "")
    assert record.claim == ("C2", "C3", "C7")
    bundle = sealed(story, owner, tmp_path)
    for level in ("V1", "V2", "V3", "V4"):
        given = {} if level == "V1" else {"data": pictures, "base": weights}
        verdict = verified(bundle, trusted, level, **given)
        assert verdict.status is Status.ACCEPTED
        assert "base" in {remark.word for remark in verdict.remarks}
    other = tmp_path / "other.safetensors"
    save_file({"1.bias": torch.zeros(128)}, other)
    for base, said in ((None, "give it with `base`"), (other, "is not the base")):
        verdict = verified(bundle, trusted, "V2", data=pictures, base=base)
        assert (verdict.status, verdict.reached) == (Status.UNDECIDED, Level.V1)
        assert said in finding_of(verdict, "code").detail
    for guarantee in (
        GuaranteePart(kind=record.guarantee.kind),
        GuaranteePart(kind=record.guarantee.kind, base=b"7" * 32),
    ):
        told = story.changed(guarantee=guarantee)
        assert (
            Code.GUARANTEE_TOO_HIGH
            in verified(sealed(told, owner, tmp_path / str(guarantee)[:20]), trusted, "V1").codes
        )


def test_the_command_says_what_exact_is_relative_to(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"1.bias": torch.zeros(128)}
    save_file(state, weights)
    command = ["train", "digits", "--rows", "200", "--model", "mlp", "--epochs", "1", "--out", str(tmp_path / "run")]

    def said(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["expunge", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in (0, None)
        return " ".join(capsys.readouterr().out.split())

    told = said(*command, "--base", str(weights))
    assert f"guarantee Exact relative to base {sha256(weights.read_bytes()).hex()[:16]}…" in told
    assert "what the base saw before is not covered" in said("info", str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"1.weight": torch.zeros(3, 64)}, "where the model has torch.float32 of shape (128, 64)"),
        ({"9.weight": torch.zeros(3)}, "where the model has nothing"),
        ({"1.bias": torch.zeros(128, dtype=torch.float64)}, "torch.float64 of shape (128,), where the model has"),
        ({}, "holds no tensor"),
        (None, "is no safetensors file"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(
    tensors: dict[str, torch.Tensor] | None, said: str, pictures: Dataset, tmp_path: Path
) -> None:
    place = tmp_path / "odd.safetensors"
    if tensors is None:
        place.write_bytes(b"weights")
    else:
        save_file(tensors, place)
    with pytest.raises(InvalidArgument) as refusal:
        train(pictures, out=tmp_path / "run", base=place, **FIELDS)
    assert said in str(refusal.value)


def test_a_base_that_is_gone_or_names_no_digest_is_refused(pictures: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe(pictures, model="mlp")
    with pytest.raises(InvalidArgument, match="base 'abc' must be a SHA-256 in 64 hexadecimal digits"):
        replace(recipe, base="abc")
    monkeypatch.setattr(bases, "_places", {})
    with pytest.raises(RunError, match="which is not at hand: give its file with `base`"):
        bases.place_of_base("ab" * 32)
