"""CSV and Parquet: what a column is taken for, what overrules that, and tables that are not what they should be."""

from __future__ import annotations

import csv
import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.dataset import Column, ColumnKind
from expunge.data.forms import read
from expunge.data.source import Source

HEADER = ["patient", "age", "town", "note", "outcome"]
ROWS = [
    ["p1", "31", "Bonn", "came in late again", "ill"],
    ["p2", " 40.5", "", "was sent home early", "well"],
    ["p1", "-1e2", "Köln", "", "ill"],
]
KINDS = [ColumnKind.NUMERIC, ColumnKind.CATEGORY, ColumnKind.TEXT]


def kinds(rows):
    return {column.name: column.kind for column in rows.columns}


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "ROWS.CSV"])
def test_a_table_of_every_kind(tmp_path, write_csv, name):
    rows = read(Source(location=write_csv(tmp_path / name, HEADER, ROWS), label="outcome", subject="patient"))
    assert list(kinds(rows).items()) == list(zip(HEADER[1:4], KINDS, strict=True))
    assert rows.content["age"].tolist() == [31.0, 40.5, -100.0]
    assert rows.content["age"].dtype == np.float64
    assert rows.content["town"].tolist() == ["Bonn", "", "Köln"], "a missing category is the empty text"
    assert rows.content["note"].tolist() == [row[3] for row in ROWS]
    assert rows.subjects == ("p1", "p2", "p1")
    assert rows.ids == ("row-0", "row-1", "row-2")
    assert rows.positional
    assert rows.classes == ("ill", "well")
    assert rows.labels.tolist() == [0, 1, 0]


def column_of(tmp_path, write_csv, values, **options):
    """Kind and content of one column with these words."""
    rows = [[value, at % 2] for at, value in enumerate(values)]
    found = read(Source(location=write_csv(tmp_path / "rows.csv", ["c", "y"], rows), label="y", **options))
    return found.columns[0].kind, found.content["c"].tolist()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2"], ColumnKind.NUMERIC),
        (["+1.", ".5", "1E-3", " 7 "], ColumnKind.NUMERIC),
        (["1", "2 kg"], ColumnKind.CATEGORY),
        (["1_000", "2_000"], ColumnKind.CATEGORY),
        (["0x1", "0x2"], ColumnKind.CATEGORY),
        (["١", "٢"], ColumnKind.CATEGORY),
        (["True", "False"], ColumnKind.CATEGORY),
        (["", ""], ColumnKind.CATEGORY),
        (["nan", "nan"], ColumnKind.CATEGORY),
        (["?", "private"], ColumnKind.CATEGORY),
        (["2024-01-05 10:00:00", "2024-01-06 11:30:00"], ColumnKind.CATEGORY),
        (["one two three", "four five six"], ColumnKind.TEXT),
        (["one two", "four five six"], ColumnKind.CATEGORY),
        (["one two", "four five six seven"], ColumnKind.TEXT),
        (["one two three four", ""], ColumnKind.TEXT),
    ],
)
def test_what_words_are_taken_for(tmp_path, write_csv, values, kind):
    found, content = column_of(tmp_path, write_csv, values)
    assert found is kind
    assert content == ([float(value) for value in values] if kind is ColumnKind.NUMERIC else values)


def test_options_overrule(tmp_path, write_csv):
    assert column_of(tmp_path, write_csv, ["007", "8"], categorical=("c",)) == (ColumnKind.CATEGORY, ["007", "8"])
    assert column_of(tmp_path, write_csv, ["007", "8"], text=("c",)) == (ColumnKind.TEXT, ["007", "8"])
    assert column_of(tmp_path, write_csv, ["", "8"], categorical=("c",)) == (ColumnKind.CATEGORY, ["", "8"])
    three_words = ["a b c", "d e f"]
    assert column_of(tmp_path, write_csv, three_words, categorical=("c",)) == (ColumnKind.CATEGORY, three_words)
    assert column_of(tmp_path, write_csv, ["1", "8"], numeric=("c",)) == (ColumnKind.NUMERIC, [1.0, 8.0])


