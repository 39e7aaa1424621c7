"""What a verdict adds beside its findings: true of the record, refused by nothing, and not to be overlooked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.verify.departures import DATED, OTHER, base
from tests.verify.lineages import ORIGIN, OWNER, RECORDED_AT, TRUSTED, Lineage
from tests.verify.records import MadeUpStory, approximated, bundle, forgot, trained, verdict

from expunge.core.clock import Time
from expunge.core.errors import InvalidArgument
from expunge.records.bundle import write_folder
from expunge.records.draft import bundle_files, sign
from expunge.records.log import Log
from expunge.records.note import sign_checkpoint
from expunge.records.record import AuditWindow, Initiator, Retired
from expunge.records.verdict import Level, Status
from expunge.verify.verify import verify

V0 = Level.V0


def remarks(story: MadeUpStory, folder: Path, **options: Any) -> set[str]:
    return {remark.word for remark in verdict(story, folder, **options).remarks}


def test_what_nobody_should_overlook_is_said(tmp_path: Path) -> None:
    always = {"no-witness", "open-salts"}
    afterwards = {"zero-beacon", "recorded-afterwards"}
    assert remarks(trained(), tmp_path / "a") == always | afterwards
    assert remarks(base(), tmp_path / "b") == always | afterwards | {"owner-requests", "nothing-retired", "whose-rows"}
    assert remarks(trained(DATED), tmp_path / "c") == always | {"beacon-from-outside"}
    day = Time("2026-01-01T12:00:00Z").seconds
    assert remarks(trained(DATED), tmp_path / "d", witnessed_at=day) == {"open-salts", "beacon-from-outside"}
    assert remarks(trained(DATED), tmp_path / "e", cosigned_at=RECORDED_AT.seconds) == {
        "open-salts",
        "unwitnessed-commit",
        "beacon-from-outside",
    }
    story = base()
    (request,) = story.record.requests
    told = story.changed(
        requests=(replace(request, initiator=Initiator.PERSON, cases=("case-1",)),),
        retired=(Retired(what="checkpoint", digest=OTHER),),
        audit_window=AuditWindow(days=30, until=Time("2026-03-01T00:00:00Z")),
    )
    more = {"erasure-pending", "destruction-declared", "whose-rows"}
    assert remarks(told, tmp_path / "f") == always | afterwards | more
    kept = story.changed(kept_state="the court has asked for it")
    assert "state-kept" in remarks(kept, tmp_path / "k")
    assert "nothing-retired" not in remarks(kept, tmp_path / "l")
    assert {"no-trajectory", "method-seed"} <= remarks(approximated(trained(), (3,)), tmp_path / "g")
    assert "method-seed" not in remarks(base(), tmp_path / "h")


def test_dates_ahead_of_the_verifiers_clock_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(story: MadeUpStory, name: str) -> list[str]:
        return [one.text for one in verdict(story, tmp_path / name).remarks if one.word == "dates-ahead"]

    assert said(base(), "then") == []
    clock = Time.at(RECORDED_AT.seconds - 1)
    monkeypatch.setattr(Time, "now", classmethod(lambda _: clock))
    (text,) = said(base(), "before")
    assert text.startswith(f"3 dates in these records after this machine's clock, {clock}, the last {RECORDED_AT}: ")
    assert verdict(base(), tmp_path / "still").status is Status.ACCEPTED
    monkeypatch.setattr(Time, "now", classmethod(lambda _: RECORDED_AT))
    assert said(base(), "at once") == []


def test_records_of_the_log_outside_the_chain_are_counted(tmp_path: Path) -> None:
    """A branch of the original: its log holds the run that forgot somebody who sits here again."""
    first, second = forgot(trained(), (3,)), forgot(trained(), (17,))
    signed = [sign(story.draft, OWNER) for story in (first, second)]
    log = Log(ORIGIN, signed[0].digests).grown(signed[1].digests)
    assert log.digests[:3] == signed[0].digests
    assert log.size == 4
    write_folder(tmp_path / "branch", bundle_files(signed[1], log, sign_checkpoint(log.head(), OWNER)))
    found = verify(tmp_path / "branch", keys=TRUSTED)
    assert found.status is Status.ACCEPTED
    (text,) = (one.text for one in found.remarks if one.word == "other-records")
    assert text.startswith("1 record of the log outside this chain may be of other models, or of a branch")
    assert "`known_records`" in text
    kept = signed[0].digests[-1].hex()
    asked = verify(tmp_path / "branch", keys=TRUSTED, known_records=(kept,))
    assert [code.value for code in asked.codes] == ["REQUEST_MISSING"]
    (finding,) = (finding for finding in asked.findings if finding.name == "known records")
    assert f"1 record that you kept ({kept[:16]}…) is no ancestor of this run" in finding.detail


def test_a_record_that_was_kept_and_is_in_the_chain_is_no_matter(tmp_path: Path) -> None:
    story = forgot(forgot(trained(), (3,)), (17,))
    place, digests = bundle(story, tmp_path), [digest.hex() for digest in sign(story.draft, OWNER).digests]
    found = verify(place, keys=TRUSTED, known_records=digests)
    assert found.status is Status.ACCEPTED
    (finding,) = (finding for finding in found.findings if finding.name == "known records")
    assert finding.detail == "4 records that you kept, each in the chain of this run"
    assert "known records" not in {finding.name for finding in verify(place, keys=TRUSTED).findings}
    for odd in ("", "ab", f"{digests[0]}0", f"{digests[0]}\n", "x" * 64):
        with pytest.raises(InvalidArgument, match="is no digest of a record: give the 64 hexadecimal digits"):
            verify(place, keys=TRUSTED, known_records=(odd,))


def test_how_much_of_each_committed_person_was_forgotten_is_said(tmp_path: Path) -> None:
    def said(story: MadeUpStory, name: str) -> str:
        (found,) = (one.text for one in verdict(story, tmp_path / name).remarks if one.word == "whose-rows")
        return found

    people = Lineage(count=30, subjects=10)
    mates = np.flatnonzero(people.units == people.units[4]).tolist()
    assert len(mates) == 3
    assert "they are the rows of 1 committed person, whole;" in said(forgot(trained(people), mates), "whole")
    assert "1 committed person, 1 of them in part only (2 of 3 rows);" in said(
        forgot(trained(people), mates[:2]), "part"
    )
    alone = Lineage(count=30, subjects=30)
    assert "no people were committed" in said(forgot(trained(alone), (4,)), "alone")


def test_who_signed_and_whose_log_it_is_are_said(tmp_path: Path) -> None:
    found = verdict(base(), tmp_path)
    assert found.as_json()["signed_by"] == [{"name": key.name, "keyid": key.keyid} for key in found.signers]
    assert [key.keyid for key in found.signers] == [OWNER.keyid]
    (unseen,) = (one.text for one in found.remarks if one.word == "no-witness")
    assert unseen.startswith("the log is signed by the owner's own key")
