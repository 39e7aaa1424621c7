"""Signed notes and checkpoints against the Go reference vectors; what is refused, and what must be ignored."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.logged import cosign

from expunge.core.errors import InvalidArgument, RecordError
from expunge.records.keys import KeyRole, SigningKey, TrustedKey, signing_key
from expunge.records.limits import Limits
from expunge.records.note import (
    COSIGNATURE,
    TreeHead,
    key_hash,
    open_checkpoint,
    read_checkpoint,
    read_note,
    sign_checkpoint,
    sign_note,
)

# golang.org/x/mod/sumdb/note, note_test.go
PETER_PUBLIC = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
PETER = signing_key(base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:])
ENOCH_PUBLIC = base64.b64decode("ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
# C2SP tlog-checkpoint and tlog-cosignature: the example, whose keys are not published
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeM"
    "cTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+m"
    "bIUBkBIfZ+qnA==\n"
)
HEAD = TreeHead("example.com/unlearning", 3, bytes(range(32)))


def refused(
    content: bytes | str, trusted: tuple[TrustedKey, ...], code: str = "LOG_INCONSISTENT", **limits: int
) -> str:
    content = content if isinstance(content, bytes) else content.encode()
    with pytest.raises(RecordError) as caught:
        open_checkpoint(content, trusted, limits=Limits(**limits))
    assert caught.value.code == code
    return str(caught.value)


def test_the_vectors_of_the_go_implementation() -> None:
    assert PETER.public == PETER_PUBLIC
    assert key_hash("PeterNeumann", PETER_PUBLIC).hex() == "c74f20a3"
    assert key_hash("EnochRoot", ENOCH_PUBLIC).hex() == "af0cfe78"
    assert sign_note(TEXT, "PeterNeumann", PETER) == (TEXT + "\n" + PETER_LINE).encode()
    note = read_note((TEXT + "\n" + PETER_LINE + ENOCH_LINE).encode())
    assert note.text == TEXT
    assert [line.name for line in note.lines] == ["PeterNeumann", "EnochRoot"]
    assert TrustedKey("EnochRoot", ENOCH_PUBLIC).verify(TEXT.encode(), note.lines[1].signature)
    assert note.as_bytes() == (TEXT + "\n" + PETER_LINE + ENOCH_LINE).encode()


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        (TEXT + "\n").encode(),
        (TEXT + "\n" + PETER_LINE[:-1]).encode(),
        ("\x01" + TEXT + "\n" + PETER_LINE).encode(),
        b"\xff" + (TEXT + "\n" + PETER_LINE).encode(),
        (TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Bad Name")).encode(),
        (TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Bad+Name")).encode(),
        (TEXT + "\n" + PETER_LINE.replace("PeterNeumann", "Bad\u2003Name")).encode(),
        (TEXT + "\n" + PETER_LINE.replace("—", "-")).encode(),
        (TEXT + "\n" + PETER_LINE + "Unexpected line.\n").encode(),
        (TEXT + "\n" + PETER_LINE + PETER_LINE).encode(),
        (TEXT + "\n— PeterNeumann x08gow==\n").encode(),
        (TEXT + "\n— PeterNeumann \n").encode(),
        (TEXT + "\n" + PETER_LINE.replace("x08go", "x08-o")).encode(),
        b"",
        b"\n\n",
    ],
)
def test_notes_of_another_form_are_refused(content: bytes) -> None:
    with pytest.raises(RecordError, match="LOG_INCONSISTENT"):
        read_note(content)


def test_the_example_of_the_format_is_read() -> None:
    note = read_note(EXAMPLE.encode())
    head = read_checkpoint(note.text)
    assert (head.origin, head.size, len(head.root)) == ("example.com/behind-the-sofa", 20852163, 32)
    assert head.as_text() == note.text
    assert note.lines[1].signature[:8] == (1679315147).to_bytes(8, "big")
    assert note.as_bytes() == EXAMPLE.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "\n1\nAAAA\n",
        "a\n1\n" + "A" * 43 + "=\nextension\n",
        "a\n01\n" + "A" * 43 + "=\n",
        "a\n-1\n" + "A" * 43 + "=\n",
        "a\n+1\n" + "A" * 43 + "=\n",
        "a\n1_0\n" + "A" * 43 + "=\n",
        "a\n٣\n" + "A" * 43 + "=\n",
        "a\n9007199254740992\n" + "A" * 43 + "=\n",
        "a\n" + "9" * 5000 + "\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 42 + "B=\n",
        "a\n1\nQUJD\n",
        "two words\n1\n" + "A" * 43 + "=\n",
    ],
)
def test_texts_that_are_no_checkpoint_are_refused(text: str) -> None:
    with pytest.raises(RecordError, match="LOG_INCONSISTENT"):
        read_checkpoint(text)


def test_a_signed_checkpoint_is_opened(owner: SigningKey, trusted: tuple[TrustedKey, ...]) -> None:
    signed = open_checkpoint(sign_checkpoint(HEAD, owner), trusted)
    assert (signed.checkpoint, signed.key, signed.witnesses, signed.unknown) == (HEAD, trusted[1], (), ())


def test_a_foreign_implementation_verifies_ours(owner: SigningKey) -> None:
    nacl = pytest.importorskip("nacl.signing")
    content = sign_checkpoint(HEAD, owner)
    text, _, line = content.rpartition(b"\n\n")
    signature = base64.b64decode(line.split(b" ")[2])
    assert nacl.VerifyKey(owner.public).verify(text + b"\n", signature[4:]) == text + b"\n"


def test_another_origin_or_key_says_nothing(
    owner: SigningKey, stranger: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    other = TreeHead("example.com/other", 3, HEAD.root)
    assert "another log or another key" in refused(sign_checkpoint(other, owner), trusted)
    assert "another log or another key" in refused(sign_checkpoint(HEAD, stranger), trusted)
    assert "another log or another key" in refused(sign_checkpoint(HEAD, owner), trusted[:1])
    assert "logs on it: none" in refused(sign_checkpoint(HEAD, owner), ())
    both = (*trusted, stranger.trusted("example.com/other", KeyRole.LOG))
    foreign = sign_note(HEAD.as_text(), "example.com/other", stranger)  # a trusted log signs another log's head
    assert "another log or another key" in refused(foreign, both)


def test_every_altered_byte_is_refused(owner: SigningKey, trusted: tuple[TrustedKey, ...]) -> None:
    content = sign_checkpoint(HEAD, owner)
    for at in range(len(content)):
        for bit in range(8):
            refused(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :], trusted)
        refused(content[:at], trusted)


def test_limits_of_notes(owner: SigningKey, trusted: tuple[TrustedKey, ...]) -> None:
    content = sign_checkpoint(HEAD, owner)
    assert open_checkpoint(content, trusted, limits=Limits(note_bytes=len(content), signatures=1))
    refused(content, trusted, "SIZE_LIMIT", note_bytes=len(content) - 1)
    refused(cosign(content, "w", owner, 1), trusted, "SIZE_LIMIT", signatures=1)


def test_witnesses_count_when_they_are_on_the_list(
    owner: SigningKey, stranger: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    witnessed = cosign(
        cosign(sign_checkpoint(HEAD, owner), "example.com/w1", stranger, 5), "example.com/w1", stranger, 9
    )
    witness = stranger.trusted("example.com/w1", KeyRole.WITNESS)
    found = open_checkpoint(witnessed, (*trusted, witness))
    assert [(item.key, item.time) for item in found.witnesses] == [(witness, 9)]
    assert found.unknown == ()
    assert open_checkpoint(witnessed, trusted).unknown == ("example.com/w1",)
    line = read_note(witnessed).lines[1]
    assert line.key_hash == key_hash("example.com/w1", stranger.public, COSIGNATURE)
    nacl = pytest.importorskip("nacl.signing")
    message = b"cosignature/v1\ntime 9\n" + HEAD.as_text().encode()
    assert nacl.VerifyKey(stranger.public).verify(message, line.signature[8:]) == message
    for at in range(len(witnessed) - 110, len(witnessed)):
        altered = witnessed[:at] + bytes([witnessed[at] ^ 1]) + witnessed[at + 1 :]
        try:
            assert open_checkpoint(altered, (*trusted, witness)).witnesses == ()  # the name or hash was altered
        except RecordError:
            continue
    moved = read_note(witnessed).lines[1].as_text().encode()
    later = sign_checkpoint(TreeHead(HEAD.origin, 4, HEAD.root), owner) + moved
    assert "witness 'example.com/w1' did not sign" in refused(later, (*trusted, witness))


@pytest.mark.parametrize("time", [-1, 2**63])
def test_times_of_witnesses(owner: SigningKey, time: int) -> None:
    with pytest.raises(InvalidArgument, match="seconds since 1970"):
        cosign(sign_checkpoint(HEAD, owner), "w", owner, time)


@pytest.mark.parametrize("text", ["no newline", "tab\t\n"])
def test_texts_that_no_note_can_hold(owner: SigningKey, text: str) -> None:
    with pytest.raises(InvalidArgument, match="ends in a newline"):
        sign_note(text, "someone", owner)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120) | st.text(max_size=120).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_refused_with_the_code(noise: bytes) -> None:
    refused(noise, ())
    refused(b"example.com/unlearning\n3\n" + noise + b"\n\n\xe2\x80\x94 a " + base64.b64encode(noise) + b"\n", ())


def test_lines_of_unknown_keys_are_ignored_as_the_format_asks(
    owner: SigningKey, stranger: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    lines: Any = read_note(sign_note(HEAD.as_text(), "example.com/rotated", stranger)).lines
    content = sign_checkpoint(HEAD, owner) + lines[0].as_text().encode()
    assert open_checkpoint(content, trusted).unknown == ("example.com/rotated",)
