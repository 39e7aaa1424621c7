"""Labels that are numbers, from the file to the verdict: trained, forgotten, measured, reported, attested, verified."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from tests.conftest import ORIGIN, Refused

import expunge
from expunge.attest.attest import attest
from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedEver, UnsupportedYet
from expunge.core.statistics.means import mean_interval
from expunge.core.values import Exact, Measurement, Refuted, Supported, Undecided
from expunge.data.source import Source
from expunge.data.splits import SPLITS, Split
from expunge.measure import OF_CLASSES, OF_NUMBERS, PROBES
from expunge.measure.contract import NO_CLASSES, Probe, ProbeRole
from expunge.measure.evaluate import evaluate, trial_of
from expunge.measure.judgement import ALIKE, SAME, judge, power_line
from expunge.measure.lookup import probes_for
from expunge.measure.published import require
from expunge.measure.readings import SIGNALS, Reading
from expunge.measure.trial import Answers, Ground, Whose, probe_seed, split_holdout
from expunge.methods import METHODS
from expunge.methods.lookup import methods
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.evaluation import Evaluation
from expunge.records.keys import SigningKey, TrustedKey
from expunge.records.limits import Code
from expunge.records.verdict import Level, Status
from expunge.report import text
from expunge.report.load import load
from expunge.report.numerals import shown
from expunge.report.report import report
from expunge.study.rehearsal import check_rehearsable
from expunge.study.training_table import read_training
from expunge.tasks import TASKS
from expunge.tasks.regression import Regression
from expunge.tasks.task import Batch, Task
from expunge.train.adopt import adopt
from expunge.train.answers import signals
from expunge.train.call import train
from expunge.train.examples import Examples
from expunge.train.predict import predict, score
from expunge.train.run import Run
from expunge.verify.verify import verify

RULE = "random:24:3"
NOT_HERE = ("masked-small-gradients", "convolution-transpose")  # their edits are of convolutions


def rows_of(count: int = 200, seed: int = 1) -> pd.DataFrame:
    """People with ten rows each, and a quantity of theirs that two numbers and a word explain."""
    generator = np.random.default_rng(seed)
    first, second = generator.normal(50, 9, count), generator.normal(0, 1, count)
    word = generator.choice(["low", "high"], count)
    target = 1000 + 30 * first - 80 * second + 200 * (word == "high") + generator.normal(0, 60, count)
    people = [f"someone-{row // 10:03d}" for row in range(count)]
    columns = {"who": people, "first": first.round(3), "second": second.round(3), "word": word}
    return pd.DataFrame({**columns, "target": target.round(2)})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("numbers")
    rows_of().to_csv(place / "rows.csv", index=False)
    return place


@pytest.fixture(scope="module")
def made(place: Path) -> Callable[..., Run]:
    def make(name: str, **fields: Any) -> Run:
        told = {"label": "target", "subject": "who", "task": "regression", "epochs": 12, **fields}
        return train(str(place / "rows.csv"), out=place / name, **told)

    return make


@pytest.fixture(scope="module")
def run(made: Callable[..., Run]) -> Run:
    return made("run")


@pytest.fixture(scope="module")
def replayed(run: Run) -> Run:
    return unlearn(run, RULE, out=run.path.parent / "replayed")


@pytest.fixture(scope="module")
def references(run: Run) -> list[Run]:
    folder = run.path.parent
    return [
        unlearn(run, RULE, method=Retrain(training_seed=seed), out=folder / f"retrained-{seed}") for seed in range(1, 6)
    ]


@pytest.fixture(scope="module")
def witnesses(made: Callable[..., Run]) -> list[Run]:
    return [made(f"knowing-{seed}", seed=seed) for seed in (21, 22)]


@pytest.fixture(scope="module")
def evaluated(run: Run, references: list[Run], witnesses: list[Run]) -> tuple[Run, Evaluation]:
    forgot = unlearn(run, RULE, method="neggrad-plus", out=run.path.parent / "negated")
    return forgot, evaluate(forgot, references, witnesses=witnesses)


def ids_of(run: Run, count: int, folder: Path) -> str:
    """A file that names so many training rows."""
    (folder / "ids.txt").write_text("\n".join(run.data()[Split.TRAIN].ids[:count]), encoding="utf-8")
    return str(folder / "ids.txt")


def answered(run: Run, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """(answers, labels) of a split, one row at a time and without a task."""
    rows = run.data()[split]
    model = run.model()
    encoded = torch.from_numpy(run.recipe.inputs.encode(rows))
    with torch.no_grad():
        return np.array([float(model(encoded[row : row + 1])[0, 0]) for row in range(len(rows))]), rows.labels


def test_answers_are_in_the_owners_units_and_better_than_the_mean(run: Run) -> None:
    told = run.data()
    assert sum(len(told[split]) for split in SPLITS) == 200
    for split in SPLITS:
        answers, labels = answered(run, split)
        assert labels.dtype == np.float64
        found = TASKS["regression"].fit(
            signals(
                run.recipe, run.model(), Examples(run.recipe, told[split], torch.device("cpu")), np.arange(len(labels))
            )
        )
        off = np.abs(answers - labels)
        assert found["mae"] == pytest.approx(off.mean(), rel=1e-6)
        assert found["r2"] == pytest.approx(1 - ((answers - labels) ** 2).mean() / labels.var(), rel=1e-6)
        assert found["mae"] < 0.6 * np.abs(labels - labels.mean()).mean()


def test_raw_rows_are_answered_by_a_number_each(run: Run, tmp_path: Path, refused: Refused) -> None:
    """In the labels' units, by the run and by what is exported of it; train says how well."""
    rows = rows_of(20, seed=9)
    answers, labels = answered(run, Split.HOLDOUT)
    held_out = rows_of().iloc[run.commitment.source_rows(Split.HOLDOUT, np.arange(len(labels)))]
    assert predict(run, held_out).labels == pytest.approx(answers.tolist(), rel=1e-6)
    told = predict(run, rows.drop(columns="target"))
    assert [one["answer"] for one in told.rows()] == told.labels
    assert told.classes == ()
    exported = run.export(tmp_path / "model")
    assert exported.predict(rows).labels == pytest.approx(told.labels, rel=1e-6)
    error = np.abs(np.array(told.labels) - rows["target"]).mean()
    told_file = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert len(told_file["back"]) == 1
    with refused(RunError, "what stands behind is not what the recipe asks for"):
        _ = replace(exported, told=replace(exported.told, back=None)).model
    assert score(run, rows)["mae"] == exported.score(rows)["mae"] == pytest.approx(error, rel=1e-5)
    learnt = {part.split: part.figures for part in run.told.learnt or ()}
    answers, labels = answered(run, Split.TRAIN)
    assert learnt["train"]["mae"] == pytest.approx(np.abs(answers - labels).mean(), rel=1e-6)
    assert learnt["calibration"].keys() == {"mae", "r2"}


