"""What is not so is not signed: one sentence, and nothing written anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.attest.attested import Desk, altered

import expunge.attest.attest as attesting
from expunge.attest.attest import attest
from expunge.core.errors import ExpungeError, RecordError, RunError
from expunge.core.files import write_text
from expunge.records.keys import SigningKey, keygen
from expunge.records.limits import Limits
from expunge.records.log import read_log
from expunge.records.verdict import Status
from expunge.schedule.recipe import Profile, Recipe
from expunge.train.run import Run
from expunge.verify.verify import verify


def spoil(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next(iter(sorted(folder.glob(name))))
        found = path.read_bytes()
        path.unlink()  # checkpoints are links to the parent's files
        path.write_bytes(content(found))

    return change


def flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def told(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: altered(folder, lambda manifest: manifest.update(fields)) and None


def recipe_told(**fields: Any) -> Callable[[Path], None]:
    """A recipe that says something else, with the digest that belongs to it."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["recipe"].update(fields)
        manifest["recipe_digest"] = Recipe.from_json(manifest["recipe"]).digest.hex()

    return lambda folder: altered(folder, change) and None


EMPIRICAL = {"kind": "empirical", "passed": [], "level": None}
REFUSALS: dict[str, tuple[Callable[[Path], None], str]] = {
    "interrupted": (told(status="running"), "was interrupted or failed"),
    "committed only": (told(status="committed"), "holds a commitment and no model so far"),
    "weights altered": (spoil("model.safetensors", flip), "does not hold the weights of run.json"),
    "weights missing": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
    "other weights told": (told(weights_digest="00" * 32), "does not hold the weights of run.json"),
    "state altered": (spoil("checkpoints/*00000004.*", flip), "is not the state"),
    "state no tensors": (spoil("checkpoints/*00000004.*", lambda content: b"PK\x03\x04" + content), "UNSAFE_FILE"),
    "last state missing": (
        lambda folder: (folder / "checkpoints" / "shard-0-step-00000034.safetensors").unlink(),
        "holds no state of shard 0 at step 34",
    ),
    "reused state missing": (
        lambda folder: (folder / "checkpoints" / "shard-0-step-00000006.safetensors").unlink(),
        "its state at step 6 is not one that",
    ),
    "more reused than was": (told(reused_steps={"0": 18}), "its state at step 18 is not one that"),
    "trace off": (told(trace="off"), "nothing states what was executed"),
    "trace lost": (lambda folder: shutil.rmtree(folder / "trace"), "shard-0.bin is missing"),
    "trace short": (spoil("trace/shard-0.bin", lambda content: content[:-64]), "34 steps have 2176"),
    "trace altered": (spoil("trace/shard-0.bin", lambda content: b"\x00" + content[1:]), "other members at step 0"),
    "epochs altered": (spoil("trace/epochs-0.bin", flip), "other members of an epoch"),
    "log altered": (spoil("log.jsonl", lambda content: content.replace(b"thirds", b"thords")), "log was altered"),
    "leaves altered": (spoil("leaves.bin", flip), "do not match their roots"),
    "recipe altered": (
        lambda folder: altered(folder, lambda m: m["recipe"].update(epochs=9)) and None,
        "does not match",
    ),
    "seed altered": (told(lineage_seed="00" * 32), "do not give the lineage seed"),
    "beacon altered": (told(beacon="11" * 32), "two beacons are named"),
    "beacon described otherwise": (
        lambda folder: altered(folder, lambda m: m["beacon_described"].update(value="11" * 32, source="a")) and None,
        "two beacons are named",
    ),
    "a tombstone more": (
        lambda folder: altered(folder, lambda m: m["tombstones"].append(99)) and None,
        "schedule gives",
    ),
    "exact refused": (told(exact_refused="the self-test gave two digests"), "GUARANTEE_TOO_HIGH"),
    "no trajectory": (told(trajectory="none"), "GUARANTEE_TOO_HIGH"),
    "exact by fine-tune": (told(method={"name": "fine-tune", "fields": {}}), "GUARANTEE_TOO_HIGH"),
    "certified by replay": (told(guarantee={"kind": "certified", "epsilon": 1.0, "delta": 1e-4}), "can earn exact"),
    "tests passed": (told(guarantee={**EMPIRICAL, "passed": ["loss"], "level": 0.95}), "no method can say of itself"),
    "no guarantee": (told(guarantee={"kind": "sworn"}), "one of exact, certified, empirical is needed"),
    "parent missing": (told(parent={"path": "/nowhere", "relative": "x", "weights_digest": "00" * 32}), "/nowhere"),
    "method unknown": (told(method={"name": "magic", "fields": {}}), "'magic' is not one of"),
    "destruction cut short": (lambda folder: write_text(folder / "hygiene-intent.json", "{}"), "was cut short"),
    "declaration altered": (lambda folder: write_text(folder / "hygiene.json", "{}"), "is no declaration of hygiene"),
    "other data told": (told(dataset_root="00" * 32), "about another data set"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_not_so_is_refused_and_nothing_is_signed(name: str, other: Desk) -> None:
    change, said = REFUSALS[name]
    change(other.folder / "forgot")
    with pytest.raises(ExpungeError) as caught:
        other.attest(other.folder / "forgot")
    message = str(caught.value)
    assert said in message, message
    assert "\n" not in message
    assert not list(other.folder.glob("*/record"))
    assert not other.log.exists()
    assert not (other.folder / "bundle").exists()


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"profile": "speed"}, "PROFILE_CLAIM_MISMATCH"), ({"threads": 2}, "PROFILE_CLAIM_MISMATCH")],
)
def test_exact_where_nothing_pinned_the_bits_is_refused(fields: dict[str, Any], code: str, desk: Desk) -> None:
    """The recipe says so honestly, run.json calls the result exact all the same."""
    name = f"lying-{next(iter(fields))}"
    run = desk.train(name, **{key: Profile(value) if key == "profile" else value for key, value in fields.items()})
    altered(run, lambda manifest: manifest.update(guarantee={"kind": "exact"}, exact_refused=None))
    with pytest.raises(RecordError) as caught:
        desk.attest(run.path, f"{name}-bundle")
    assert caught.value.code == code
    assert not (run.path / "record").exists()


