"""Tables as people hold them: what is found when they are read first, said from then on, and read by that again."""

from __future__ import annotations

import json

import numpy as np
import pytest

import expunge
from expunge.core.errors import DataError, InvalidArgument
from expunge.data.commitment import leaves
from expunge.data.dataset import Column, ColumnKind
from expunge.data.dates import days, shown_day
from expunge.data.encoding import make_encoding
from expunge.data.forms import find, read
from expunge.data.labels import LabelKind
from expunge.data.source import Source
from expunge.data.told import told_of


def written(folder, text, name="rows.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return str(folder / name)


def kinds(rows):
    return {column.name: column.kind.value for column in rows.columns}


GERMAN = "who;weight;seen;note;y\np1;71,5;31.01.2024;came, late and ill;a\np2;80;1.2.2024;sent home again;b\n"


def test_separator_decimal_comma_and_dates_are_found_and_said_from_then_on(tmp_path):
    source, rows = find(Source(location=written(tmp_path, GERMAN), label="y", subject="who"))
    assert (source.separator, source.decimal, source.date) == (";", ",", ("seen",))
    assert kinds(rows) == {"weight": "numeric", "seen": "date", "note": "text"}
    assert rows.content["weight"].tolist() == [71.5, 80.0]
    assert rows.content["seen"].tolist() == [19753.0, 19754.0]
    assert make_encoding(rows).encode(rows)[:, :2].tolist() == [[71.5, 19753.0], [80.0, 19754.0]]
    told = Source.from_json(json.loads(json.dumps(source.as_json())))
    assert told == source
    for again in (read(told), read(told, columns=rows.columns, classes=rows.classes)):
        assert leaves(again) == leaves(rows)


def test_the_same_rows_in_commas_and_points_are_the_same_rows(tmp_path):
    plain = 'who,weight,seen,note,y\np1,71.5,2024-01-31,"came, late and ill",a\np2,80.0,2024-02-01,sent home again,b\n'
    _, german = find(Source(location=written(tmp_path, GERMAN), label="y", subject="who"))
    source, rows = find(Source(location=written(tmp_path, plain, "plain.csv"), label="y", subject="who"))
    assert leaves(german) == leaves(rows)
    assert (source.separator, source.decimal) == (None, None)


@pytest.mark.parametrize(
    ("text", "name", "separator", "decimal"),
    [
        ("a,y\n1,0\n2,1\n", "r.csv", None, None),
        ("a\ty\n1\t0\n2\t1\n", "r.tsv", None, None),
        ("a\ty\n1\t0\n2\t1\n", "r.csv", "\t", None),
        ("a,y\n1,0\n2,1\n", "r.tsv", ",", None),
        ("a|y\n1|0\n2|1\n", "r.csv", "|", None),
        ("a;b;y\n1,5;2.5;0\n2,5;1;1\n", "r.csv", ";", None),
        ('a,y\n"1,5",0\n"2",1\n', "r.csv", None, ","),
        ("a;y\n1,x;0\n2,5;1\n", "r.csv", ";", None),
    ],
)
def test_what_is_found_of_a_text_file(tmp_path, text, name, separator, decimal):
    source, _ = find(Source(location=written(tmp_path, text, name), label="y"))
    assert (source.separator, source.decimal) == (separator, decimal)


def test_what_is_said_of_a_text_file_holds(refused, tmp_path):
    path = written(tmp_path, "a;y\n1,5;0\n2;1\n")
    assert kinds(find(Source(location=path, label="y", decimal="."))[1]) == {"a": "category"}
    assert kinds(read(Source(location=path, label="y", separator=";", decimal=","))) == {"a": "numeric"}
    assert Source(location=path, separator="tab").separator == "\t"
    with refused(DataError, "semicolons", "`separator`"):
        read(Source(location=path, label="y"))
    for wrong in ({"separator": ";;"}, {"decimal": ";"}, {"missing": "mean"}, {"encoding": "klingon"}, {"date": "a"}):
        with refused(InvalidArgument, next(iter(wrong))):
            Source(location=path, **wrong)


def test_other_encodings_and_files_without_a_header(refused, tmp_path):
    path = written(tmp_path, "Köln,1,0\nUlm,2,1\n", encoding="latin-1")
    with refused(DataError, "UTF-8", "`encoding`"):
        find(Source(location=path, label="3", no_header=True))
    source, rows = find(Source(location=path, label="3", no_header=True, encoding="latin-1"))
    assert kinds(rows) == {"1": "category", "2": "numeric"}
    assert rows.content["1"].tolist() == ["Köln", "Ulm"]
    assert leaves(read(Source.from_json(source.as_json()))) == leaves(rows)
    with refused(InvalidArgument, "'y'", "1, 2, 3"):
        find(Source(location=path, label="y", no_header=True, encoding="latin-1"))


def test_older_sources_keep_their_json():
    assert set(Source(location="digits").as_json()) == {
        *("location", "label", "subject", "id", "numeric", "categorical", "text", "image_size", "split", "rows")
    }


@pytest.mark.parametrize(
    ("word", "day"),
    [
        ("1970-01-01", 0.0),
        (" 2024-01-31 ", 19753.0),
        ("2024/1/31", 19753.0),
        ("31.01.2024", 19753.0),
        ("2024-01-31 12:00", 19753.5),
        ("2024-01-31T12:00:00.000000000Z", 19753.5),
        ("2024-01-31T00:00+06:00", 19752.75),
        ("1969-12-31", -1.0),
    ],
)
def test_dates_are_days(word, day):
    assert days(word) == day


@pytest.mark.parametrize(
    "word", ["", "31/01/2024", "2024-02-30", "2024-13-01", "12:30", "20240131", "2024-01-31 25:00"]
)
def test_words_that_are_no_dates(word):
    assert np.isnan(days(word))


def test_a_day_is_shown_as_a_date():
    assert shown_day(19753.75) == "2024-01-31"


HOLES = "age,seen,y\n31,2024-01-31,a\n,2024-02-01,b\n40,?,a\n"


def test_missing_numbers_and_dates_come_in_as_0_with_a_mark(refused, tmp_path):
    path = written(tmp_path, HOLES)
    with refused(DataError, "line 3", "'age'", "an empty cell", "`missing` indicator", "`categorical` age"):
        find(Source(location=path, label="y"))
    source, rows = find(Source(location=path, label="y", missing="indicator"))
    assert list(kinds(rows).items()) == [
        ("age", "numeric"),
        ("age is missing", "indicator"),
        ("seen", "date"),
        ("seen is missing", "indicator"),
    ]
    encoded = make_encoding(rows).encode(rows)
    assert encoded.tolist() == [[31, 0, 19753, 0], [0, 1, 19754, 0], [40, 0, 0, 1]]
    assert leaves(read(source, columns=rows.columns, classes=rows.classes)) == leaves(rows)
    full = written(tmp_path, HOLES.replace("\n,", "\n1,").replace("?", "2024-01-01"), "full.csv")
    assert find(Source(location=full, label="y", missing="indicator"))[1].columns == rows.columns, "on no row it hangs"


def test_what_is_no_hole_is_refused_beside_an_indicator(refused, tmp_path):
    for cell in ("inf", "much"):
        path = written(tmp_path, f"a,b,y\n1,1,0\n{cell},2,1\n")
        with refused(DataError, "line 3", repr(cell), "finite"):
            find(Source(location=path, label="y", missing="indicator", numeric=("a",)))
    path = written(tmp_path, "a,a is missing,y\n1,1,0\n2,2,1\n")
    with refused(InvalidArgument, "'a is missing'"):
        find(Source(location=path, label="y", missing="indicator"))


def test_a_column_named_date_must_hold_dates(refused, tmp_path):
    path = written(tmp_path, "a,y\n31/01/2024,0\n2024-01-01,1\n")
    assert kinds(find(Source(location=path, label="y"))[1]) == {"a": "category"}
    with refused(DataError, "line 2", "'31/01/2024'", "a date such as"):
        find(Source(location=path, label="y", date=("a",)))
    assert kinds(find(Source(location=written(tmp_path, HOLES), label="y", categorical=("age", "seen")))[1]) == {
        "age": "category",
        "seen": "category",
    }


def numbers(folder, labels):
    return written(folder, "a,y\n" + "".join(f"{at},{label}\n" for at, label in enumerate(labels)))


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        (range(21), ["'y'", "21 different numbers", "20 at most", "`task` classification"]),
        ((1.5, 2, 3), ["3 different numbers", "1.5 is not a whole one"]),
        (("1", "2.50", "3"), ["2.5 is not"]),
    ],
)
def test_a_label_that_looks_measured_is_refused_unless_it_was_said_to_be_classes(refused, tmp_path, labels, parts):
    path = numbers(tmp_path, labels)
    with refused(InvalidArgument, "`task` regression to learn the quantity", *parts):
        find(Source(location=path, label="y"))
    source, rows = find(Source(location=path, label="y"), kind=LabelKind.CLASSES)
    assert len(rows.classes) == len(set(labels))
    assert leaves(read(source, columns=rows.columns, classes=rows.classes)) == leaves(rows)


