"""Level V0: keys, files and the log."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.verify.departures import DATED, base
from tests.verify.lineages import STRANGER, TRUSTED, small_recipe
from tests.verify.records import (
    MadeUpStory,
    bundle,
    certified,
    codes,
    refusals,
    rewritten,
    trained,
    verdict,
    with_log,
)

from expunge.adversary.table.retelling import saved
from expunge.core.clock import Time
from expunge.core.errors import RunError
from expunge.core.hashing import canonical_json, sha256
from expunge.records.canonical import read_base64, write_base64
from expunge.records.note import sign_checkpoint
from expunge.records.record import AuditWindow, Initiator, Retired
from expunge.records.verdict import Level, Status
from expunge.verify.verify import verify

V0 = Level.V0


def test_a_key_that_is_not_on_the_list_signs_nothing(tmp_path: Path) -> None:
    found = verdict(base(), tmp_path, key=STRANGER)
    assert [code.value for code in found.codes] == ["KEY_NOT_TRUSTED"]
    assert (found.reached, found.run, found.record, found.remarks) == (None, None, None, ())
    assert {finding.level for finding in found.findings} == {V0}


def test_an_altered_payload_is_not_what_was_signed(tmp_path: Path) -> None:
    def altered(content: bytes) -> bytes:
        envelope = json.loads(content)
        payload = read_base64(envelope["payload"], "it").replace(b'"thirds":', b'"thirds":1')
        return canonical_json({**envelope, "payload": write_base64(payload)})

    path = rewritten(bundle(base(), tmp_path), "envelope.json", altered)
    assert refusals(path, V0) == ["SIGNATURE_INVALID"]


def test_a_model_exchanged_after_signing_is_refused_at_the_form_and_nothing_else_is(tmp_path: Path) -> None:
    story = base()
    other = story.with_files({"model.safetensors": saved(story.made[0].tale.model)})
    assert codes(other, tmp_path / "a", V0) == ["SUBJECT_DIGEST_MISMATCH"]
    assert codes(other, tmp_path / "b") == ["SUBJECT_DIGEST_MISMATCH"]


def test_a_second_copy_of_the_record_among_its_ancestors_is_refused(tmp_path: Path) -> None:
    """It would stand twice in the bundle, and one of them could be exchanged without a word."""

    def copied(files: dict[str, Any]) -> None:
        files[f"parents/{sha256(files['envelope.json']).hex()}.json"] = files["envelope.json"]

    path = with_log(base(), tmp_path, copied)
    assert refusals(path, V0) == ["CHAIN_BROKEN"]
    (finding,) = verify(path, keys=TRUSTED, level=V0).refusals
    assert "is a second copy of envelope.json" in finding.detail


SOURCES: dict[str, dict[str, Any]] = {
    "a label that is no name": {"label": 3},
    "a column list that is one word": {"numeric": "age"},
    "a field that no source has": {"colour": "red"},
    "the place of the rows": {"location": "/home/somebody/people.csv"},
    "one column of two kinds": {"numeric": ["age"], "text": ["age"]},
    "no rows": {"rows": 0},
    "an image larger than any": {"image_size": 10_000},
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_commitment_that_says_no_way_of_reading_is_malformed(name: str, tmp_path: Path) -> None:
    """It was an error about the auditor's file at V2, and nothing at all before."""
    found = verdict(base().changed(0, data__source=SOURCES[name]), tmp_path, V0)
    assert [code.value for code in found.codes] == ["MALFORMED_JSON"]
    (finding,) = found.refusals
    assert "commit.json: it does not say how its rows are read" in finding.detail


def test_a_commitment_says_how_rows_are_read_or_that_they_were_in_memory(tmp_path: Path) -> None:
    full = {"label": "outcome", "subject": None, "numeric": ["age"], "rows": 50, "categorical": [], "split": "train"}
    for number, source in enumerate(({}, full)):
        assert codes(base().changed(0, data__source=source), tmp_path / str(number)) == []


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoints/shard-0-step-00000005.safetensors"])
def test_a_pickle_in_the_place_of_tensors_is_never_opened(name: str, tmp_path: Path) -> None:
    story = base()
    other = story.with_files({name: pickle.dumps({"weight": 1}, protocol=4)})
    assert codes(other, tmp_path, V0) == ["UNSAFE_FILE"]


