"""``expunge report BUNDLE``: from a training to a certificate, by the commands that a person types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.conftest import Expunge


def test_forget_retire_attest_and_certify(expunge: Expunge, tmp_path: Path) -> None:
    """The order of the guide: the record is signed last, names what was retired, and can still be carried out again."""
    keys, base, forgot, bundle = (tmp_path / name for name in ("keys", "base", "forgot", "bundle"))

    def done(*arguments: object) -> str:
        status, printed, error = expunge(*arguments)
        assert status == 0, printed + error
        return printed

    key, trusted = ("--key", keys / "private.pem"), ("--keys", keys / "trusted.json")
    done("keygen", "--out", keys)
    done("train", "digits", "--model", "mlp", "--epochs", 2, "--shards", 2, "--out", base)
    done("unlearn", base, "--forget", "subject:person-017", "--out", forgot)
    status, _, error = expunge("hygiene", forgot, "--destroy", "--yes")
    assert status == 2
    assert f"expunge attest {base}" in error, "what cannot be had afterwards is asked for before"
    done("attest", base, *key, "--out", tmp_path / "base-bundle")
    held = json.loads(expunge("hygiene", forgot, "--json")[1])["holds"]
    done("hygiene", forgot, "--destroy", "--yes")
    done("attest", forgot, *key, "--out", bundle, "--checkpoints")
    done("verify", bundle, *trusted, "--level", "V3", "--data", "digits")
    page = tmp_path / "certificate.html"
    assert "accepted at V1" in done("report", bundle, *trusted, "--out", page)
    content = page.read_text(encoding="utf-8")
    for words in (
        "Accepted at V1",
        "21 of 1,438 training rows",
        "Exact, claimed",
        "Declared destroyed, not proven (N3)",
    ):
        assert words in content
    facts = json.loads(done("report", bundle, *trusted, "--out", page, "--json"))["facts"]
    assert [item["digest"] for item in facts["retired"]] == [item["digest"] for item in held]
    assert facts["checked"]["status"] == "accepted"
    assert facts["subject"]["weights_digest"] == json.loads((forgot / "run.json").read_text())["weights_digest"]
    assert [link["operation"] for link in facts["chain"]] == ["commit", "train", "unlearn"]

    unchecked = done("report", bundle, "--out", page)
    assert "not checked" in unchecked
    assert "the bundle’s own word" in page.read_text(encoding="utf-8")
    assert json.loads(done("report", bundle, "--out", page, "--json"))["facts"]["checked"] is None

    shutil.copytree(bundle, tmp_path / "altered")
    trace = bytearray((tmp_path / "altered" / "trace.bin").read_bytes())
    trace[40] ^= 1
    (tmp_path / "altered" / "trace.bin").write_bytes(trace)
    printed = done("report", tmp_path / "altered", *trusted, "--out", page)
    assert "refused: TRACE_DIGEST_MISMATCH; level reached: V0" in printed
    assert "Do not rely on this record" in page.read_text(encoding="utf-8")


def test_a_window_is_signed_and_stands_on_the_certificate(expunge: Expunge, tmp_path: Path) -> None:
    keys, base, forgot, bundle = (tmp_path / name for name in ("keys", "base", "forgot", "bundle.zip"))
    expunge("keygen", "--out", keys)
    expunge("train", "digits", "--model", "mlp", "--epochs", 1, "--out", base)
    expunge("unlearn", base, "--forget", "subject:person-017", "--out", forgot)
    assert expunge("hygiene", forgot, "--window", 30)[0] == 0
    until = json.loads((forgot / "hygiene.json").read_text())["window"]["until"]
    assert expunge("attest", forgot, "--key", keys / "private.pem", "--out", bundle)[0] == 0
    page = tmp_path / "certificate.html"
    status, printed, _ = expunge("report", bundle, "--keys", keys / "trusted.json", "--out", page, "--json")
    facts = json.loads(printed)["facts"]
    assert (status, facts["checked"]["status"]) == (0, "accepted")
    assert (facts["window"], facts["retired"]) == ({"days": 30, "until": until}, [])
    assert f"Erasure pending until {until[:10]}" in page.read_text(encoding="utf-8")
    status, _, error = expunge("hygiene", forgot, "--window", 60)
    assert status == 2
    assert "is signed and cannot name a window any more" in error
    status, printed, _ = expunge("hygiene", forgot, "--destroy", "--yes")
    assert (status, json.loads((forgot / "hygiene.json").read_text())["window"]) == (0, None)
    assert "the record of this run is signed already" in printed, "and it still says pending"


def test_what_makes_no_sense_is_refused(expunge: Expunge, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "envelope.json").write_text("{}")
    for arguments, words in (
        ((tmp_path / "bundle", tmp_path / "other"), "of one bundle and nothing else"),
        ((tmp_path / "bundle", "--no-examples"), "of one bundle and nothing else"),
        ((tmp_path / "bundle", "--out", tmp_path / "page.txt"), "must end in .html"),
        ((tmp_path / "bundle",), "CHAIN_BROKEN"),
        ((tmp_path / "other", "--keys", tmp_path / "trusted.json"), "does not exist"),
        ((tmp_path, "--keys", tmp_path / "trusted.json"), "belongs to a bundle"),
    ):
        status, _, error = expunge("report", *arguments)
        assert status == 2
        assert words in error, error


def test_info_of_a_bundle_says_what_its_record_says_and_that_nothing_is_checked(expunge: Expunge) -> None:
    bundles = Path(__file__).parents[1] / "golden" / "0.1.0" / "bundles"
    status, told, _ = expunge("info", bundles / "twice.zip")
    assert status == 0
    assert told.splitlines()[0].endswith("the bundle's own word, nothing is checked: `expunge verify` does")
    assert "exact, claimed" in told
    assert "forgotten so far   32\n" in told
    assert f"record             {expunge('info', bundles / 'twice', '--json').json['envelope']}\n" in told
    assert "UNSAFE_FILE" in expunge("info", __file__).err
