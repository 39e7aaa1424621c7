"""A model in a folder of its own: it answers as its run does, with Expunge or without, and holds nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.conftest import Refused
from tests.train import elsewhere, own_factory
from tests.train.elsewhere import FACTORY, MEAN, SCALE, STD
from tests.train.visits import RAW, ROWS, trained, written

import expunge
from expunge.core.errors import DataError, ExpungeError, InvalidArgument, RunError
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.document import seal, write_document
from expunge.records.model_file import InFront, ModelFile
from expunge.train.export import README, WEIGHTS, ExportedModel, in_front
from expunge.train.run import Run
from expunge.train.training import train

AS_IT_SAYS = """
import json
import torch
from pathlib import Path
told = json.loads((folder / "model.json").read_text())
line = told["how"].partition("; or with Expunge")[0].replace("'model.safetensors'", "str(folder / 'model.safetensors')")
exec(line)
front = told["front"][0]
rows = torch.tensor(json.loads(given))
shape = (1, -1) if rows.dim() == 2 else (1, -1, 1, 1)
rows = (rows * front["scale"] - torch.tensor(front["mean"]).view(shape)) / torch.tensor(front["std"]).view(shape)
with torch.no_grad():
    answers = torch.softmax(model(rows).double(), dim=1).tolist()
"""
WITHOUT_EXPUNGE = f"""
import sys
sys.modules["expunge"] = None
from pathlib import Path
folder, given = Path(sys.argv[1]), sys.argv[2]
{AS_IT_SAYS}
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("export"), epochs=4)


def as_it_says(folder: Path, rows: np.ndarray) -> np.ndarray:
    """What the line of model.json that says how to run it comes to."""
    told: dict[str, Any] = {"folder": folder, "given": json.dumps(rows.tolist())}
    exec(AS_IT_SAYS, told)
    return np.array(told["answers"])


def altered(folder: Path, to: Path, **fields: Any) -> Path:
    """A copy whose model.json says something else, its digest made anew."""
    shutil.copytree(folder, to)
    told = {**vars(ExportedModel.open(folder).told), "digest": "", **fields}
    (to / ModelFile.NAME).write_text(write_document(seal(ModelFile(**told))), encoding="utf-8")
    return to


def test_a_model_of_the_zoo_answers_alike(run: Run, tmp_path: Path) -> None:
    made = expunge.export(run, tmp_path / "model")
    assert {item.name for item in (tmp_path / "model").iterdir()} == {WEIGHTS, README, ModelFile.NAME}
    opened = expunge.load(tmp_path / "model")
    assert isinstance(opened, ExportedModel)
    assert opened.told == made.told
    raw = written(tmp_path / "raw.csv", ROWS[:40], RAW)
    own = run.predict(raw)
    for told in (opened.predict(raw), expunge.predict(tmp_path / "model", raw), expunge.predict(opened, raw)):
        assert (told.ids, told.labels) == (own.ids, own.labels)
        np.testing.assert_allclose(told.probabilities, own.probabilities, rtol=0, atol=1e-6)
    labelled = written(tmp_path / "labelled.csv", ROWS[:40], (*RAW, "outcome"))
    assert opened.score(labelled) == run.score(labelled) == expunge.score(opened, labelled, device="cpu")
    rows = torch.from_numpy(run.recipe.inputs.encode(run.data()[Split.HOLDOUT]))
    with torch.no_grad():
        torch.testing.assert_close(opened.model(rows), run.model()(rows), rtol=0, atol=1e-6)
    assert "expunge.load(FOLDER)" in made.told.how
    again = expunge.export(run.path, tmp_path / "model")
    assert again.told == made.told


def test_nothing_of_a_row_is_in_it(run: Run, tmp_path: Path) -> None:
    run.export(tmp_path / "model")
    text = "".join((tmp_path / "model" / name).read_text(encoding="utf-8") for name in (README, ModelFile.NAME))
    for row in ROWS:
        for value in (row[0], row[2], row[4]):
            assert f'"{value}"' not in text
        assert row[3] not in text
    assert str(run.path.parent) not in text


