"""Signed before: commitments that came first, records that are used again, and attestations that were cut short."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.attest.attested import Desk, altered, names
from tests.conftest import ORIGIN

import expunge.attest.attest as attesting
from expunge.adversary.table.scene import drawn_beacon
from expunge.attest.attest import commit_run
from expunge.core.beacon import Beacon
from expunge.core.clock import Time
from expunge.core.errors import RecordError, RunError
from expunge.core.files import write_text
from expunge.core.hashing import plain_json, sha256
from expunge.data.dataset import Dataset
from expunge.records.bundle import open_bundle
from expunge.records.keys import SigningKey
from expunge.records.log import read_log
from expunge.records.record import Commit, LeafSalts, RunRecord
from expunge.records.verdict import Status
from expunge.train.run import Run
from expunge.verify.verify import verify

DICE = Beacon(source="dice, thrown in public", value=b"\xab" * 32, not_before="2020-01-01T00:00:00Z")


def committed(desk: Desk, **fields: Any) -> Path:
    return desk.train("early", commit_only=True, **fields).path


def test_a_commitment_before_the_training_orders_it(owner: SigningKey, pictures: Dataset, tmp_path: Path) -> None:
    desk = Desk(tmp_path, owner, pictures)
    folder = committed(desk)
    made = commit_run(folder, owner, desk.log, ORIGIN)
    assert (folder / "record" / "commit-checkpoint").read_bytes() == made.note == (desk.log / "checkpoint").read_bytes()
    again = commit_run(folder, owner, desk.log)
    assert (again.record, again.note) == (made.record, made.note)
    assert read_log(desk.log).digests == (made.record,)
    with pytest.raises(RunError, match="holds a commitment and no model so far"):
        desk.attest(folder)
    dice = drawn_beacon(after=Time.now())
    run = desk.train("early", beacon=dice)
    with pytest.raises(RunError, match="a commitment comes before the training"):
        commit_run(folder, owner, desk.log)
    first = desk.attest(run, "first")
    assert desk.accepts(first.bundle)
    assert first.chain[0] == made.record
    assert (first.signed, first.afterwards) == (1, False)
    assert {"log/checkpoint-1", "log/consistency-1.json"} <= names(first.bundle)
    commit, train = (statement.predicate for statement in desk.opened(first.bundle))
    assert not commit.recorded_afterwards
    assert isinstance(train, RunRecord)
    assert not train.recorded_afterwards
    assert (train.randomness.beacon.source, train.randomness.beacon.value) == (dice.source, dice.value)
    assert str(train.randomness.beacon.not_before) == dice.not_before
    forgot = desk.unlearn(run, "subject:someone-02", "forgot")
    second = desk.attest(forgot, "second")
    assert desk.accepts(second.bundle)
    assert second.chain[:2] == first.chain
    assert not desk.record(second.bundle).recorded_afterwards


def test_a_beacon_that_could_be_known_before_the_commitment_is_refused(
    owner: SigningKey, pictures: Dataset, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, owner, pictures)
    alone = desk.train("alone", beacon=DICE)
    with pytest.raises(RecordError, match="no commitment to its data and recipe was signed before") as caught:
        desk.attest(alone)
    assert caught.value.code == "BEACON_NOT_AFTER_COMMIT"
    assert not (alone.path / "record").exists()
    folder = committed(desk)
    commit_run(folder, owner, desk.log, ORIGIN)
    with pytest.raises(RunError, match="a beacon must come after the commitment; take a later one"):
        desk.train("early", beacon=DICE)
    altered(folder, lambda manifest: manifest.pop("committed_at"))  # so that the training does not know
    early = desk.train("early", beacon=DICE)
    with pytest.raises(RecordError, match="a beacon must come after it") as caught:
        desk.attest(early)
    assert caught.value.code == "BEACON_NOT_AFTER_COMMIT"


def test_an_unlearning_before_its_parent_was_signed_is_recorded_afterwards(
    owner: SigningKey, pictures: Dataset, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, owner, pictures)
    commit_run(committed(desk), owner, desk.log, ORIGIN)
    forgot = desk.unlearn(desk.train("early"), "subject:someone-02", "forgot")
    made = desk.attest(forgot)
    assert desk.accepts(made.bundle)
    commit, train, unlearn = (statement.predicate for statement in desk.opened(made.bundle))
    assert [one.recorded_afterwards for one in (commit, train, unlearn)] == [False, False, True]
    assert any("was written later than the run" in notice for notice in made.notices)


def test_secret_salts_stay_out_of_record_and_bundle(owner: SigningKey, pictures: Dataset, tmp_path: Path) -> None:
    desk = Desk(tmp_path, owner, pictures)
    committed(desk, salts=tmp_path / "people.salts")
    run = desk.train("early", salts=tmp_path / "people.salts")
    made = desk.attest(run)
    assert desk.accepts(made.bundle)
    commit = desk.opened(made.bundle)[0].predicate
    assert isinstance(commit, Commit)
    assert commit.data.salts is LeafSalts.SECRET
    content = (tmp_path / "people.salts").read_bytes()[len("expunge/salts/1\n") :]
    every = b"".join(path.read_bytes() for path in sorted(made.bundle.rglob("*")) if path.is_file())
    assert all(content[at : at + 32] not in every for at in range(0, len(content), 32))
    assert not any("salts are open" in notice for notice in made.notices)


def test_a_commitment_to_something_else_is_refused(owner: SigningKey, pictures: Dataset, tmp_path: Path) -> None:
    desk = Desk(tmp_path, owner, pictures)
    commit_run(committed(desk), owner, desk.log, ORIGIN)
    kept = (tmp_path / "early" / "record").rename(tmp_path / "kept")
    shutil.rmtree(tmp_path / "early")
    other = desk.train("early", epochs=3)
    kept.rename(other.path / "record")
    with pytest.raises(RunError, match="commits to another recipe, other data or other noise"):
        desk.attest(other)


def test_the_log_of_the_commitment_must_be_at_hand(owner: SigningKey, pictures: Dataset, tmp_path: Path) -> None:
    desk = Desk(tmp_path, owner, pictures)
    commit_run(committed(desk), owner, desk.log, ORIGIN)
    run = desk.train("early")
    with pytest.raises(RunError, match="was committed in one: name that with `log`"):
        desk.attest(run, log=tmp_path / "elsewhere")
    desk.attest(desk.train("another"), "another-bundle", log=tmp_path / "third", origin="example.com/third")
    with pytest.raises(RunError, match="is no head of log"):
        desk.attest(run, log=tmp_path / "third", origin=None)
    desk.attest(desk.train("another"), "fourth-bundle", log=tmp_path / "fourth")  # the same name, other entries
    with pytest.raises(RunError, match="not those of the log given"):
        desk.attest(run, log=tmp_path / "fourth", origin=None)
    assert not (run.path / "record" / "envelope.json").exists()
    (run.path / "record" / "commit-checkpoint").rename(tmp_path / "kept")
    with pytest.raises(RunError, match="nothing shows that it stood in a log by then"):
        desk.attest(run)
    (tmp_path / "kept").rename(run.path / "record" / "commit-checkpoint")
    assert desk.accepts(desk.attest(run).bundle)


def test_a_second_time_gives_the_same_envelopes(other: Desk) -> None:
    run = other.folder / "forgot"
    first = other.attest(run, "first")
    second = other.attest(run, "second", checkpoints=True)
    assert (second.chain, second.signed, second.log) == (first.chain, 0, first.log)
    for name in names(first.bundle):
        assert (second.bundle / name).read_bytes() == (first.bundle / name).read_bytes(), name
    assert (run / "record" / "envelope.json").read_bytes() == (first.bundle / "envelope.json").read_bytes()
    assert (other.folder / "base" / "record" / "commit.json").read_bytes() == (
        first.bundle / "commit.json"
    ).read_bytes()
    assert other.accepts(second.bundle)


def test_a_zip_holds_the_same_files(other: Desk) -> None:
    folder = other.attest(other.folder / "forgot", "folder")
    packed = other.attest(other.folder / "forgot", "bundle.zip")
    assert other.accepts(packed.bundle)
    with open_bundle(folder.bundle) as one, open_bundle(packed.bundle) as two:
        assert {name: one.read(name) for name in one.names} == {name: two.read(name) for name in two.names}


def test_without_the_model_and_with_every_state(other: Desk) -> None:
    made = other.attest(other.folder / "forgot", model=False, checkpoints=True)
    found = names(made.bundle)
    assert "model.safetensors" not in found
    states = {f"checkpoints/{path.name}" for path in (other.folder / "forgot" / "checkpoints").iterdir()}
    assert {name for name in found if name.startswith("checkpoints/")} == states
    assert other.accepts(made.bundle)


@pytest.mark.parametrize("stage", ["keep", "enter", "bundle_files", "laid_out"])
def test_what_was_cut_short_is_finished_by_the_same_call(
    stage: str, other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any point, the log holds no envelope that no folder keeps, and no bundle is half there."""
    run, calls = other.folder / "forgot", 0
    original: Callable[..., Any] = getattr(attesting, stage)

    def killed(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if stage == "keep" and calls < 3:  # after two of three envelopes
            return original(*given, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(attesting, stage, killed)
        with pytest.raises(KeyboardInterrupt):
            other.attest(run)
    assert not (other.folder / "bundle").exists()
    logged = read_log(other.log).digests if (other.log / "log.json").exists() else ()
    kept = {sha256(path.read_bytes()) for path in other.folder.glob("*/record/*.json")}
    assert set(logged) <= kept
    made = other.attest(run)
    assert other.accepts(made.bundle)
    assert kept <= set(made.chain) == set(read_log(other.log).digests)
    assert made.log.entries == 3


def test_another_key_is_refused_by_name(other: Desk, stranger: SigningKey) -> None:
    other.attest(other.folder / "base")
    for name in ("base", "forgot"):
        with pytest.raises(RunError) as caught:
            other.attest(other.folder / name, f"{name}-again", key=stranger, log=other.folder / "other-log")
        assert other.key.keyid[:16] in str(caught.value)
        assert stranger.keyid[:16] in str(caught.value)
        assert "`key`" in str(caught.value)
    assert not (other.folder / "other-log").exists()
    assert not (other.folder / "forgot" / "record").exists()


class Later:
    """A clock that goes ahead, so that what is signed anew has other bytes."""

    @staticmethod
    def now() -> Time:
        return Time.at(Time.now().seconds + 60)


def test_records_that_do_not_fit_their_folder_or_each_other_are_refused(
    other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, forgot = other.folder / "base", other.folder / "forgot"
    other.attest(forgot)
    kept = (forgot / "record" / "envelope.json").read_bytes()
    (forgot / "record" / "envelope.json").write_bytes((base / "record" / "envelope.json").read_bytes())
    with pytest.raises(RunError, match="is the record of another run"):
        other.attest(forgot, "again")
    (forgot / "record" / "envelope.json").write_bytes((base / "record" / "commit.json").read_bytes())
    with pytest.raises(RunError, match="is a commitment and no record"):
        other.attest(forgot, "again")
    (forgot / "record" / "envelope.json").write_bytes(kept)
    (base / "record" / "commit.json").write_bytes(kept)
    with pytest.raises(RunError, match="is no commitment but the record of a run"):
        other.attest(forgot, "again")
    shutil.rmtree(base / "record")
    monkeypatch.setattr(attesting, "Time", Later)
    with pytest.raises(RunError, match="names another commitment or parent"):
        other.attest(forgot, "again")
    assert not (base / "record").exists()
    (forgot / "record" / "envelope.json").write_bytes(kept[:-2] + b"x}")
    with pytest.raises(RecordError, match="MALFORMED_JSON"):
        other.attest(forgot, "again")


def test_files_that_changed_after_signing_are_not_bundled(other: Desk) -> None:
    other.attest(other.folder / "forgot")
    victim = sorted((other.folder / "forgot" / "checkpoints").iterdir())[0]
    victim.unlink()
    with pytest.raises(RunError, match="no longer holds the states or the trace"):
        other.attest(other.folder / "forgot", "again")


def test_an_auditor_who_kept_a_checkpoint_is_shown_that_the_log_only_grew(
    owner: SigningKey, pictures: Dataset, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, owner, pictures)
    run = desk.train("base")
    kept = tmp_path / "kept"
    kept.write_bytes((desk.attest(run, "first").bundle / "log" / "checkpoint").read_bytes())
    forgot = desk.unlearn(run, "subject:someone-02", "forgot")
    plain = desk.attest(forgot, "plain").bundle
    assert verify(plain, keys=desk.trusted, known_checkpoint=kept).status is Status.UNDECIDED
    proven = desk.attest(forgot, "proven", known_checkpoints=[kept]).bundle
    assert verify(proven, keys=desk.trusted, known_checkpoint=kept).status is Status.ACCEPTED
    assert {"log/checkpoint-2", "log/consistency-2.json"} <= names(proven)
    shutil.rmtree(desk.log)
    with pytest.raises(RunError, match="holds no log yet, so nobody can have kept"):
        desk.attest(forgot, "no-log", known_checkpoints=[kept])
    other = Desk(tmp_path / "other", owner, pictures)
    other.attest(other.train("base", seed=5))
    with pytest.raises(RunError, match="this log does not begin with"):
        other.attest(other.folder / "base", "no", known_checkpoints=[kept])
    (tmp_path / "junk").write_bytes(b"no note")
    with pytest.raises(RunError, match="is no checkpoint of the log"):
        other.attest(other.folder / "base", "no", known_checkpoints=[tmp_path / "junk"])


def test_a_window_that_is_over_is_not_in_a_record_that_is_signed_later(other: Desk) -> None:
    """Every verifier would refuse it; the owner hears that nothing is declared."""
    over = {"days": 30, "until": "2026-01-31T12:00:00Z"}
    declared = {"format": "expunge/hygiene/1", "retired": [], "window": over}
    write_text(other.folder / "forgot" / "hygiene.json", plain_json(declared))
    made = other.attest(other.folder / "forgot")
    assert other.accepts(made.bundle)
    assert other.record(made.bundle).audit_window is None
    assert "audit window over: it ended at 2026-01-31T12:00:00Z, so this record names none" in made.notices


def test_a_case_that_nobody_can_read_is_not_signed(other: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of earlier versions may name blanks."""
    monkeypatch.setattr("expunge.methods.unlearn.names_case", lambda _: True)
    run = other.unlearn(Run.open(other.folder / "base"), "subject:someone-04", "blank", cases=[" "])
    with pytest.raises(RunError, match="names a case ' ' that nobody can read"):
        other.attest(run)
