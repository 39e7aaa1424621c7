"""``verify``: the verdict over all levels, and what the verifier keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.verify.departures import REFUSED, base, no_op
from tests.verify.lineages import ORIGIN, OWNER, TRUSTED
from tests.verify.records import bundle, certified, refusals, trained, verdict

from expunge.core.errors import InvalidArgument, RunError
from expunge.records.keys import KeyRole, write_trusted
from expunge.records.limits import LIMITS, Code, Limits
from expunge.records.verdict import Level, Standing, Status
from expunge.verify import checks
from expunge.verify.checks import Check
from expunge.verify.outcomes import LeftUndecided
from expunge.verify.verify import verify

V0 = Level.V0


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
    owner_only = (OWNER.trusted(ORIGIN, KeyRole.OWNER),)
    assert verify(tmp_path / "bundle", keys=owner_only, level=V0).codes == (Code.LOG_INCONSISTENT,)


def test_the_face_has_verify(tmp_path: Path) -> None:
    import expunge

    path = bundle(base(), tmp_path)
    assert expunge.verify(path, keys=TRUSTED) == verify(path, keys=TRUSTED)


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


@pytest.fixture
def replaying(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Check]], None]:
    """Put other checks in the place of those that replay."""
    below = tuple(check for check in checks.CHECKS if check.level < Level.V2)
    return lambda rows: monkeypatch.setattr(checks, "CHECKS", (*below, *rows))


ALL_REPLAYED = [Check("segments", level, lambda opened: "all of them") for level in (Level.V2, Level.V3)]


def test_a_guarantee_is_verified_by_a_full_replay_only(
    replaying: Callable[[Sequence[Check]], None], tmp_path: Path
) -> None:
    replaying(ALL_REPLAYED)
    path = bundle(base(), tmp_path)
    found = {level: verify(path, keys=TRUSTED, level=level) for level in (Level.V1, Level.V2, Level.V3)}
    assert [one.status for one in found.values()] == [Status.ACCEPTED] * 3
    assert [one.standing for one in found.values()] == [Standing.CLAIMED, Standing.CLAIMED, Standing.VERIFIED]


def test_unchanged_weights_and_a_missing_trace_are_decided_by_a_full_replay(
    replaying: Callable[[Sequence[Check]], None], tmp_path: Path
) -> None:
    replaying(ALL_REPLAYED)
    same = bundle(no_op(), tmp_path / "same")
    untraced = bundle(base().changed(trace=None).with_files({"trace.bin": None}), tmp_path / "untraced")
    for path, spot in ((same, Status.REFUSED), (untraced, Status.UNDECIDED)):
        assert verify(path, keys=TRUSTED, level=Level.V2).status is spot
        full = verify(path, keys=TRUSTED, level=Level.V3)
        assert (full.status, full.reached) == (Status.ACCEPTED, Level.V3)


def test_a_replay_that_does_not_confirm_leaves_the_rest_as_it_was(
    replaying: Callable[[Sequence[Check]], None], tmp_path: Path
) -> None:
    def elsewhere(opened: object) -> str:
        raise LeftUndecided("environment-mismatch", "threads 2 there, 1 here")

    replaying([Check("environment", Level.V2, elsewhere)])
    found = verify(bundle(no_op(), tmp_path / "same"), keys=TRUSTED, level=Level.V3)
    assert found.codes == (Code.WEIGHTS_UNCHANGED,)
    found = verify(bundle(base(), tmp_path / "honest"), keys=TRUSTED, level=Level.V3)
    assert (found.status, found.reached, found.standing) == (Status.UNDECIDED, Level.V1, Standing.CLAIMED)


def test_nothing_is_carried_out_for_a_record_that_is_refused(
    replaying: Callable[[Sequence[Check]], None], tmp_path: Path
) -> None:
    def never(opened: object) -> str:
        raise AssertionError("a refused record was replayed")

    replaying([Check("never", Level.V2, never)])
    path = bundle(REFUSED["a member exchanged"][1](), tmp_path)
    assert verify(path, keys=TRUSTED, level=Level.V3).codes == (Code.SCHEDULE_BATCH_MISMATCH,)


def test_a_run_folder_is_no_bundle_and_no_refusal_of_a_record(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InvalidArgument, match="is a run's folder and no bundle: make one with `expunge attest "):
        verify(tmp_path, keys=TRUSTED)