@pytest.mark.parametrize("kind", ["pixels", "numbers"])
def test_a_model_of_a_factory_runs_without_expunge(pictures: Dataset, tmp_path: Path, kind: str) -> None:
    pixels = pictures.content["image"]
    x = pixels if kind == "pixels" else pixels.reshape(len(pixels), -1)[:, :12].astype(np.float32)
    run = train((x, pictures.labels), out=tmp_path / "run", model="tests.train.own_factory:build", epochs=2)
    made = run.export(tmp_path / "model")
    rows, own = x[:9, None].astype(np.float32) if kind == "pixels" else x[:9], run.predict(x[:9]).probabilities
    np.testing.assert_allclose(as_it_says(made.path, rows), own, rtol=0, atol=1e-6)
    assert load_file(made.path / WEIGHTS).keys() == own_factory.build((3, 4), 3).state_dict().keys()
    np.testing.assert_allclose(made.predict(x[:9]).probabilities, own, rtol=0, atol=1e-6)
    if kind == "numbers":
        given = (sys.executable, "-c", WITHOUT_EXPUNGE, made.path, json.dumps(rows.tolist()))
        told = subprocess.run(given, check=True, capture_output=True, text=True).stdout
        np.testing.assert_allclose(json.loads(told), own, rtol=0, atol=1e-6)


def test_an_adopted_model_comes_out_as_it_came_in(tmp_path: Path, pictures: Dataset) -> None:
    rows = elsewhere.as_arrays(pictures)
    model = elsewhere.small_cnn((1, 8, 8), 3)
    data = elsewhere.as_npz(rows, tmp_path / "rows.npz")
    run = expunge.adopt(model, data, model=FACTORY, scale=SCALE, mean=MEAN, std=STD, out=tmp_path / "adopted")
    made = run.export(tmp_path / "model")
    found, own = load_file(made.path / WEIGHTS), model.state_dict()
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], own[name]) for name in own)
    assert "Exact" not in (made.path / README).read_text(encoding="utf-8")
    assert "on its owner's word" in made.told.says
    some = rows.content["x"][:7]
    theirs = as_it_says(made.path, some[:, None].astype(np.float32))
    np.testing.assert_allclose(theirs, run.predict(some).probabilities, rtol=0, atol=1e-6)


def test_tied_tensors_and_shards(tmp_path: Path, pictures: Dataset) -> None:
    x, y = pictures.content["image"], pictures.labels
    for name, fields in {
        "tied": {"model": "tests.train.elsewhere:tied"},
        "mean": {"model": "mlp", "shards": 2},
        "majority": {"model": "mlp", "shards": 3, "voting": "majority"},
    }.items():
        run = expunge.train((x, y), out=tmp_path / name, epochs=1, **fields)
        trusted = elsewhere.tied if name == "tied" else None
        opened = expunge.load(run.export(tmp_path / f"{name}-model").path, model=trusted)
        np.testing.assert_allclose(opened.predict(x).probabilities, run.predict(x).probabilities, rtol=0, atol=1e-6)
    tied = elsewhere.tied((1, 8, 8), 3)
    tied.load_state_dict(load_file(tmp_path / "tied-model" / WEIGHTS))  # under both names
    assert torch.equal(tied.down.weight, tied.up.weight)


def test_what_a_run_forgot_is_in_no_export_and_hygiene_names_the_others(run: Run, tmp_path: Path) -> None:
    beside = run.path.parent
    forgot = unlearn(run, "subject:p3", method="retrain", out=beside / "forgot")
    made = forgot.export(beside / "clean")
    assert "forgot 2 rows by retrain" in made.told.says
    assert not any("exported" in sentence for sentence in survey(forgot).unclear)
    run.export(beside / "old")
    told = [sentence for sentence in survey(forgot).unclear if "exported" in sentence]
    assert len(told) == 1
    assert str(beside / "old") in told[0]
    for name in ("clean", "old", "forgot"):
        shutil.rmtree(beside / name)