def test_a_method_that_changed_nothing_is_refused(desk: Desk, base: Run) -> None:
    still = desk.unlearn(base, "subject:someone-06", "still", method="fine-tune", budget=0.0)
    assert still.weights_digest == base.weights_digest
    with pytest.raises(RecordError) as caught:
        desk.attest(still, "still-bundle")
    assert caught.value.code == "WEIGHTS_UNCHANGED"
    assert "fine-tune changed nothing" in str(caught.value)


def test_places_that_cannot_be_used_are_refused_before_anything_is_signed(
    other: Desk, tmp_path: Path, stranger: SigningKey
) -> None:
    run = other.folder / "forgot"
    (other.folder / "bundle").mkdir()
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "exists: choose another `out`"),
        (
            {"out": tmp_path / "b", "key": tmp_path / "keys" / "private.pem"},
            "with `expunge keygen`, or name yours with `key`",
        ),
        ({"out": tmp_path / "b", "log": None}, "has no log beside it"),
        ({"out": tmp_path / "b", "log": run}, "is no log and not empty"),
        ({"out": tmp_path / "b", "origin": None}, "holds no log yet"),
        ({"out": tmp_path / "b", "origin": "no name"}, "key name 'no name'"),
    ]
    for given, said in cases:
        with pytest.raises(ExpungeError) as caught:
            other.attest(run, **given)
        assert said in str(caught.value)
        assert not (tmp_path / "b").exists()
        assert not list(other.folder.glob("*/record"))
    with pytest.raises(ExpungeError, match="is not a run"):
        other.attest(tmp_path, "none")
    other.attest(run, "made")
    with pytest.raises(RunError, match="holds the log 'example"):
        other.attest(run, "again", origin="example.com/other")
    for record in other.folder.glob("*/record"):
        shutil.rmtree(record)
    entries = (other.log / "entries").read_bytes()
    with pytest.raises(RunError, match="is signed with another key than"):
        other.attest(run, "again", key=stranger)
    assert (other.log / "entries").read_bytes() == entries
    assert not list(other.folder.glob("*/record"))


def test_log_and_name_come_from_beside_the_key(other: Desk, tmp_path: Path) -> None:
    keygen(tmp_path / "keys", "example.org/own")
    made = attest(other.folder / "forgot", key=tmp_path / "keys" / "private.pem")
    assert made.bundle == other.folder / "forgot-bundle"
    assert made.log.origin == "example.org/own"
    assert read_log(tmp_path / "keys" / "log").digests == made.chain
    assert verify(made.bundle, keys=tmp_path / "keys" / "trusted.json").status is Status.ACCEPTED
    (tmp_path / "keys" / "private.pem").chmod(0o644)
    again = attest(
        *(other.folder / "forgot",),
        key=tmp_path / "keys" / "private.pem",
        out=tmp_path / "b",
        log=tmp_path / "l",
        origin="example.org/second",
    )
    assert any("chmod 600" in notice for notice in again.notices)
    assert any("names the log 'example.org/own', this one is 'example.org/second'" in note for note in again.notices)
    (tmp_path / "keys" / "trusted.json").unlink()
    with pytest.raises(RunError, match="`origin`"):
        attest(other.folder / "forgot", key=tmp_path / "keys" / "private.pem", out=tmp_path / "c", log=tmp_path / "m")


def test_a_record_larger_than_verifiers_read_is_not_signed(other: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attesting, "LIMITS", Limits(json_bytes=2000))
    with pytest.raises(RunError, match="exceeds the 2000 that verifiers read"):
        other.attest(other.folder / "forgot")
    assert not list(other.folder.glob("*/record"))
    assert not other.log.exists()
