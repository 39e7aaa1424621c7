"""Drafts: statements signed along the chain, entered into the log, laid out as the files of a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import ORIGIN
from tests.logged import sign_and_log

from expunge.core.errors import InvalidArgument
from expunge.records.bundle import kind_of, open_bundle, write_folder
from expunge.records.draft import Draft, bundle_files, enter, sign
from expunge.records.envelope import envelope_digest, open_envelope, seal
from expunge.records.keys import SigningKey, TrustedKey
from expunge.records.log import check_grown, check_included, read_consistency, read_inclusion, writing
from expunge.records.note import open_checkpoint
from expunge.records.record import RunRecord
from expunge.records.statement import Statement, read_statement, write_statement

GOLDEN = Path(__file__).parent / "golden"
FILES = {"recipe.json": b"{}", "leaves.bin": b"leaves"}


def statements() -> tuple[Statement, ...]:
    """A chain whose links name nothing yet."""
    found = [read_statement((GOLDEN / f"{name}.json").read_bytes()) for name in ("commit", "train", "unlearn")]
    return tuple(
        replace(one, predicate=replace(one.predicate, commit=bytes(32), parent=bytes(32)))
        if isinstance(one.predicate, RunRecord)
        else one
        for one in found
    )


def records(envelopes: tuple[bytes, ...], trusted: tuple[TrustedKey, ...]) -> list[Statement]:
    return [read_statement(open_envelope(envelope, trusted).payload) for envelope in envelopes]


def test_each_link_names_the_one_before_it_and_the_commitment(
    owner: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    signed = sign(Draft(chain=statements(), files=FILES), owner)
    assert signed.digests == tuple(map(envelope_digest, signed.envelopes))
    commit, train, unlearn = records(signed.envelopes, trusted)
    assert commit == statements()[0]
    for statement, parent in ((train, signed.digests[0]), (unlearn, signed.digests[1])):
        assert isinstance(statement.predicate, RunRecord)
        assert statement.predicate.commit == signed.digests[0]
        assert statement.predicate.parent == parent
    assert signed.files == FILES


def test_signing_twice_gives_the_same_bytes_and_writes_nothing(owner: SigningKey) -> None:
    draft = Draft(chain=statements(), files=FILES)
    assert sign(draft, owner).envelopes == sign(draft, owner).envelopes
    assert (draft.commit, draft.run) == (statements()[0], statements()[2])


def test_what_was_signed_before_is_used_byte_for_byte(
    owner: SigningKey, stranger: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    """By whomever it was signed: what stands behind it names these very bytes."""
    chain = statements()
    theirs = seal(write_statement(chain[0]), stranger)
    signed = sign(Draft(chain=(theirs, *chain[1:]), files={}), owner)
    assert signed.envelopes[0] == theirs
    (train,) = records(signed.envelopes[1:2], trusted)
    assert isinstance(train.predicate, RunRecord)
    assert train.predicate.parent == envelope_digest(theirs)


def test_a_chain_has_a_commitment_and_a_run(owner: SigningKey) -> None:
    with pytest.raises(InvalidArgument, match="a commitment and a run at least"):
        sign(Draft(chain=statements()[:1], files={}), owner)


def test_the_bundle_holds_the_chain_and_every_proof(
    owner: SigningKey, trusted: tuple[TrustedKey, ...], tmp_path: Path
) -> None:
    chain = statements()
    with writing(tmp_path / "log", ORIGIN) as writer:
        first = seal(write_statement(chain[0]), owner)
        writer.append(b"x" * 32)  # somebody else's record
        writer.append(envelope_digest(first))
        early = writer.sign(owner)
        signed = sign_and_log(Draft(chain=(first, *chain[1:]), files=FILES), owner, writer)
        writer.append(b"y" * 32)
        head = writer.sign(owner)
        files = bundle_files(signed, writer.log, head, (early, head))
    assert {name for name in files if kind_of(name)} == set(files)
    write_folder(tmp_path / "bundle", files)
    with open_bundle(tmp_path / "bundle") as bundle:
        assert bundle.read("commit.json") == signed.envelopes[0] == first
        assert bundle.read("envelope.json") == signed.envelopes[2]
        assert [n for n in bundle.names if n.startswith("parents/")] == [f"parents/{signed.digests[1].hex()}.json"]
        assert bundle.read(f"parents/{signed.digests[1].hex()}.json") == signed.envelopes[1]
        newest = open_checkpoint(bundle.read("log/checkpoint"), trusted).checkpoint
        assert newest.size == 5
        for digest in signed.digests:
            proof = read_inclusion(bundle.read(f"log/inclusion-{digest.hex()}.json"))
            check_included(digest, proof, newest)
        older = open_checkpoint(bundle.read("log/checkpoint-2"), trusted).checkpoint
        check_grown(older, newest, read_consistency(bundle.read("log/consistency-2.json")))
        assert [name for name in bundle.names if "checkpoint-" in name] == ["log/checkpoint-2"]
        assert bundle.read("leaves.bin") == b"leaves"


def test_entering_a_chain_again_changes_no_log(owner: SigningKey, tmp_path: Path) -> None:
    signed = sign(Draft(chain=statements(), files={}), owner)
    with writing(tmp_path, ORIGIN) as writer:
        head = enter(signed, owner, writer)
        assert writer.log.digests == signed.digests
    with writing(tmp_path, ORIGIN) as writer:
        assert enter(signed, owner, writer) == head
        assert writer.log.size == 3