@pytest.mark.parametrize("labels", [range(20), [f"c{at}" for at in range(100)], (1.0, 2.0)])
def test_labels_that_are_classes(tmp_path, labels):
    assert len(find(Source(location=numbers(tmp_path, labels), label="y"))[1].classes) == len(labels)


def test_whole_numbers_in_arrays_are_classes(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.eye(100, dtype=np.float32), y=np.arange(100))
    assert find(Source(location=str(tmp_path / "rows.npz")))[1].classes == tuple(range(100))


def test_what_was_found_is_told(tmp_path):
    codes = "".join(f"C{at};{at},5;word{at} of a text;{at % 2}\n" for at in range(40))
    source, rows = find(Source(location=written(tmp_path, "code;n;t;y\n" + codes), label="y", missing="indicator"))
    told = told_of(rows, source, make_encoding(rows))
    assert told[0] == "columns: numeric n; categorical code; text t; 2 classes"
    assert "separator ';' and decimal ','" in told[1]
    assert "1 columns" in told[2]
    assert "'code' has 40 different words, which share 32 buckets" in told[3]
    assert "`category_buckets` 128" in told[3]
    assert len(told) == 4
    assert len(told_of(rows, source, make_encoding(rows, text_buckets=8, category_buckets=64))) == 4


def test_kinds_of_a_picture_are_told(people):
    rows = people(4)
    assert rows.columns[0] == Column("age", ColumnKind.NUMERIC)
    assert told_of(rows, Source(location="x"), make_encoding(rows)) == [
        "columns: numeric age; categorical town; 2 classes"
    ]


def test_dates_are_learnt_from_in_a_short_training(tmp_path):
    """What a date says decides the class: after a few dozen steps it is answered, however far from 1970 days lie."""
    generator = np.random.default_rng(0)
    days = np.datetime64("2023-01-01") + generator.integers(0, 730, 400)
    late = days >= np.datetime64("2024-01-01")
    lines = [
        f"{day},{noise:.3f},{int(one)}" for day, noise, one in zip(days, generator.normal(size=400), late, strict=True)
    ]
    (tmp_path / "visits.csv").write_text("\n".join(["day,noise,late", *lines]) + "\n")
    run = expunge.train(tmp_path / "visits.csv", label="late", epochs=8, out=tmp_path / "run")
    assert run.score(tmp_path / "visits.csv")["accuracy"] > 0.9