MALFORMED: dict[str, Callable[[], MadeUpStory]] = {
    "tombstones that do not ascend": lambda: base().changed(data=replace(base().record.data, tombstones=(17, 3))),
    "a tombstone twice": lambda: base().changed(data=replace(base().record.data, tombstones=(3, 3, 17))),
    "slots of a request": lambda: base().changed(requests=(replace(base().record.requests[0], slots=(17, 3)),)),
    "a shard beyond all": lambda: base().changed(alive=(0, 4096)),
    **{f"case {case!r}": lambda case=case: asked_by(case) for case in ("", " ", "\t", "two\nlines", "c" * 201)},
    "a window without a day": lambda: base().changed(audit_window=AuditWindow(days=0, until=SIGNED)),
    "a window before the record": lambda: base().changed(
        audit_window=AuditWindow(days=30, until=Time.at(SIGNED.seconds - 1))
    ),
    "old state kept for no reason": lambda: base().changed(kept_state=" "),
    "old state kept for a reason without words": lambda: base().changed(kept_state="42"),
    "its own model destroyed": lambda: base().changed(
        retired=(Retired(what="the old model", digest=base().draft.run.digest),)  # type: ignore[union-attr]
    ),
    "its own state destroyed": lambda: destroyed_state("leaf"),
    "weights of its own state destroyed": lambda: destroyed_state("weights"),
    "a recipe that is a list": lambda: base().with_files({"recipe.json": b"[]"}),
    "a recipe without a task": lambda: base().with_files({"recipe.json": without_field("task")}),
    "a recipe that breaks its rules": lambda: base().with_files({"recipe.json": recipe_with(epochs=0)}),
    "a recipe with a real where a count belongs": lambda: base().with_files({"recipe.json": recipe_with(seed=0.5)}),
    "a recipe whose model is no text": lambda: base().with_files({"recipe.json": recipe_with(model=7)}),
    "a recipe with a rate as a number": lambda: base().with_files(
        {"recipe.json": recipe_with(optimiser={**small_recipe().as_json()["optimiser"], "rate": 1})}
    ),
    "a recipe with a flip that is text": lambda: base().with_files(
        {"recipe.json": recipe_with(augmentation={"flip": "yes", "crop": 0})}
    ),
    "a recipe with another spelling of a default": lambda: base().with_files(
        {"recipe.json": recipe_with(perturbation=0.0)}
    ),
    "columns that are none": lambda: base().with_files(
        {"recipe.json": recipe_with(inputs={"columns": [3], "category_buckets": 32, "text_buckets": 1024})}
    ),
}


SIGNED = base().record.recorded_at


def asked_by(case: str) -> MadeUpStory:
    request = replace(base().record.requests[0], initiator=Initiator.PERSON, cases=("case-7", case))
    return base().changed(requests=(request,))


def destroyed_state(digest: str) -> MadeUpStory:
    record = base().record
    assert record.checkpoints is not None
    state = record.checkpoints.states[0]
    return base().changed(retired=(Retired(what="salts"), Retired(what="state", digest=getattr(state, digest))))


def recipe_with(**fields: Any) -> bytes:
    return canonical_json({**small_recipe().as_json(), **fields})


def without_field(name: str) -> bytes:
    return canonical_json({key: value for key, value in small_recipe().as_json().items() if key != name})


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_badly_written_is_refused_at_the_form(name: str, tmp_path: Path) -> None:
    assert codes(MALFORMED[name](), tmp_path, V0) == ["MALFORMED_JSON"]


def test_what_honest_records_declare_is_accepted(tmp_path: Path) -> None:
    """A named case, a window that ends with the day or the second of the record, the parent's model destroyed."""
    story = base()
    parent = story.draft.chain[1]
    assert not isinstance(parent, bytes)
    for at, until in enumerate((SIGNED.seconds, SIGNED.seconds + 86_400)):
        honest = asked_by("Case 2026/7 – ü").changed(
            audit_window=AuditWindow(days=1, until=Time.at(until)),
            retired=(Retired(what="model", digest=parent.digest), Retired(what="salts")),
        )
        assert codes(honest, tmp_path / str(at)) == []


