"""What is refused is refused by the package and by the command in one sentence, but for the names of arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Expunge

from expunge.attest.attest import attest
from expunge.core.errors import ExpungeError
from expunge.data.source import Source
from expunge.measure.evaluate import evaluate
from expunge.methods.unlearn import unlearn
from expunge.records.keys import KeyRole, keygen
from expunge.report.report import report
from expunge.train.load import load
from expunge.train.trace import Trace
from expunge.train.training import train

OTHERWISE = {"cases": "--case", "model_options": "--model-option"}  # whose flag is not their name
PERSON = "subject:person-017"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a few rows, tables, folders of images, and a key: what the refusals are about."""
    place = tmp_path_factory.mktemp("refused")
    digits = Source(location="digits", rows=300)
    base = train(digits, out=place / "base", model="mlp", epochs=1)
    train(digits, out=place / "other", model="mlp", epochs=1, split_seed=1)
    train(digits, out=place / "untraced", model="mlp", epochs=1, trace=Trace.OFF)
    train(digits, out=place / "numbers", model="linear", task="logistic", epochs=1, model_options={"unit_rows": False})
    unlearn(base, PERSON, out=place / "forgot")
    unlearn(base, "class:3", out=place / "forgot-class")
    (place / "people.csv").write_text("age,town,outcome\n" + "31,Ulm,1\n?,Bonn,0\n" * 10, encoding="utf-8")
    (place / "file").touch()
    (place / "foreign").mkdir()
    (place / "foreign" / "notes.txt").touch()
    for name, side in {"cat/a.png": 4, "dog/b.png": 5}.items():
        (place / "images" / name).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((side, 4), dtype=np.uint8)).save(place / "images" / name)
    keygen(place / "keys", "example.com/refused", (KeyRole.OWNER, KeyRole.LOG))
    return place


class Pair(NamedTuple):
    """One request twice, as a call and as words typed, and a part of its refusal."""

    call: Callable[[Path], object]
    words: tuple[object, ...]
    says: str


