"""The catalogue says of methods what their classes say; of tasks see ``tests/tasks``."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from expunge.core.values import Certified, Empirical, Exact
from expunge.methods import METHODS
from expunge.methods.contract import Method
from expunge.records.catalogue import (
    CERTIFIED_METHODS,
    EXACT_FIELDS,
    EXACT_METHODS,
    METHOD_ROWS,
    Execution,
    execution_of,
)
from expunge.records.document import read_document
from expunge.records.run_file import MethodFile, RunFile


def test_the_lists_hold_the_methods_of_the_table_and_training() -> None:
    assert {method.name for method in METHODS if method.ceiling is Exact} | {"train"} == EXACT_METHODS
    assert {method.name for method in METHODS if method.ceiling is Certified} == CERTIFIED_METHODS
    assert len(METHOD_ROWS) == len(EXACT_METHODS) + len(CERTIFIED_METHODS)


def test_exact_methods_that_are_built_in_take_the_schedules_steps_and_all_others_their_own() -> None:
    for method in METHODS:
        exact = method.ceiling is Exact
        assert execution_of(method.name, foreign=False) is (Execution.SCHEDULE if exact else Execution.OWN_STEPS)
        assert execution_of(method.name, foreign=True) is Execution.OWN_STEPS
    assert execution_of("train", foreign=False) is Execution.SCHEDULE
    assert execution_of("somebody-elses", foreign=True) is Execution.OWN_STEPS


def test_what_a_run_recorded_is_decided_by_run_json_alone() -> None:
    """One that says nothing may have a whole trajectory while it is not finished, and has none afterwards."""
    golden = Path(__file__).parents[1] / "golden" / "0.1.0" / "digits"
    trained, forgot = (
        read_document(RunFile, (golden / name / RunFile.NAME).read_bytes(), name) for name in ("base", "forgot")
    )
    assert forgot.method is not None
    own = MethodFile(name="somebody-elses", fields={})
    for told, recorded, replayable in (
        (trained, True, True),
        (forgot, True, True),
        (replace(forgot, method=own), True, False),
        (replace(forgot, trajectory="none"), False, False),
        (replace(forgot, trajectory=None), False, False),
        (replace(forgot, trajectory=None, status="running"), True, True),
        (replace(forgot, trajectory=None, status="running", method=own), True, False),
    ):
        assert (told.recorded, told.replayable) == (recorded, replayable)
    assert trained.execution is forgot.execution is Execution.SCHEDULE
    assert replace(forgot, method=own).execution is Execution.OWN_STEPS


@pytest.mark.parametrize("method", [method for method in METHODS if method.ceiling is not Empirical])
def test_the_fields_of_these_methods_are_those_that_they_declare(method: type[Method]) -> None:
    (row,) = (row for row in METHOD_ROWS if row.name == method.name)
    assert row.fields == {item.name for item in fields(method)}
    assert row.ceiling is method.ceiling


def test_a_training_has_no_fields() -> None:
    assert EXACT_FIELDS["train"] == set()