@pytest.mark.parametrize("hole", ["", " ", "NaN", "nan", "NA", "n/a", "null", "?", "inf", "-Infinity", "1e999"])
def test_a_hole_in_a_numeric_column_is_refused(refused, tmp_path, write_csv, hole):
    """It must not turn the column into words without a word."""
    shown = repr(hole) if hole.strip() else "an empty cell"
    with refused(DataError, "line 3", "'c'", shown, "finite number", "1 such", "fill it", "`categorical` c"):
        column_of(tmp_path, write_csv, ["1", hole, "3"])


def test_a_word_in_a_column_said_to_be_numeric_is_refused(refused, tmp_path, write_csv):
    with refused(DataError, "line 2", "'much'", "finite number"):
        column_of(tmp_path, write_csv, ["much", "2"], numeric=("c",))


def labels_of(tmp_path, write_csv, labels):
    rows = [[at, label] for at, label in enumerate(labels)]
    return read(Source(location=write_csv(tmp_path / "rows.csv", ["c", "y"], rows), label="y"))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1", "0", "10"], (0, 1, 10)),
        (["1.0", "0", "-2"], (-2, 0, 1)),
        (["01", "1", "2"], ("01", "1", "2")),
        (["yes", " no ", "yes"], ("no", "yes")),
        (["1", "2", "many"], ("1", "2", "many")),
        (["1", "2", str(2**53)], ("1", "2", str(2**53))),
        (["1" * 5000, "2", "3"], ("1" * 5000, "2", "3")),
    ],
)
def test_labels(tmp_path, write_csv, labels, classes):
    assert labels_of(tmp_path, write_csv, labels).classes == classes


@pytest.mark.parametrize(
    ("labels", "kind", "parts"),
    [
        (["1.5", "2", "3"], InvalidArgument, ["label 1.5", "'y'", "`task` regression", "`task` classification"]),
        (["1e1", "2", "3"], InvalidArgument, ["label 1e1"]),
        (["1", "", "3"], DataError, ["line 3", "label", "'y'", "empty"]),
        (["1", "nan", "3"], DataError, ["line 3", "'nan'", "among numbers"]),
        (["1.5", "?", "3"], DataError, ["line 3", "'?'"]),
        (["1", "1", "1"], DataError, ["one class only"]),
    ],
)
def test_labels_that_are_no_classes_are_refused(refused, tmp_path, write_csv, labels, kind, parts):
    with refused(kind, *parts):
        labels_of(tmp_path, write_csv, labels)


def test_ids_and_subjects_are_text_without_white_space(refused, tmp_path, write_csv):
    path = write_csv(tmp_path / "r.csv", ["id", "who", "n", "y"], [[" 007", "a ", 1, 0], ["8", "a", 2, 1]])
    rows = read(Source(location=path, label="y", id="id", subject="who"))
    assert (rows.ids, rows.subjects, rows.positional) == (("007", "8"), ("a", "a"), False)
    assert [column.name for column in rows.columns] == ["n"]
    both = read(Source(location=path, label="y", id="id", subject="id"))
    assert both.ids == both.subjects
    assert read(Source(location=path, label="y", id="id")).subjects == ("007", "8")
    with refused(DataError, "'a'", "more than once", "unique"):
        read(Source(location=path, label="y", id="who"))


