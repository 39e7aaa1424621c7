"""``expunge verify`` at the command line: what it prints, and its exit statuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.verify.departures import base, early, foreign_member
from tests.verify.lineages import STRANGER, TRUSTED
from tests.verify.records import bundle, trained

from expunge.records.claims import CLAIMS, NOT_CLAIMED
from expunge.records.keys import write_trusted


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    write_trusted(folder / "trusted.json", TRUSTED)
    bundle(base(), folder / "honest")
    bundle(foreign_member(base()), folder / "forged")
    bundle(early(not_before=None), folder / "undated")
    bundle(trained(), folder / "strange", key=STRANGER)
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 and nothing else")
    return folder


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "expunge.cli.main", "verify", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_an_honest_record_is_accepted_and_everything_is_said(place: Path) -> None:
    done = run(place, "honest/bundle", "--keys", "trusted.json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "V0 form"
    assert "V1 structure" in lines
    assert "accepted at V1" in lines
    assert "guarantee: exact, claimed" in lines
    assert "  the owner, not a person, asked for 2 of 2 empty chairs" in lines
    for sentence in (*(CLAIMS[claim] for claim in ("C2", "C3", "C4")), *NOT_CLAIMED.values()):
        assert sentence in done.stdout
    assert lines[-1].startswith("  N9  ")
    assert "holds     executed steps: members of 16 steps computed again, 2 empty chairs" in done.stdout


def test_a_forged_record_is_refused_with_its_code_and_where(place: Path) -> None:
    done = run(place, "forged/bundle", "--keys", "trusted.json")
    assert done.returncode == 1
    assert "refused: SCHEDULE_BATCH_MISMATCH; level reached: V0" in done.stdout
    assert "REFUSED SCHEDULE_BATCH_MISMATCH executed steps: 1 step differs from the schedule" in done.stdout
    assert run(place, "forged/bundle", "--keys", "trusted.json", "--level", "V0").returncode == 0


def test_json_says_the_same(place: Path) -> None:
    done = run(place, "forged/bundle", "--keys", "trusted.json", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert (found["status"], found["asked"], found["reached"]) == ("refused", "V1", "V0")
    assert found["codes"] == ["SCHEDULE_BATCH_MISMATCH"]
    assert found["guarantee"] == {"kind": "exact", "standing": "claimed"}


def test_missing_evidence_has_a_status_of_its_own(place: Path) -> None:
    done = run(place, "undated/bundle", "--keys", "trusted.json")
    assert done.returncode == 3
    assert "undecided at V1: evidence-missing; level reached: V0" in done.stdout


def test_what_nobody_trusted_signed_says_nothing_of_guarantees(place: Path) -> None:
    done = run(place, "strange/bundle", "--keys", "trusted.json")
    assert done.returncode == 1
    assert "refused: KEY_NOT_TRUSTED; no level was reached" in done.stdout
    assert "guarantee" not in done.stdout


def test_a_malformed_bundle_is_refused_and_no_error(place: Path) -> None:
    done = run(place, "broken.zip", "--keys", "trusted.json", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["codes"] == ["UNSAFE_FILE"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("honest/bundle",), "--keys"),
        (("honest/bundle", "--keys", "none.json"), "none.json is missing"),
        (("nowhere", "--keys", "trusted.json"), "nowhere is missing"),
        (("honest/bundle", "--keys", "trusted.json", "--level", "V7"), "'V7' is not one of V0, V1, V2, V3, V4"),
        (("honest/bundle", "--keys", "trusted.json", "--segments", "0"), "segments 0"),
        (("honest/bundle", "--keys", "trusted.json", "--known-checkpoint", "gone"), "gone is missing"),
        (("honest/bundle", "--keys", "honest/bundle/envelope.json"), "no list of trusted keys"),
    ],
)
def test_what_cannot_be_run_as_asked_exits_2_with_one_sentence(
    place: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run(place, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_letters_that_steer_a_terminal_are_not_printed(tmp_path: Path) -> None:
    from dataclasses import replace

    story = trained()
    hostile = story.changed(environment=replace(story.record.environment, not_exact="\x1b[2J gone"))
    write_trusted(tmp_path / "trusted.json", TRUSTED)
    bundle(hostile, tmp_path)
    done = run(tmp_path, "bundle", "--keys", "trusted.json")
    assert "\x1b" not in done.stdout
    assert "?[2J gone" in done.stdout


def test_what_a_level_does_not_look_at_is_refused_and_not_ignored(place: Path) -> None:
    """Whoever forgets --level V3 would believe that the data had been looked at."""
    done = run(place, "honest/bundle", "--keys", "trusted.json", "--data", "digits")
    assert done.returncode == 2
    assert "--data digits is used from V2 on and --level is V1" in done.stderr


def test_the_certificate_of_a_verification_says_what_it_came_to(place: Path) -> None:
    asked = ("honest/bundle", "--keys", "trusted.json")
    assert run(place, *asked, "--level", "v0", "--certificate", "page.html").returncode == 0
    assert "Accepted at V0" in (place / "page.html").read_text(encoding="utf-8")
    done = run(place, *asked, "--certificate", "page.pdf")
    assert done.returncode == 2
    assert "must end in .html" in done.stderr


def test_a_record_that_was_kept_must_be_in_the_chain(place: Path) -> None:
    own = hashlib.sha256((place / "honest" / "bundle" / "envelope.json").read_bytes()).hexdigest()
    done = run(place, "honest/bundle", "--keys", "trusted.json", "--known-record", own)
    assert done.returncode == 0, done.stdout
    assert "holds     known records: 1 record that you kept, each in the chain of this run" in done.stdout
    done = run(place, "honest/bundle", "--keys", "trusted.json", "--known-record", own, "--known-record", "ab" * 32)
    assert done.returncode == 1
    assert (
        "REFUSED REQUEST_MISSING known records: 1 record that you kept (abababababababab…) is no ancestor"
        in done.stdout
    )
    done = run(place, "honest/bundle", "--keys", "trusted.json", "--known-record", own[:16])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"--known-record '{own[:16]}' is no digest of a record: give the 64 hexadecimal digits" in done.stderr