PAIRS = {
    "a table without a label": Pair(
        lambda at: train(str(at / "people.csv"), out=at / "new"),
        ("train", "{at}/people.csv", "--out", "{at}/new"),
        "people.csv is the label is not said: add `label` with one of age, town, outcome",
    ),
    "more rows than there are": Pair(
        lambda at: train(Source(location="digits", rows=9999), out=at / "new"),
        ("train", "digits", "--rows", 9999, "--out", "{at}/new"),
        "`rows` 9999 is more than the 1797 rows of digits",
    ),
    "an option of another form": Pair(
        lambda at: train(Source(location="digits", image_size=8), out=at / "new"),
        ("train", "digits", "--image-size", 8, "--out", "{at}/new"),
        "`image_size` 8 makes no sense for digits",
    ),
    "a split where there is none": Pair(
        lambda at: train(Source(location=str(at / "people.csv"), split="test"), out=at / "new"),
        ("train", "{at}/people.csv", "--split", "test", "--out", "{at}/new"),
        "which takes `label`, `subject`, `id`, `numeric`, `categorical`, `text`, `date`, `separator`, `decimal`, "
        "`encoding`, `no_header`, `missing`: leave it out",
    ),
    "a column named twice": Pair(
        lambda at: train(Source(location=str(at / "people.csv"), numeric=("age",), text=("age",)), out=at / "new"),
        ("train", "{at}/people.csv", "--numeric", "age", "--text", "age", "--out", "{at}/new"),
        "more than once among `numeric`, `categorical`, `text` and `date`",
    ),
    "a word among numbers": Pair(
        lambda at: train(Source(location=str(at / "people.csv"), label="outcome", numeric=("age",)), out=at / "new"),
        ("train", "{at}/people.csv", "--label", "outcome", "--numeric", "age", "--out", "{at}/new"),
        "say `categorical` age",
    ),
    "images of two sizes": Pair(
        lambda at: train(str(at / "images"), out=at / "new"),
        ("train", "{at}/images", "--out", "{at}/new"),
        "say `image_size` N (for example 4)",
    ),
    "a column of images": Pair(
        lambda at: train(Source(location=str(at / "images"), subject="owner"), out=at / "new"),
        ("train", "{at}/images", "--subject", "owner", "--out", "{at}/new"),
        "it has no columns; say `subject` prefix",
    ),
    "a model of images on numbers": Pair(
        lambda at: train(
            Source(location=str(at / "people.csv"), label="outcome", categorical=("age",)), out=at / "new", model="cnn"
        ),
        (
            "train",
            "{at}/people.csv",
            "--label",
            "outcome",
            "--categorical",
            "age",
            "--model",
            "cnn",
            "--out",
            "{at}/new",
        ),
        "model cnn takes images, the data has rows of shape",
    ),
    "shards of scores": Pair(
        lambda at: train("digits", out=at / "new", task="logistic", model="linear", shards=2),
        ("train", "digits", "--task", "logistic", "--model", "linear", "--shards", 2, "--out", "{at}/new"),
        "use one shard, or `task` classification",
    ),
    "noise where nothing is convex": Pair(
        lambda at: train("digits", out=at / "new", perturbation=1.0),
        ("train", "digits", "--perturbation", 1, "--out", "{at}/new"),
        "`task` logistic or squared with `model` linear, `optimiser` sgd",
    ),
    "a commitment to what comes later": Pair(
        lambda at: train("digits", out=at / "new", commit_only=True, without="class:1"),
        ("train", "digits", "--commit-only", "--without", "class:1", "--out", "{at}/new"),
        "give `without` and `beacon` to the training after it",
    ),
    "salts that nobody drew": Pair(
        lambda at: train("digits", out=at / "new", salts=at / "none.salts"),
        ("train", "digits", "--salts", "{at}/none.salts", "--out", "{at}/new"),
        "none.salts does not exist: `expunge.train(…, commit_only=True, salts=",
    ),
    "a file for a folder": Pair(
        lambda at: train("digits", out=at / "file"),
        ("train", "digits", "--out", "{at}/file"),
        "cannot be used as `out`",
    ),
    "a folder of something else": Pair(
        lambda at: train("digits", out=at / "foreign"),
        ("train", "digits", "--out", "{at}/foreign"),
        "is not empty and not a run (it holds 'notes.txt'): choose another `out`",
    ),
    "a folder of another run": Pair(
        lambda at: train(Source(location="digits", rows=300), out=at / "base", model="mlp", epochs=2),
        ("train", "digits", "--rows", 300, "--model", "mlp", "--epochs", 2, "--out", "{at}/base"),
        "holds another run (recipe epochs 1 there, 2 asked for): choose another `out`",
    ),
    "no run": Pair(
        lambda at: load(at / "foreign"),
        ("info", "{at}/foreign"),
        "has no run.json; `expunge.train(…, out=",
    ),
    "the run itself": Pair(
        lambda at: unlearn(at / "base", PERSON, out=at / "base"),
        ("unlearn", "{at}/base", "--forget", PERSON, "--out", "{at}/base"),
        "`out` ",
    ),
    "salts of open leaves": Pair(
        lambda at: unlearn(at / "base", PERSON, out=at / "new", salts=at / "file"),
        ("unlearn", "{at}/base", "--forget", PERSON, "--salts", "{at}/file", "--out", "{at}/new"),
        "the run's salts are open; leave `salts` out",
    ),
    "a case too late": Pair(
        lambda at: unlearn(at / "base", PERSON, out=at / "forgot", cases=("case-7",)),
        ("unlearn", "{at}/base", "--forget", PERSON, "--case", "case-7", "--out", "{at}/forgot"),
        "not by case 'case-7': leave `cases` out to take it as it is, or choose another `out`",
    ),
    "a certificate for a deep model": Pair(
        lambda at: unlearn(at / "base", PERSON, out=at / "new", method="certified-logistic"),
        ("unlearn", "{at}/base", "--forget", PERSON, "--method", "certified-logistic", "--out", "{at}/new"),
        "(`task` logistic or squared, with `model` linear)",
    ),
    "a certificate over long rows": Pair(
        lambda at: unlearn(at / "numbers", PERSON, out=at / "new", method="certified-logistic"),
        ("unlearn", "{at}/numbers", "--forget", PERSON, "--method", "certified-logistic", "--out", "{at}/new"),
        "`model_options` unit_rows=true, or use `method` retrain",
    ),
    "an evaluation over a run": Pair(
        lambda at: evaluate(at / "forgot", [], out=at / "forgot" / "run.json"),
        ("evaluate", "{at}/forgot", "--out", "{at}/forgot/run.json"),
        "run.json must end in .json and be no part of a run",
    ),
    "an original of other data": Pair(
        lambda at: evaluate(at / "forgot", [], original=at / "other"),
        ("evaluate", "{at}/forgot", "--original", "{at}/other"),
        "was trained on other data: its root differs",
    ),
    "a reference of another request": Pair(
        lambda at: evaluate(at / "forgot", [at / "forgot-class"]),
        ("evaluate", "{at}/forgot", "--reference", "{at}/forgot-class"),
        "retrain with the same `forget`",
    ),
    "a report with a stranger": Pair(
        lambda at: report([at / "forgot"], out=at / "page.html", original=at / "other"),
        ("report", "{at}/forgot", "--original", "{at}/other", "--out", "{at}/page.html"),
        "none of the runs came from them",
    ),
    "a record without a trace": Pair(
        lambda at: attest(at / "untraced", key=at / "keys" / "private.pem", out=at / "bundle"),
        ("attest", "{at}/untraced", "--key", "{at}/keys/private.pem", "--out", "{at}/bundle"),
        "was made with `trace` off, so nothing states what was executed: make the run again with `trace` losses",
    ),
    "a bundle that is there": Pair(
        lambda at: attest(at / "base", key=at / "keys" / "private.pem", out=at / "foreign"),
        ("attest", "{at}/base", "--key", "{at}/keys/private.pem", "--out", "{at}/foreign"),
        "foreign exists: choose another `out` for the bundle, or remove it",
    ),
    "a log that is none": Pair(
        lambda at: attest(at / "base", key=at / "keys" / "private.pem", out=at / "bundle", log=at / "foreign"),
        ("attest", "{at}/base", "--key", "{at}/keys/private.pem", "--out", "{at}/bundle", "--log", "{at}/foreign"),
        "is no log and not empty: choose another `log`",
    ),
}


def as_typed(sentence: str) -> str:
    """Arguments as flags, told here once more so that nobody checks its own homework."""
    call = r"`expunge\.train\(…, (commit_only=True, )?(out|salts)=(.*?)\)`"
    sentence = re.sub(
        call, lambda found: f"`expunge train … {'--commit-only ' * bool(found[1])}--{found[2]} {found[3]}`", sentence
    )
    return re.sub(r"`(\w+)`", lambda found: OTHERWISE.get(found[1], "--" + found[1].replace("_", "-")), sentence)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_the_package_and_the_command_refuse_in_one_sentence(pair: Pair, expunge: Expunge, place: Path) -> None:
    with pytest.raises(ExpungeError) as refused:
        pair.call(place)
    sentence = str(refused.value)
    assert pair.says in sentence
    assert "--" not in sentence
    done = expunge(*(str(word).format(at=place) for word in pair.words))
    assert (done.status, done.err) == (2, f"error: {as_typed(sentence)}\n")
    assert as_typed(sentence) != sentence
