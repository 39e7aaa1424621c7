"""Study files: what they say, and one sentence with the line for whatever is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from expunge.core.errors import InvalidArgument, RunError
from expunge.methods import METHODS
from expunge.methods.neggrad_plus import NegGradPlus
from expunge.schedule.recipe import OptimiserName, Precision
from expunge.study.grid import lay_out
from expunge.study.study_file import read_study

Write = Callable[..., Path]
SHIPPED = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))

WHOLE = """title = "Whole"
seeds = [3, 4]
references = 2
budget = ["5%", 0.1]
methods = ["retrain"]

[data.digits]
location = "digits"
rows = 900
split_seed = 7

[training.mlp]
model = "mlp"
model_options = { width = 8 }
optimiser = "adamw"
epochs = 2
precision = "bfloat16"
checkpoint_interval = 5

[forget.random]
title = "some"
rules = ["random:5%:{seed}", "class:3"]

[[method]]
name = "neggrad-plus"
label = "balanced"
set = { balance = 0.8 }

[tuning]
trials = 7
seed = 2
"""


def test_a_whole_file(write_study: Write) -> None:
    study = read_study(write_study(WHOLE))
    assert (study.title, study.seeds, study.references, study.budgets) == ("Whole", (3, 4), 2, (0.05, 0.1))
    (data,) = study.data
    assert (data.name, data.source.location, data.source.rows, data.split_seed) == ("digits", "digits", 900, 7)
    (training,) = study.trainings
    assert training.fields["optimiser"].name is OptimiserName.ADAMW
    assert training.fields["optimiser"].rate == 0.001
    assert training.fields["precision"] is Precision.BFLOAT16
    assert training.checkpoint_interval == 5
    (forget,) = study.forget
    assert forget.rules_of(4) == ("random:5%:4", "class:3")
    assert [(row.label, row.by_hand) for row in study.rows] == [("retrain", False), ("balanced", True)]
    assert study.rows[1].method == NegGradPlus(balance=0.8)
    assert study.tuning is not None
    assert (study.tuning.trials, study.tuning.seed) == (7, 2)


def test_what_is_not_said_is_the_default(write_study: Write) -> None:
    study = read_study(
        write_study('[data.a]\nlocation = "digits"\n[training.b]\n[forget.c]\nrules = "class:1"\n', "short.toml")
    )
    assert (study.title, study.name, study.seeds, study.budgets) == ("short", "short", (0,), (0.1,))
    assert {type(row.method) for row in study.rows} >= set(METHODS)
    assert study.tuning is None
    assert study.probes == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_studies_can_be_read(path: Path) -> None:
    study = read_study(path)
    assert study.rows
    chosen = [rule for forget in study.forget for rule in forget.rules if rule.endswith(".json")]  # made beforehand
    if all(data.source.location == "digits" for data in study.data) and not chosen:
        assert lay_out(study).jobs


def test_there_are_shipped_studies() -> None:
    assert {"smoke", "digits", "fashion", "cifar10-resnet18"} <= {path.stem for path in SHIPPED}


DATA = '[data.digits]\nlocation = "digits"\n'
TRAINING = '[training.mlp]\nmodel = "mlp"\n'
FORGET = '[forget.random]\nrules = "random:5%:1"\n'
REST = DATA + TRAINING + FORGET
REFUSED = {
    "unknown key": ("seed = 3\n" + REST, 1, "a study has no 'seed'.*did you mean 'seeds'"),
    "unknown claim": (
        'seeds = [0]\nclaim = "at-most:5%"\n' + REST,
        2,
        "`claim` 'at-most:5%' must be indistinguishable",
    ),
    "a claim that is a number": ("claim = 0.25\n" + REST, 1, "`claim` 0.25 must be indistinguishable"),
    "unknown method": ('\nmethods = ["retrain", "scrubb"]\n' + REST, 2, "method 'scrubb' is not one of.*'scrub'"),
    "empty grid": ("methods = []\n" + REST, 1, "the grid is empty: name one method at least"),
    "unknown probe": ('\nprobes = ["relern"]\n' + REST, 2, "`probes` 'relern' is none that.*did you mean 'relearn'"),
    "probes of another type": ("probes = 3\n" + REST, 1, "probes 3 must be a text or a list of texts"),
    "methods of another type": ("methods = 3\n" + REST, 1, 'methods 3 must be "all" or a list of names'),
    "no data": (TRAINING + FORGET, 1, r"there is no data: give a table \[data.NAME\] with location = \"digits\""),
    "no training": (DATA + FORGET, 1, r"there is no training: give a table \[training.NAME\]"),
    "no forget": (DATA + TRAINING, 1, r"there is no forget: give a table \[forget.NAME\]"),
    "data without a name": ('[data]\nlocation = "digits"\n' + TRAINING + FORGET, 2, r"write \[data.NAME\]"),
    "no location": ("[data.digits]\nrows = 3\n" + TRAINING + FORGET, 1, "location is missing: it must be a text"),
    "unknown source field": (DATA + "row = 3\n" + TRAINING + FORGET, 3, "data 'digits' has no 'row'.*'rows'"),
    "rows of another type": (DATA + 'rows = "3"\n' + TRAINING + FORGET, 3, "rows '3' must be a whole number from 1"),
    "unknown training field": (DATA + TRAINING + "epoch = 3\n" + FORGET, 5, "a training has no 'epoch'.*'epochs'"),
    "epochs of another type": (DATA + TRAINING + 'epochs = "3"\n' + FORGET, 5, "epochs '3' must be a whole number"),
    "true is no number": (DATA + TRAINING + "epochs = true\n" + FORGET, 5, "epochs True must be a whole number"),
    "rate out of range": (DATA + TRAINING + "rate = -1\n" + FORGET, 5, "rate -1 must be a finite number from 0"),
    "unknown optimiser": (DATA + TRAINING + 'optimiser = "sgdd"\n' + FORGET, 5, "optimiser 'sgdd' is not one of"),
    "no rules": (DATA + TRAINING + "[forget.a]\n", 5, "forget 'a' names nobody"),
    "rules of another type": (DATA + TRAINING + "[forget.a]\nrules = 3\n", 6, "rules 3 must be a text or a list"),
    "unknown data": (DATA + TRAINING + 'data = "mnist"\n' + FORGET, 5, "data 'mnist' is not one of digits"),
    "no seeds": ("seeds = []\n" + REST, 1, r"seeds \[\] must be a list of different whole numbers"),
    "seeds twice": ("seeds = [1, 1]\n" + REST, 1, r"seeds \[1, 1\] must be a list of different whole numbers"),
    "negative seed": ("seeds = [-1]\n" + REST, 1, r"seeds \[-1\] must be"),
    "a reference's seed": ("seeds = [1000000]\n" + REST, 1, "whole numbers from 0 to 999999"),
    "methods without names": ("method = [3]\n" + REST, 1, r"write \[\[method\]\] with double brackets"),
    "method of words": ('method = ["scrub"]\n' + REST, 1, r"write \[\[method\]\] with double brackets"),
    "device": (DATA + TRAINING + 'device = "tpu"\n' + FORGET, 5, "device 'tpu' must be cpu or cuda"),
    "as published": ("as_published = 1\n" + REST, 1, "as_published 1 must be true or false"),
    "references": ("references = -1\n" + REST, 1, "references -1 must be a whole number from 0 to 1000"),
    "budget": ('budget = "ten"\n' + REST, 1, "budget 'ten' must be a share"),
    "budget twice": ('budget = ["10%", 0.1]\n' + REST, 1, "budget .* must be a share .* list of different ones"),
    "budget too large": ("budget = 11\n" + REST, 1, "budget 11 must be a share of the training"),
    "budget nan": ("budget = nan\n" + REST, 1, "budget nan must be a share"),
    "trials": (REST + "[tuning]\ntrials = 0\n", 8, "trials 0 must be a whole number from 1"),
    "tuning key": (REST + "[tuning]\ntrial = 3\n", 8, "tuning has no 'trial'"),
    "single brackets": (REST + '[method]\nname = "scrub"\n', 7, r"write \[\[method\]\] with double brackets"),
    "field out of range": (
        REST + '[[method]]\nname = "neggrad-plus"\nset = { balance = 2 }\n',
        9,
        "balance 2.0 must",
    ),
    "unknown field": (REST + '[[method]]\nname = "scrub"\nset = { rat = 2 }\n', 9, "has no field 'rat'.*'rate'"),
    "method without name": (REST + '[[method]]\nlabel = "x"\n', 7, "name is missing: it must be a text"),
    "a label that is none": ('title = "a\\u001b[31m"\n' + REST, 1, "title .* must be a text of printable characters"),
    "a name that is none": (DATA + TRAINING + '[forget.""]\nrules = "class:1"\n', 5, "forget '' must have a name"),
    "rows of an odd type": (DATA + "rows = true\n" + TRAINING + FORGET, 3, "rows True must be a whole number from 1"),
    "a rate beyond all bounds": (DATA + TRAINING + f"rate = 1{'0' * 400}\n" + FORGET, 5, "rate 1000.* up to 1e\\+300"),
    "perturbation": (DATA + TRAINING + "perturbation = 0.5\n" + FORGET, 5, "a perturbation in a study"),
    "label twice": (
        'methods = ["scrub"]\n' + REST + '[[method]]\nname = "scrub"\nset = { rate = 0.1 }\n',
        1,
        "two rows are called 'scrub': name it once, or give one of them a label",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_line(write_study: Write, name: str) -> None:
    text, line, rule = REFUSED[name]
    with pytest.raises(InvalidArgument, match=rule) as refused:
        read_study(write_study(text))
    assert f"small.toml, line {line}: " in str(refused.value)
    assert "\n" not in str(refused.value)


LAID = {
    "rule": (DATA + TRAINING + '[forget.a]\nrules = "random:500%:1"\n', 6, "random share 500% must lie between"),
    "nobody": (DATA + TRAINING + '[forget.a]\nrules = "subject:nobody"\n', 6, "subject 'nobody' has no training rows"),
    "data gone": ('[data.a]\nlocation = "gone.npz"\n' + TRAINING + FORGET, 2, "gone.npz does not exist"),
    "model": (DATA + '[training.a]\nmodel = "vgg"\n' + FORGET, 4, "model 'vgg' is neither one of"),
    "epochs": (DATA + TRAINING + "epochs = 0\n" + FORGET, 5, "epochs 0 must be a whole number from 1"),
    "one name for two": (
        '[data.a-b]\nlocation = "digits"\n[data.a]\nlocation = "digits"\n'
        '[training.c]\ndata = "a-b"\n[training.b-c]\ndata = "a"\n' + FORGET,
        9,
        "two settings would be called 'a-b-c-random': rename",
    ),
    "no pair": (
        DATA
        + '[data.b]\nlocation = "digits"\n[training.a]\ndata = "digits"\n[forget.a]\nrules = "class:1"\ndata = "b"\n',
        9,
        "the grid is empty: no training and forget set are for the same data",
    ),
    "shards and tuning": (DATA + TRAINING + "shards = 2\n" + FORGET + "[tuning]\n", 8, "tuning on 2 shards"),
    "no budget and tuning": ("budget = 0\n" + DATA + TRAINING + FORGET + "[tuning]\n", 8, "tuning with a budget of 0"),
    "too large to rehearse": (
        DATA + TRAINING + '[forget.a]\nrules = "random:80%:1"\n[tuning]\n',
        5,
        "forget 'a' cannot be rehearsed for .tuning. .two pseudo-forget sets.*leave .tuning. out, or forget fewer",
    ),
}


@pytest.mark.parametrize("name", LAID)
def test_refusals_that_need_the_data_name_the_line_too(write_study: Write, name: str) -> None:
    text, line, rule = LAID[name]
    with pytest.raises(InvalidArgument, match=rule) as refused:
        lay_out(read_study(write_study(text)))
    assert f"small.toml, line {line}: " in str(refused.value)


def test_files_that_are_none(tmp_path: Path, write_study: Write) -> None:
    with pytest.raises(RunError, match=r"gone.toml is missing: the study cannot be opened"):
        read_study(tmp_path / "gone.toml")
    with pytest.raises(InvalidArgument, match=r"`path` \{\} must be the path of a study file"):
        read_study({})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="is a folder: name a study file"):
        read_study(tmp_path)
    with pytest.raises(InvalidArgument, match=r"is no TOML \(.*line 2"):
        read_study(write_study("a = 1\nb = \n"))
    path = write_study("")
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(InvalidArgument, match="line 2: this is not UTF-8"):
        read_study(path)
    path.write_text("\ufeffseed = 1\n")
    with pytest.raises(InvalidArgument, match="a study has no 'seed'"):
        read_study(path)
    path.write_text(f"[data.a]\nrows = {'9' * 5000}\n")
    with pytest.raises(InvalidArgument, match="holds a number that is none"):
        read_study(path)
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(InvalidArgument, match="a study file has 1048576 at most"):
        read_study(path)
    path.write_text("a = " + "[" * 5000)
    with pytest.raises(InvalidArgument):
        read_study(path)


def test_the_place_of_the_data_can_be_given(write_study: Write) -> None:
    study = read_study(write_study(REST.replace('"digits"\n', '"somewhere.npz"\n', 1)), location="digits")
    assert study.data[0].source.location == "digits"
    two = write_study('[data.b]\nlocation = "digits"\n' + REST)
    with pytest.raises(InvalidArgument, match=r"`data` digits is for a study with one data set, .* has 2"):
        read_study(two, location="digits")


def test_a_forget_set_may_have_references_of_its_own_number(write_study: Write) -> None:
    further = '\n[forget.few]\nrules = "random:1:1"\nreferences = 0\n'
    (many, few) = lay_out(
        read_study(write_study("references = 2\nmethods = ['fine-tune']\n" + REST + further))
    ).settings
    assert [len(found) for found in many.references.values()] == [2]
    assert [len(found) for found in few.references.values()] == [0]
    with pytest.raises(InvalidArgument, match="references -1 must be a whole number from 0 to 1000"):
        read_study(write_study(REST + further.replace("= 0", "= -1")))
