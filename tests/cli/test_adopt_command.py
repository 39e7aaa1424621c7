"""``expunge adopt`` as a person types it, and what its run says from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Expunge
from tests.train import elsewhere
from tests.train.elsewhere import FACTORY

from expunge.data.dataset import Dataset

GONE = "subject:someone-00"
PREPARED = ("--scale", "1/255", "--mean", "0.25", "--std", "0.4")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pictures_like: Any) -> Path:
    place = tmp_path_factory.mktemp("adopt-command")
    rows: Dataset = elsewhere.as_arrays(pictures_like(rows=280, people=14, seed=8))
    data, holdout, staying = (rows.take(np.arange(*part)) for part in ((0, 200), (200, 280), (20, 200)))
    elsewhere.as_npz(data, place / "data.npz")
    elsewhere.as_npz(holdout, place / "holdout.npz")
    elsewhere.saved(elsewhere.trained(data, epochs=6), place / "model.safetensors")
    elsewhere.saved(elsewhere.trained(staying, 1, epochs=6), place / "retrained.safetensors")
    (place / "model.pt").touch()
    return place


def test_adopt_unlearn_evaluate_report(expunge: Expunge, place: Path, tmp_path: Path) -> None:
    data = ("--model", FACTORY, *PREPARED, "--holdout", place / "holdout.npz", "--epochs", 6, "--batch-size", 16)
    done = expunge("adopt", place / "model.safetensors", place / "data.npz", *data, "--out", tmp_path / "base")
    assert done.status == 0
    assert (
        f"adopted {FACTORY} with 363 parameters, trained elsewhere on 200 rows (20 calibration, 60 holdout)" in done.out
    )
    assert "note: what it was trained on, and how, is its owner's word" in done.out
    assert "note: it answers 200 of 200 training rows as they are labelled (100.0%)\n" in done.out
    assert "guarantee Empirical(no test passed yet)" in done.out
    info = expunge("info", tmp_path / "base").out
    assert "trained elsewhere  by its owner's word, epochs 6, batch 16, rate not told" in info
    assert "rows times 0.00392157, minus 0.25, divided by 0.4" in info
    assert "seconds" not in info
    assert expunge("info", tmp_path / "base", "--json").json["operation"] == "adopt"
    forgot = expunge("unlearn", tmp_path / "base", "--forget", GONE, "--method", "scrub", "--out", tmp_path / "forgot")
    assert "of the 6 epochs that its owner tells)" in forgot.out
    twin = expunge(
        *("adopt", place / "retrained.safetensors", place / "data.npz", *data, "--without", GONE),
        *("--out", tmp_path / "retrained", "--json"),
    ).json
    assert twin["forgotten"] == 20
    evaluated = expunge("evaluate", tmp_path / "forgot", "--reference", tmp_path / "retrained")
    assert "verdict: undecided" in evaluated.out
    assert expunge("report", tmp_path / "forgot", "--out", tmp_path / "page.html").status == 0
    table = expunge("report", tmp_path / "forgot", tmp_path / "base", "--out", tmp_path / "both.html").out
    assert "Exact" not in done.out + info + forgot.out + evaluated.out + table


def test_attest_verify_and_certify(expunge: Expunge, place: Path, tmp_path: Path) -> None:
    """Accepted at V1; the page says whose word the training is, and nowhere that anything is exact."""
    keys, base, forgot, bundle = (tmp_path / name for name in ("keys", "base", "forgot", "bundle"))
    data = ("--model", FACTORY, *PREPARED, "--holdout", place / "holdout.npz")
    expunge("keygen", "--out", keys)
    expunge("adopt", place / "model.safetensors", place / "data.npz", *data, "--out", base)
    expunge("unlearn", base, "--forget", GONE, "--method", "scrub", "--out", forgot)
    for run, name in ((base, "base-bundle"), (forgot, "bundle")):
        assert expunge("attest", run, "--key", keys / "private.pem", "--out", tmp_path / name).status == 0
        assert expunge("verify", tmp_path / name, "--keys", keys / "trusted.json").status == 0
        page = tmp_path / f"{name}.html"
        told = expunge("report", tmp_path / name, "--keys", keys / "trusted.json", "--out", page, "--json").json
        assert told["facts"]["checked"]["status"] == "accepted"
        text = page.read_text(encoding="utf-8")
        assert "trained elsewhere: by what, for how long and on how many rows at once is its owner’s word" in text
        assert "passes over the training rows" in text or name == "base-bundle"
        for word in ("Exact", "exact profile", "epochs in batches", "of the training’s work"):  # nobody told these
            assert word not in text
        findings = expunge("verify", tmp_path / name, "--keys", keys / "trusted.json").out
        assert "trained elsewhere" in next(line for line in findings.splitlines() if "recipe file" in line)
    assert [link["operation"] for link in told["facts"]["chain"]] == ["commit", "adopt", "unlearn"]
    beyond = expunge("verify", bundle, "--keys", keys / "trusted.json", "--level", "V3", "--data", place / "data.npz")
    assert beyond.status == 3
    assert "V1 is as far as such a record goes" in beyond.out


def test_without_a_word_on_its_training(expunge: Expunge, place: Path, tmp_path: Path) -> None:
    arguments = ("--model", FACTORY, *PREPARED, "--out", tmp_path / "base")
    done = expunge("adopt", place / "model.safetensors", place / "data.npz", *arguments)
    assert "note: its epochs are not told: a budget of an unlearning is said in epochs, 1 unless said" in done.out
    assert "note: no holdout" in done.out
    forgot = expunge(
        *("unlearn", tmp_path / "base", "--forget", GONE, "--method", "fine-tune", "--budget", "0.5"),
        *("--out", tmp_path / "forgot"),
    )
    assert "epochs) in" in forgot.out
    refused = expunge("unlearn", tmp_path / "base", "--forget", GONE, "--out", tmp_path / "none")
    assert refused.status == 2
    assert "'exact-replay'" in refused.err
    assert "whose model was trained elsewhere" in refused.err


def test_refusals_name_flags(expunge: Expunge, place: Path, tmp_path: Path) -> None:
    def refused(weights: str, *options: object) -> str:
        done = expunge(
            *("adopt", place / weights, place / "data.npz", "--model", FACTORY, *options, "--out", tmp_path / "none")
        )
        assert done.status == 2
        return done.err

    assert "is a pickle, which can run code and is never read" in refused("model.pt")
    assert "weights_only=True" in refused("model.pt")
    assert "--mean 'grey' must be a number such as 0.5, or a fraction such as 1/255" in refused(
        "model.safetensors", "--mean", "grey"
    )
    assert "--std has 2 values, rows have 1 channels" in refused("model.safetensors", "--std", "1,2")
    assert "of --holdout stand in the data too" in refused("model.safetensors", "--holdout", place / "data.npz")
    assert "name one of x" in refused("model.safetensors", "--split-column", "part")