def test_no_constant_of_the_recipe_knows_a_label(run: Run) -> None:
    """What brings answers to the labels' units is state of the training, among the weights."""
    assert run.recipe.classes == ()
    origins = {told.name: told.origin for told in run.told.preprocessing}
    assert "classes" not in origins
    assert origins["labels"].startswith("training state")
    state = run.model().state_dict()
    labels = run.data()[Split.TRAIN].labels
    assert float(state["back.norm.running_mean"]) == pytest.approx(labels.mean(), rel=0.02)
    assert float(state["back.norm.running_var"]) == pytest.approx(labels.var(), rel=0.2)


def test_one_data_set_in_every_form(run: Run, place: Path, tmp_path: Path) -> None:
    rows = rows_of()
    frame = train(rows, out=tmp_path / "frame", label="target", subject="who", task="regression", epochs=12)
    rows.to_parquet(tmp_path / "rows.parquet")
    stored = Source(location=str(tmp_path / "rows.parquet"), label="target", subject="who")
    parquet = train(stored, out=tmp_path / "parquet", task="regression", epochs=12)
    for other in (frame, parquet):
        assert (other.told.dataset_root, other.weights_digest) == (run.told.dataset_root, run.weights_digest)
    rows["target"] = rows["target"].astype(str)  # words that spell numbers
    spelled = train(rows, out=tmp_path / "spelled", label="target", subject="who", task="regression", epochs=12)
    assert spelled.weights_digest == run.weights_digest
    inputs = rows[["first", "second"]].to_numpy()
    pairs = [
        train((inputs, labels), out=tmp_path / f"pair-{at}", task="regression", epochs=1)
        for at, labels in enumerate((rows_of()["target"].to_numpy(), rows_of()["target"].tolist()))
    ]
    np.savez(tmp_path / "rows.npz", x=inputs, y=rows_of()["target"].to_numpy())
    pairs.append(train(str(tmp_path / "rows.npz"), out=tmp_path / "npz", task="regression", epochs=1))
    assert len({pair.weights_digest for pair in pairs}) == 1
    assert pairs[0].data((inputs, rows_of()["target"].to_numpy()))[Split.TRAIN].labels.dtype == np.float64


