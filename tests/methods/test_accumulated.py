"""Accumulated models as runs: trained, forgotten from and asked like any other; what has no meaning is refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import make_pictures, run_json
from tests.train.summed_rows import table, texts

import expunge
from expunge.core.errors import ExpungeError, InvalidArgument, RunError, UnsupportedEver
from expunge.core.values import Exact, Undecided
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.data.splits import Split
from expunge.hygiene.survey import survey
from expunge.measure.evaluate import evaluate
from expunge.measure.relearn import NO_STEPS
from expunge.methods import METHODS
from expunge.methods.exact_replay import ExactReplay
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import parent_of, unlearn
from expunge.models import sums
from expunge.models.features.table import TableMap
from expunge.records.catalogue import ACCUMULATED_MODELS, Execution
from expunge.records.documents import PARTIAL, SUMS
from expunge.schedule.recipe import HowTrained, Recipe
from expunge.train.run import Run
from expunge.train.training import make_recipe, train

ROWS = table(240)
OPTIONS: dict[str, dict[str, Any]] = {
    "ridge": {"model": "ridge", "model_options": {"width": 128}},
    "forest": {"model": "forest", "model_options": {"trees": 2}},
    "naive-bayes": {"model": "naive-bayes", "model_options": {"width": 128}},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("accumulated")
    return {name: train(ROWS, out=folder / name, **options) for name, options in OPTIONS.items()}


@pytest.fixture(params=list(OPTIONS))
def base(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "rows.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["who", "size", "kind", "answer"])
        for row in range(len(ROWS)):
            content = (ROWS.content[name][row] for name in ("size", "kind"))
            writer.writerow([f"someone-{row // 8:02d}", *content, ROWS.label(row)])
    return path


@pytest.mark.parametrize("rules", [["subject:someone-07"], ["random:40%:3"], ["class:class-1"]])
def test_forgetting_by_subtraction_by_retraining_and_never_having_known_are_one(
    base: Run, rules: list[str], tmp_path: Path
) -> None:
    model = str(base.told.recipe["model"])
    made = {
        "exact-replay": unlearn(base, rules, out=tmp_path / "replay", data=ROWS),
        "retrain": unlearn(base, rules, method="retrain", out=tmp_path / "retrain", data=ROWS),
        "without": train(ROWS, out=tmp_path / "without", without=rules, **OPTIONS[model]),
    }
    assert {run.weights_digest for run in made.values()} == {made["without"].weights_digest}
    assert made["without"].weights_digest != base.weights_digest
    for run in made.values():
        assert isinstance(run.guarantee, Exact)
        assert run.told.execution is Execution.SOLVE
        assert run.result.example_steps == run.result.steps == 0
        assert run.told.checkpoint_interval is None
        assert (run.path / SUMS).is_file()
        assert not (run.path / PARTIAL).exists()
    replayed, again = made["exact-replay"], made["retrain"]
    assert replayed.told.training_row_sums == again.told.training_row_sums == base.result.row_sums
    assert (replayed.result.row_sums or 0) > 0
    if model != "forest":
        gone = len(replayed.tombstones)
        left = len(base.units) - gone
        assert again.result.row_sums == left
        assert replayed.result.row_sums == (left if replayed.told.notices else gone)


def test_one_child_after_another(base: Run, tmp_path: Path) -> None:
    run, names = base, [f"subject:someone-{number:02d}" for number in (3, 11, 40)]
    for number, name in enumerate(names):
        run = unlearn(run, name, out=tmp_path / str(number), data=ROWS)
    without = train(ROWS, out=tmp_path / "without", without=names, **OPTIONS[str(base.told.recipe["model"])])
    assert run.weights_digest == without.weights_digest
    assert run.result.sums == without.result.sums
    assert run.told.training_row_sums == base.result.row_sums


def test_a_child_needs_no_parent(runs: dict[str, Run], tmp_path: Path) -> None:
    shutil.copytree(runs["ridge"].path, tmp_path / "base")
    first = unlearn(tmp_path / "base", "subject:someone-03", out=tmp_path / "first", data=ROWS)
    shutil.rmtree(tmp_path / "base")
    second = unlearn(first, "subject:someone-08", out=tmp_path / "second", data=ROWS)
    assert (
        second.weights_digest
        == train(
            ROWS, out=tmp_path / "without", without=["subject:someone-03", "subject:someone-08"], **OPTIONS["ridge"]
        ).weights_digest
    )


@pytest.mark.parametrize("moment", [1, 3])
def test_what_was_killed_goes_on_to_the_same_bits(
    moment: int, runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "BLOCK", 48)
    looked: list[int] = []
    features = TableMap.features

    def counted(self: TableMap, rows: Any, constants: Any) -> np.ndarray:
        looked.append(len(rows))
        return features(self, rows, constants)

    def killed(done: int, of: int) -> None:
        if done >= 48 * moment:
            raise KeyboardInterrupt

    for damaged in (False, True):
        folder = tmp_path / f"run-{damaged}"
        with pytest.raises(KeyboardInterrupt):
            train(ROWS, out=folder, progress=lambda done, of: killed(done - 48, of), **OPTIONS["ridge"])
        assert (folder / PARTIAL).is_file()
        if damaged:
            content = bytearray((folder / PARTIAL).read_bytes())
            content[-100] ^= 1
            (folder / PARTIAL).write_bytes(content)
        looked.clear()
        with monkeypatch.context() as patched:
            patched.setattr(TableMap, "features", counted)
            run = train(ROWS, out=folder, **OPTIONS["ridge"])
        summed = sum(looked) - 192 - 12 - 64  # answers and the look at their first rows
        assert summed == 192 - (0 if damaged else 48 * moment)
        assert run.weights_digest == runs["ridge"].weights_digest
        assert run.result.row_sums == 192
        assert not (folder / PARTIAL).exists()


def test_altered_sums_are_named(base: Run, tmp_path: Path) -> None:
    shutil.copytree(base.path, tmp_path / "base")
    path = tmp_path / "base" / SUMS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=rf"{path} does not hold the sums that its run.json says: it was altered"):
        unlearn(tmp_path / "base", "subject:someone-03", out=tmp_path / "child", data=ROWS)
    path.unlink()
    with pytest.raises(RunError, match=f"{path} is missing"):
        unlearn(tmp_path / "base", "subject:someone-03", out=tmp_path / "child", data=ROWS)
    unlearn(tmp_path / "base", "subject:someone-03", method="retrain", out=tmp_path / "again", data=ROWS)


def test_rows_that_are_gone_are_retrained_without(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "rows.csv")
    base = expunge.train(
        str(tmp_path / "rows.csv"), label="answer", subject="who", out=tmp_path / "base", model="forest"
    )
    slots = np.flatnonzero(np.array(base.data()[Split.TRAIN].subjects) == "someone-07")
    forgotten = ForgetSet(slots, ("subject:someone-07",), base.root.hex())
    before = unlearn(base, forgotten, out=tmp_path / "before")
    head, *lines = (tmp_path / "rows.csv").read_text().splitlines(keepends=True)
    of_training = np.flatnonzero(base.commitment.assignment == Split.TRAIN.code)
    left = np.setdiff1d(np.arange(len(lines)), of_training[slots])
    (tmp_path / "rows.csv").write_text(head + "".join(lines[at] for at in left))
    for asked in (forgotten, str(before.path / "forget.json")):
        with pytest.raises(RunError, match=r"rows of the forget set are no longer in the data.*use `method` retrain"):
            unlearn(base, asked, out=tmp_path / "replay")
        assert not (tmp_path / "replay").exists()
    again = unlearn(base, str(before.path / "forget.json"), method="retrain", out=tmp_path / "again")
    assert again.weights_digest == before.weights_digest


@pytest.mark.parametrize("method", [one.name for one in METHODS if not one.takes_sums])
def test_methods_that_move_weights_are_refused(method: str, runs: dict[str, Run]) -> None:
    from expunge.methods.lookup import make_method

    parent = parent_of(runs["ridge"], data=ROWS)
    with pytest.raises(UnsupportedEver, match=rf"method '{method}' on a run of model 'ridge': its .* use exact-replay"):
        make_method(method).validate(parent, np.array([3]), budget=None, seed=0)


def test_only_what_sums_is_allowed_to() -> None:
    assert {one for one in METHODS if one.takes_sums} == {ExactReplay, Retrain}


SAID: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 64,
    "optimiser": "sgd",
    "rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "calendar": "cosine",
    "flip": False,
    "crop": 0,
    "shards": 1,
    "slices": 1,
    "placement": "subject",
    "voting": "mean",
    "least_present": 1,
    "category_buckets": 32,
    "text_buckets": 1024,
    "precision": "float32",
    "profile": "exact",
    "threads": 1,
    "layout": "contiguous",
    "perturbation": 0.0,
    "checkpoint_interval": 100,
    "keep_checkpoints": 3,
    "trace": "losses",
    "noise_key": "some.key",
}


@pytest.mark.parametrize("name", list(SAID))
def test_what_steps_are_told_is_refused_by_name_though_it_is_the_default(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=rf"`{name}` with model 'ridge': its weights are a function of sums"):
        expunge.train(ROWS, out=tmp_path / "run", model="ridge", **{name: SAID[name]})
    assert not (tmp_path / "run" / "run.json").exists()


def test_recipes_refuse_the_same() -> None:
    with pytest.raises(InvalidArgument, match=r"`batch_size` with model 'ridge'"):
        make_recipe(ROWS, model="ridge", batch_size=64)
    plain = make_recipe(ROWS, model="ridge")
    with pytest.raises(InvalidArgument, match=r"`shards` with model 'ridge'"):
        Recipe(inputs=plain.inputs, classes=plain.classes, model="ridge", training=HowTrained.ACCUMULATE, shards=2)
    with pytest.raises(
        InvalidArgument, match=r"training descend with model 'forest': the model decides, and it is accum"
    ):
        Recipe(inputs=plain.inputs, classes=plain.classes, model="forest")
    with pytest.raises(
        InvalidArgument, match=r"training accumulate with model 'mlp': the model decides, and it is desc"
    ):
        Recipe(inputs=plain.inputs, classes=plain.classes, model="mlp", training=HowTrained.ACCUMULATE)
    with pytest.raises(InvalidArgument, match=r"task 'logistic' with model 'ridge': it answers classes"):
        make_recipe(ROWS, model="ridge", task="logistic")


@pytest.mark.parametrize("model", ACCUMULATED_MODELS)
def test_numbers_are_no_classes(model: str, tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("a,y\n" + "".join(f"{row},{row / 7:.3f}\n" for row in range(40)))
    with pytest.raises(ExpungeError, match="numbers"):
        expunge.train(str(tmp_path / "numbers.csv"), label="y", model=model, out=tmp_path / "run")
    with pytest.raises(InvalidArgument, match=rf"model '{model}' with labels that are numbers: it counts classes"):
        expunge.train(str(tmp_path / "numbers.csv"), label="y", model=model, task="regression", out=tmp_path / "run")


def test_a_recipe_says_how_it_is_trained_where_no_step_is_taken() -> None:
    stepless, steps = make_recipe(ROWS, model="forest"), make_recipe(ROWS, model="mlp")
    assert stepless.as_json()["training"] == "accumulate"
    assert "training" not in steps.as_json()
    assert Recipe.from_json(stepless.as_json()) == stepless
    assert stepless.stage_epochs == (0,)


def test_machine_and_threads_have_no_part_in_the_environment(base: Run, tmp_path: Path) -> None:
    assert run_json(base)["environment"] == {"accumulation_arithmetic": 1}


def test_where_constants_are_from_speaks_of_sums_and_of_no_batch_norm(base: Run, tmp_path: Path) -> None:
    told = {one.name: one.origin for one in base.told.preprocessing}
    assert set(told) == {"map", "ranges_words_penalty", "classes", "column_kinds"}
    assert told["ranges_words_penalty"].startswith("recomputed: derived from the rows that are present")
    child = unlearn(base, "random:40:1", out=tmp_path / "child", data=ROWS)
    assert child.told.preprocessing == base.told.preprocessing


def test_it_is_asked_like_any_other(base: Run, tmp_path: Path) -> None:
    forgot = unlearn(base, "random:40:1", out=tmp_path / "forgot", data=ROWS)
    again = unlearn(base, "random:40:1", method="retrain", out=tmp_path / "again", data=ROWS)
    told = evaluate(forgot, references=[again], data=ROWS, probes=["relearn", "relearn-transfer", "representation"])
    figures = {probe.name: probe.unlearned for probe in told.probes}
    assert {figures[name] for name in ("relearn", "relearn-log-rank", "relearn-transfer")} == {Undecided(NO_STEPS)}
    assert told.verdict.word == "supported"
    assert len(forgot.predict(ROWS)) == len(ROWS)
    assert forgot.score(ROWS)["accuracy"] > 0.6
    exported = forgot.export(tmp_path / "exported")
    assert np.array_equal(exported.predict(ROWS).probabilities, forgot.predict(ROWS).probabilities)


def test_old_sums_hold_the_rows_and_own_ones_do_not(base: Run, tmp_path: Path) -> None:
    shutil.copytree(base.path, tmp_path / "base")
    forgot = unlearn(tmp_path / "base", "random:40:1", out=tmp_path / "forgot", data=ROWS)
    found = survey(forgot)
    assert {
        (item.path.parent.parent.name, item.path.name) for item in found.ours if item.path.parent.name == "checkpoints"
    } == {("base", "sums.safetensors")}
    shutil.copy(tmp_path / "base" / SUMS, forgot.path / SUMS)  # laid into the place of its own
    laid = [item for place in survey(forgot).places for item in place.holdings if item.path == forgot.path / SUMS]
    assert len(laid) == 1
    assert "it was overwritten with the sums of" in laid[0].why


def test_references_are_other_models_where_anything_is_drawn(file: Path, tmp_path: Path) -> None:
    base = expunge.train(str(file), label="answer", subject="who", out=tmp_path / "base", model="forest")
    found = expunge.references(base, "subject:someone-07", count=2, jobs=1)
    assert len({base.weights_digest, *(one.weights_digest for one in found)}) == 3
    assert all(len(one.tombstones) for one in found)


@pytest.mark.parametrize(
    ("rows", "fields"),
    [
        (texts(), {"model": "ridge", "model_options": {"width": 32}}),
        (make_pictures(side=12), {"model": "patch-ridge", "model_options": {"width": 32}}),
    ],
    ids=["texts", "pictures"],
)
def test_texts_and_pictures_are_forgotten_and_answered(rows: Dataset, fields: dict[str, Any], tmp_path: Path) -> None:
    base = train(rows, out=tmp_path / "base", **fields)
    forgot = unlearn(base, "random:5:1", out=tmp_path / "forgot", data=rows)
    again = unlearn(base, "random:5:1", method="retrain", out=tmp_path / "again", data=rows)
    assert forgot.weights_digest == again.weights_digest != base.weights_digest
    told = forgot.predict(rows).probabilities
    assert told.shape == (len(rows), len(rows.classes))
    assert np.allclose(told.sum(axis=1), 1)
    assert np.array_equal(forgot.export(tmp_path / "exported").predict(rows).probabilities, told)
    assert evaluate(forgot, references=[again], data=rows).verdict.word == "supported"
