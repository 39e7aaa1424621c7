"""Hugging Face data sets from disk, and by name with the network played."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from expunge.core.errors import DataError, InvalidArgument, NotInstalled
from expunge.data.dataset import Column, ColumnKind
from expunge.data.forms import read
from expunge.data.source import Source

datasets = pytest.importorskip("datasets", reason="the extra 'language' is not installed")


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    datasets.disable_progress_bars()


def saved(folder, columns, features=None, rows=None):
    made = datasets.Dataset.from_dict(columns, features=features and datasets.Features(features))
    (made if rows is None else made.select(rows)).save_to_disk(str(folder / "set"))
    return str(folder / "set")


MIXED = {
    "age": [31, 40, 52],
    "weight": [1.5, 2.5, 3.5],
    "town": ["Bonn", None, "1"],
    "note": ["came in late again", "was sent home", "stayed for the night"],
    "colour": [0, -1, 1],
    "who": ["ann", "bob", "ann"],
    "label": [1, 0, 1],
}


@pytest.fixture
def mixed(tmp_path):
    value, named = datasets.Value, datasets.ClassLabel
    types = {"age": value("int32"), "weight": value("float32"), "colour": named(names=["red", "blue"])}
    types["label"] = named(names=["well", "ill"])
    features = {name: types.get(name, value("string")) for name in MIXED}
    return saved(tmp_path, MIXED, features, rows=[2, 0, 1])


def test_columns_of_every_kind(mixed):
    rows = read(Source(location=mixed, subject="who"))
    assert [(column.name, column.kind.value) for column in rows.columns] == [
        ("age", "numeric"),
        ("weight", "numeric"),
        ("town", "category"),
        ("note", "text"),
        ("colour", "category"),
    ]
    assert rows.content["age"].tolist() == [52.0, 31.0, 40.0], "a selection keeps its order"
    assert rows.content["town"].tolist() == ["1", "Bonn", ""]
    assert rows.content["colour"].tolist() == ["blue", "red", ""]
    assert rows.subjects == ("ann", "ann", "bob")
    assert rows.classes == ("ill", "well")
    assert rows.labels.tolist() == [0, 0, 1]
    again = read(Source(location=mixed, subject="who"), columns=rows.columns, classes=rows.classes)
    assert [again.example(row) for row in range(3)] == [rows.example(row) for row in range(3)]


def test_label_id_and_overrules_by_option(mixed):
    rows = read(Source(location=mixed, label="who", id="age", categorical=("weight",), text=("town",)))
    assert rows.ids == ("52", "31", "40")
    assert rows.classes == ("ann", "bob")
    assert rows.content["weight"].tolist() == ["3.5", "1.5", "2.5"]
    assert {column.name: column.kind.value for column in rows.columns}["town"] == "text"
    assert rows.content["label"].tolist() == ["ill", "ill", "well"]


def test_a_label_that_is_missing_lists_the_columns(refused, tmp_path):
    place = saved(tmp_path, {"a": [1, 2], "y": [0, 1]})
    with refused(InvalidArgument, "'label'", "a, y"):
        read(Source(location=place))
    assert read(Source(location=place, label="y")).classes == (0, 1)


def images(modes, size=(4, 6)):
    return [Image.fromarray(np.full((size[1], size[0]), at, np.uint8)).convert(mode) for at, mode in enumerate(modes)]


@pytest.mark.parametrize(("modes", "layout"), [(["L", "L"], "HW"), (["L", "RGB"], "HWC")])
def test_images(tmp_path, modes, layout):
    features = {"picture": datasets.Image(), "label": datasets.Value("int64")}
    place = saved(tmp_path, {"picture": images(modes), "label": [0, 1]}, features)
    rows = read(Source(location=place))
    shape = (6, 4) if layout == "HW" else (6, 4, 3)
    assert rows.columns == (Column("picture", ColumnKind.IMAGE, shape, layout, 1 / 255),)
    assert rows.content["picture"].reshape(2, -1)[:, 0].tolist() == [0, 1]
    coloured = (Column("picture", ColumnKind.IMAGE, (6, 4, 3), "HWC", 1 / 255),)
    assert read(Source(location=place), columns=coloured).content["picture"].shape == (2, 6, 4, 3)
    small = read(Source(location=place, image_size=3))
    assert small.columns[0].shape[:2] == (3, 3)


def test_images_that_cannot_be_read_are_named(refused, tmp_path):
    features = {"picture": datasets.Image(), "label": datasets.Value("int64")}
    cells = [{"bytes": b"no image", "path": None}, *images(["L"])]
    place = saved(tmp_path, {"picture": cells, "label": [0, 1]}, features)
    with refused(DataError, "picture of row 0", "could not be decoded"):
        read(Source(location=place))
    place = saved(tmp_path / "b", {"picture": [*images(["L"]), None], "label": [0, 1]}, features)
    with refused(DataError, "row 1", "'picture'", "no image"):
        read(Source(location=place))


def test_arrays_of_one_shape(tmp_path):
    value = datasets.Value
    features = {
        "grid": datasets.Array2D((2, 3), "uint8"),
        "fixed": datasets.Sequence(value("float32"), length=2),
        "loose": datasets.Sequence(value("int64")),
        "deep": datasets.Sequence(datasets.Sequence(value("float64"))),
        "label": value("string"),
    }
    content = {
        "grid": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        "fixed": np.arange(4, dtype=np.float32).reshape(2, 2),
        "loose": np.arange(6).reshape(2, 3),
        "deep": np.arange(12.0).reshape(2, 3, 2),
    }
    columns = {name: values.tolist() for name, values in content.items()} | {"label": ["a", "b"]}
    rows = read(Source(location=saved(tmp_path, columns, features, rows=[1, 0])))
    assert rows.columns == (
        Column("grid", ColumnKind.IMAGE, (2, 3), "HW", 1 / 255),
        Column("fixed", ColumnKind.ARRAY, (2,)),
        Column("loose", ColumnKind.ARRAY, (3,)),
        Column("deep", ColumnKind.ARRAY, (3, 2), "HW"),
    )
    for name, values in content.items():
        np.testing.assert_array_equal(rows.content[name], values[::-1])
        assert rows.content[name].dtype == values.dtype


@pytest.mark.parametrize(
    ("values", "feature", "parts"),
    [
        ([[1], [1, 2]], None, ["'c'", "[1, 2] entries", "cut or pad"]),
        ([[1, 2], None], None, ["'c'", "holes"]),
        ([[1, 2], [1, None]], None, ["'c'", "holes"]),
        ([["a"], ["b"]], None, ["'c'", "lists of string"]),
        ([{"a": 1}, {"a": 2}], None, ["'c'", "cannot be read", "drop the column"]),
        ([b"a", b"b"], None, ["'c'", "binary"]),
        ([{"en": "a"}, {"en": "b"}], "translation", ["'c'", "Translation", "drop the column"]),
        ([None, 1.0], None, ["row 0", "'c'", "finite number"]),
    ],
)
def test_refusals(refused, tmp_path, values, feature, parts):
    features = None
    if feature is not None:
        features = {"c": datasets.Translation(languages=["en"]), "label": datasets.Value("int64")}
    place = saved(tmp_path, {"c": values, "label": [0, 1]}, features)
    with refused(DataError, place, *parts):
        read(Source(location=place))


@pytest.mark.parametrize("label", [[0, -1], [0, None]])
def test_a_row_without_a_class_is_refused(refused, tmp_path, label):
    features = {"c": datasets.Value("int64"), "label": datasets.ClassLabel(names=["a", "b"])}
    with refused(DataError, "row 1", "label", "empty"):
        read(Source(location=saved(tmp_path, {"c": [1, 2], "label": label}, features)))


def test_a_class_without_a_name_is_refused(monkeypatch, refused):
    features = datasets.Features({"c": datasets.Value("int64"), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = pa.table({"c": [1, 2], "label": [0, 2]})
    found = datasets.Dataset(rows, info=datasets.DatasetInfo(features=features))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: found)
    with refused(DataError, "hf:odd", "'label'", "2 names"):
        read(Source(location="hf:odd"))


@pytest.mark.parametrize("column", ["grid", "picture"])
def test_arrays_and_images_are_no_labels_ids_or_numbers(refused, tmp_path, column):
    features = {
        "grid": datasets.Array2D((2, 3), "uint8"),
        "picture": datasets.Image(),
        "label": datasets.Value("int64"),
    }
    columns = {"grid": np.zeros((2, 2, 3), int).tolist(), "picture": images(["L", "L"]), "label": [0, 1]}
    place = saved(tmp_path, columns, features)
    with refused(DataError, repr(column), "cannot be the label"):
        read(Source(location=place, label=column))
    with refused(DataError, repr(column), "cannot be id"):
        read(Source(location=place, id=column))
    with refused(InvalidArgument, repr(column), "numeric"):
        read(Source(location=place, numeric=(column,)))
    with refused(DataError, repr(column), "arrays"):
        names = [name for name in ("grid", "picture") if name != column]
        plain = (Column(column, ColumnKind.NUMERIC), *(Column(name, ColumnKind.IMAGE) for name in names))
        read(Source(location=place), columns=plain)


def dictionary(splits):
    parts = {name: datasets.Dataset.from_dict({"a": [at, 2], "label": [0, 1]}) for at, name in enumerate(splits)}
    return datasets.DatasetDict(parts)


def test_splits(refused, tmp_path):
    place = str(tmp_path / "set")
    dictionary(["test", "train"]).save_to_disk(place)
    assert read(Source(location=place)).content["a"].tolist() == [1.0, 2.0], "train unless said"
    assert read(Source(location=place, split="test")).content["a"].tolist() == [0.0, 2.0]
    with refused(InvalidArgument, "'valid'", "test, train"):
        read(Source(location=place, split="valid"))
    place = str(tmp_path / "other")
    dictionary(["left", "right"]).save_to_disk(place)
    with refused(InvalidArgument, "'train'", "`split`", "left, right"):
        read(Source(location=place))


def test_one_split_has_no_other(refused, mixed):
    with refused(InvalidArgument, "`split` test", "leave it out"):
        read(Source(location=mixed, split="test"))


def test_an_image_size_without_images_is_refused(refused, mixed):
    with refused(InvalidArgument, "`image_size` 8", "no column of images", "leave it out"):
        read(Source(location=mixed, image_size=8))


def test_no_rows_are_refused(monkeypatch, refused):
    features = datasets.Features({"a": datasets.Image(), "label": datasets.Value("int64")})
    empty = datasets.Dataset.from_dict({"a": [], "label": []}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: empty)
    with refused(DataError, "hf:empty", "no rows"):
        read(Source(location="hf:empty"))


def test_images_that_lie_elsewhere(monkeypatch, refused, tmp_path):
    paths = [str(tmp_path / f"{at}.png") for at in range(2)]
    for path, image in zip(paths, images(["L", "L"]), strict=True):
        image.save(path)
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.Value("int64")})
    found = datasets.Dataset.from_dict({"picture": paths, "label": [0, 1]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: found)
    assert read(Source(location="hf:pictures")).content["picture"][:, 0, 0].tolist() == [0, 1]
    (tmp_path / "1.png").unlink()
    with refused(DataError, "row 1", "'picture'", "no image"):
        read(Source(location="hf:pictures"))


@pytest.mark.parametrize("name", ["dataset_info.json", "state.json", "data-00000-of-00001.arrow"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x00" * 100])
def test_damaged_folders_are_refused(refused, mixed, tmp_path, name, content):
    (tmp_path / "set" / name).write_bytes(content)
    with refused(DataError, mixed, "could not be read", "save it again"):
        read(Source(location=mixed))


def test_by_name(monkeypatch, refused):
    asked = []

    def load(*arguments):
        asked.append(arguments)
        return dictionary(["train", "test"])

    monkeypatch.setattr(datasets, "load_dataset", load)
    for location in ("hf:imdb", "hf:stanfordnlp/imdb", "hf:nyu-mll/glue/sst2", "hf:owner/name/a/b"):
        assert read(Source(location=location)).classes == (0, 1)
    assert read(Source(location="hf:imdb", split="test")).content["a"].tolist() == [1.0, 2.0]
    assert asked == [
        ("imdb", None),
        ("stanfordnlp/imdb", None),
        ("nyu-mll/glue", "sst2"),
        ("owner/name", "a/b"),
        ("imdb", None),
    ]
    for location in ("hf:", "hf:/imdb", "hf:owner/", "hf:owner/name/"):
        with refused(InvalidArgument, repr(location), "no full name"):
            read(Source(location=location))


@pytest.mark.parametrize(
    "error", [ConnectionError("offline\nnow"), FileNotFoundError("x"), KeyError("x"), ValueError()]
)
def test_a_name_that_cannot_be_reached(monkeypatch, refused, error):
    def load(*_):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    with refused(DataError, "hf:imdb", "could not be loaded", "network", "save_to_disk"):
        read(Source(location="hf:imdb"))


def test_without_the_package(monkeypatch, refused, mixed):
    monkeypatch.setitem(sys.modules, "datasets", None)
    for location in ("hf:imdb", mixed):
        with refused(NotInstalled, location, "pip install 'expunge[language]'"):
            read(Source(location=location))
