"""Statements as they are signed. The files in ``golden/`` are payloads of real records and are never edited.

Where a release changes the format on purpose, its own payloads are added beside them; old records must stay readable.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.attest.attested import FIELDS, Desk

from expunge.core.errors import RecordError
from expunge.core.hashing import canonical_json
from expunge.data.dataset import Dataset
from expunge.records.keys import SigningKey
from expunge.records.limits import Limits
from expunge.records.record import Commit, Execution, Operation, RunRecord, states_root
from expunge.records.statement import (
    FIRST_PREDICATE,
    LONGEST_NAME,
    PREDICATE,
    STATEMENT,
    Statement,
    read_statement,
    write_statement,
)

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("commit", "train", "unlearn")
ELSEWHERE = "<differs by machine, time or version>"


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_golden_payloads_read_and_are_written_again_byte_for_byte(name: str) -> None:
    statement = read_statement(golden(name))
    assert write_statement(statement) == golden(name)
    assert statement.predicate.operation.value == name


def test_golden_payloads_say_what_they_said() -> None:
    commit, train, unlearn = (read_statement(golden(name)).predicate for name in NAMES)
    assert isinstance(commit, Commit)
    assert isinstance(train, RunRecord)
    assert isinstance(unlearn, RunRecord)
    assert commit.claim == ("C1",)
    assert train.claim == ("C2",)
    assert unlearn.claim == ("C2", "C3", "C4")
    assert train.parent == train.commit == unlearn.commit != unlearn.parent
    assert unlearn.data.tombstones == unlearn.requests[0].slots
    assert commit.data.preprocessing == train.data.preprocessing == unlearn.data.preprocessing
    for record in (train, unlearn):
        assert record.checkpoints is not None
        assert states_root(record.checkpoints.states) == record.checkpoints.root
    assert unlearn.reuse[0].step > 0
    theirs = {state.step: state.leaf for state in train.checkpoints.states}  # type: ignore[union-attr]
    assert unlearn.reuse[0].leaf == theirs[unlearn.reuse[0].step]


def neutral(payload: bytes) -> Any:
    """A payload without what hangs on the machine, the time or the version; places and names stay."""
    found = json.loads(payload)
    predicate = found["predicate"]
    hidden: list[tuple[Any, str]] = [(predicate, "recordedAt")]
    if predicate["operation"] != "commit":
        hidden += [(found["subject"][0]["digest"], "expungeTensors1"), (predicate["cost"], "seconds")]
        hidden += [(predicate["algorithm"], name) for name in ("package", "version")]
        hidden += [(predicate["environment"], name) for name in ("fingerprint", "selfTest", "initialWeights")]
        hidden += [(predicate, "commit"), (predicate, "parent"), (predicate["trace"], "digest")]
        hidden += [(predicate["checkpoints"], "root")]
        parts = ("weights", "buffers", "optimiser", "trace")
        hidden += [(state, name) for state in predicate["checkpoints"]["states"] for name in parts]
        hidden += [(reuse, "leaf") for reuse in predicate["reuse"] if "leaf" in reuse]
        hidden += [(request, name) for request in predicate["requests"] for name in ("received", "model")]
        predicate["algorithm"].pop("tree", None)
    for place, name in hidden:
        assert name in place, name
        place[name] = ELSEWHERE
    return found


def test_the_same_runs_made_today_give_records_of_the_same_form(
    owner: SigningKey, pictures: Dataset, tmp_path: Path
) -> None:
    """Roots, schedules, tombstones, requests, reuse, claims: all that no machine changes is what it was."""
    desk = Desk(tmp_path, owner, pictures)
    forgot = desk.unlearn(desk.train("base"), "subject:someone-02", "forgot")
    made = desk.opened(desk.attest(forgot).bundle)
    assert len(made) == len(NAMES)
    for statement, name in zip(made, NAMES, strict=True):
        written = json.loads(write_statement(statement))
        if name != "commit":  # since 0.1.0 runs name their execution, and nothing else is new
            assert written.pop("predicateType") == PREDICATE
            assert written["predicate"].pop("execution") == "schedule"
            written["predicateType"] = FIRST_PREDICATE
        assert neutral(canonical_json(written)) == neutral(golden(name)), name
    assert FIELDS["slices"] == 3  # the recipe of the golden runs


def test_a_run_without_an_execution_is_of_the_first_form_and_one_with_it_of_the_second() -> None:
    first = read_statement(golden("train"))
    assert isinstance(first.predicate, RunRecord)
    assert (first.predicate.execution, first.predicate.came_about) == (None, Execution.SCHEDULE)
    for execution in Execution:
        second = replace(first, predicate=replace(first.predicate, execution=execution))
        written = write_statement(second)
        assert read_statement(written) == second
        assert second.predicate.came_about is execution
        assert json.loads(written)["predicateType"] == PREDICATE
        assert written.replace(PREDICATE.encode(), FIRST_PREDICATE.encode()).replace(
            f'"execution":"{execution.value}",'.encode(), b""
        ) == golden("train"), "nothing else is new"
    for spoilt in (
        changed(lambda v: v.update(predicateType=PREDICATE), "train"),
        changed(lambda v: v["predicate"].update(execution="schedule"), "train"),
        changed(lambda v: (v.update(predicateType=PREDICATE), v["predicate"].update(execution="magic")), "train"),
    ):
        with pytest.raises(RecordError, match=r"is expected|'magic' is not one of schedule, own-steps, solve"):
            read_statement(spoilt)


def changed(change: Callable[[dict[str, Any]], Any], name: str = "commit") -> bytes:
    value = json.loads(golden(name))
    change(value)
    return canonical_json(value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(_type="https://in-toto.io/Statement/v0.1"), STATEMENT),
        (lambda v: v.update(predicateType="https://slsa.dev/provenance/v1"), FIRST_PREDICATE),
        (lambda v: v.update(predicateType=PREDICATE), FIRST_PREDICATE),
        (lambda v: v["predicate"].update(execution="schedule"), FIRST_PREDICATE),
        (lambda v: (v.update(predicateType=PREDICATE), v["predicate"].update(execution="schedule")), "is unknown"),
        (lambda v: v.pop("subject"), "'subject' is missing"),
        (lambda v: v.update(more=1), "'more' is unknown"),
        (lambda v: v["subject"].append(v["subject"][0]), "2 subjects"),
        (lambda v: v["subject"].clear(), "0 subjects"),
        (lambda v: v["subject"][0].update(name=""), "1 to 200 printable letters"),
        (lambda v: v["subject"][0].update(name="a\nb"), "1 to 200 printable letters"),
        (lambda v: v["subject"][0].update(name="a" * (LONGEST_NAME + 1)), "1 to 200 printable letters"),
        (lambda v: v["subject"][0]["digest"].update(sha256="00" * 32), "'sha256' is unknown"),
        (lambda v: v["subject"][0].update(digest={"expungeTensors1": "00" * 32}), "'expungeTensors1' is unknown"),
        (lambda v: v["subject"][0]["digest"].update(merkleRoot="00"), "is not a digest"),
        (lambda v: v["predicate"].update(operation="train"), "is missing"),
        (lambda v: v["predicate"].update(operation="forge"), "is missing"),
        (lambda v: v["predicate"].pop("operation"), "is missing"),
        (lambda v: v.update(predicate=[]), "an object is expected"),
        (lambda v: v["predicate"]["data"].update(salts="none"), "'none' is not one of open, secret"),
        (lambda v: v["predicate"]["data"].pop("leafFormat"), "predicate.data: field 'leafFormat' is missing"),
    ],
)
def test_payloads_of_another_form_are_refused(change: Callable[[dict[str, Any]], Any], said: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_statement(changed(change))
    assert caught.value.code == "MALFORMED_JSON"
    assert said.removeprefix("predicate") in str(caught.value)


def test_an_operation_that_is_none_is_refused_in_a_run_too() -> None:
    with pytest.raises(RecordError, match="'forge' is not one of commit, train, retrain, unlearn"):
        read_statement(changed(lambda v: v["predicate"].update(operation="forge"), "train"))


def test_a_payload_that_is_no_canonical_json_or_too_large_is_refused() -> None:
    spaced = golden("commit").replace(b'":', b'": ', 1)
    with pytest.raises(RecordError, match="canonical"):
        read_statement(spaced)
    with pytest.raises(RecordError, match="SIZE_LIMIT"):
        read_statement(golden("train"), limits=Limits(json_bytes=1000))


def test_a_commitment_is_named_by_its_root_and_a_run_by_its_weights() -> None:
    commit, train = (read_statement(golden(name)) for name in ("commit", "train"))
    assert isinstance(commit.predicate, Commit)
    assert commit.digest == commit.predicate.data.root
    assert b'"merkleRoot"' in golden("commit")
    assert b'"expungeTensors1"' in golden("train")
    again = Statement(name="another name", digest=train.digest, predicate=train.predicate)
    assert read_statement(write_statement(again)) == again
    assert train.predicate.operation is Operation.TRAIN
