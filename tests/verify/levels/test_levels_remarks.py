"""What a verdict adds beside its findings: true of the record, refused by nothing, and not to be overlooked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.verify.departures import DATED, OTHER, base
from tests.verify.lineages import OWNER, RECORDED_AT, Lineage
from tests.verify.records import MadeUpStory, approximated, forgot, trained, verdict

from expunge.core.clock import Time
from expunge.records.record import AuditWindow, Initiator, Retired
from expunge.records.verdict import Level

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
    assert {"no-trajectory", "method-seed"} <= remarks(approximated(trained(), (3,)), tmp_path / "g")
    assert "method-seed" not in remarks(base(), tmp_path / "h")


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
