"""The facts of a certificate: those of the bundle, and nothing above what was verified."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.verify.certified import commitment, digest, life, make_bundle, request, run_record
from tests.verify.lineages import ORIGIN

from expunge.core.clock import Time
from expunge.core.errors import RecordError
from expunge.core.hashing import plain_json, sha256
from expunge.data.commitment import tombstones_digest
from expunge.records.bundle import open_bundle
from expunge.records.claims import CLAIMS, NOT_CLAIMED
from expunge.records.keys import KeyRole, SigningKey, TrustedKey
from expunge.records.limits import Code
from expunge.records.record import (
    Algorithm,
    AuditWindow,
    BeaconPart,
    GuaranteeKind,
    GuaranteePart,
    Initiator,
    LeafSalts,
    Operation,
    ProfileName,
    Randomness,
    Request,
    Retired,
    RunRecord,
)
from expunge.records.statement import Statement
from expunge.records.trust import trust_digest
from expunge.records.verdict import Level, Verdict, holds, refused_finding
from expunge.verify.certificate import certificate

Facts = dict[str, Any]


def facts_of(path: Path, verdict: Verdict | None = None, keys: Sequence[TrustedKey] = (), **more: Any) -> Facts:
    with open_bundle(path) as bundle:
        return json.loads(plain_json(certificate(bundle, verdict, keys, **more).as_json()))


def reached(level: Level) -> Verdict:
    """Everything holds up to a level."""
    return Verdict(
        asked=level, findings=tuple(holds(one.name, one, "as it should be") for one in Level if one <= level)
    )


def last(chain: Sequence[Statement]) -> RunRecord:
    found = chain[-1].predicate
    assert isinstance(found, RunRecord)
    return found


@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_the_facts_are_those_of_the_record(name: str, tmp_path: Path, owner: SigningKey) -> None:
    chain = life()
    facts = facts_of(make_bundle(tmp_path / name, chain, owner))
    record = last(chain)
    assert facts["subject"] == {"name": "digits classifier", "weights_digest": chain[-1].digest.hex()}
    assert facts["forgotten"]["slots"] == 3
    assert facts["forgotten"]["digest"] == tombstones_digest(record.data.tombstones).hex()
    assert facts["requests"] == [
        {
            "own": True,
            "cases": ["2026-0017"],
            "initiator": "person",
            "received": "2026-02-01T08:30:00Z",
            "slots": 3,
            "first_ranges": [[3, 3], [17, 17], [42, 42]],
            "receipts": 1,
            "before_training": False,
        }
    ]
    assert [link["operation"] for link in facts["chain"]] == ["commit", "train", "unlearn"]
    with open_bundle(tmp_path / name) as bundle:
        assert facts["envelope"] == sha256(bundle.read("envelope.json")).hex() == facts["chain"][-1]["digest"]
        assert facts["chain"][0]["digest"] == sha256(bundle.read("commit.json")).hex()
    assert facts["recipe"]["fields"]["model"] == "cnn"
    assert facts["recipe"]["fields"]["rate"] == 0.05
    assert facts["cost"]["example_steps"] == 10352
    assert facts["checked"] is None
    assert {item["id"]: item["text"] for item in facts["not_claimed"]} == NOT_CLAIMED
    assert all(CLAIMS[item["id"]] == item["text"] for item in facts["claims"])
    assert facts["format"] == "expunge/certificate/1"


def test_owners_requests_are_counted_over_the_whole_chain_and_slots_are_few(tmp_path: Path, owner: SigningKey) -> None:
    first, trained, forgot = life()
    many = (*range(100, 120), *range(130, 160, 2), *range(170, 185))
    earlier = run_record(
        Operation.UNLEARN, "exact-replay", many, requests=(request(many, initiator=Initiator.OWNER, cases=()),)
    )
    both = tuple(sorted({*many, 3, 17, 42}))
    record = replace(last((forgot,)), data=replace(last((forgot,)).data, tombstones=both))
    chain = (first, trained, replace(trained, predicate=earlier), replace(forgot, predicate=record))
    facts = facts_of(make_bundle(tmp_path / "bundle", chain, owner))
    assert (facts["forgotten"]["slots"], facts["forgotten"]["owner_initiated"]) == (53, 50)
    assert [item["own"] for item in facts["requests"]] == [True, False], "the newest first"
    assert facts["requests"][1]["slots"] == 50
    shown = facts["requests"][1]["first_ranges"]
    assert shown == [[100, 119], *([slot, slot] for slot in range(130, 144, 2))]
    assert len(facts["chain"]) == 4


def test_what_is_verified_is_what_the_verdict_reached_and_no_more(tmp_path: Path, owner: SigningKey) -> None:
    path = make_bundle(tmp_path / "bundle", life(), owner)
    for level in Level:
        checked = facts_of(path, reached(level), at="2026-02-04T10:00:00Z")["checked"]
        assert checked["execution_verified"] == (level >= Level.V3)
        assert ("execution is verified" in checked["says"]) == (level >= Level.V3)
        assert checked["at"] == "2026-02-04T10:00:00Z"
    assert "were not handed over" in facts_of(path, reached(Level.V1))["checked"]["says"]
    refused = reached(Level.V3).and_also([refused_finding("x", Level.V4, Code.INIT_MISMATCH, "it is not")])
    assert not facts_of(path, refused)["checked"]["execution_verified"]
    nothing = Verdict(asked=Level.V1, findings=(refused_finding("x", Level.V0, Code.KEY_NOT_TRUSTED, "unknown"),))
    assert facts_of(path, nothing)["checked"]["says"].startswith("Record, log and files do not fit together")


def test_a_verdict_on_another_record_is_refused(tmp_path: Path, owner: SigningKey) -> None:
    path = make_bundle(tmp_path / "bundle", life(), owner)
    verdict = replace(reached(Level.V1), run=life(name="another")[-1])
    with pytest.raises(RecordError, match="changed after it was verified"):
        facts_of(path, verdict)


def test_a_real_verification_fits_in(tmp_path: Path, owner: SigningKey, trusted: tuple[TrustedKey, ...]) -> None:
    """The record is invented, so V1 refuses it; its form holds, and the facts say both."""
    from expunge.verify.verify import verify

    path = make_bundle(tmp_path / "bundle", life(), owner)
    checked = facts_of(path, verify(path, keys=trusted), trusted)["checked"]
    assert (checked["status"], checked["reached"]) in (("refused", "V0"), ("undecided", "V0"))
    assert checked["findings"]


def test_witnesses_count_only_where_their_keys_are_trusted(
    tmp_path: Path, owner: SigningKey, stranger: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    path = make_bundle(tmp_path / "bundle", life(), owner, witness=stranger)
    unknown = facts_of(path, reached(Level.V1), trusted)["log"]
    assert (unknown["witnesses"], unknown["other_signers"]) == ([], ["witness.example"])
    assert "a log fork shown to one auditor only would not be seen" in unknown["remark"]
    known = (*trusted, stranger.trusted("witness.example", KeyRole.WITNESS))
    assert facts_of(path, reached(Level.V1), known)["log"] == {**unknown, "witnesses": ["witness.example"]} | {
        "other_signers": [],
        "remark": None,
    }
    assert facts_of(path)["log"]["witnesses"] == [], "nothing was checked"
    alone = facts_of(make_bundle(tmp_path / "alone", life(), owner), reached(Level.V1), trusted)["log"]
    assert alone["origin"] == ORIGIN
    assert alone["remark"] == "without a witness a log fork shown to one auditor only would not be seen"


def test_what_deserves_a_question_is_said(tmp_path: Path, owner: SigningKey) -> None:
    zero = Randomness(
        beacon=BeaconPart(source="zero", value=bytes(32)), derivation="expunge/seed/1", lineage_seed=digest("seed")
    )
    tolerant = replace(last(life()).environment, profile=ProfileName.TOLERANT, not_exact="speed profile")
    chain = life(
        randomness=zero,
        recorded_afterwards=True,
        environment=tolerant,
        retired=(Retired(what="model: weights", digest=digest("old")), Retired(what="salts of 3 rows")),
        audit_window=AuditWindow(days=30, until=Time("2026-03-05T12:00:00Z")),
    )
    facts = facts_of(make_bundle(tmp_path / "bundle", chain, owner))
    assert facts["randomness"]["zero"]
    assert "schedule not protected against grinding" in facts["randomness"]["remark"]
    assert "was written later than the run" in facts["recorded"]["afterwards"]
    late = facts_of(make_bundle(tmp_path / "late", life(commit=commitment(recorded_afterwards=True)), owner))
    assert "the commitment was signed after the training" in late["recorded"]["afterwards"]
    assert facts_of(make_bundle(tmp_path / "early", life(), owner))["recorded"]["afterwards"] is None
    assert "leaves not hidden" in facts["data"]["remark"]
    assert (facts["environment"]["tolerant"], facts["environment"]["not_exact"]) == (True, "speed profile")
    assert facts["retired"][1] == {"what": "salts of 3 rows", "digest": None}
    assert facts["window"] == {"days": 30, "until": "2026-03-05T12:00:00Z"}
    hidden = facts_of(make_bundle(tmp_path / "hidden", life(commit=commitment(salts=LeafSalts.SECRET)), owner))
    assert "leaves hidden" in hidden["data"]["remark"]
    assert hidden["randomness"]["remark"] is None


def test_the_commands_are_those_that_this_record_needs(tmp_path: Path, owner: SigningKey) -> None:
    def commands(name: str, chain: Sequence[Statement]) -> list[str]:
        return [item["command"] for item in facts_of(make_bundle(tmp_path / name, chain, owner))["verification"]]

    plain = commands("bundle", life())
    assert plain[0] == "expunge verify bundle --keys trusted.json --level V1"
    assert [command.split("--level ")[1][:2] for command in plain] == ["V1", "V2", "V3", "V4"]
    assert all("--data DATA" in command and "--salts" not in command for command in plain[1:])
    assert all(
        "--salts SALTS" in command for command in commands("s", life(commit=commitment(salts=LeafSalts.SECRET)))[1:]
    )
    foreign = Algorithm(name="own", version="1", fields={}, package=digest("p"), source=digest("source"))
    allowed = trust_digest("method", "own", digest("source").hex())
    assert all(f"--trust {allowed}" in item for item in commands("f", life(algorithm=foreign))[1:])
    assert len(commands("n", life(checkpoints=None))) == 1, "nothing was recorded that could be carried out again"
    own_steps = life(checkpoints=None, algorithm=replace(foreign, name="fine-tune", source=None))
    assert [item.split("--level ")[1] for item in commands("o", own_steps)] == [
        "V1",
        "V3 --data DATA --checkpoints PARENT",
    ]
    (run,) = (one.predicate for one in life()[-1:])
    assert isinstance(run, RunRecord)
    loose = replace(run.environment, profile=ProfileName.TOLERANT)
    assert len(commands("t", life(environment=loose))) == 1, "no replay confirms bits that nothing pinned"
    quoted = commands("it's; rm -rf", life())[0]
    assert """'it'"'"'s; rm -rf'""" in quoted


@pytest.mark.parametrize(
    ("guarantee", "words"),
    [
        (GuaranteePart(kind=GuaranteeKind.EXACT), "bit for bit those of training without the forgotten examples"),
        (
            GuaranteePart(kind=GuaranteeKind.CERTIFIED, epsilon=1.5, delta=1e-5),
            "beyond ε = 1.5, except with probability",
        ),
        (GuaranteePart(kind=GuaranteeKind.EMPIRICAL, tests=("mean-margin",), confidence=0.95), "(mean-margin)"),
        (GuaranteePart(kind=GuaranteeKind.EMPIRICAL), "no test is named"),
    ],
)
def test_a_guarantee_is_said_with_its_meaning(
    guarantee: GuaranteePart, words: str, tmp_path: Path, owner: SigningKey
) -> None:
    facts = facts_of(make_bundle(tmp_path / "bundle", life(guarantee=guarantee), owner))
    assert words in facts["guarantee"]["meaning"]
    assert facts["guarantee"]["kind"] == guarantee.kind.value
    assert facts["guarantee"]["epsilon"] == guarantee.epsilon


def test_a_training_that_forgot_nothing_claims_no_forgetting(tmp_path: Path, owner: SigningKey) -> None:
    facts = facts_of(make_bundle(tmp_path / "bundle", life()[:2], owner), reached(Level.V1))
    assert (facts["forgotten"]["slots"], facts["requests"]) == (0, [])
    assert "forgotten" not in facts["guarantee"]["meaning"]
    assert "forgotten" not in facts["checked"]["says"]


def test_a_recipe_file_that_is_not_the_one_signed_is_not_shown(tmp_path: Path, owner: SigningKey) -> None:
    path = make_bundle(tmp_path / "bundle", life(), owner)
    (path / "recipe.json").write_bytes((path / "recipe.json").read_bytes().replace(b"cnn", b"mlp"))
    assert facts_of(path)["recipe"]["fields"] is None
    (path / "recipe.json").unlink()
    assert facts_of(path)["recipe"]["fields"] is None


def test_a_broken_chain_is_refused(tmp_path: Path, owner: SigningKey) -> None:
    path = make_bundle(tmp_path / "bundle", life(), owner)
    parent = next((path / "parents").iterdir())
    parent.rename(tmp_path / "parent")
    with pytest.raises(RecordError) as caught:
        facts_of(path)
    assert caught.value.code == Code.CHAIN_BROKEN
    (tmp_path / "parent").rename(parent)
    (path / "commit.json").unlink()
    with pytest.raises(RecordError) as caught:
        facts_of(path)
    assert caught.value.code == Code.CHAIN_BROKEN


def test_a_request_of_another_form_stays_a_request(tmp_path: Path, owner: SigningKey) -> None:
    asked = Request(
        cases=(),
        initiator=Initiator.OWNER,
        received=Time("2026-01-01T00:00:00Z"),
        slots=(3, 17, 42),
        receipts=(),
        root=digest("root"),
    )
    facts = facts_of(make_bundle(tmp_path / "bundle", life(requests=(asked,)), owner))
    assert facts["requests"][0]["before_training"]
    assert facts["forgotten"]["owner_initiated"] == 3


def test_certificates_need_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, expunge.verify.certificate, expunge.report.certificate\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)
