"""Level V1: the chain of statements without a gap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.logged import sign_and_log
from tests.verify.departures import OTHER, base
from tests.verify.lineages import ORIGIN, OWNER
from tests.verify.records import approximated, bundle, codes, forgot, refusals, trained, with_log

from expunge.core.hashing import sha256
from expunge.records.envelope import envelope_digest, seal
from expunge.records.log import writing
from expunge.records.statement import Statement, write_statement
from expunge.records.verdict import Level

V0 = Level.V0


def test_a_chain_with_a_gap_is_refused(tmp_path: Path) -> None:
    story = forgot(base(), (4,))
    path = bundle(story, tmp_path)
    parents = sorted((path / "parents").iterdir(), key=lambda file: file.stat().st_size)
    gone = parents[0]
    (path / "log" / f"inclusion-{gone.stem}.json").unlink()
    gone.unlink()
    assert refusals(path) == ["CHAIN_BROKEN"]
    assert refusals(path, V0) == []


def test_an_envelope_of_another_chain_is_refused(tmp_path: Path) -> None:
    def change(files: dict[str, Any]) -> None:
        stray = seal(write_statement(stray_statement()), OWNER)
        digest = envelope_digest(stray)
        files[f"parents/{digest.hex()}.json"] = stray

    def stray_statement() -> Statement:
        found = approximated(trained(), (8,)).draft.run
        assert isinstance(found, Statement)
        return found

    assert refusals(with_log(base(), tmp_path, change)) == ["LOG_INCONSISTENT", "CHAIN_BROKEN"]


def test_a_commitment_is_needed_and_must_be_one(tmp_path: Path) -> None:
    path = bundle(trained(), tmp_path / "a")
    commit = sha256((path / "commit.json").read_bytes()).hex()
    (path / "commit.json").unlink()
    assert refusals(path, V0) == ["CHAIN_BROKEN"]
    assert commit
    path = bundle(trained(), tmp_path / "b")
    (path / "commit.json").unlink()
    (path / "commit.json").write_bytes((path / "envelope.json").read_bytes())
    assert refusals(path, V0) == ["CHAIN_BROKEN"]


def test_a_record_of_another_commitment_is_refused(tmp_path: Path) -> None:
    story = base()
    last = story.draft.run
    assert isinstance(last, Statement)
    with writing(tmp_path / "other", ORIGIN) as log:
        signed = sign_and_log(story.draft, OWNER, log)
    record = replace(story.record, commit=OTHER, parent=signed.digests[-2])
    envelope = seal(write_statement(replace(last, predicate=record)), OWNER)
    draft = replace(story.draft, chain=(*story.draft.chain[:-1], envelope))
    assert codes(draft, tmp_path / "bundle", V0) == []
    assert codes(draft, tmp_path / "again") == ["CHAIN_BROKEN"]


@pytest.mark.parametrize(
    ("algorithm", "fields"),
    [
        ("exact-replay", {"audited": "nothing of the person remains"}),
        ("exact-replay", {"training_seed": None}),
        ("retrain", {"training_seed": None, "audited": 1}),
        ("retrain", {"training_seed": "verified at V4"}),
        ("retrain", {"training_seed": 5}),
        ("retrain", {"training_seed": False}),
    ],
)
def test_an_exact_method_has_the_fields_that_it_declares(
    algorithm: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    """A certificate prints them, and nothing compares those of methods that are replayed from states."""
    story = forgot(trained(), (3,), algorithm=algorithm)
    lie = story.changed(algorithm=replace(story.record.algorithm, fields=fields))
    assert codes(lie, tmp_path / "lie") == ["CHAIN_BROKEN"]
    assert codes(lie, tmp_path / "form", V0) == []
    for at, honest in enumerate(({}, {"training_seed": None}, {"training_seed": story.lineage.recipe.seed})):
        if algorithm == "retrain" or not honest:
            told = story.changed(algorithm=replace(story.record.algorithm, fields=honest))
            assert codes(told, tmp_path / str(at)) == []