def test_replaying_is_retraining_bit_for_bit(run: Run, replayed: Run, made: Callable[..., Run]) -> None:
    again = unlearn(run, RULE, method="retrain", out=run.path.parent / "retrained")
    left_out = made("left-out", without=RULE)
    assert replayed.guarantee == again.guarantee == Exact()
    assert len({replayed.weights_digest, again.weights_digest, left_out.weights_digest}) == 1
    assert replayed.weights_digest != run.weights_digest


def test_shards_answer_by_their_mean(made: Callable[..., Run], run: Run, refused: Refused) -> None:
    sharded = made("sharded", shards=3, slices=2)
    model = sharded.model()
    inputs = torch.from_numpy(sharded.recipe.inputs.encode(sharded.data()[Split.HOLDOUT]))
    exported = sharded.export(sharded.path.parent / "sharded-model")
    assert exported.predict(rows_of(9)).labels == pytest.approx(predict(sharded, rows_of(9)).labels, rel=1e-6)
    with torch.no_grad():
        each = [shard(inputs) for shard in model.shards]
        torch.testing.assert_close(model(inputs), sum(each) / 3)
    forgot = unlearn(sharded, "subject:someone-004", out=sharded.path.parent / "sharded-forgot")
    again = unlearn(sharded, "subject:someone-004", method="retrain", out=sharded.path.parent / "sharded-retrained")
    assert forgot.weights_digest == again.weights_digest
    with refused(InvalidArgument, "voting majority", "numbers have no majority"):
        made("never", shards=3, voting="majority")


@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_methods_work_on_numbers_or_refuse_by_type(
    run: Run, replayed: Run, tmp_path: Path, refused: Refused, name: str
) -> None:
    """A method that asks for classes says so in one sentence; every other one works."""
    kind = methods()[name]
    if not issubclass(Regression, kind.task):
        with refused(UnsupportedEver, f"method {name!r} on the task 'regression'", f"it needs {kind.task.takes}"):
            unlearn(run, RULE, method=name, out=tmp_path / "refused")
    elif name in NOT_HERE:
        with refused(UnsupportedEver, "without convolutions"):
            unlearn(run, RULE, method=name, out=tmp_path / "refused")
    else:
        forgot = replayed if name == "exact-replay" else unlearn(run, RULE, method=name, out=tmp_path / "forgot")
        assert len(forgot.tombstones) == 24
        assert np.isfinite(answered(forgot, Split.HOLDOUT)[0]).all()
    assert not (tmp_path / "refused").exists()


def test_a_class_cannot_be_forgotten(run: Run, tmp_path: Path, refused: Refused) -> None:
    with refused(InvalidArgument, "class '3' cannot be forgotten", "no row is of a class", "subject:NAME"):
        unlearn(run, "class:3", out=tmp_path / "never")


