"""What attest writes it verifies first: what an auditor would refuse at V1 is neither kept nor logged nor written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.attest.attested import Desk
from tests.conftest import ORIGIN

import expunge.attest.attest as attesting
from expunge.attest.attest import commit_run
from expunge.core.clock import Time
from expunge.core.errors import RecordError, RunError
from expunge.records.limits import LIMITS, Code
from expunge.records.log import read_log
from expunge.records.verdict import Level, Verdict, refused_finding


class Fast:
    """A clock that was never set."""

    @staticmethod
    def now() -> Time:
        return Time("1970-01-01T00:03:20Z")


def nothing_left(desk: Desk, run: Path) -> None:
    assert not (run / "record").exists()
    assert not (desk.folder / "bundle").exists()
    assert not [path for path in desk.folder.rglob("*.part")]
    assert not (desk.log / "entries").exists()


def test_a_flipped_bit_in_the_units_is_refused_before_anything_is_kept(other: Desk) -> None:
    """In one shard of one slice no figure of the record hangs on them."""
    run = other.train("whole", slices=1).path
    found = bytearray((run / "units.bin").read_bytes())
    found[0] ^= 1
    (run / "units.bin").write_bytes(found)
    with pytest.raises(RecordError, match=r"units.bin does not number subjects by their first slot") as caught:
        other.attest(run)
    assert caught.value.code == Code.SHARD_MAP_MISMATCH.value
    assert str(other.folder / "bundle") in str(caught.value)
    nothing_left(other, run)


def test_a_unit_that_no_data_set_has_is_one_sentence(other: Desk) -> None:
    """Shards are dealt out by counting units, and there is no memory for so many."""
    path = other.folder / "base" / "units.bin"
    found = bytearray(path.read_bytes())
    found[-2] ^= 1
    path.write_bytes(found)
    with pytest.raises(RunError, match=r"units.bin numbers more units than there are slots: it was altered"):
        other.attest(other.folder / "base")


@pytest.mark.parametrize("name", ["base", "forgot"])
def test_a_clock_of_1970_signs_nothing(name: str, other: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(attesting, "Time", Fast)
        with pytest.raises(RunError, match=r"clock says 1970-01-01T00:03:20Z, .* set the clock"):
            other.attest(other.folder / name)
        nothing_left(other, other.folder / name)
    assert other.accepts(other.attest(other.folder / name).bundle)


def test_a_commitment_is_not_dated_by_such_a_clock_either(other: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = other.train("early", commit_only=True).path
    monkeypatch.setattr(attesting, "Time", Fast)
    with pytest.raises(RunError, match="set the clock"):
        commit_run(folder, other.key, other.log, ORIGIN)
    assert not (folder / "record").exists()


def test_what_only_a_limit_of_the_verifier_refuses_is_a_notice(other: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "120 rows were committed, the limit is 10: raise limit rows, or refuse it"
    verdict = Verdict(asked=Level.V1, findings=(refused_finding("data size", Level.V1, Code.SIZE_LIMIT, said),))
    monkeypatch.setattr(attesting, "verify", lambda made, keys: verdict)
    made = other.attest(other.folder / "base")
    assert f"beyond what verifiers read unless they raise a limit: {said}" in made.notices
    assert LIMITS.rows > 120


def test_a_refusal_leaves_what_was_signed_before(other: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base was attested; the run that forgot is refused; the log ends where it ended."""
    other.attest(other.folder / "base", "base-bundle")
    before = read_log(other.log).digests
    refusal = refused_finding("units", Level.V1, Code.SHARD_MAP_MISMATCH, "somebody sits elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr(attesting, "verify", lambda made, keys: Verdict(asked=Level.V1, findings=(refusal,)))
        with pytest.raises(RecordError, match="would be refused at V1, so nothing was kept, logged or written"):
            other.attest(other.folder / "forgot")
    assert read_log(other.log).digests == before
    assert not (other.folder / "forgot" / "record").exists()
    assert other.accepts(other.attest(other.folder / "forgot").bundle)
