"""The operator's log: what is entered stays, a killed writer leaves a good log, and every lie has the one code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import InvalidArgument, RecordError, RunError
from expunge.core.hashing import sha256
from expunge.core.merkle import leaf_hash, tree_hash
from expunge.records.keys import KeyRole, SigningKey, TrustedKey
from expunge.records.limits import Limits
from expunge.records.log import (
    Log,
    check_grown,
    check_included,
    read_consistency,
    read_inclusion,
    read_log,
    writing,
)
from expunge.records.note import TreeHead, open_checkpoint, sign_checkpoint

ORIGIN = "example.com/unlearning"


def digests(count: int) -> tuple[bytes, ...]:
    return tuple(sha256(b"envelope", bytes([number])) for number in range(count))


def filled(folder: Path, count: int, key: SigningKey | None = None) -> bytes:
    with writing(folder, ORIGIN) as writer:
        for digest in digests(count):
            writer.append(digest)
        return writer.sign(key) if key else b""


def test_entries_come_back_and_the_root_is_that_of_the_standard(tmp_path: Path, owner: SigningKey) -> None:
    note = filled(tmp_path, 5, owner)
    log = read_log(tmp_path)
    assert (log.origin, log.digests, log.size) == (ORIGIN, digests(5), 5)
    signed = open_checkpoint(note, [owner.trusted(ORIGIN, KeyRole.LOG)]).checkpoint
    assert signed == log.head() == TreeHead(ORIGIN, 5, tree_hash(leaf_hash(digest) for digest in digests(5)))
    assert (tmp_path / "checkpoint").read_bytes() == note
    assert (tmp_path / "entries").read_text() == "".join(digest.hex() + "\n" for digest in digests(5))


def test_an_entry_is_entered_once(tmp_path: Path) -> None:
    with writing(tmp_path, ORIGIN) as writer:
        assert [writer.append(digest) for digest in (*digests(3), *digests(2))] == [0, 1, 2, 0, 1]
        with pytest.raises(InvalidArgument, match="32 bytes"):
            writer.append(b"short")
    with writing(tmp_path) as writer:
        assert writer.append(digests(3)[2]) == 2
        assert writer.log.size == 3


def test_proofs_check_without_the_folder(owner: SigningKey) -> None:
    log = Log(ORIGIN, digests(11))
    for size in range(1, 12):
        head = log.head(size)
        for digest in log.digests[:size]:
            check_included(digest, read_inclusion(log.inclusion(digest, size).as_bytes()), head)
        for first in range(size + 1):
            check_grown(log.head(first), head, read_consistency(log.consistency(first, size).as_bytes()))
    check_grown(log.head(), log.head())
    with pytest.raises(InvalidArgument, match="holds no envelope"):
        log.inclusion(log.digests[7], 7)
    with pytest.raises(InvalidArgument, match="does not exist"):
        log.head(12)


def test_every_lie_about_inclusion_is_refused() -> None:
    log, other = Log(ORIGIN, digests(6)), Log(ORIGIN, (*digests(5), bytes(32)))
    proof, head = log.inclusion(digests(6)[2]), log.head()
    lies = [
        (digests(6)[3], proof, head),
        (digests(6)[2], proof, other.head()),
        (digests(6)[2], log.inclusion(digests(6)[2], 5), head),
        (digests(6)[2], log.inclusion(digests(6)[3]), head),
        (digests(6)[2], proof.__class__(proof.digest, 3, proof.size, proof.path), head),
        (digests(6)[2], proof.__class__(proof.digest, 2, proof.size, proof.path[:-1]), head),
        (digests(6)[2], proof.__class__(proof.digest, 2, proof.size, (bytes(32), *proof.path[1:])), head),
        (digests(6)[2], proof, TreeHead(ORIGIN, 7, head.root)),
    ]
    for digest, lie, against in lies:
        with pytest.raises(RecordError, match="LOG_INCONSISTENT"):
            check_included(digest, lie, against)


def test_forks_and_rollbacks_are_refused() -> None:
    log = Log(ORIGIN, digests(9))
    forked = Log(ORIGIN, (*digests(3), bytes(32), *digests(9)[4:]))
    cases = [
        (log.head(5), forked.head(), forked.consistency(5), "its first 5 entries"),
        (log.head(5), forked.head(), log.consistency(5), "its first 5 entries"),
        (log.head(), forked.head(), None, "two roots over 9 entries"),
        (log.head(), forked.head(), log.consistency(9), "two roots over 9 entries"),
        (log.head(9), log.head(8), None, "rolled back from 9 entries to 8"),
        (log.head(5), log.head(9), None, "no proof shows"),
        (log.head(5), log.head(9), log.consistency(4), "leads from 4 to 9"),
        (log.head(5), Log("example.com/other", log.digests).head(), log.consistency(5), "those of two logs"),
    ]
    for older, newer, proof, words in cases:
        with pytest.raises(RecordError, match=f"LOG_INCONSISTENT.*{words}"):
            check_grown(older, newer, proof)


def test_a_torn_tail_is_cut_off(tmp_path: Path, owner: SigningKey) -> None:
    filled(tmp_path, 3, owner)
    whole = (tmp_path / "entries").read_bytes()
    for tail in (b"", b"a", b"ab" * 32, b"\0" * 65, b"x" * 64 + b"\n"):
        (tmp_path / "entries").write_bytes(whole + tail)
        assert read_log(tmp_path).digests == digests(3)
        assert (tmp_path / "entries").read_bytes() == whole + tail  # a reader changes nothing
        with writing(tmp_path) as writer:
            assert writer.append(digests(4)[3]) == 3
        assert (tmp_path / "entries").read_bytes() == whole + digests(4)[3].hex().encode() + b"\n"


def test_an_append_that_failed_halfway_leaves_nothing_behind(tmp_path: Path) -> None:
    with writing(tmp_path, ORIGIN) as writer:
        writer.append(digests(1)[0])
        with (tmp_path / "entries").open("ab") as handle:
            handle.write(b"abc")  # what a full disk leaves
        writer.append(digests(2)[1])
    assert read_log(tmp_path).digests == digests(2)


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_entries_under_a_checkpoint_cannot_go_or_change(tmp_path: Path, owner: SigningKey, size: int) -> None:
    filled(tmp_path, 4, owner)
    whole = (tmp_path / "entries").read_bytes()
    for content in (
        whole[: size * 65],
        whole[: size * 65 + 30],
        whole[: size * 65] + bytes(32).hex().encode() + b"\n" + whole[(size + 1) * 65 :],
        whole[: size * 65] + b"\0" * 65 + whole[(size + 1) * 65 :],
        whole[: size * 65] + whole[size * 65 : (size + 1) * 65].upper() + whole[(size + 1) * 65 :],
    ):
        (tmp_path / "entries").write_bytes(content)
        for use in (read_log, lambda folder: writing(folder).__enter__()):
            with pytest.raises(RecordError, match="LOG_INCONSISTENT"):
                use(tmp_path)


def test_a_checkpoint_of_another_log_or_key_is_refused(tmp_path: Path, owner: SigningKey, stranger: SigningKey) -> None:
    filled(tmp_path, 2, owner)
    other = TreeHead("example.com/other", 2, read_log(tmp_path).head().root)
    with writing(tmp_path) as writer, pytest.raises(RecordError, match=r"LOG_INCONSISTENT.*log's own key"):
        writer.sign(stranger)
    (tmp_path / "checkpoint").write_bytes(sign_checkpoint(other, owner))
    with pytest.raises(RecordError, match=r"LOG_INCONSISTENT.*example.com/other"):
        read_log(tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"scribble")
    with pytest.raises(RecordError, match="LOG_INCONSISTENT"):
        read_log(tmp_path)


def test_signing_again_keeps_the_signed_head(tmp_path: Path, owner: SigningKey) -> None:
    first = filled(tmp_path, 2, owner)
    with writing(tmp_path) as writer:
        assert writer.sign(owner) == first
        writer.append(digests(3)[2])
        second = writer.sign(owner)
    assert second != first
    trusted = [owner.trusted(ORIGIN, KeyRole.LOG)]
    check_grown(
        open_checkpoint(first, trusted).checkpoint,
        open_checkpoint(second, trusted).checkpoint,
        read_log(tmp_path).consistency(2),
    )


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        writing(tmp_path, ORIGIN),
        pytest.raises(RunError, match="being written by another process"),
        writing(tmp_path),
    ):
        pass
    with writing(tmp_path):  # free again
        pass


def test_folders_that_are_no_log_or_another(tmp_path: Path, owner: SigningKey) -> None:
    with pytest.raises(RunError, match="holds no log yet"), writing(tmp_path / "new"):
        pass
    with pytest.raises(InvalidArgument, match="key name"), writing(tmp_path / "new", "two words"):
        pass
    with pytest.raises(RunError, match="is missing"):
        read_log(tmp_path / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"is no log \(it holds 'notes.txt'"), writing(tmp_path / "full", ORIGIN):
        pass
    assert [item.name for item in (tmp_path / "full").iterdir()] == ["notes.txt"]
    filled(tmp_path / "log", 1)
    with pytest.raises(RunError, match=r"not 'example\.com/other'"), writing(tmp_path / "log", "example.com/other"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot hold a log"), writing(tmp_path / "file", ORIGIN):
        pass
    for header in (b"{}", b'{"format":"expunge/log/2","origin":"a"}', b'{"format":"expunge/log/1","origin":"a b"}'):
        (tmp_path / "log" / "log.json").write_bytes(header)
        with pytest.raises(RecordError, match="MALFORMED_JSON"):
            read_log(tmp_path / "log")


def test_proof_files_of_another_form_are_refused() -> None:
    log = Log(ORIGIN, digests(5))
    inclusion, consistency = log.inclusion(digests(5)[2]).as_bytes(), log.consistency(3).as_bytes()
    for text, read in ((inclusion, read_inclusion), (consistency, read_consistency)):
        value = json.loads(text)
        for name in value:
            for wrong in (None, -1, "x", [1], {}, ["00" * 31], ["0F" * 32], True):
                altered = json.dumps({**value, name: wrong}, sort_keys=True, separators=(",", ":")).encode()
                with pytest.raises(RecordError, match="MALFORMED_JSON"):
                    read(altered)
        long = json.dumps({**value, "path": ["00" * 32] * 65}, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(RecordError, match="LOG_INCONSISTENT"):
            read(long)
        with pytest.raises(RecordError, match="SIZE_LIMIT"):
            read(text, limits=Limits(json_bytes=20))
    with pytest.raises(RecordError, match="MALFORMED_JSON"):
        read_inclusion(consistency)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_altered_proof_file_is_refused(data: st.DataObject) -> None:
    log = Log(ORIGIN, digests(13))
    included = data.draw(st.booleans())
    text = (log.inclusion(digests(13)[4]) if included else log.consistency(6)).as_bytes()
    at = data.draw(st.integers(0, len(text) - 1))
    altered = text[:at] + bytes([text[at] ^ 1 << data.draw(st.integers(0, 7))]) + text[at + 1 :]
    with pytest.raises(RecordError) as caught:
        _ = (
            check_included(digests(13)[4], read_inclusion(altered), log.head())
            if included
            else check_grown(log.head(6), log.head(), read_consistency(altered))
        )
    assert caught.value.code in ("MALFORMED_JSON", "LOG_INCONSISTENT")


def test_a_log_holds_records_of_several_models(trusted: tuple[TrustedKey, ...], owner: SigningKey) -> None:
    mixed = Log(ORIGIN, (sha256(b"model a"), sha256(b"model b"), sha256(b"model a, unlearned")))
    head = open_checkpoint(sign_checkpoint(mixed.head(), owner), trusted).checkpoint
    for digest in mixed.digests:
        check_included(digest, mixed.inclusion(digest), head)