def test_figures_stand_in_the_labels_units_and_the_verdict_rests_on_margins(
    evaluated: tuple[Run, Evaluation], references: list[Run], run: Run
) -> None:
    """On memory, τ and R²; 12 epochs remember nothing here."""
    forgot, found = evaluated
    of_classes = {probe.name for probe in OF_CLASSES}
    assert {one.name for one in found.probes} == {probe.name for probe in (*OF_NUMBERS, *PROBES)} - of_classes
    holdout, labels = answered(forgot, Split.HOLDOUT)
    train_answers, train_labels = answered(forgot, Split.TRAIN)
    gone = forgot.forget_set.slots
    kept = np.setdiff1d(np.arange(len(train_labels)), gone)
    for whose, answers, targets in (
        ("test", holdout, labels),
        ("forget", train_answers[gone], train_labels[gone]),
        ("retain", train_answers[kept], train_labels[kept]),
    ):
        error, share = found[f"{whose}-error"].unlearned, found[f"{whose}-r2"].unlearned
        assert isinstance(error, Measurement)
        assert isinstance(share, Measurement)
        assert error.value == pytest.approx(np.abs(answers - targets).mean(), rel=1e-6)
        assert share.value == pytest.approx(1 - ((answers - targets) ** 2).mean() / targets.var(), rel=1e-6)
        assert not found[f"{whose}-error"].required
    assert isinstance(found["loss-threshold"].unlearned, Measurement)
    _, scored = split_holdout(probe_seed(run.root), len(labels))
    spreads = [(told[0] - told[1])[scored].std(ddof=1) for told in (answered(r, Split.HOLDOUT) for r in references)]
    margin = -np.abs(train_answers[gone] - train_labels[gone]) / np.mean(spreads)
    assert isinstance(found["mean-margin"].unlearned, Measurement)
    assert found["mean-margin"].unlearned.value == pytest.approx(margin.mean(), rel=1e-6)
    trial = trial_of([forgot], run, references, forgot.data())
    for probe in OF_CLASSES:
        told = probe().measure(trial.unlearned[0], trial)
        assert isinstance(told, Undecided)
        assert told.reason.removeprefix("forget-accuracy: ") == NO_CLASSES
    assert {one.name for one in found.probes if one.required} == {"memory", "typicality", "retain-r2", "test-r2"}
    assert found.verdict == Undecided(ALIKE)
    assert found.guarantee.word == "Empirical"
    assert len(found.examples) == 24
    for example in found.examples:
        assert example.label == train_labels[example.slot]
        assert example.answers is not None
        assert example.answers.after == pytest.approx(train_answers[example.slot], rel=1e-6)
        assert (example.before, example.after, example.retrained) == (None, None, None)


def test_numbers_are_judged_as_classes_are(
    run: Run, replayed: Run, references: list[Run], witnesses: list[Run], tmp_path: Path
) -> None:
    """Equal bits, few rows, a run that did not change at all, and one whose answers are all the same."""
    again = unlearn(run, RULE, method="retrain", out=tmp_path / "again")
    found = evaluate(replayed, [again, *references])
    assert found.verdict == Supported(0.0, SAME)
    assert found.guarantee == Exact()
    few = unlearn(run, "ids:" + ids_of(run, 2, tmp_path), method="fine-tune", out=tmp_path / "few")
    assert evaluate(few).verdict == Undecided("2 rows, tests need 20: more references would not help")
    still = unlearn(run, RULE, method="fine-tune", budget=0.0, out=tmp_path / "still")
    assert evaluate(still, references).verdict == Refuted("same weights: the weights are the original's, bit for bit")
    trial = trial_of([still], run, references, run.data(), witnesses=witnesses)
    read = {
        rows: {name: np.zeros_like(values) if name == "answer" else values for name, values in told.items()}
        for rows, told in trial.unlearned[0].answers.read[SIGNALS].items()
    }
    for rows, told in read.items():
        told["residual"] = -trial.ground.labels[rows]
    flat = replace(trial.unlearned[0], weights_digest="f" * 64)
    flat = replace(flat, answers=replace(flat.answers, read={SIGNALS: read}))
    (straw,) = judge(replace(trial, unlearned=(flat,)), [probe() for probe in probes_for(())])
    assert isinstance(straw.verdict, Refuted)
    assert straw.verdict.reason.startswith("collapsed: test R² -")


def test_what_papers_print_needs_classes_and_a_holdout(
    evaluated: tuple[Run, Evaluation], small_run: Run, pictures: Any, refused: Refused
) -> None:
    forgot, _ = evaluated
    with refused(InvalidArgument, "`as_published` prints accuracies", "for lack of classes", "leave it out"):
        evaluate(forgot, as_published=True)
    rows = small_run.data(pictures)
    nobody = rows[Split.HOLDOUT].take(np.zeros(0, dtype=np.int64))
    with refused(InvalidArgument, "for lack of a holdout"):
        require(small_run, {**rows, Split.HOLDOUT: nobody})


def test_margins_before_there_are_references_are_read_off_calibration_rows(evaluated: tuple[Run, Evaluation]) -> None:
    forgot, _ = evaluated
    original, rows = forgot.parent, forgot.data()
    alone = trial_of([forgot], original, [], rows)
    answers, labels = answered(original, Split.CALIBRATION)
    unit = (answers - labels).std(ddof=1)
    told = alone.unlearned[0].answers.of(Whose.FORGET)
    assert told["margin"] == pytest.approx(-np.abs(told["residual"]) / unit, rel=1e-6)
    other = trial_of([forgot], original, [forgot], rows)
    assert alone.ground.digest != other.ground.digest, "figures of one unit are none of another"