def test_a_folder_calls_nothing_that_nobody_trusts(run: Run, tmp_path: Path, refused: Refused) -> None:
    made, valued = run.export(tmp_path / "model"), tmp_path / "valued"
    valued.mkdir()
    recipe = {**made.told.recipe, "model": "shutil:rmtree", "model_options": {"path": str(valued)}}
    planted = altered(made.path, tmp_path / "planted", recipe=recipe)
    raw = written(tmp_path / "raw.csv", ROWS[:9], RAW)
    for model in (None, "mlp", own_factory.build):
        with refused(InvalidArgument, "'shutil:rmtree'", "imported and called", "`model`"):
            expunge.load(planted, model=model).predict(raw)
    assert valued.is_dir()
    with refused(InvalidArgument, "`model` is for a model that was exported"):
        expunge.load(run.path, model="mlp")


def test_whatever_is_no_such_folder_is_refused(run: Run, tmp_path: Path, refused: Refused) -> None:
    made = run.export(tmp_path / "model")
    for name in (WEIGHTS, ModelFile.NAME):
        shutil.copytree(made.path, tmp_path / name)
        (tmp_path / name / name).unlink()
        with refused(RunError, str(tmp_path / name)):
            expunge.load(tmp_path / name)
    shutil.copytree(made.path, tmp_path / "bits")
    save_file({name: value + 1 for name, value in load_file(made.path / WEIGHTS).items()}, tmp_path / "bits" / WEIGHTS)
    with refused(RunError, "does not hold the weights", "altered"):
        expunge.load(tmp_path / "bits")
    shutil.copytree(made.path, tmp_path / "text")
    text = (made.path / ModelFile.NAME).read_text(encoding="utf-8")
    (tmp_path / "text" / ModelFile.NAME).write_text(text.replace('"old"', '"odd"'), encoding="utf-8")
    with refused(DataError, "does not match its digest"):
        expunge.load(tmp_path / "text")
    (tmp_path / "text" / ModelFile.NAME).write_text("{", encoding="utf-8")
    with refused(DataError, "model.json"):
        expunge.load(tmp_path / "text")
    less = {**made.told.recipe, "epochs": None}
    with refused(InvalidArgument, "epochs None"):
        expunge.load(altered(made.path, tmp_path / "recipe", recipe=less)).predict(ROWS)  # pyright: ignore
    wide = (InFront(scale=1.0, mean=(0.0, 1.0, 2.0), std=(1.0, 1.0, 1.0)),)
    with refused(RunError, "what stands in front is not what the recipe asks for"):
        expunge.load(altered(made.path, tmp_path / "front", front=wide))
    scaled = (replace(made.told.front[0], scale=0.0),)
    with refused(RunError, "what stands in front is not what the recipe asks for"):
        expunge.load(altered(made.path, tmp_path / "scaled", front=scaled))
    for name, recipe in (
        ("no-columns", {**made.told.recipe, "inputs": {**made.told.recipe["inputs"], "columns": []}}),
        ("wide", {**made.told.recipe, "model_options": {"width": 10**9}}),
        ("shards", {**made.told.recipe, "shards": 10**7}),
    ):
        with pytest.raises(ExpungeError):  # at once, and nothing of that size is made
            expunge.load(altered(made.path, tmp_path / name, recipe=recipe))
    other = {**made.told.recipe, "classes": ["a", "b", "c"]}
    with refused(InvalidArgument, "do not fit model 'mlp'"):
        _ = expunge.load(altered(made.path, tmp_path / "classes", recipe=other)).model
    for front in ((), made.told.front * 2):
        with pytest.raises(ExpungeError):
            _ = expunge.load(altered(made.path, tmp_path / f"fronts-{len(front)}", front=front)).model
    with refused(RunError, "is an exported model and no run", "`expunge adopt`"):
        unlearn(made.path, "subject:p3", out=tmp_path / "forgot")
    with refused(RunError, "holds something else", "`out`"):
        run.export(run.path)
    with refused(RunError, "holds something else"):
        run.export(altered(made.path, tmp_path / "other", says="another run's"))


def test_a_front_in_constants_is_the_front(run: Run) -> None:
    front = run.model().front
    rows = torch.arange(3 * front.width, dtype=torch.float32).reshape(3, front.width)
    told = in_front(front)
    ahead = (rows[:, :1].double() * told.scale - torch.tensor(told.mean)) / torch.tensor(told.std)
    torch.testing.assert_close(front(rows)[:, :1].double(), ahead, rtol=1e-6, atol=1e-6)
    assert torch.equal(front(rows)[:, 1:], rows[:, 1:])
