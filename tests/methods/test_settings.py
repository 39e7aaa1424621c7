"""Names, fields and their words: the table of methods, what is refused, what is written."""

from __future__ import annotations

import json

import pytest

from expunge.core.errors import DataError, InvalidArgument
from expunge.methods import METHODS
from expunge.methods.lookup import find_method, make_method, method_rows, read_method
from expunge.records.form import from_plain, to_plain
from expunge.records.run_file import MethodFile


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("nothing", {}, "method 'nothing' is not one of retrain"),
        ("salun", {"keep": "1.5"}, "keep 1.5 must be a share"),
        ("salun", {"keep": "much"}, "'much' is not a number"),
        ("fine-tune", {"rate": "-1"}, "rate -1.0 must be"),
        ("fine-tune", {"epochs": "-1"}, "epochs -1"),
        ("fine-tune", {"epochs": "many"}, "is not a whole number or a number or none"),
        ("fine-tune", {"momentum": "1"}, "momentum 1.0 must lie"),
        ("fine-tune", {"batch_size": "0"}, "batch_size 0"),
        ("fine-tune", {"weight_decay": "nan"}, "weight_decay nan"),
        ("neggrad-plus", {"balance": "2"}, "balance 2.0 must lie between 0 and 1"),
        ("random-labels", {"order": "sideways"}, "is not one of mixed, forget-then-retain"),
        ("ga", {"batch_norm": "odd"}, "is not one of eval, as-published"),
        ("retrain", {"training_seed": "-1"}, "training_seed -1"),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_method(name, settings)


def test_aliases_and_the_table() -> None:
    assert find_method("salun").name == "saliency-unlearning"
    rows = method_rows()
    assert [row["name"] for row in rows] == [method.name for method in METHODS]
    for row in rows:
        assert row["summary"].endswith((".", ".)")), row["name"]
        assert row["work"], row["name"]
        assert row["needs"], row["name"]
        assert row["citation"] or row["name"] == "retrain"
        assert set(row["search"]) <= set(row["fields"])
    assert all(row["summary"] and row["guarantee"] in ("exact", "certified", "empirical") for row in rows)
    assert len({alias for row in rows for alias in row["aliases"]}) == sum(len(row["aliases"]) for row in rows)


def test_infinite_fields_are_written_as_words() -> None:
    method = make_method("ssd", {"selection": "inf"})
    described = json.loads(json.dumps(to_plain(method.told), allow_nan=False))
    assert described["fields"]["selection"] == "inf"
    assert read_method(from_plain(MethodFile, described, "method")) == method


@pytest.mark.parametrize("name", ["name", "needs", "citation", "edits", "takes_budget", "aliases", "ceiling"])
def test_what_a_class_says_of_itself_is_no_field(name: str) -> None:
    """Its types stand beside those of the fields, and a record that sets one is refused like any unknown field."""
    with pytest.raises(DataError, match=f"method 'fine-tune' has no field '{name}': another version wrote this"):
        read_method(MethodFile(name="fine-tune", fields={name: "x"}))
    with pytest.raises(InvalidArgument, match=f"method 'fine-tune' has no field '{name}'"):
        make_method("fine-tune", {name: "x"})