def test_tables_and_page_show_errors_where_accuracies_stand(evaluated: tuple[Run, Evaluation], tmp_path: Path) -> None:
    forgot, found = evaluated
    page = report([forgot.path], out=tmp_path / "page.html").read_text(encoding="utf-8")
    error = found["test-error"].unlearned
    assert isinstance(error, Measurement)
    for part in (
        "Mean absolute error, holdout",
        "R², retain set",
        "R² on the holdout",
        shown(error.value, "error"),
    ):
        assert part in page
    assert "accuracy, " not in page.lower().replace("mean absolute error", "")
    assert "Test accuracy" not in page
    example = found.examples[0]
    assert example.answers is not None
    assert example.answers.before is not None
    for part in (
        f"label {example.label:g}",
        shown(example.answers.before, "error"),
        "not to the label or away from it",
    ):
        assert part in page
        assert part not in report([forgot.path], out=tmp_path / "bare.html", examples=False).read_text(encoding="utf-8")
    headings, rows = text.rows(load([forgot.path]))
    assert list(headings[2:4]) == ["Memory left, with bound", "Mean absolute error, forget set"]
    assert all(len(row) == len(headings) for row in rows)
    assert len(headings) <= 11, "more do not fit on a page of 1280 pixels"
    errors = found["forget-error"]
    assert isinstance(errors.unlearned, Measurement)
    assert re.search(
        rf"their labels (?:as|than) [a-z ]+: off by {shown(errors.unlearned.value, 'error')}; models", page
    )
    assert "log-odds" not in page


def test_the_record_is_accepted_with_the_rows_gone(
    run: Run, replayed: Run, owner: SigningKey, trusted: tuple[TrustedKey, ...], tmp_path: Path
) -> None:
    """Up to a twin run from nothing; a label that was altered by its last digit is another row."""
    attest(replayed, key=owner, out=tmp_path / "bundle", log=tmp_path / "log", origin=ORIGIN)
    rows = rows_of()
    assignment = run.commitment.source_rows(Split.TRAIN, replayed.tombstones)
    left = tmp_path / "left.csv"
    rows.drop(index=assignment).to_csv(left, index=False)
    verdict = verify(tmp_path / "bundle", keys=trusted, level=Level.V4, data=left)
    assert verdict.status is Status.ACCEPTED, verdict.codes
    altered = rows.drop(index=assignment)
    altered.loc[altered.index[0], "target"] += 0.01
    altered.to_csv(tmp_path / "altered.csv", index=False)
    other = verify(tmp_path / "bundle", keys=trusted, level=Level.V2, data=tmp_path / "altered.csv")
    assert other.codes == (Code.CONTENT_LEAF_MISMATCH,)


@pytest.mark.parametrize(
    ("column", "kind", "parts"),
    [
        ("much", DataError, ["row 3", "'much'", "finite numbers"]),
        (np.nan, DataError, ["row 3", "an empty cell", "(1 such rows)"]),
        (np.inf, DataError, ["row 3", "'inf'"]),
    ],
)
def test_labels_that_are_no_numbers(refused: Refused, tmp_path: Path, column: Any, kind: Any, parts: list[str]) -> None:
    rows = rows_of()
    rows["target"] = rows["target"].astype(str if isinstance(column, str) else float)
    rows.loc[3, "target"] = column
    with refused(kind, "'target'", "`task` regression", *parts):
        train(rows, out=tmp_path / "never", label="target", subject="who", task="regression")


def test_arrays_whose_labels_are_no_numbers(refused: Refused, tmp_path: Path) -> None:
    inputs, never = np.eye(30), tmp_path / "never"
    labels = np.linspace(0, 1, 30)
    for odd, part in ((np.where(labels == 0, np.nan, labels), "nan"), (labels.astype(str), "'0.0'")):
        with refused(DataError, "the label of row 0", part, "`task` regression"):
            train((inputs, odd), out=never, task="regression")
    with refused(DataError, "every label is 7", "nothing to learn"):
        train((inputs, np.full(30, 7.0)), out=never, task="regression")
    for task in (None, "logistic"):
        with refused(InvalidArgument, "30 different numbers", "`task` regression", "`task` classification"):
            train((inputs, labels), out=never, task=task)
    with refused(InvalidArgument, "21 different numbers", "20 at most"):
        train((inputs, np.minimum(np.arange(30), 20).astype(float)), out=never)
    with refused(InvalidArgument, "task 'regression' with 2 classes"):
        read = train((inputs, np.arange(30) % 2), out=tmp_path / "classes", epochs=1)
        train(read.data((inputs, np.arange(30) % 2))[Split.TRAIN], out=never, task="regression")


