"""Who must go: every form of naming them, and every refusal."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.forget_set import ForgetSet, choose, read_forget_set
from expunge.records.document import write_document
from expunge.records.forget_file import ForgetFile
from expunge.records.form import to_plain

NOBODY = np.array([], dtype=np.int64)
ROOT = "ab" * 32


@pytest.fixture
def train(people):
    return people(40, ids=True, subjects=8)


def slots(train, *rules, forgotten=NOBODY):
    return choose(rules, train, root=ROOT, forgotten=forgotten).slots.tolist()


def test_subject_and_several(train):
    assert slots(train, "subject:person-3") == [3, 11, 19, 27, 35]
    assert slots(train, "subject:person-3", "subject:person-0") == sorted([*range(3, 40, 8), *range(0, 40, 8)])
    assert slots(train, "subject:person-3", "subject:person-3") == [3, 11, 19, 27, 35]


def test_class(train):
    assert slots(train, "class:1") == list(range(1, 40, 2))
    words = replace(train, classes=("no", "a:b"))
    assert slots(words, "class:a:b") == list(range(1, 40, 2))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ids_from_a_file(train, tmp_path, mark):
    file = tmp_path / "who.txt"
    file.write_text(f"{mark}id-7\n\n id-2 \r\nid-7\n", encoding="utf-8")
    chosen = choose([f"ids:{file}"], train, root=ROOT, forgotten=NOBODY)
    assert chosen.slots.tolist() == [2, 7]
    assert chosen.rules == ("ids",), "the file's name stays outside"


def test_random_by_share_and_count(train):
    share, again, other = (slots(train, rule) for rule in ("random:10%:7", "random:10.0%:7", "random:10%:8"))
    assert len(share) == 4
    assert share == sorted(set(share)) == again
    assert share != other
    assert share == slots(train, "random:4:7")
    assert len(slots(train, "random:0.1%:7")) == 1
    assert set(share) < set(slots(train, "random:20:7")), "a larger draw with the same seed contains the smaller one"


def test_random_draws_are_fixed_for_ever(train):
    assert slots(train, "random:5:7") == FIXED


FIXED = [7, 25, 36, 38, 39]


def test_random_leaves_out_who_is_gone(train):
    gone = np.array(slots(train, "random:20:7"))
    assert not set(gone) & set(slots(train, "random:10:7", forgotten=gone))


def test_random_is_uniform_enough(train):
    counts = np.zeros(40)
    for seed in range(400):
        counts[slots(train, f"random:10:{seed}")] += 1
    assert abs(counts - 100).max() < 6 * np.sqrt(400 * 0.25 * 0.75)


def test_a_saved_set_comes_back(train, tmp_path):
    chosen = choose(["subject:person-3", "random:2:1"], train, root=ROOT, forgotten=NOBODY)
    file = tmp_path / "set.json"
    file.write_text(write_document(chosen.file))
    again = choose([str(file)], train, root=ROOT, forgotten=NOBODY)
    assert again.slots.tolist() == chosen.slots.tolist()
    assert again.rules == ("saved",)
    assert len(again) == len(chosen.slots)
    read = read_forget_set(file.read_bytes())
    assert (read.slots.tolist(), read.rules, read.root) == (chosen.slots.tolist(), chosen.rules, ROOT)


def test_rows_already_forgotten_are_not_forgotten_twice(refused, train):
    assert slots(train, "subject:person-3", forgotten=np.array([3, 11])) == [19, 27, 35]
    with refused(InvalidArgument, "subject:person-3", "already forgotten"):
        slots(train, "subject:person-3", forgotten=np.arange(3, 40, 8))


def test_rows_that_are_gone_are_nobody(refused, train, tmp_path):
    present = np.ones(40, dtype=bool)
    present[3::8] = False
    gone = replace(
        train,
        present=present,
        ids=tuple(
            name if there else f"gone-{at}" for at, (name, there) in enumerate(zip(train.ids, present, strict=True))
        ),
        subjects=tuple(name if there else "gone-3" for name, there in zip(train.subjects, present, strict=True)),
        labels=np.where(present, train.labels, 0),
    )
    with refused(InvalidArgument, "'person-3'", "7 subjects", "the names of others are not listed"):
        slots(gone, "subject:person-3")
    with refused(InvalidArgument, "'gone-3'", "no training rows"):
        slots(gone, "subject:gone-3")
    file = tmp_path / "who.txt"
    file.write_text("gone-3")
    with refused(InvalidArgument, "'gone-3'", "not among the training rows"):
        slots(gone, f"ids:{file}")
    assert not set(slots(gone, "class:0")) & set(range(3, 40, 8))


@pytest.mark.parametrize("rule", ["subject:person-99", "subject:persn-5", "subject:PERSON-3"])
def test_no_refusal_lists_other_people(train, rule):
    with pytest.raises(InvalidArgument) as caught:
        slots(train, rule)
    asked = rule.removeprefix("subject:")
    assert not [name for name in train.subjects if name in str(caught.value).replace(asked, "")]


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        ("subject:person-99", ["'person-99'", "8 subjects", "look up in the data how this one is written"]),
        ("subject:persn-5", ["'persn-5'", "the names of others are not listed"]),
        ("subject:PERSON-3", ["'PERSON-3'", "1 of them differs from it in case, white space or Unicode form only"]),
        ("subject:", ["none of the known forms", "subject:NAME"]),
        ("class:7", ["'7'", "0, 1"]),
        ("class:", ["none of the known forms"]),
        ("ids:", ["none of the known forms"]),
        ("ids:no-such-file.txt", ["no-such-file.txt", "one id per line"]),
        ("random:10%", ["random:10%:SEED", "SEED a whole number"]),
        ("random:0%:1", ["0%", "between 0% and 100%"]),
        ("random:100%:1", ["100%"]),
        ("random:40:1", ["40", "from 1 to 39"]),
        ("random:41:1", ["41", "from 1 to 39"]),
        ("random:0:1", ["0", "from 1 to 39"]),
        ("random:2.5:1", ["2.5", "whole number"]),
        ("random:-3:1", ["random:10%:SEED"]),
        (f"random:10%:{2**64}", [str(2**64), "2^64"]),
        ("random:10%:" + "9" * 5000, ["SEED a whole number"]),
        ("random:" + "9" * 5000 + ":1", ["random:COUNT:SEED"]),
        ("random:99.9%:1", ["leaves none of the 40"]),
        ("nobody", ["'nobody'", "none of the known forms"]),
        ("x" * 5000, ["none of the known forms"]),
        ("a\0b", ["none of the known forms"]),
    ],
)
def test_refusals(refused, train, rule, parts):
    with refused(InvalidArgument, *parts):
        slots(train, rule)


def test_a_class_that_nobody_has_is_refused(refused, train):
    with refused(InvalidArgument, "'2'", "no training rows"):
        slots(replace(train, classes=(0, 1, 2)), "class:2")


def test_nothing_and_everything_are_refused(refused, train):
    with refused(InvalidArgument, "`forget`", "subject:NAME"):
        slots(train)
    with refused(InvalidArgument, "leaves none of the 40", "delete the model"):
        slots(train, "class:0", "class:1")
    with refused(InvalidArgument, "leaves none"):
        slots(train, "class:0", forgotten=np.arange(1, 40, 2))


def test_an_ids_file_that_names_nobody_or_strangers_is_refused(refused, train, tmp_path):
    file = tmp_path / "who.txt"
    file.write_text("\n \n")
    with refused(InvalidArgument, "names nobody"):
        slots(train, f"ids:{file}")
    file.write_text("id-1\nid-40\nid-41\n")
    with refused(InvalidArgument, "'id-40'", "2 of 3", "holdout"):
        slots(train, f"ids:{file}")
    file.write_bytes(b"\xff\xfe\x00")
    with refused(InvalidArgument, "could not be read as text"):
        slots(train, f"ids:{file}")


@pytest.mark.parametrize(
    ("change", "kind", "parts"),
    [
        ({"root": "cd" * 32}, InvalidArgument, ["cdcdcdcdcdcd", "abababababab", "by id or subject"]),
        ({"slots": []}, InvalidArgument, ["no slots", "empty forget set"]),
        ({"slots": [1, 40]}, DataError, ["slot 40", "40", "altered"]),
        ({"slots": [1, -1]}, DataError, ["list of slots"]),
        ({"slots": [True]}, DataError, ["list of slots"]),
        ({"slots": [2**63]}, DataError, ["list of slots"]),
        ({"slots": "1,2"}, DataError, ["list of slots"]),
        ({"rules": 7}, DataError, ["list of rules"]),
        (
            {"format": "expunge/forget-set/9"},
            DataError,
            ["not a forget set", "expunge/forget-set/9", ForgetFile.FORMAT],
        ),
    ],
)
def test_saved_sets_that_are_wrong_are_refused(refused, train, tmp_path, change, kind, parts):
    file = tmp_path / "set.json"
    file.write_text(json.dumps(to_plain(ForgetSet(np.array([1, 2]), ("class:1",), ROOT).file) | change))
    with refused(kind, *parts):
        slots(train, str(file))


@pytest.mark.parametrize("content", [b"[1, 2]", b"id-1\nid-2\n", b"\xff", b""])
def test_files_of_another_kind_are_refused(refused, train, tmp_path, content):
    file = tmp_path / "set.json"
    file.write_bytes(content)
    with refused(DataError):
        slots(train, str(file))
