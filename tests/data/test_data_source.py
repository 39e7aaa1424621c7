"""The table of forms, options that make no sense, and the built-in digits."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.dataset import Column, ColumnKind
from expunge.data.digits import people as deal
from expunge.data.encoding import make_encoding
from expunge.data.forget_set import choose
from expunge.data.forms import FORMS, read
from expunge.data.source import Source
from expunge.data.splits import Split, SplitBy, split_rows

NAMES = st.text(max_size=8)


@given(
    st.builds(
        Source,
        location=st.text(st.characters(codec="utf-8", exclude_characters="\0/."), min_size=1, max_size=8).map(
            "no/{}".format
        ),
        label=st.none() | NAMES,
        subject=st.none() | NAMES,
        id=st.none() | NAMES,
        numeric=st.lists(NAMES, max_size=3, unique=True).map(tuple),
        image_size=st.none() | st.integers(1, 512),
        split=st.none() | NAMES,
    )
)
def test_a_source_survives_json(source):
    assert Source.from_json(json.loads(json.dumps(source.as_json()))) == source


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ({"location": "digits", "labels": "x"}, ["'labels'", "location, label", "newer version"]),
        ({"label": "x"}, ["'location'"]),
        ({"location": None}, ["'location'", "None"]),
        ({"location": "digits", "image_size": True}, ["'image_size'", "True"]),
        ({"location": "digits", "image_size": "28"}, ["'image_size'"]),
        ({"location": "digits", "numeric": "age"}, ["'numeric'", "'age'"]),
        ({"location": "digits", "numeric": [1]}, ["'numeric'"]),
        ({"location": "digits", "label": 3}, ["'label'", "3"]),
    ],
)
def test_altered_json_is_refused(refused, value, parts):
    with refused(DataError, *parts):
        Source.from_json(value)


def test_a_place_that_exists_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").touch()
    Path("pictures").mkdir()
    Path("digits").mkdir()
    assert Source(location="rows.csv").location == str(tmp_path / "rows.csv")
    assert Source(location="./pictures/").location == str(tmp_path / "pictures")
    assert Source(location="gone.csv").location == "gone.csv"
    assert Source(location="digits").location == "digits", "the built-in data goes by its name"
    assert Source(location="./digits").location == str(tmp_path / "digits")
    assert Source(location="hf:digits").location == "hf:digits"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"location": ""}, ["empty", "digits", "FILE.npz"]),
        ({"location": "x", "image_size": 0}, ["image size 0", "between 1 and"]),
        ({"location": "x", "image_size": 10**9}, ["image size 1000000000"]),
        ({"location": "x", "numeric": ("a",), "text": ("a",)}, ["'a'", "more than once", "`categorical`"]),
    ],
)
def test_sources_that_cannot_be_are_refused(refused, arguments, parts):
    with refused(InvalidArgument, *parts):
        Source(**arguments)


@pytest.mark.parametrize("location", ["digit", "rows.xlsx", "no/such/folder", "rows.csv.gz", "a\0b"])
def test_an_unknown_place_lists_the_forms(refused, location):
    with refused(InvalidArgument, repr(location), *(form.written for form in FORMS)):
        read(Source(location=location))


@pytest.mark.parametrize("location", ["no/rows.csv", "no/rows.TSV", "no/rows.npz", "no/rows.parquet"])
def test_a_file_that_is_not_there(refused, location):
    with refused(InvalidArgument, location, "does not exist"):
        read(Source(location=location, label="y") if "npz" not in location else Source(location=location))


OPTIONS = {
    "label": "x",
    "subject": "x",
    "id": "x",
    "numeric": ("x",),
    "categorical": ("x",),
    "text": ("x",),
    "image_size": 8,
    "split": "train",
}
PLACES = {
    form.written: place for form, place in zip(FORMS, ["digits", "hf:x", "x.npz", "x.csv", "x.parquet"], strict=False)
}


NONSENSE = [(form, option) for form in FORMS for option in OPTIONS if option not in form.takes]


@pytest.mark.parametrize(
    ("form", "option"), [pytest.param(form, option, id=f"{form.written}-{option}") for form, option in NONSENSE]
)
def test_options_that_make_no_sense_are_refused(refused, tmp_path, form, option):
    """The table says which options a form takes; all others are refused before anything is read."""
    place = PLACES.get(form.written, str(tmp_path))
    if "save_to_disk" in form.written:
        for name in ("dataset_info.json", "state.json"):
            (tmp_path / name).touch()
    with refused(InvalidArgument, f"`{option}`", "makes no sense", form.written, "leave it out"):
        read(Source(location=place, **{option: OPTIONS[option]}))


def test_forms_take_what_is_promised():
    assert {form.written.split(" ")[0]: form.takes for form in FORMS if not form.takes} == {
        "digits": frozenset(),
        "FILE.npz": frozenset(),
    }
    assert {"label", "subject", "id"} <= next(form for form in FORMS if "csv" in form.written).takes


@pytest.fixture(scope="module")
def digits():
    return read(Source(location="digits"))


def test_digits_are_the_real_images(digits):
    from sklearn.datasets import load_digits

    original = load_digits()
    assert len(digits) == 1797
    assert digits.columns == (Column("image", ColumnKind.IMAGE, (8, 8), "HW", 1 / 16),)
    assert digits.content["image"].dtype == np.uint8
    np.testing.assert_array_equal(digits.content["image"], original.images)
    assert digits.classes == tuple(range(10))
    np.testing.assert_array_equal(digits.labels, original.target)
    assert digits.ids[0] == "digit-0000"
    assert digits.ids[-1] == "digit-1796"
    assert make_encoding(digits).shape == (1, 8, 8)


def test_digits_belong_to_invented_people(digits):
    sizes = Counter(digits.subjects)
    assert 110 <= len(sizes) <= 130
    assert min(sizes.values()) >= 5
    assert max(sizes.values()) <= 30
    assert len(set(sizes.values())) > 10
    assert list(sizes) == [f"person-{person:03d}" for person in range(len(sizes))], "blocks, one after the other"
    assert digits.subjects[:6] == ("person-000",) * 5 + ("person-001",)


def test_the_people_of_the_digits_are_fixed_for_ever(digits):
    sizes = list(Counter(digits.subjects).values())
    assert sizes[:8] == [5, 16, 6, 17, 7, 18, 8, 19]
    assert (len(sizes), sizes[17], sizes[-1]) == (121, 24, 21)


@pytest.mark.parametrize("images", [5, 6, 26, 400, 1797, 1000])
def test_dealing_covers_every_image(images):
    subjects = deal(images)
    assert len(subjects) == images
    assert all(5 <= size <= 29 for size in Counter(subjects).values())


@pytest.mark.parametrize("seed", range(12))
def test_every_person_of_the_digits_is_trained_on(digits, seed):
    codes = split_rows(digits, seed=seed)
    trained = {digits.subjects[row] for row in np.flatnonzero(codes == Split.TRAIN.code)}
    assert trained == set(digits.subjects)
    train = digits.take(np.flatnonzero(codes == Split.TRAIN.code))
    chosen = choose(["subject:person-017"], train, root="", forgotten=np.array([], dtype=np.int64))
    assert 1 <= len(chosen) <= 24
    assert {train.subjects[slot] for slot in chosen.slots} == {"person-017"}


def test_by_subject_the_digits_keep_people_together(digits):
    codes = split_rows(digits, seed=3, by=SplitBy.SUBJECT)
    parts = [{digits.subjects[row] for row in np.flatnonzero(codes == split.code)} for split in Split]
    assert sum(map(len, parts)) == len(set(digits.subjects))
    np.testing.assert_allclose(np.bincount(codes) / 1797, (0.80, 0.05, 0.15), atol=0.02)


def test_digits_by_a_recipe(refused, digits):
    again = read(Source(location="digits"), columns=digits.columns, classes=digits.classes)
    assert again.example(7)["content.image"].tolist() == digits.example(7)["content.image"].tolist()
    with refused(DataError, "'image'", "'age'"):
        read(Source(location="digits"), columns=(Column("age", ColumnKind.NUMERIC),))


def test_reading_needs_no_torch():
    """Data is checked where no model runs; importing torch would cost seconds for nothing."""
    import subprocess
    import sys

    code = (
        "import sys; from expunge.data.forms import *; read(Source(location='digits')); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "False\n"
