"""``verify``: level V0, the verdict over all levels, what the verifier keeps, and records that mean harm."""

from __future__ import annotations

import json
import pickle
import random
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from safetensors.numpy import save
from tests.audit.departures import DATED, OTHER, REFUSED, base, no_op
from tests.audit.records import (
    ORIGIN,
    OWNER,
    STRANGER,
    TRUSTED,
    Story,
    approximated,
    bundle,
    certified,
    codes,
    forgot,
    small_recipe,
    trained,
    verdict,
    with_files,
)

from expunge.audit.bundle import write_folder, write_zip
from expunge.audit.canonical import read_base64, write_base64
from expunge.audit.draft import bundle_files, sign_and_log
from expunge.audit.envelope import envelope_digest, seal
from expunge.audit.fields import Time
from expunge.audit.keys import Role, write_trusted
from expunge.audit.limits import LIMITS, Code, Limits
from expunge.audit.log import writing
from expunge.audit.note import sign_checkpoint
from expunge.audit.statement import Statement, write_statement
from expunge.audit.verdict import Finding, Level, Standing, Status, holds, undecided
from expunge.audit.verify import verify
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.hashing import canonical_json, sha256

V0 = Level.V0


def refusals(path: Path, level: Level = Level.V1, **options: Any) -> list[str]:
    return [code.value for code in verify(path, keys=TRUSTED, level=level, **options).codes]