@pytest.mark.parametrize("option", ["id", "subject"])
def test_an_empty_name_is_refused(refused, tmp_path, write_csv, option):
    path = write_csv(tmp_path / "r.csv", ["who", "n", "y"], [["a", 1, 0], [" ", 2, 1]])
    with refused(DataError, "line 3", option, "'who'", "empty"):
        read(Source(location=path, label="y", **{option: "who"}))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, ["`label`", "patient, age, town, note, outcome"]),
        ({"label": "Outcome"}, ["'Outcome'", "label", "patient, age, town, note, outcome"]),
        ({"label": "outcome", "id": "nr"}, ["'nr'", "id", "patient, age"]),
        ({"label": "outcome", "subject": "who"}, ["'who'", "subject"]),
        ({"label": "outcome", "numeric": ("size",)}, ["'size'", "numeric"]),
        ({"label": "outcome", "text": ("outcome",)}, ["'outcome'", "label, id or subject"]),
        ({"label": "outcome", "subject": "outcome"}, ["'outcome'", "one of them"]),
    ],
)
def test_columns_that_are_not_there_or_mean_two_things_are_refused(refused, tmp_path, write_csv, options, parts):
    with refused(InvalidArgument, *parts):
        read(Source(location=write_csv(tmp_path / "rows.csv", HEADER, ROWS), **options))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["is empty"]),
        (b"\n\n", ["is empty", "empty line"]),
        (b"a,y\n", ["no rows"]),
        (b"a,y,a\n1,0,2\n", ["'a'", "more than once"]),
        (b"a, a ,y\n1,0,2\n", ["'a'", "more than once"]),
        (b",a,y\n0,1,0\n1,1,1\n", ["column 1", "no name", "index"]),
        (b"a,y\n1,0\n2\n3,1\n", ["line 3", "1 fields", "header has 2"]),
        (b"a,y\n1,0\n2,1,5\n", ["line 3", "3 fields", "header has 2"]),
        (b'a,y\n"one\ntwo",0\n2\n', ["line 4", "1 fields"]),
        (b'a,y\n1,0\n"open,1\n', ["line 3", "double quotes"]),
        (b'a,y\n"1"x,0\n', ["line 2", "double quotes"]),
        (b"a;y\n1;0\n", ["semicolons", "commas"]),
        (b"a\ty\n1\t0\n", ["tabs", "commas"]),
        (b"a,y\n\xff,0\n", ["UTF-8", "byte 4"]),
        ("a,y\n1,0\n".encode("utf-16"), ["UTF-8"]),
        (b"y\n0\n1\n", ["no content column"]),
    ],
)
def test_broken_tables_are_refused(refused, tmp_path, content, parts):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with refused(DataError, str(path), *parts):
        read(Source(location=str(path), label="y"))


