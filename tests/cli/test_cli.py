"""The command line as a person uses it: every verb, every source form, every way to fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Expunge

from expunge.cli.app import VERBS
from expunge.cli.main import main
from expunge.cli.shared import pairs, share
from expunge.core.errors import InvalidArgument


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from expunge.train.training import train

    return train("digits", out=tmp_path_factory.mktemp("cli") / "base", model="mlp", epochs=2).path


def test_train_info_unlearn_evaluate_report(expunge: Expunge, tmp_path: Path) -> None:
    """The forms of the README, one after the other."""
    runs = tmp_path / "runs"
    arguments = ("train", "digits", "--model", "cnn", "--epochs", 1, "--out", runs / "base")
    trained = expunge(*arguments)
    assert trained.status == 0
    assert "trained cnn on 1438 rows (90 calibration, 269 holdout)" in trained.out
    again = expunge(*arguments, "--json")
    info = expunge("info", runs / "base", "--json").json
    assert again.json["weights_digest"] == info["weights_digest"]
    assert info["guarantee"] == {"kind": "exact"}
    assert type(info["example_steps"]) is float
    assert info["recipe"]["model"] == "cnn"
    assert "weights digest" in expunge("info", runs / "base").out
    forgot = expunge("unlearn", runs / "base", "--forget", "subject:person-017", "--out", runs / "forgot")
    assert "forgot 21 examples by exact-replay" in forgot.out
    assert "guarantee Exact" in forgot.out
    salun = expunge(
        *("unlearn", runs / "base", "--forget", "random:10%:7", "--method", "salun", "--budget", "8%"),
        *("--set", "keep=0.5", "--seed", 0, "--out", runs / "salun", "--json"),
    ).json
    assert salun["method"] == {
        "name": "saliency-unlearning",
        "fields": {**salun["method"]["fields"], "keep": 0.5},
    }
    assert salun["example_steps"] <= 0.08 * info["example_steps"]
    expunge("unlearn", runs / "base", "--forget", "random:10%:7", "--method", "retrain", "--out", runs / "retrained")
    evaluated = expunge("evaluate", runs / "salun", "--reference", runs / "retrained", "--json").json
    assert {probe["name"] for probe in evaluated["probes"]} >= {"test-accuracy", "loss-threshold", "average-gap"}
    printed = expunge("evaluate", runs / "salun", "--reference", runs / "retrained", "--as-published")
    said = " ".join(printed.out.split())
    assert "verdict: " in said
    assert "as papers print it; decides nothing" in said
    assert all(label in said for label in ("MIA-SVC", "Avg. Gap", "(.43, .14 and .16 on one model)"))
    report = expunge("report", runs / "salun", runs / "forgot", "--out", tmp_path / "report.html", "--json")
    assert report.status == 0
    assert (tmp_path / "report.html").stat().st_size == report.json["bytes"] < 1_000_000


def test_methods_and_help(expunge: Expunge) -> None:
    rows = expunge("methods", "--json").json
    assert [row["name"] for row in rows][:2] == ["retrain", "exact-replay"]
    assert "neggrad-plus" in expunge("methods").out
    shown = expunge("methods", "salun").out
    assert all(word in shown for word in ("saliency-unlearning", "keep", "0.1 … 1", "Fan et al."))
    assert expunge("methods", "salun", "--json").json == next(row for row in rows if row["aliases"] == ["salun"])
    assert "no fields" in expunge("methods", "exact-replay").out
    assert "did you mean 'salun'" in expunge("methods", "slun").err
    for verb in VERBS:
        shown = expunge(verb, "--help")
        assert shown.status == 0
        assert f"Example: expunge {verb}" in " ".join(shown.out.split())
    assert expunge("--version").out.startswith("expunge ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sing",), "No such command 'sing'"),
        (("train",), "Missing argument"),
        (("train", "digits"), "Missing option '--out'"),
        (("train", "digits", "--out", "{out}", "--epochs", "many"), "--epochs"),
        (("train", "digits", "--out", "{out}", "--epochs", "0"), "epochs 0 must be a whole number from 1"),
        (("train", "digits", "--out", "{out}", "--model", "oracle"), "neither one of mlp, cnn, resnet18"),
        (
            ("train", "digits", "--out", "{out}", "--optimiser", "magic"),
            "'magic' is not one of sgd, adam, adamw, sign",
        ),
        (("train", "digits", "--out", "{out}", "--model-option", "width"), "must have the form name=value"),
        (("train", "digits", "--out", "{out}", "--device", "cuda:7"), "device 'cuda:7'"),
        (("train", "nowhere.csv", "--out", "{out}"), "nowhere.csv"),
        (("train", "digits", "--out", "{base}/run.json"), "cannot be used as --out"),
        (("train", "digits", "--out", "{base}", "--epochs", "9"), "holds another run"),
        (("train", "digits", "--out", "{out}", "--text-buckets", "0"), "text buckets 0 must be a whole number"),
        (("unlearn", "{base}", "--forget", "class:3", "--checkpoint-interval", "0", "--out", "{out}"), "interval 0"),
        (("unlearn", "{base}", "--forget", "class:3", "--method", "exactreplay", "--out", "{out}"), "did you mean"),
        (("info", "{out}"), "is not a run"),
        (("unlearn", "{base}", "--out", "{out}"), "Missing option '--forget'"),
        (("unlearn", "{base}", "--forget", "subject:nobody", "--out", "{out}"), "has no training rows"),
        (("unlearn", "{base}", "--forget", "everything", "--out", "{out}"), "none of the known forms"),
        (("unlearn", "{base}", "--forget", "class:3", "--method", "magic", "--out", "{out}"), "is not one of retrain"),
        (
            ("unlearn", "{base}", "--forget", "class:3", "--budget", "lots", "--method", "ft", "--out", "{out}"),
            "--budget 'lots'",
        ),
        (("unlearn", "{base}", "--forget", "class:3", "--budget", "5%", "--out", "{out}"), "has no budget"),
        (
            ("unlearn", "{base}", "--forget", "class:3", "--method", "ft", "--set", "x=1", "--out", "{out}"),
            "has no field 'x'",
        ),
        (
            ("unlearn", "{base}", "--forget", "class:3", "--method", "ft", "--set", "rate", "--out", "{out}"),
            "name=value",
        ),
        (("unlearn", "{base}", "--forget", "class:3", "--out", "{base}"), "is the run that is to forget"),
        (("evaluate", "{base}"), "is a training, it forgot nothing"),
        (("report", "{out}", "--out", "{out}.html"), "{out}"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else None,
)
def test_errors_are_one_sentence_and_status_two(
    arguments: tuple[str, ...], words: str, expunge: Expunge, base: Path, tmp_path: Path
) -> None:
    places = {"base": str(base), "out": str(tmp_path / "out")}
    done = expunge(*[argument.format(**places) for argument in arguments])
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words.format(**places) in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback(expunge: Expunge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["expunge", "--debug", "info", "/nowhere"])
    from expunge.core.errors import RunError

    with pytest.raises(RunError):
        main()


def process(*arguments: object, **named: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "expunge.cli.main", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **named)


def test_ctrl_c_leaves_a_run_that_the_same_command_continues(expunge: Expunge, tmp_path: Path) -> None:
    arguments = ("train", "digits", "--model", "cnn", "--epochs", 12, "--checkpoint-interval", 20)
    arguments = (*arguments, "--out", tmp_path / "run")
    started = process(*arguments)
    while not list((tmp_path / "run").glob("checkpoints/*.safetensors")):
        assert started.poll() is None, started.communicate()[1].decode()
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=280)
    assert started.returncode == 130, errors.decode()
    assert b"interrupted, nothing is lost: run the same command again" in errors
    continued = expunge(*arguments, "--json")
    assert continued.status == 0, continued.err
    straight = expunge(*arguments[:-1], tmp_path / "straight", "--json")
    assert continued.json["weights_digest"] == straight.json["weights_digest"]


def forget_and_check(expunge: Expunge, run: Path, rule: str) -> None:
    """exact-replay and retrain of any source form end in the same weights."""
    digests = set()
    for method in ("exact-replay", "retrain"):
        done = expunge("unlearn", run, "--forget", rule, "--method", method, "--out", f"{run}-{method}", "--json")
        assert done.status == 0, done.err
        digests.add(done.json["weights_digest"])
        assert done.json["guarantee"] == {"kind": "exact"}
    assert len(digests) == 1
    done = expunge("evaluate", f"{run}-exact-replay", "--reference", f"{run}-retrain", "--json")
    assert done.status == 0, done.err
    done = expunge("report", f"{run}-exact-replay", "--out", f"{run}.html")
    assert done.status == 0, done.err


ROWS = 120
GENERATOR = np.random.default_rng(3)
AGES = GENERATOR.integers(18, 90, ROWS)
NOTES = ["slept badly and felt tired today", "no complaints at all this week", "a little pain in the left knee"]
PATIENTS = [
    {
        "visit": f"v{row}",
        "patient": f"p{row // 4:02d}",
        "age": int(AGES[row]),
        "weight": round(float(GENERATOR.normal(70, 12)), 1),
        "ward": "ABC"[row % 3],
        "note": NOTES[row % 3],
        "outcome": "ill" if AGES[row] > 50 else "well",
    }
    for row in range(ROWS)
]


def test_csv(expunge: Expunge, tmp_path: Path) -> None:
    import csv

    path = tmp_path / "patients.csv"
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, PATIENTS[0])
        writer.writeheader()
        writer.writerows(PATIENTS)
    done = expunge(
        *("train", path, "--label", "outcome", "--subject", "patient", "--id", "visit"),
        *("--model", "mlp", "--epochs", 3, "--out", tmp_path / "own", "--json"),
    )
    assert done.status == 0, done.err
    kinds = {column["name"]: column["kind"] for column in done.json["recipe"]["inputs"]["columns"]}
    assert kinds == {"age": "numeric", "weight": "numeric", "ward": "category", "note": "text"}
    assert done.json["recipe"]["least_present"] == 2
    forget_and_check(expunge, tmp_path / "own", "subject:p03")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.split(",")[1] != "p03"))
    refused = expunge("unlearn", tmp_path / "own", "--forget", "subject:p04", "--out", tmp_path / "no")
    assert refused.status == 2
    assert not (tmp_path / "no").exists()
    answered = expunge("unlearn", tmp_path / "own", "--forget", "subject:p03", "--out", tmp_path / "own-exact-replay")
    assert answered.status == 0, answered.err  # a finished run needs no data, which are rightly gone by now
    moved = tmp_path / "moved.csv"
    path.rename(moved)
    info = expunge("info", tmp_path / "own", "--json").json
    gone = expunge("info", tmp_path / "own-retrain", "--json").json
    assert len(gone["tombstones"]) > len(info["tombstones"]) == 0
    chained = expunge(
        *("unlearn", tmp_path / "own-exact-replay", "--forget", "subject:p04"),
        *("--data", moved, "--out", tmp_path / "next", "--json"),
    )
    assert chained.status == 0, chained.err
    everybody = sum(row["patient"] == "p03" for row in PATIENTS)
    elsewhere = sum(len(slots) for slots in gone["released"].values())
    assert len(gone["tombstones"]) + elsewhere == everybody  # all rows of a person may go, in whichever split they are


def test_parquet(expunge: Expunge, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(PATIENTS), tmp_path / "patients.parquet")
    done = expunge(
        *("train", tmp_path / "patients.parquet", "--label", "outcome", "--subject", "patient"),
        *("--categorical", "visit", "--model", "mlp", "--epochs", 2, "--optimiser", "adamw"),
        *("--shards", 2, "--slices", 2, "--out", tmp_path / "own"),
    )
    assert done.status == 0, done.err
    forget_and_check(expunge, tmp_path / "own", "random:5:1")


MODEL = """
import torch
def build(inputs, classes, width=8):
    channels, height, side = inputs
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, width, 3), torch.nn.BatchNorm2d(width), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Dropout(0.2), torch.nn.Linear(width * (height - 2) * (side - 2), classes))
"""


def test_npz_with_anyones_model(expunge: Expunge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    (tmp_path / "my_package" / "models.py").write_text(MODEL)
    np.savez(
        tmp_path / "images.npz",
        x=GENERATOR.integers(0, 255, (90, 9, 9, 3), dtype=np.uint8),
        y=np.arange(90) % 3,
        subjects=np.array([f"s{row // 5}" for row in range(90)]),
    )
    monkeypatch.chdir(tmp_path)
    done = expunge(
        *("train", "images.npz", "--model", "my_package.models:build", "--model-option", "width=4"),
        *("--epochs", 2, "--flip", "--crop", 1, "--out", "runs/mine", "--json"),
    )
    assert done.status == 0, done.err
    assert done.json["exact_refused"] is None
    forget_and_check(expunge, Path("runs/mine"), "subject:s4")
    sys.modules.pop("my_package.models", None)
    sys.modules.pop("my_package", None)


def test_folder_of_images(expunge: Expunge, tmp_path: Path) -> None:
    from PIL import Image

    for label in ("cats", "dogs"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for number in range(40):
            pixels = GENERATOR.integers(0, 255, (10, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / label / f"owner{number // 4:02d}_{number}.png")
    done = expunge(
        *("train", tmp_path / "pets", "--subject", "prefix", "--model", "cnn", "--epochs", 2),
        *("--model-option", "norm=batch", "--out", tmp_path / "own"),
    )
    assert done.status == 0, done.err
    forget_and_check(expunge, tmp_path / "own", "subject:owner03")


def test_hugging_face_on_disk(expunge: Expunge, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {
        "text": [f"{NOTES[row % 3]} number {row}" for row in range(80)],
        "label": [row % 2 for row in range(80)],
        "author": [f"a{row // 4}" for row in range(80)],
    }
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "saved"))
    done = expunge(
        *("train", tmp_path / "saved", "--label", "label", "--subject", "author", "--text", "text"),
        *("--model", "mlp", "--epochs", 2, "--text-buckets", 64, "--out", tmp_path / "own"),
    )
    assert done.status == 0, done.err
    forget_and_check(expunge, tmp_path / "own", "subject:a3")


def test_a_saved_forget_set_serves_again(expunge: Expunge, base: Path, tmp_path: Path) -> None:
    first = expunge("unlearn", base, "--forget", "class:3", "--forget", "random:5:2", "--out", tmp_path / "a", "--json")
    saved = tmp_path / "a" / "forget.json"
    again = expunge("unlearn", base, "--forget", saved, "--method", "retrain", "--out", tmp_path / "b", "--json")
    assert first.json["tombstones"] == again.json["tombstones"]
    assert first.json["weights_digest"] == again.json["weights_digest"]


def test_a_run_can_be_moved_with_its_parent(expunge: Expunge, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "here" / "base")
    expunge(
        "unlearn",
        tmp_path / "here" / "base",
        "--forget",
        "class:1",
        "--method",
        "ft",
        "--out",
        tmp_path / "here" / "ft",
    )
    os.rename(tmp_path / "here", tmp_path / "there")
    done = expunge("evaluate", tmp_path / "there" / "ft", "--json")
    assert done.status == 0, done.err
    shutil.rmtree(tmp_path / "there" / "base")
    lost = expunge("evaluate", tmp_path / "there" / "ft")
    assert "is no longer at" in lost.err
    assert lost.status == 2


def test_results_overwrite_nothing_of_a_run(expunge: Expunge, base: Path, tmp_path: Path) -> None:
    expunge("unlearn", base, "--forget", "class:1", "--method", "ft", "--out", tmp_path / "ft")
    before = (tmp_path / "ft" / "run.json").read_bytes(), (tmp_path / "ft" / "model.safetensors").read_bytes()
    for arguments in (
        ("report", tmp_path / "ft", "--out", tmp_path / "ft" / "model.safetensors"),
        ("evaluate", tmp_path / "ft", "--out", tmp_path / "ft" / "run.json"),
        ("evaluate", tmp_path / "ft", "--out", tmp_path / "ft" / "model.safetensors"),
    ):
        done = expunge(*arguments)
        assert done.status == 2
        assert "overwrites nothing else" in done.err
    assert ((tmp_path / "ft" / "run.json").read_bytes(), (tmp_path / "ft" / "model.safetensors").read_bytes()) == before


BROKEN = {
    "raising": "def build(inputs, classes):\n    raise KeyError('no\\nsuch width')\n",
    "unreadable": "def build(inputs, classes:\n",
    "leaving": "import sys\nsys.exit(5)\n",
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_anyones_broken_model_is_one_sentence(
    name: str, expunge: Expunge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"broken_{name}.py").write_text(BROKEN[name])
    monkeypatch.syspath_prepend(str(tmp_path))
    done = expunge("train", "digits", "--model", f"broken_{name}:build", "--out", tmp_path / "run")
    assert done.status == 2
    assert done.err.startswith(f"error: model 'broken_{name}:build' could not be")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_a_model_prints_stays_out_of_the_results(
    expunge: Expunge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talking.py").write_text(
        "print('hello')\nfrom torch import nn\n\n"
        "def build(inputs, classes):\n    print('building')\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    done = expunge("train", "digits", "--model", "talking:build", "--epochs", 1, "--out", tmp_path / "run", "--json")
    assert done.json["status"] == "finished"


def test_what_nobody_foresaw_is_a_sentence_too(expunge: Expunge, monkeypatch: pytest.MonkeyPatch) -> None:
    from expunge.train.run import Run

    def surprise(path: object) -> None:
        raise ZeroDivisionError("a\nsurprise")

    monkeypatch.setattr(Run, "open_any", surprise)
    done = expunge("info", "somewhere")
    assert done.status == 2
    assert done.err == "error: ZeroDivisionError: a surprise; this was not foreseen: --debug shows where it happened\n"


def test_nothing_is_drawn_where_there_is_no_terminal(expunge: Expunge, tmp_path: Path) -> None:
    done = expunge("train", "digits", "--model", "mlp", "--epochs", 1, "--out", tmp_path / "run")
    assert done.err == ""


def test_shares_and_pairs() -> None:
    assert share("8%", "--budget") == pytest.approx(0.08)
    assert share("0.08", "--budget") == 0.08
    assert (share("1", "--budget"), share("250%", "--budget")) == (1.0, 2.5)
    with pytest.raises(InvalidArgument, match="--budget '8' would be 800%: say 8%, or 800% if that is meant"):
        share("8", "--budget")
    assert pairs(["a=1", "b=x=y"], "--set") == {"a": "1", "b": "x=y"}
    with pytest.raises(InvalidArgument, match="names 'a' twice"):
        pairs(["a=1", "a=2"], "--set")


def test_demo(expunge: Expunge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tenth of its epochs; at its full length ``python -m benchmarks`` runs and times it."""
    monkeypatch.setattr("expunge.cli.demo.EPOCHS", 3)
    done = expunge("demo", "--out", tmp_path / "demo", "--json")
    assert done.status == 0, done.err
    found = done.json
    assert found["exact_equals_retrained"] is True
    assert Path(found["report"]).stat().st_size < 1_000_000
    assert found["seconds"] > 0
    names = [row[0] for row in found["rows"]]
    assert any("exact-replay" in name for name in names)
    assert any("fine-tune" in name for name in names)
