"""``--format``: for a person, as JSON, and the table in it as CSV; and the same tables in a notebook."""

from __future__ import annotations

import csv
import io
from html import escape
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.cli.conftest import Expunge
from tests.train.visits import trained

import expunge as face
from expunge.cli.app import commands
from expunge.cli.shared import as_csv, table_of
from expunge.core.text_table import four_digits
from expunge.core.values import Measurement
from expunge.core.wording import in_percent
from expunge.report.study_results import read_results
from expunge.train.run import Run

SMALL = Path(__file__).parents[2] / "studies" / "results" / "smoke.json"
TABLES = {"audit-demo", "demo", "evaluate", "hygiene", "info", "methods", "predict", "study", "tune", "verify"}


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run, Run]:
    base = trained(tmp_path_factory.mktemp("format"), epochs=2)
    forgot, retrained = (
        face.unlearn(base, "subject:p3", method=method, out=base.path.parent / method)
        for method in ("fine-tune", "retrain")
    )
    return base, forgot, retrained


def test_what_a_row_is_about_is_not_broken_on_a_narrow_terminal() -> None:
    rows = [("margin-above-holdout", "-0.9871 [-1.69, -0.279]", "a reason that is much longer than its column " * 3)]
    text = io.StringIO()
    Console(file=text, width=60).print(table_of(("probe", "original", "why"), rows))
    assert "margin-above-holdout" in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 60


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.41449, "41%"), (-0.4, "-40%"), (0.0151, "2%"), (0.0149, "1.5%"), (0.0004, "0.04%"), (0, "0%")],
)
def test_a_share_that_is_nearly_nothing_is_not_told_as_nothing(value: float, said: str) -> None:
    assert in_percent(value) == said


def test_what_rounding_leaves_of_nothing_is_nothing() -> None:
    assert [four_digits(value) for value in (6.939e-18, -1e-17, 0.0, -0.5, 1e-6)] == ["0", "0", "0", "-0.5", "1e-06"]


def test_every_command_with_a_table_has_it() -> None:
    told = {name for name, command in commands().commands.items() if any(p.name == "format" for p in command.params)}
    assert told == TABLES
    assert all(any(p.name == "json" for p in commands().commands[name].params) for name in TABLES)


def test_rows_as_a_table() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "found": {"value": 0.5, "deep": {"er": True}}, "list": [1, "two"]},
        {"name": 'say "b", c', "more": None, "list": [{"x": 1}], "found": {"value": 1e-9}},
    ]
    assert as_csv(rows) == (
        'name,found.value,found.deep.er,list,more\na,0.5,true,1 two,\n"say ""b"", c",1e-09,,"[{""x"": 1}]",\n'
    )
    assert as_csv([]) == "\n"


def test_the_table_of_a_command_is_that_of_its_json(runs: tuple[Run, Run, Run], expunge: Expunge) -> None:
    base, forgot, retrained = runs
    probes = expunge("evaluate", forgot.path, "--reference", retrained.path, "--json").json["probes"]
    told = rows_of(expunge("evaluate", forgot.path, "--reference", retrained.path, "--format", "csv").out)
    assert [row["name"] for row in told] == [probe["name"] for probe in probes]
    for row, probe in zip(told, probes, strict=True):
        assert row["verdict.verdict"] == probe["verdict"]["verdict"]
        if "value" in probe["unlearned"]:
            assert float(row["unlearned.value"]) == probe["unlearned"]["value"]
    methods = expunge("methods", "--json").json
    assert [row["name"] for row in rows_of(expunge("methods", "--format", "csv").out)] == [m["name"] for m in methods]
    (one,) = rows_of(expunge("methods", "scrub", "--format", "csv").out)
    assert one["aliases"] == " ".join(next(m for m in methods if m["name"] == "scrub")["aliases"])
    held = expunge("hygiene", forgot.path, "--json").json["holds"]
    found = rows_of(expunge("hygiene", forgot.path, "--format", "csv").out)
    assert [(row["path"], int(row["slots"])) for row in found] == [(one["path"], one["slots"]) for one in held]
    facts = {row["fact"]: row["value"] for row in rows_of(expunge("info", base.path, "--format", "csv").out)}
    assert facts["weights digest"] == base.weights_digest
    assert all(f"{name:<18} {value}" in expunge("info", base.path).out.splitlines() for name, value in facts.items())
    assert expunge("info", base.path, "--format", "json").out == expunge("info", base.path, "--json").out
    assert expunge("info", base.path, "--format", "yaml").status == 2
    both = expunge("info", base.path, "--json", "--format", "csv")
    assert (both.status, "exclude each other" in both.err) == (2, True)


def test_a_notebook_shows_what_the_tables_say(runs: tuple[Run, Run, Run]) -> None:
    base, forgot, retrained = runs
    page = forgot._repr_html_()
    for said in ("guarantee Empirical", "forgot 2 rows by fine-tune", forgot.weights_digest, "mlp"):
        assert said in page
    assert page.index("guarantee") < page.index("<table>")
    assert escape(base.told.answers or "") in base._repr_html_()
    evaluation = face.evaluate(forgot, [retrained])
    page = evaluation._repr_html_()
    assert page.startswith("<div><p><strong>Cannot be said: ")
    assert all(probe.name in page for probe in evaluation.probes)
    rows = {row[0] for table in evaluation.tables for row in table.rows}
    measured = {probe.name for probe in evaluation.probes if isinstance(probe.unlearned, Measurement)}
    assert measured < rows
    assert all(f"<td>{name}</td>" in page for name in rows)
    assert {row[0] for row in evaluation.table.rows} == {one.name for one in evaluation.probes if one.required}
    results = read_results(SMALL)
    page = results._repr_html_()
    for setting in results.settings:
        assert escape(setting.id) in page
        assert all(f"<td>{escape(row.label)}</td>" in page for row in setting.rows)