def rewritten(path: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """The bundle with one file changed where it lies, which nobody signs again."""
    content = (path / name).read_bytes()
    (path / name).unlink()
    (path / name).write_bytes(change(content))
    return path


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
    other = story.with_files(model_safetensors=save(story.made[0].model))
    assert codes(other, tmp_path / "a", V0) == ["SUBJECT_DIGEST_MISMATCH"]
    assert codes(other, tmp_path / "b") == ["SUBJECT_DIGEST_MISMATCH"]


@pytest.mark.parametrize("name", ["model.safetensors", "checkpoints/shard-0-step-00000005.safetensors"])
def test_a_pickle_in_the_place_of_tensors_is_never_opened(name: str, tmp_path: Path) -> None:
    story = base()
    draft = with_files(story.draft, {name: pickle.dumps({"weight": 1}, protocol=4)})
    assert codes(draft, tmp_path, V0) == ["UNSAFE_FILE"]


MALFORMED: dict[str, Callable[[], Story]] = {
    "tombstones that do not ascend": lambda: base().changed(data=replace(base().record.data, tombstones=(17, 3))),
    "a tombstone twice": lambda: base().changed(data=replace(base().record.data, tombstones=(3, 3, 17))),
    "slots of a request": lambda: base().changed(requests=(replace(base().record.requests[0], slots=(17, 3)),)),
    "a shard beyond all": lambda: base().changed(alive=(0, 4096)),
    "a recipe that is a list": lambda: base().with_files(recipe_json=b"[]"),
    "a recipe without a task": lambda: base().with_files(recipe_json=without_field("task")),
    "a recipe that breaks its rules": lambda: base().with_files(recipe_json=recipe_with(epochs=0)),
    "a recipe with a real where a count belongs": lambda: base().with_files(recipe_json=recipe_with(seed=0.5)),
    "a recipe whose model is no text": lambda: base().with_files(recipe_json=recipe_with(model=7)),
    "a recipe with a rate as a number": lambda: base().with_files(
        recipe_json=recipe_with(optimiser={**small_recipe().as_json()["optimiser"], "rate": 1})
    ),
    "a recipe with a flip that is text": lambda: base().with_files(
        recipe_json=recipe_with(augmentation={"flip": "yes", "crop": 0})
    ),
    "a recipe with another spelling of a default": lambda: base().with_files(recipe_json=recipe_with(perturbation=0.0)),
    "columns that are none": lambda: base().with_files(
        recipe_json=recipe_with(inputs={"columns": [3], "category_buckets": 32, "text_buckets": 1024})
    ),
}


def recipe_with(**fields: Any) -> bytes:
    return canonical_json({**small_recipe().as_json(), **fields})


def without_field(name: str) -> bytes:
    return canonical_json({key: value for key, value in small_recipe().as_json().items() if key != name})


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_badly_written_is_refused_at_the_form(name: str, tmp_path: Path) -> None:
    assert codes(MALFORMED[name](), tmp_path, V0) == ["MALFORMED_JSON"]


def test_a_recipe_is_read_back_as_it_was_written() -> None:
    from expunge.audit.recipe_file import read_recipe

    for recipe in (
        small_recipe(),
        small_recipe(model_options={"width": 0.5, "name": "wide", "deep": True, "layers": 3}),
        certified().lineage.recipe,
    ):
        found = read_recipe(canonical_json(recipe.as_json()))
        assert found == recipe
        assert found.digest == recipe.digest


# The log


def with_log(story: Story, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A bundle whose files of the log were changed before it was written."""
    with writing(folder / "log", ORIGIN) as log:
        signed = sign_and_log(story.draft, OWNER, log)
        files: dict[str, Any] = dict(bundle_files(signed, log.log, log.sign(OWNER)))
    change(files)
    write_folder(folder / "bundle", files)
    return folder / "bundle"


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
    from expunge.audit.note import read_checkpoint, read_note

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


# The chain


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


# The verdict


def test_what_cannot_be_run_as_asked_is_no_verdict(tmp_path: Path) -> None:
    path = bundle(trained(), tmp_path)
    with pytest.raises(RunError, match="missing"):
        verify(tmp_path / "nowhere", keys=TRUSTED)
    with pytest.raises(RunError, match="trusted keys"):
        verify(path, keys=tmp_path / "no-keys.json")
    with pytest.raises(InvalidArgument, match="no key is trusted"):
        verify(path, keys=())
    with pytest.raises(InvalidArgument, match="'V9' is not one of V0"):
        verify(path, keys=TRUSTED, level="V9")
    with pytest.raises(InvalidArgument, match="segments 0"):
        verify(path, keys=TRUSTED, segments=0)


def test_a_bundle_that_is_none_is_refused_and_not_an_error(tmp_path: Path) -> None:
    path = bundle(trained(), tmp_path)
    (path / "payload.sh").write_bytes(b"#!/bin/sh")
    found = verify(path, keys=TRUSTED)
    assert (found.codes, found.reached, found.status.exit_status) == ((Code.UNSAFE_FILE,), None, 1)


def test_keys_may_be_a_file_and_levels_a_word(tmp_path: Path) -> None:
    write_trusted(tmp_path / "trusted.json", TRUSTED)
    found = verify(str(bundle(trained(), tmp_path)), keys=str(tmp_path / "trusted.json"), level="V0")
    assert (found.status, found.asked, found.reached) == (Status.ACCEPTED, V0, V0)
    owner_only = (OWNER.trusted(ORIGIN, Role.OWNER),)
    assert verify(tmp_path / "bundle", keys=owner_only, level=V0).codes == (Code.LOG_INCONSISTENT,)


def test_the_face_has_verify() -> None:
    import expunge

    assert expunge.verify is verify


def test_progress_counts_epochs(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    verify(bundle(base(), tmp_path), keys=TRUSTED, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_a_verdict_is_plain_json_with_ordinary_numbers(tmp_path: Path) -> None:
    found = verdict(certified(), tmp_path).as_json()
    assert json.loads(json.dumps(found)) == found
    assert found["guarantee"] == {"kind": "certified", "standing": "claimed", "epsilon": 1.0, "delta": 1e-4}
    assert found["claims"] == ["C6", "C5"]
    assert len(found["not_claimed"]) == 9
    assert found["status"] == "accepted"


def test_limits_of_the_schedule_are_the_verifiers_own(tmp_path: Path) -> None:
    path = bundle(base(), tmp_path)
    draws, seats = 30 * (2 + 1) + 30, 30  # two epochs, one deal, the first touch of one shard
    assert refusals(path, limits=replace(LIMITS, draws=draws, seats=seats)) == []
    assert refusals(path, limits=replace(LIMITS, draws=draws - 1)) == ["SIZE_LIMIT"]
    assert refusals(path, limits=replace(LIMITS, seats=seats - 1)) == ["SIZE_LIMIT"]
    assert refusals(path, limits=Limits(json_bytes=100)) == ["SIZE_LIMIT"]


# Replay, as the verdict sees it


Replayed = Callable[..., Iterator[Finding]]


@pytest.fixture
def replaying(monkeypatch: pytest.MonkeyPatch) -> Callable[[Replayed], None]:
    """Put a replay in the place of the real one."""

    def put(found: Replayed) -> None:
        module = ModuleType("expunge.audit.replay")
        module.replay_findings = found  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "expunge.audit.replay", module)

    return put


def all_replayed(opened: object, *, level: Level, **options: object) -> Iterator[Finding]:
    for at in (Level.V2, Level.V3):
        if at <= level:
            yield holds("segments", at, "all of them")


def test_a_guarantee_is_verified_by_a_full_replay_only(replaying: Callable[[Replayed], None], tmp_path: Path) -> None:
    replaying(all_replayed)
    path = bundle(base(), tmp_path)
    found = {level: verify(path, keys=TRUSTED, level=level) for level in (Level.V1, Level.V2, Level.V3)}
    assert [one.status for one in found.values()] == [Status.ACCEPTED] * 3
    assert [one.standing for one in found.values()] == [Standing.CLAIMED, Standing.CLAIMED, Standing.VERIFIED]


def test_unchanged_weights_and_a_missing_trace_are_decided_by_a_full_replay(
    replaying: Callable[[Replayed], None], tmp_path: Path
) -> None:
    replaying(all_replayed)
    same = bundle(no_op(), tmp_path / "same")
    untraced = bundle(base().changed(trace=None).with_files(trace_bin=None), tmp_path / "untraced")
    for path, spot in ((same, Status.REFUSED), (untraced, Status.UNDECIDED)):
        assert verify(path, keys=TRUSTED, level=Level.V2).status is spot
        full = verify(path, keys=TRUSTED, level=Level.V3)
        assert (full.status, full.reached) == (Status.ACCEPTED, Level.V3)


def test_a_replay_that_does_not_confirm_leaves_the_rest_as_it_was(
    replaying: Callable[[Replayed], None], tmp_path: Path
) -> None:
    def elsewhere(opened: object, *, level: Level, **options: object) -> Iterator[Finding]:
        yield undecided("environment", Level.V2, "environment-mismatch", "threads 2 there, 1 here")

    replaying(elsewhere)
    found = verify(bundle(no_op(), tmp_path / "same"), keys=TRUSTED, level=Level.V3)
    assert found.codes == (Code.WEIGHTS_UNCHANGED,)
    found = verify(bundle(base(), tmp_path / "honest"), keys=TRUSTED, level=Level.V3)
    assert (found.status, found.reached, found.standing) == (Status.UNDECIDED, Level.V1, Standing.CLAIMED)


def test_nothing_is_carried_out_for_a_record_that_is_refused(
    replaying: Callable[[Replayed], None], tmp_path: Path
) -> None:
    def never(opened: object, **options: object) -> Iterator[Finding]:
        raise AssertionError("a refused record was replayed")

    replaying(never)
    path = bundle(REFUSED["a member exchanged"][1](), tmp_path)
    assert verify(path, keys=TRUSTED, level=Level.V3).codes == (Code.SCHEDULE_BATCH_MISMATCH,)


# Records that mean harm: signed by the owner's own key, every value of every field exchanged


def leaves_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves_of(inner, (*path, name))
    elif isinstance(value, list) and value:
        for at, inner in enumerate(value[:2]):
            yield from leaves_of(inner, (*path, at))
    else:
        yield path, value


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_value(value[path[0]], path[1:], new)
    return copy


def exchanged(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [0, value + 1, 2**32, 2**53 - 1]
    if isinstance(value, str):
        digest = len(value) == 64 and set(value) <= set("0123456789abcdef")
        return ["0" * 64, "f" * 64] if digest else ["", "\x1b[31m", "1" * 5000]
    return [[0], ["x"], {}]


FREE: dict[int, set[tuple[Any, ...]]] = {  # what an owner may say without anything here that could contradict it
    0: {("recordedAfterwards",)},
    -1: {
        ("algorithm", "package"),
        ("checkpoints", "interval"),
        ("data", "releasedCalibration"),
        ("data", "releasedHoldout"),
        ("environment", "factory"),
        ("environment", "fingerprint", "torch"),
        ("environment", "initialWeights"),
        ("environment", "selfTest"),
        ("requests", 0, "cases"),
    },
}


@pytest.mark.parametrize("at", [0, -1])
def test_no_value_of_a_signed_record_raises_anything_but_a_refusal(at: int, tmp_path: Path) -> None:
    story = base()
    link = story.draft.chain[at]
    assert isinstance(link, Statement)
    with writing(tmp_path / "first", ORIGIN) as log:
        signed = sign_and_log(story.draft, OWNER, log)
    payload = json.loads(read_base64(json.loads(signed.envelopes[at])["payload"], "it"))
    accepted: set[tuple[Any, ...]] = set()
    for number, (path, value) in enumerate(list(leaves_of(payload))):
        for which, new in enumerate(exchanged(value)):
            if new == value:
                continue
            envelope = seal(canonical_json(with_value(payload, path, new)), OWNER)
            chain = list(story.draft.chain)
            chain[at] = envelope
            draft = replace(story.draft, chain=tuple(chain))
            found = verdict(draft, tmp_path / f"{number}-{which}")
            if found.status is Status.ACCEPTED:
                accepted.add(path[1:] if path[0] == "predicate" else path)
    assert accepted == FREE[at]


@pytest.mark.parametrize("seed", range(3))
def test_no_altered_byte_of_any_file_is_accepted(seed: int, tmp_path: Path) -> None:
    draws = random.Random(seed)
    path = bundle(forgot(base(), (4,)), tmp_path, commit_first=True)
    names = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    for _ in range(60):
        name = draws.choice(names)
        content = (path / name).read_bytes()
        at = draws.randrange(len(content))
        altered = bytearray(content)
        altered[at] ^= draws.randrange(1, 256)
        rewritten(path, name, lambda _, new=bytes(altered): new)
        assert verify(path, keys=TRUSTED).status is not Status.ACCEPTED, (name, at)
        rewritten(path, name, lambda _, old=content: old)
    assert verify(path, keys=TRUSTED).status is Status.ACCEPTED


def test_a_zip_is_verified_like_a_folder(tmp_path: Path) -> None:
    path = bundle(base(), tmp_path)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    write_zip(tmp_path / "bundle.zip", files)
    assert verify(tmp_path / "bundle.zip", keys=TRUSTED).status is Status.ACCEPTED
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for name, file in files.items():
            target.write(file, name)
    assert verify(tmp_path / "packed.zip", keys=TRUSTED).codes == (Code.UNSAFE_FILE,)  # bytes that nothing binds
    (path / "trace.bin").unlink()
    (path / "trace.bin").write_bytes(b"")
    assert verify(path, keys=TRUSTED).codes == (Code.TRACE_DIGEST_MISMATCH,)
