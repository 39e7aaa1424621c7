"""``expunge keygen`` and ``expunge attest`` as a person uses them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge

from expunge.adversary.table.scene import drawn_beacon
from expunge.core.clock import Time
from expunge.records.keys import KeyRole, load_signing_key, load_trusted
from expunge.records.log import read_log

NAMES = ("private.pem", "trusted.json")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def forgot(expunge: Expunge) -> None:
    """runs/base and runs/forgot on the shipped data."""
    train = ("train", "digits", "--rows", 300, "--model", "mlp", "--epochs", 2, "--out", "runs/base")
    assert expunge(*train).status == 0
    assert expunge("unlearn", "runs/base", "--forget", "random:5:1", "--out", "runs/forgot").status == 0


def test_a_key_is_made_and_it_is_said_what_goes_to_whom(expunge: Expunge) -> None:
    done = expunge("keygen", "--out", "keys", "--name", "example.com/unlearning")
    assert done.status == 0
    assert "example.com/unlearning" in done.out
    private, trusted = (
        next(line for line in done.out.splitlines() if line.startswith(f"keys/{name}")) for name in NAMES
    )
    assert "stays with you" in private
    assert "goes to those who verify" in trusted
    assert stat.S_IMODE(Path("keys/private.pem").stat().st_mode) == 0o600
    key = load_signing_key(Path("keys/private.pem"))
    listed = load_trusted(Path("keys/trusted.json"))
    assert [(entry.keyid, entry.name, entry.role) for entry in listed] == [
        (key.keyid, "example.com/unlearning", role) for role in (KeyRole.OWNER, KeyRole.LOG)
    ]
    assert key.keyid[:16] in done.out
    again = expunge("keygen", "--out", "keys")
    assert again.status == 2
    assert "keys are never overwritten" in again.err
    assert load_signing_key(Path("keys/private.pem")).keyid == key.keyid


def test_keys_without_a_name_get_one_of_their_own(expunge: Expunge) -> None:
    one, two = (expunge("keygen", "--out", folder, "--json").json for folder in ("one", "two"))
    assert one["name"] != two["name"]
    assert one["keyid"] != two["keyid"]
    assert one["roles"] == ["owner", "log"]
    assert Path(one["private"]).is_file()
    assert load_trusted(Path(two["trusted"]))[0].name == two["name"]
    assert expunge("keygen", "--out", "three", "--name", "two words").status == 2
    assert not Path("three").exists()


@pytest.mark.usefixtures("forgot")
def test_attest_with_everything_where_it_is_expected(expunge: Expunge) -> None:
    expunge("keygen", "--out", "keys", "--name", "example.com/unlearning")
    done = expunge("attest", "runs/forgot")
    assert (done.status, done.err) == (0, "")
    assert "3 records, 3 signed now: exact is claimed, not verified" in done.out
    for words in ("recorded afterwards", "zero beacon", "salts are open", "log example.com/unlearning with 3 entries"):
        assert words in done.out
    assert done.out.endswith("runs/forgot-bundle --level V1 --keys keys/trusted.json\n")
    assert Path("runs/forgot-bundle/envelope.json").is_file()
    assert not Path("runs/forgot-bundle/checkpoints").exists()
    assert read_log(Path("keys/log")).size == 3
    verified = expunge("verify", "runs/forgot-bundle", "--level", "V1", "--keys", "keys/trusted.json")
    assert verified.status == 0, verified.out
    again = expunge("attest", "runs/forgot", "--out", "again.zip", "--checkpoints", "--without-model", "--json")
    assert again.status == 0
    found = again.json
    assert (found["signed"], found["guarantee"], found["recorded_afterwards"]) == (0, {"kind": "exact"}, True)
    assert found["log"] == {"origin": "example.com/unlearning", "entries": 3}
    assert found["chain"] == [digest.hex() for digest in read_log(Path("keys/log")).digests]
    assert found["record"] == found["chain"][-1]
    verified = expunge("verify", "again.zip", "--level", "V1", "--keys", "keys/trusted.json")
    assert verified.status == 0, verified.out


@pytest.mark.usefixtures("forgot")
def test_attest_with_everything_elsewhere(expunge: Expunge) -> None:
    expunge("keygen", "--out", "safe", "--name", "example.com/unlearning")
    done = expunge(
        *("attest", "runs/base", "--key", "safe/private.pem", "--out", "sent/bundle", "--log", "kept/log"),
        *("--origin", "example.com/other", "--json"),
    )
    assert done.json["bundle"] == "sent/bundle"
    assert done.json["log"] == {"origin": "example.com/other", "entries": 2}
    assert any("names the log 'example.com/unlearning'" in notice for notice in done.json["notices"])
    assert read_log(Path("kept/log")).origin == "example.com/other"
    assert not Path("safe/log").exists()


@pytest.mark.usefixtures("forgot")
def test_what_cannot_be_done_is_one_sentence_with_status_two(expunge: Expunge) -> None:
    expunge("keygen", "--out", "other")
    Path("there").mkdir()
    for arguments, said in (
        (("attest", "runs/forgot"), "keys/private.pem is missing"),
        (("attest", "runs/nowhere", "--key", "other/private.pem"), "runs/nowhere is not a run"),
        (("attest", "runs/forgot", "--key", "other/private.pem", "--out", "there"), "there exists"),
        (("attest", "runs/forgot", "--key", "other/trusted.json"), "holds no private key in PEM form"),
        (("attest", "runs/forgot", "--key", "other/private.pem", "--log", "runs/base"), "is no log"),
        (("attest", "runs/forgot", "--key", "other/private.pem", "--origin", "a b"), "'a b'"),
        (("attest",), "Missing argument"),
    ):
        done = expunge(*arguments)
        assert done.status == 2, arguments
        assert said in done.err
        assert done.err.count("\n") == 1
        assert done.out == ""
    assert not list(Path("runs").glob("*/record"))


def test_a_commitment_is_signed_before_the_training(expunge: Expunge) -> None:
    expunge("keygen", "--out", "keys")
    words = ("train", "digits", "--rows", 300, "--model", "mlp", "--epochs", 1, "--out", "runs/base")
    done = expunge(*words, "--commit-only", "--key", "keys/private.pem")
    assert done.status == 0, done.err
    committed = read_log(Path("keys/log"))
    assert committed.size == 1
    assert expunge("attest", "runs/base").status == 2
    Path("beacon.json").write_text(
        json.dumps({"source": "dice", "value": "5a" * 32, "not_before": drawn_beacon(after=Time.now()).not_before})
    )
    assert expunge(*words, "--beacon", "beacon.json").status == 0
    made = expunge("attest", "runs/base", "--json").json
    assert made["chain"][0] == committed.digests[0].hex()
    assert made["recorded_afterwards"] is False
    assert Path("runs/base-bundle/log/checkpoint-1").is_file()
    verified = expunge("verify", "runs/base-bundle", "--level", "V1", "--keys", "keys/trusted.json")
    assert verified.status == 0, verified.out
