"""AnyData handed over in Python: the same rows are the same data set and give the same weights in whatever form."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.train.own_factory import build

import expunge
from expunge.cli.app import commands
from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from expunge.data.source import Source
from expunge.methods.unlearn import unlearn
from expunge.models.zoo import mlp
from expunge.train.call import train
from expunge.train.run import Run

COUNT = 60
COLUMNS: dict[str, list[Any]] = {
    "age": [20 + at % 40 for at in range(COUNT)],
    "weight": [50.0 + at / 8 for at in range(COUNT)],
    "town": [("Ulm", "Bonn", "Köln")[at % 3] for at in range(COUNT)],
    "seen": [f"2024-01-{1 + at % 28:02d}" for at in range(COUNT)],
    "well": [at % 5 == 0 for at in range(COUNT)],
    "patient": [f"p{at % 12}" for at in range(COUNT)],
    "outcome": [at % 2 for at in range(COUNT)],
}
NAMED = {"label": "outcome", "subject": "patient"}
SHORT = {"model": "mlp", "epochs": 1, "batch_size": 16}


class Frame:
    """What offers its columns through the Arrow PyCapsule interface and is of no package known to anybody."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class Rows(torch.utils.data.Dataset[Any]):
    """A map-style data set of torch."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def table(**changes: Any) -> pa.Table:
    return pa.table({**COLUMNS, **changes})


@pytest.fixture(scope="module")
def of_csv(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("csv")
    lines = [
        ",".join(COLUMNS),
        *(
            ",".join(map(str, row)).replace("True", "true").replace("False", "false")
            for row in zip(*COLUMNS.values(), strict=True)
        ),
    ]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return train(folder / "rows.csv", out=folder / "run", **NAMED, **SHORT)


def pandas_frame() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({**COLUMNS, "well": [str(value).lower() for value in COLUMNS["well"]]}).iloc[
        list(range(COUNT))
    ]


def hugging_face() -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict(COLUMNS)


FORMS = {
    "a path as text": lambda run: run.told.data.source["location"],
    "a source": lambda run: Source(location=run.told.data.source["location"], **NAMED),
    "an Arrow table": lambda run: table(),
    "a frame of any package": lambda run: Frame(table()),
    "a frame with dates": lambda run: Frame(table(seen=pa.array(COLUMNS["seen"]).cast(pa.date32()))),
    "a frame of pandas": lambda run: pandas_frame(),
    "a data set of Hugging Face": lambda run: hugging_face(),
    "a torch data set of mappings": lambda run: Rows(
        [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows_in_another_form(of_csv: Run, tmp_path: Any, form: str) -> None:
    data = FORMS[form](of_csv)
    named = {} if isinstance(data, Source) else NAMED
    run = train(data, out=tmp_path / "run", **named, **SHORT)
    assert run.told.dataset_root == of_csv.told.dataset_root
    assert run.told.recipe_digest == of_csv.told.recipe_digest
    assert run.weights_digest == of_csv.weights_digest
    again = {} if run.told.data.source is not None else {"data": data}
    forgot = unlearn(run, "subject:p3", method="retrain", out=tmp_path / "forgot", **again)
    assert len(forgot.tombstones) == len(run.data(data)[next(iter(run.data(data)))]) - sum(
        name != "p3" for name in run.data(data)[next(iter(run.data(data)))].subjects
    )


NUMBERS = ("age", "weight")


def test_arrays_under_the_names_of_their_columns(tmp_path: Any) -> None:
    (tmp_path / "rows.csv").write_text(
        "age,weight,patient,outcome\n"
        + "".join(
            f"{a},{w},{p},{o}\n"
            for a, w, p, o in zip(*(COLUMNS[name] for name in (*NUMBERS, "patient", "outcome")), strict=True)
        ),
        encoding="utf-8",
    )
    csv = train(tmp_path / "rows.csv", out=tmp_path / "csv", **NAMED, **SHORT)
    x = np.array([COLUMNS[name] for name in NUMBERS], dtype=np.float64).T
    y = np.array(COLUMNS["outcome"])
    pair = train((x, y), columns=NUMBERS, subject=COLUMNS["patient"], out=tmp_path / "pair", **SHORT)
    rows = Rows([(torch.tensor(one), label) for one, label in zip(x, COLUMNS["outcome"], strict=True)])
    lazy = train(rows, columns=NUMBERS, subject=np.array(COLUMNS["patient"]), out=tmp_path / "rows", **SHORT)
    assert csv.weights_digest == pair.weights_digest == lazy.weights_digest
    assert csv.told.dataset_root == pair.told.dataset_root == lazy.told.dataset_root


def test_arrays_are_those_of_a_file(tmp_path: Any) -> None:
    x, y = np.arange(COUNT * 16, dtype=np.uint8).reshape(COUNT, 4, 4), np.arange(COUNT) % 3
    names = [f"n{at}" for at in range(COUNT)]
    np.savez(tmp_path / "rows.npz", x=x, y=y, ids=np.array(names), subjects=np.array(COLUMNS["patient"]))
    file = train(tmp_path / "rows.npz", out=tmp_path / "file", **SHORT)
    pair = train((torch.tensor(x), y.tolist()), id=names, subject=COLUMNS["patient"], out=tmp_path / "pair", **SHORT)
    lazy = train(Rows(list(zip(x, y, strict=True))), id=names, subject=COLUMNS["patient"], out=tmp_path / "l", **SHORT)
    assert file.weights_digest == pair.weights_digest == lazy.weights_digest
    assert file.told.dataset_root == pair.told.dataset_root == lazy.told.dataset_root
    with pytest.raises(DataError):
        unlearn(pair, "subject:p3", method="retrain", out=tmp_path / "forgot", data=(x, y))
    again = {"data": (x, y), "id": names, "subject": COLUMNS["patient"]}
    forgot = unlearn(pair, "subject:p3", method="retrain", out=tmp_path / "forgot", **again)
    assert str(forgot.guarantee) == "Exact"


def test_many_whole_numbers_in_arrays_are_classes(tmp_path: Any) -> None:
    x, y = np.eye(200, dtype=np.float32), np.arange(200) % 100
    assert len(train((x, y), out=tmp_path / "pair", epochs=1).recipe.classes) == 100
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    assert len(train(tmp_path / "rows.npz", out=tmp_path / "file", epochs=1).recipe.classes) == 100


def test_no_package_of_a_frame_is_imported() -> None:
    told = "import sys, expunge.train.call; print([p for p in ('pandas', 'polars', 'datasets') if p in sys.modules])"
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_model_that_fits_the_data(pictures: Any, tmp_path: Any) -> None:
    assert train(pictures, out=tmp_path / "images", epochs=1).recipe.model == "cnn"
    assert train(table(), out=tmp_path / "table", epochs=1, **NAMED).recipe.model == "mlp"
    logistic = train(table(), out=tmp_path / "convex", epochs=1, task="logistic", **NAMED)
    assert logistic.recipe.model == "linear"


def test_a_model_that_is_handed_over(pictures: Any, tmp_path: Any) -> None:
    run = train(pictures, out=tmp_path / "own", model=build, epochs=1)
    assert run.recipe.model == "tests.train.own_factory:build"
    assert str(run.guarantee) == "Exact"
    assert Run.open(run.path).model() is not None
    assert train(pictures, out=tmp_path / "zoo", model=mlp, epochs=1).recipe.model == "mlp"


def test_models_that_nobody_finds_again_are_refused(refused: Any, pictures: Any, tmp_path: Any) -> None:
    def inner(inputs: tuple[int, ...], classes: int) -> torch.nn.Module:
        return build(inputs, classes)

    for model in (inner, lambda inputs, classes: build(inputs, classes)):
        with refused(InvalidArgument, "cannot be found again by module and name"):
            train(pictures, out=tmp_path / "run", model=model)
    with refused(InvalidArgument, "finished Linear"):
        train(pictures, out=tmp_path / "run", model=torch.nn.Linear(2, 2))


def test_every_argument_is_shown() -> None:
    shown = pydoc.plain(pydoc.render_doc(expunge.train))
    signature = inspect.signature(expunge.train)
    assert all(f"    {name}: " in shown for name in signature.parameters)
    assert all(argument.kind is not inspect.Parameter.VAR_KEYWORD for argument in signature.parameters.values())
    here = {"source", "key", "log", "origin", "json", "jobs"}  # in Python `apart` says what jobs does
    flags = {str(given.name) for given in commands().commands["train"].params}
    assert flags - here - {"help"} <= set(signature.parameters)


WRONG: dict[str, tuple[Any, dict[str, Any]]] = {
    "no data": (None, {}),
    "a number": (3, {}),
    "a list": ([1, 2], {}),
    "a class": (Frame, {}),
    "an array alone": (np.eye(3), {}),
    "a data set without rows": (Rows([]), {}),
    "rows that are no pairs": (Rows([1, 2, 3]), {}),
    "rows of several shapes": (Rows([([1], 0), ([1, 2], 1)]), {}),
    "a frame without a label": (Frame(table()), {}),
    "a label that is not there": (Frame(table()), {"label": "cure"}),
    "a label that is no name": (Frame(table()), {"label": 3}),
    "subjects of a frame": (Frame(table()), {"label": "outcome", "subject": COLUMNS["patient"]}),
    "a subject of arrays": ((np.eye(4), [0, 1, 0, 1]), {"subject": "patient"}),
    "labels of another length": ((np.eye(4), [0, 1]), {}),
    "kinds of arrays": ((np.eye(4), [0, 1, 0, 1]), {"numeric": ["a"]}),
    "rows of arrays": ((np.eye(4), [0, 1, 0, 1]), {"rows": 2, "columns": list("abcd")}),
    "a separator of a frame": (Frame(table()), {"label": "outcome", "separator": ";"}),
    "a size of a frame": (Frame(table()), {"label": "outcome", "image_size": 4}),
    "objects": ((np.array([{}, {}]), [0, 1]), {}),
    "no folder": ("digits", {"out": 3}),
    "a model that is a number": ("digits", {"model": 5}),
    "epochs in words": ("digits", {"epochs": "8"}),
    "a rate in words": ("digits", {"rate": "fast"}),
    "a momentum of a list": ("digits", {"momentum": [0.9]}),
    "an optimiser that is a number": ("digits", {"optimiser": 3}),
    "a calendar that is none": ("digits", {"calendar": "lunar"}),
    "flip in words": ("digits", {"flip": "yes"}),
    "half a crop": ("digits", {"crop": 1.5}),
    "options that are a list": ("digits", {"model_options": ["width"]}),
    "rows in words": ("digits", {"rows": "all"}),
    "without a number": ("digits", {"without": 5}),
    "a split seed in words": ("digits", {"split_seed": "x"}),
    "a device that is a number": ("digits", {"device": 3}),
    "a trace that is none": ("digits", {"trace": "all"}),
    "progress that is a word": ("digits", {"progress": "bar"}),
    "an interval in words": ("digits", {"checkpoint_interval": "often"}),
    "buckets of half": ("digits", {"category_buckets": 0.5}),
    "kinds that are a number": ("rows.csv", {"numeric": 3}),
    "a task that is a number": ("digits", {"task": 3}),
    "a task that is none": ("digits", {"task": "guessing"}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_call_gets_one_sentence(tmp_path: Any, wrong: str) -> None:
    data, given = WRONG[wrong]
    with pytest.raises(ExpungeError) as caught:
        train(data, **{"out": tmp_path / "run", **given})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_frame_is_remembered_by_how_it_was_read(refused: Any, tmp_path: Any) -> None:
    holes = table(age=[None, *COLUMNS["age"][1:]])
    with refused(DataError, "row 0", "'age'", "`missing` indicator"):
        train(Frame(holes), out=tmp_path / "run", **NAMED, **SHORT)
    run = train(Frame(holes), out=tmp_path / "run", missing="indicator", **NAMED, **SHORT)
    held = run.told.data.held
    assert held is not None
    assert (held["label"], held["subject"], held["date"], held["missing"]) == (
        "outcome",
        "patient",
        ["seen"],
        "indicator",
    )
    assert "location" not in held
    with refused(DataError, "in memory"):
        run.data()
    rows = run.data(Frame(holes))
    left = holes.filter(pa.array([name != "p3" for name in COLUMNS["patient"]]))
    forgot = unlearn(run, "subject:p3", method="retrain", out=tmp_path / "forgot", data=Frame(holes))
    assert not forgot.data(left)[next(iter(rows))].present[forgot.tombstones].any()


def test_a_model_answers_rows_in_any_form_alike(of_csv: Run) -> None:
    rows = of_csv.data()
    path = of_csv.told.data.source["location"]
    own = expunge.predict(of_csv, path)
    assert own.ids == tuple(f"row-{at}" for at in range(COUNT))
    np.testing.assert_allclose(own.probabilities.sum(axis=1), 1)
    unlabelled = table().drop_columns(["outcome", "patient"]).append_column("more", pa.array(range(COUNT)))
    for data in (Frame(unlabelled), Frame(table()), Rows(unlabelled.to_pylist())):
        other = expunge.predict(of_csv.path, data)
        assert np.array_equal(other.probabilities, own.probabilities)
        assert other.labels == own.labels
    holdout = next(split for split in rows if split.value == "holdout")
    named = expunge.predict(of_csv, rows[holdout])
    assert set(named.ids) <= set(own.ids)
    assert [own.labels[own.ids.index(name)] for name in named.ids] == named.labels


def test_a_file_to_answer_may_be_written_otherwise(refused: Any, of_csv: Run, tmp_path: Any) -> None:
    names = [name for name in COLUMNS if name not in ("outcome", "patient")]
    rows = zip(*(COLUMNS[name] for name in names), strict=True)
    lines = [
        ";".join(str(value).lower() if isinstance(value, bool) else str(value).replace(".", ",") for value in row)
        for row in rows
    ]
    (tmp_path / "new.csv").write_text("\n".join([";".join(names), *lines]), encoding="utf-8")
    own = expunge.predict(of_csv, of_csv.told.data.source["location"])
    assert np.array_equal(expunge.predict(of_csv, tmp_path / "new.csv").probabilities, own.probabilities)
    with refused(DataError, "misses column 'age'"):
        expunge.predict(of_csv, Frame(table().drop_columns(["age"])))


def test_arrays_are_answered_without_labels(tmp_path: Any) -> None:
    x, y = np.eye(40, 6, dtype=np.float32), np.arange(40) % 2
    run = train((x, y), out=tmp_path / "run", **SHORT)
    assert np.array_equal(
        expunge.predict(run, x).probabilities, expunge.predict(run, (torch.tensor(x), y)).probabilities
    )
    with pytest.raises(DataError):
        expunge.predict(run, np.eye(4, 3, dtype=np.float32))
    for wrong in (None, 3, [1, 2]):
        with pytest.raises(ExpungeError):
            expunge.predict(run, wrong)
    with pytest.raises(ExpungeError):
        expunge.predict(5, x)  # pyright: ignore[reportArgumentType]


def test_an_evaluation_takes_rows_in_any_form(of_csv: Run, tmp_path: Any, refused: Any) -> None:
    forgot = unlearn(of_csv, "subject:p3", method="fine-tune", out=tmp_path / "forgot")
    retrained = unlearn(of_csv, "subject:p3", method="retrain", out=tmp_path / "retrained")
    own = expunge.evaluate(forgot, retrained)
    assert expunge.evaluate(forgot, [retrained], data=Frame(table())).digest == own.digest
    assert expunge.evaluate(forgot, [retrained], data=Frame(table()), label="outcome", subject="patient") == own
    with refused(InvalidArgument, "`label`", "none are given"):
        expunge.evaluate(forgot, [retrained], label="outcome")
    for wrong in ({"references": 3}, {"references": [3]}, {"original": 3}, {"data": 3}):
        with pytest.raises(ExpungeError) as caught:
            expunge.evaluate(forgot, **{"references": [retrained], **wrong})
        assert "\n" not in str(caught.value)