def test_a_recipe_is_read_back_as_it_was_written() -> None:
    from expunge.schedule.recipe_file import read_recipe

    for recipe in (
        small_recipe(),
        small_recipe(model_options={"width": 0.5, "name": "wide", "deep": True, "layers": 3}),
        certified().lineage.recipe,
    ):
        found = read_recipe(canonical_json(recipe.as_json()))
        assert found == recipe
        assert found.digest == recipe.digest


# The log


def no_head(files: dict[str, Any]) -> None:
    del files["log/checkpoint"]


def no_proof(files: dict[str, Any]) -> None:
    del files[f"log/inclusion-{sha256(files['envelope.json']).hex()}.json"]


def exchanged_proofs(files: dict[str, Any]) -> None:
    one, two = (f"log/inclusion-{sha256(files[name]).hex()}.json" for name in ("envelope.json", "commit.json"))
    files[one], files[two] = files[two], files[one]


def proof_of_nobody(files: dict[str, Any]) -> None:
    files["log/inclusion-" + "0" * 64 + ".json"] = files[f"log/inclusion-{sha256(files['commit.json']).hex()}.json"]


def growth_of_nobody(files: dict[str, Any]) -> None:
    files["log/consistency-1.json"] = canonical_json(
        {"format": "expunge/log-consistency/1", "first": 1, "second": 3, "path": []}
    )


def checkpoint_without_growth(files: dict[str, Any]) -> None:
    files["log/checkpoint-1"] = files["log/checkpoint"]


def head_of_a_stranger(files: dict[str, Any]) -> None:
    from expunge.records.note import read_checkpoint, read_note

    files["log/checkpoint"] = sign_checkpoint(read_checkpoint(read_note(files["log/checkpoint"]).text), STRANGER)


@pytest.mark.parametrize(
    "change",
    [
        no_head,
        no_proof,
        exchanged_proofs,
        proof_of_nobody,
        growth_of_nobody,
        checkpoint_without_growth,
        head_of_a_stranger,
    ],
)
def test_a_log_that_does_not_hold_the_chain_is_refused(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    assert refusals(with_log(base(), tmp_path, change), V0) == ["LOG_INCONSISTENT"]


def test_a_log_that_was_rewritten_since_the_last_visit_is_refused(tmp_path: Path) -> None:
    story = trained(DATED)
    first = bundle(story, tmp_path / "first", commit_first=True)
    kept = first / "log" / "checkpoint-1"
    assert refusals(first, V0, known_checkpoint=kept) == []
    forked = bundle(story.changed(0, recorded_at=Time("2026-01-01T00:00:01Z")), tmp_path / "forked", commit_first=True)
    assert refusals(forked, V0) == []
    assert refusals(forked, V0, known_checkpoint=kept) == ["LOG_INCONSISTENT"]
    longer = bundle(base(DATED), tmp_path / "longer") / "log" / "checkpoint"
    rolled_back = first
    assert refusals(rolled_back, V0, known_checkpoint=longer) == ["LOG_INCONSISTENT"]
    unproven = bundle(base(DATED), tmp_path / "unproven")
    found = verify(unproven, keys=TRUSTED, level=V0, known_checkpoint=kept)
    (missing,) = (finding for finding in found.findings if not finding.stands)
    assert (found.status, missing.name, missing.reason) == (Status.UNDECIDED, "log consistency", "evidence-missing")
    assert "send the owner the one that you kept" in missing.detail


def test_a_checkpoint_of_ones_own_that_cannot_be_used_is_no_fault_of_the_bundle(tmp_path: Path) -> None:
    path = bundle(base(), tmp_path)
    (tmp_path / "kept").write_bytes(b"not a note")
    with pytest.raises(RunError, match="known checkpoint"):
        verify(path, keys=TRUSTED, level=V0, known_checkpoint=tmp_path / "kept")
    with pytest.raises(RunError, match="missing"):
        verify(path, keys=TRUSTED, level=V0, known_checkpoint=tmp_path / "nowhere")
