"""Commit, draw a beacon, train, forget: `expunge train --commit-only` and what comes after it, as a person types it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge

from expunge.adversary.table.scene import drawn_beacon
from expunge.core.clock import Time

RECIPE = ("digits", "--model", "mlp", "--epochs", 1)
VALUE = "ab" * 32


def test_from_commitment_to_forgetting(expunge: Expunge, tmp_path: Path) -> None:
    out, salts = tmp_path / "runs" / "base", tmp_path / "apart" / "people.salts"
    held = expunge("train", *RECIPE, "--commit-only", "--salts", salts, "--out", out)
    assert held.status == 0, held.err
    root = expunge("info", out, "--json").json["dataset_root"]
    assert held.out.splitlines() == [
        f"committed 1438 rows (90 calibration, 269 holdout), root {root[:16]}, recipe "
        f"{expunge('info', out, '--json').json['recipe_digest'][:16]}; nothing is trained",
        f"salts are secret: keep {salts} apart",
        "nothing was signed or logged: a commitment that nobody else has seen orders nothing; give --key",
        f"train from it with the same command, without --commit-only and with --beacon  run {out}",
    ]
    assert "status             committed" in expunge("info", out).out
    beacon = tmp_path / "beacon.json"
    since = drawn_beacon(after=Time.now()).not_before
    beacon.write_text(json.dumps({"source": "drand", "value": VALUE, "round": 5, "not_before": since}))
    trained = expunge(
        *("train", *RECIPE, "--salts", salts, "--beacon", beacon, "--trace", "gradients", "--out", out, "--json")
    )
    assert trained.status == 0, trained.err
    assert trained.json["dataset_root"] == root
    assert trained.json["beacon"] == VALUE
    shown = expunge("info", out).out
    for line in (
        f"salts              secret, in {salts} (leaves hidden: salts are secret, in a file kept apart)",
        f"schedule           beacon from drand, round 5, not before {since}",
        "trace              gradients",
        "checkpoints        every 100 steps",
    ):
        assert line in shown.splitlines()
    again = expunge("train", *RECIPE, "--salts", salts, "--beacon", VALUE, "--out", out, "--json")
    assert again.json == trained.json
    os.rename(salts, tmp_path / "moved.salts")
    lost = expunge("unlearn", out, "--forget", "subject:person-017", "--out", tmp_path / "forgot")
    assert lost.status == 2
    assert "is missing: without it no row can be checked against its leaf" in lost.err
    assert "--salts FILE" in lost.err
    assert not (tmp_path / "forgot").exists()
    forgot = expunge(
        *("unlearn", out, "--forget", "subject:person-017", "--salts", tmp_path / "moved.salts"),
        *("--trace", "gradients", "--out", tmp_path / "forgot", "--json"),
    )
    assert forgot.status == 0, forgot.err
    assert forgot.json["data"]["salt_file"] == str(tmp_path / "moved.salts")
    assert forgot.json["trace"] == "gradients"
    assert forgot.json["notices"] == []
    retrained = expunge(
        *("unlearn", out, "--forget", "subject:person-017", "--salts", tmp_path / "moved.salts"),
        *("--method", "retrain", "--out", tmp_path / "retrained"),
    )
    assert retrained.status == 0, retrained.err
    judged = expunge("evaluate", tmp_path / "forgot", "--reference", tmp_path / "retrained", "--json")
    assert judged.status == 0, judged.err


def test_open_salts_and_json(expunge: Expunge, tmp_path: Path) -> None:
    held = expunge("train", *RECIPE, "--commit-only", "--out", tmp_path / "run")
    assert "salts are open: the leaves hide nothing" in held.out
    again = expunge("train", *RECIPE, "--commit-only", "--out", tmp_path / "run", "--json")
    assert again.json["status"] == "committed"
    assert again.json["commitment"] is None
    assert "salts              open (leaves not hidden: salts are open)" in expunge("info", tmp_path / "run").out


def test_a_key_signs_and_logs_the_commitment(expunge: Expunge, tmp_path: Path) -> None:
    assert expunge("keygen", "--out", tmp_path / "keys").status == 0
    key, out = tmp_path / "keys" / "private.pem", tmp_path / "run"
    command = ("train", *RECIPE, "--commit-only", "--key", key, "--log", tmp_path / "log", "--out", out)
    signed = expunge(*command, "--json")
    assert signed.status == 0, signed.err
    commitment = signed.json["commitment"]
    assert commitment["log"]["entries"] == 1
    assert (out / "record" / "commit.json").is_file()
    again = expunge(*command)
    assert again.status == 0, again.err
    said = f"signed as record {commitment['record'][:16]}, entry 1 of log {commitment['log']['origin']}"
    assert said in again.out.splitlines()
    assert "nothing was signed" not in again.out
    trained = expunge("train", *RECIPE, "--beacon", VALUE, "--out", out)
    assert trained.status == 0, trained.err
    assert (out / "record" / "commit.json").is_file()
    late = expunge(*command)
    assert late.status == 2
    assert "has begun already: a commitment comes before it" in late.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--key", "k.pem"), "--key, --log and --origin are for a commitment: add --commit-only, or sign the finished"),
        (("--log", "log"), "--key, --log and --origin are for a commitment"),
        (("--commit-only", "--log", "log"), "are for a commitment that is signed: give the key with --key FILE"),
        (("--commit-only", "--origin", "me"), "are for a commitment that is signed: give the key with --key FILE"),
        (("--commit-only", "--beacon", VALUE), "a commitment is over all rows and before any beacon"),
        (("--commit-only", "--without", "class:1"), "a commitment is over all rows and before any beacon"),
        (("--beacon", "ab"), "beacon 'ab' is neither 64 hexadecimal digits nor a JSON file"),
        (("--beacon", "00" * 32), "a beacon of zeros is what a run has without one: leave it out"),
        (("--salts", "{tmp}/none.salts"), "none.salts does not exist: `expunge train … --commit-only --salts"),
        (("--salts", "{out}/a.salts", "--commit-only"), "whoever is given the leaves must not get the salts"),
        (("--trace", "weights"), "--trace 'weights' is not one of losses, gradients, off"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(
    arguments: tuple[str, ...], words: str, expunge: Expunge, tmp_path: Path
) -> None:
    places = {"out": str(tmp_path / "out"), "tmp": str(tmp_path)}
    done = expunge("train", *RECIPE, *(item.format(**places) for item in arguments), "--out", tmp_path / "out")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words in done.err
    assert list(tmp_path.iterdir()) == []