def test_a_hundred_whole_numbers_in_an_array_are_classes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", x=generator.normal(size=(400, 3)), y=np.arange(400) % 100)
    assert len(train(str(tmp_path / "rows.npz"), out=tmp_path / "run", epochs=1).recipe.classes) == 100


def test_numbers_of_pictures(tmp_path: Path) -> None:
    """A network of convolutions answers numbers too, whole ones as well where it is said so."""
    pictures = np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8)
    run = train((pictures, pictures.mean(axis=(1, 2)).astype(int)), out=tmp_path / "run", task="regression", epochs=2)
    assert run.recipe.model == "cnn"
    forgot = unlearn(
        run,
        "random:5:1",
        method="masked-small-gradients",
        out=tmp_path / "forgot",
        data=(pictures, pictures.mean(axis=(1, 2)).astype(int)),
    )
    assert len(forgot.tombstones) == 5


def test_studies_and_tuning_say_that_numbers_have_no_margins(run: Run, refused: Refused) -> None:
    with refused(UnsupportedYet, "task 'regression' in a study", "`expunge evaluate`"):
        read_training("numbers", {"task": "regression"})
    with refused(UnsupportedYet, "labels are numbers", "margins"):
        check_rehearsable(run, run.data(), np.zeros(0, dtype=np.int64))


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """By default options alone."""
    place = tmp_path_factory.mktemp("diabetes")
    load_diabetes(as_frame=True).frame.to_csv(place / "diabetes.csv", index=False)
    return train(str(place / "diabetes.csv"), out=place / "run", label="target", task="regression")


def test_diabetes_is_judged_beside_references_of_the_store(diabetes: Run) -> None:
    """It has a memory, and its trial says what it could support; what was read is not read again."""
    place = diabetes.path.parent
    forgot = unlearn(diabetes, "random:15%:1", method="fine-tune", out=place / "forgot")
    expunge.references(forgot, count=5, jobs=1)
    told: dict[str, Any] = {"data": str(place / "diabetes.csv"), "label": "target", "task": "regression"}
    witnesses = [train(**told, out=place / f"knowing-{seed}", seed=seed) for seed in (8, 9)]
    found = expunge.evaluate(forgot, witnesses=witnesses)
    assert (len(found.references), len(found.witnesses or ())) == (5, 2)
    assert found.memory is not None
    assert found.memory.original > 0.8
    assert found.memory.left > 0.3
    assert power_line(found.memory) in found.notices
    assert not isinstance(found.verdict, Supported)
    assert len(list(place.glob("store/*/*/reading-signals-*.safetensors"))) == 5
    assert expunge.evaluate(forgot, witnesses=witnesses).digest == found.digest


def test_diabetes_is_answered_as_well_as_by_ridge(diabetes: Run) -> None:
    """The mean absolute error on the holdout within 5 % of ridge's on the same rows."""
    run = diabetes
    assert (run.recipe.model, run.recipe.epochs) == ("mlp", 32)
    told = run.data()
    inputs = {split: run.recipe.inputs.encode(told[split]) for split in SPLITS}
    mean, deviation = inputs[Split.TRAIN].mean(axis=0), inputs[Split.TRAIN].std(axis=0)
    ridge = Ridge().fit((inputs[Split.TRAIN] - mean) / deviation, told[Split.TRAIN].labels)
    answers, labels = answered(run, Split.HOLDOUT)
    theirs = np.abs(ridge.predict((inputs[Split.HOLDOUT] - mean) / deviation) - labels).mean()
    assert np.abs(answers - labels).mean() <= 1.05 * theirs