def test_tables_with_a_mark_windows_lines_blank_lines_and_long_fields(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufeffa , y\r\n1,0\r\n\r\n2,1\r\n".encode())
    rows = read(Source(location=str(path), label="y"))
    assert (rows.columns[0].name, rows.content["a"].tolist()) == ("a", [1.0, 2.0])
    csv.field_size_limit(131_072)
    path.write_text("a,y\n" + "word " * 50_000 + ',0\n"with, comma ""quoted"" and\nline",1\n', encoding="utf-8")
    rows = read(Source(location=str(path), label="y"))
    assert rows.columns[0].kind is ColumnKind.TEXT
    assert [len(value) for value in rows.content["a"]] == [250_000, 29]
    assert csv.field_size_limit() == 131_072, "others' limit is put back"
    assert rows.content["a"][1] == 'with, comma "quoted" and\nline'


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NAMES = CELLS.map(str.strip).filter(lambda name: name not in ("", "label", "who", "nr"))


@given(st.data())
def test_a_csv_comes_back(tmp_path_factory, write_csv, data):
    """Any words and numbers, any column names: the content read is the content written."""
    names = data.draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    count = data.draw(st.integers(2, 6))
    reals = st.lists(st.floats(-1e30, 1e30) | st.integers(-(10**6), 10**6), min_size=count, max_size=count)
    words = st.lists(CELLS, min_size=count, max_size=count)
    content = {name: data.draw(reals if data.draw(st.booleans()) else words) for name in names}
    subjects = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    rows = [[*(content[name][row] for name in names), row % 2, subjects[row], f"n{row}"] for row in range(count)]
    path = write_csv(tmp_path_factory.mktemp("csv") / "rows.csv", [*names, "label", "who", "nr"], rows)
    spelled = tuple(name for name in names if isinstance(content[name][0], str))
    given_kinds = {"categorical": spelled, "numeric": tuple(name for name in names if name not in spelled)}
    found = read(Source(location=path, label="label", subject="who", id="nr", **given_kinds))
    assert [column.name for column in found.columns] == names
    assert {name: found.content[name].tolist() for name in names} == content
    assert found.subjects == tuple(subjects)
    assert found.ids == tuple(f"n{row}" for row in range(count))
    assert found.labels.tolist() == [row % 2 for row in range(count)]
    again = read(
        Source(location=path, label="label", subject="who", id="nr"), columns=found.columns, classes=found.classes
    )
    assert {name: again.content[name].tolist() for name in names} == content


def test_by_a_recipe_nothing_is_inferred(tmp_path, write_csv):
    """What is left after a deletion would be taken for something else; the recipe says what it was."""
    path = write_csv(
        tmp_path / "rows.csv", ["code", "note", "y"], [["7", "one two three four", "1"], ["8", "one", "2"]]
    )
    columns = (Column("note", ColumnKind.TEXT), Column("code", ColumnKind.CATEGORY))
    rows = read(Source(location=path, label="y"), columns=columns, classes=("1", "2", "many"))
    assert rows.columns == columns
    assert rows.content["code"].tolist() == ["7", "8"]
    assert rows.classes == ("1", "2", "many")
    assert rows.labels.tolist() == [0, 1]
    path = write_csv(tmp_path / "rows.csv", ["code", "note", "y"], [["7", "one", "1.5"]])
    rows = read(Source(location=path, label="y"), columns=columns, classes=("1.5", "many"))
    assert rows.labels.tolist() == [0], "alone it would look like a quantity"
    path = write_csv(tmp_path / "rows.csv", ["code", "note", "y"], [["7", "one", "1"]])
    rows = read(Source(location=path, label="y"), columns=columns, classes=(0, 1))
    assert (rows.classes, rows.labels.tolist()) == ((0, 1), [1])


def test_a_recipe_refuses_other_columns_and_classes(refused, tmp_path, write_csv):
    path = write_csv(tmp_path / "rows.csv", HEADER, ROWS)
    source = Source(location=path, label="outcome", subject="patient")
    rows = read(source)
    with refused(DataError, "further column 'note'", "trained on age, town"):
        read(source, columns=rows.columns[:2], classes=rows.classes)
    with refused(DataError, "misses column 'size'"):
        read(source, columns=(*rows.columns, Column("size", ColumnKind.NUMERIC)), classes=rows.classes)
    with refused(DataError, "'well'", "ill, dead"):
        read(source, columns=rows.columns, classes=("ill", "dead"))
    with refused(DataError, "'town'", "image"):
        as_image = Column("town", ColumnKind.IMAGE, (2, 2), "HW", 1 / 255)
        read(source, columns=(rows.columns[0], as_image, rows.columns[2]), classes=rows.classes)


def parquet(folder, columns, **options):
    path = folder / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return read(Source(location=str(path), **({"label": "y"} | options)))


WHEN = datetime.datetime(2024, 1, 5, 10, 30)


@pytest.mark.parametrize(
    ("values", "kind", "content"),
    [
        (pa.array([1, 2], pa.int8()), ColumnKind.NUMERIC, [1.0, 2.0]),
        (pa.array([1.5, 2], pa.float32()), ColumnKind.NUMERIC, [1.5, 2.0]),
        (pa.array([decimal.Decimal("1.25"), decimal.Decimal(2)]), ColumnKind.NUMERIC, [1.25, 2.0]),
        (pa.array(["1", "2"]), ColumnKind.CATEGORY, ["1", "2"]),
        (pa.array(["a b c", "d e f"], pa.large_string()), ColumnKind.TEXT, ["a b c", "d e f"]),
        (pa.array(["a", None]), ColumnKind.CATEGORY, ["a", ""]),
        (pa.array(["a", None]).dictionary_encode(), ColumnKind.CATEGORY, ["a", ""]),
        (pa.array([True, None]), ColumnKind.CATEGORY, ["true", ""]),
        (pa.array([None, None]), ColumnKind.CATEGORY, ["", ""]),
        (pa.array([WHEN, None]), ColumnKind.CATEGORY, ["2024-01-05T10:30:00.000000", ""]),
        (pa.array([WHEN, WHEN], pa.timestamp("s", "UTC")), ColumnKind.CATEGORY, ["2024-01-05T10:30:00.000Z"] * 2),
        (
            pa.array([WHEN, None], pa.timestamp("us", "America/New_York")),
            ColumnKind.CATEGORY,
            ["2024-01-05T10:30:00.000000Z", ""],
        ),
        (pa.array([WHEN.date(), WHEN.date()]), ColumnKind.CATEGORY, ["2024-01-05"] * 2),
        (pa.array([WHEN.time(), WHEN.time()], pa.time32("s")), ColumnKind.CATEGORY, ["10:30:00.000"] * 2),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_parquet_types_decide(tmp_path, values, kind, content):
    rows = parquet(tmp_path, {"c": values, "y": [0, 1]})
    assert rows.columns == (Column("c", kind),)
    assert rows.content["c"].tolist() == content
    again = read(Source(location=str(tmp_path / "rows.parquet"), label="y"), columns=rows.columns, classes=rows.classes)
    assert again.content["c"].tolist() == content


def test_parquet_names_labels_and_overrules(tmp_path):
    columns = {"i": [2**60, 2**60 + 1], "s": [7, 8], "n": [1, None], "w": ["1", "2"], "r": [0.5, 2.0], "y": [1.0, 2.0]}
    rows = parquet(tmp_path, columns, id="i", subject="s", categorical=("n", "r"), numeric=("w",))
    assert rows.ids == (str(2**60), str(2**60 + 1)), "ids pass through no reals"
    assert rows.subjects == ("7", "8")
    assert rows.classes == (1, 2)
    assert [rows.content[name].tolist() for name in "nwr"] == [["1", ""], [1.0, 2.0], ["0.5", "2.0"]]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([True, False], ("false", "true")), (["b", "a"], ("a", "b")), (["2", "1"], ("1", "2")), ([2, 1], (1, 2))],
)
def test_parquet_labels(tmp_path, labels, classes):
    rows = parquet(tmp_path, {"c": [1, 2], "y": labels})
    assert rows.classes == classes
    again = read(Source(location=str(tmp_path / "rows.parquet"), label="y"), columns=rows.columns, classes=classes)
    assert again.labels.tolist() == rows.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("columns", "options", "kind", "parts"),
    [
        ({"c": [1.0, None], "y": [0, 1]}, {}, DataError, ["row 1", "'c'", "an empty cell", "`categorical` c"]),
        ({"c": [1.0, float("nan")], "y": [0, 1]}, {}, DataError, ["row 1", "'c'", "'nan'"]),
        ({"c": [[1], [2]], "y": [0, 1]}, {}, DataError, ["'c'", "list", "drop the column"]),
        ({"c": [{"a": 1}, {"a": 2}], "y": [0, 1]}, {}, DataError, ["'c'", "struct"]),
        ({"c": [b"a", b"b"], "y": [0, 1]}, {}, DataError, ["'c'", "binary"]),
        ({"c": [datetime.timedelta(1)] * 2, "y": [0, 1]}, {}, DataError, ["'c'", "duration"]),
        ({"c": [1, 2], "y": [0, None]}, {}, DataError, ["row 1", "label", "empty"]),
        ({"c": [1, 2], "y": [0.5, 1]}, {}, InvalidArgument, ["label 0.5"]),
        ({"c": [1, 2], "y": ["a", None]}, {}, DataError, ["row 1", "label", "empty"]),
        ({"c": [1, 2], "y": [0, 1], "i": [0.5, 1]}, {"id": "i"}, DataError, ["'i'", "id", "whole numbers"]),
        ({"c": [1, 2], "y": [0, 1], "i": ["a", None]}, {"subject": "i"}, DataError, ["row 1", "subject", "empty"]),
        ({"c": [1, 2], "y": [0, 1]}, {"label": "z"}, InvalidArgument, ["'z'", "c, y"]),
        ({"c": [1, 2], "y": [0, 1]}, {"label": None}, InvalidArgument, ["`label`", "c, y"]),
        ({"c": pa.array([], pa.int8()), "y": pa.array([], pa.int8())}, {}, DataError, ["no rows"]),
        ({"c": ["a", "2"], "y": [0, 1]}, {"numeric": ("c",)}, DataError, ["row 0", "'a'", "finite number"]),
    ],
)
def test_parquet_refusals(refused, tmp_path, columns, options, kind, parts):
    with refused(kind, "rows.parquet", *parts):
        parquet(tmp_path, columns, **options)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1", b"a,y\n1,0\n"])
def test_broken_parquet_is_refused(refused, tmp_path, content):
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    with refused(DataError, str(path), "Parquet", "write the file again"):
        read(Source(location=str(path), label="y"))


def test_columns_are_never_taken_from_folder_names(tmp_path):
    folder = tmp_path / "year=2024"
    folder.mkdir()
    assert [column.name for column in parquet(folder, {"c": [1, 2], "y": [0, 1]}).columns] == ["c"]


def test_twice_named_parquet_columns_are_refused(refused, tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1, 2])] * 2, names=["a", "a"]), path)
    with refused(DataError, "'a'", "more than once"):
        read(Source(location=str(path), label="a"))