@pytest.mark.parametrize("task", ["regression", None])
def test_a_table_as_people_hold_it_trains_in_one_call(tmp_path: Path, task: str | None) -> None:
    """Semicolons, decimal commas, dates, a column of 451 codes, and one number in twenty missing."""
    generator = np.random.default_rng(2)
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        written = csv.writer(handle, delimiter=";")
        written.writerow(["seen", "weight", "code", "cost", "ill"])
        for row in range(902):
            weight = generator.normal(70, 9)
            shown = "" if row % 20 == 0 else f"{weight:.2f}".replace(".", ",")
            day = f"{1 + row % 28:02d}.{1 + row % 12:02d}.2024"
            cost = f"{100 + 3 * weight + generator.normal():.2f}".replace(".", ",")
            written.writerow([day, shown, f"code {row % 451:03d}".replace(" ", "-"), cost, int(weight > 70)])
    label, other = ("cost", "ill") if task else ("ill", "cost")
    said: list[str] = []
    run = train(
        str(path), out=tmp_path / "run", label=label, task=task, missing="indicator", epochs=2, tell=said.append
    )  # fmt: skip
    kinds = {column.name: column.kind.value for column in run.recipe.inputs.columns}
    assert kinds["seen"] == "date"
    assert kinds["code"] == "category"
    assert {kinds["weight"], kinds[other]} == {"numeric"}
    assert kinds["weight is missing"] == "indicator"
    assert ("labels are numbers" in said[0]) == (task is not None)
    assert any("451 different words" in sentence for sentence in said)
    assert any("separator ';' and decimal ','" in sentence for sentence in said)
    labels = run.data()[Split.TRAIN].labels
    assert labels.dtype == (np.float64 if task else np.int64)


def test_a_model_from_elsewhere_that_answers_numbers(tmp_path: Path) -> None:
    """It is called as it is: nothing of ours stands behind it, and the unit of its residuals is 1."""
    generator = np.random.default_rng(4)
    inputs = generator.normal(size=(120, 3)).astype(np.float32)
    labels = 50 + inputs @ np.array([3.0, -2.0, 1.0], dtype=np.float32)
    weights = {"head.weight": torch.tensor([[3.0, -2.0, 1.0, 48.0]])}
    run = adopt(
        weights,
        (inputs[:90], labels[:90].astype(np.float64)),
        model="linear",
        model_options={"unit_rows": False},
        holdout=(inputs[90:], labels[90:].astype(np.float64)),
        task="regression",
        out=tmp_path / "run",
    )
    assert set(run.model().state_dict()) == {"body.head.weight"}
    assert any("mean absolute error of 2" in notice for notice in run.told.notices or ())
    data = (inputs, labels.astype(np.float64))
    rows = run.data(data)
    told = signals(run.recipe, run.model(), Examples(run.recipe, rows[Split.TRAIN], torch.device("cpu")), np.arange(90))
    assert TASKS["regression"].fit(told)["mae"] == pytest.approx(2, abs=1e-4)
    assert told["loss"] == pytest.approx(0.5 * told["residual"] ** 2)
    forgot = unlearn(run, "random:24:1", method="gradient-ascent", out=tmp_path / "forgot", data=data)
    found = evaluate(forgot, [], data=data)
    assert found.verdict == Undecided("memory: needs 5 references, has 0")
    assert isinstance(found["test-error"].unlearned, Measurement)


@dataclass(frozen=True, kw_only=True)
class OwnMargins(Reading):
    name = "own-margins"

    def __call__(self, model: torch.nn.Module, task: Task, rows: Batch) -> dict[str, np.ndarray]:
        return {"own": task.signals(model, rows)["margin"]}


@dataclass(frozen=True, kw_only=True)
class OwnMargin(Probe):
    """Mean of margins that are read by a reading of its own."""

    name = "own-margin"
    role = ProbeRole.FORGETTING
    scale = "margin"
    reads = (OwnMargins(),)
    rows: ClassVar[Whose] = Whose.HOLDOUT

    def value(self, own: Answers, others: tuple[Answers, ...], ground: Ground) -> Any:
        return mean_interval(own.of(self.rows, self.reads[0])["own"])


def test_a_reading_of_ones_own_that_needs_margins_reads_nothing(evaluated: tuple[Run, Evaluation]) -> None:
    forgot, _ = evaluated
    trial = trial_of([forgot], forgot.parent, [], forgot.data(), [OwnMargin])
    assert OwnMargin().measure(trial.unlearned[0], trial) == Undecided(NO_CLASSES)
