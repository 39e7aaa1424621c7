"""DSSE envelopes: the standard's vectors, a foreign implementation, and every altered byte refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import InvalidArgument, RecordError
from expunge.core.hashing import canonical_json, sha256
from expunge.records.canonical import write_base64
from expunge.records.envelope import PAYLOAD_TYPE, envelope_digest, open_envelope, pae, seal
from expunge.records.keys import KeyRole, SigningKey, TrustedKey, signing_key
from expunge.records.limits import Limits

STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1"}'
# secure-systems-lab/dsse, testvectors/vectors.json: signatures by the keys of RFC 8032
SINGLE = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="
SECOND = "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw=="
EMPTY = "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg=="
URL_SAFE = "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw=="


def code_of(text: bytes, trusted: tuple[TrustedKey, ...], limits: Limits | None = None) -> str:
    with pytest.raises(RecordError) as caught:
        open_envelope(text, trusted, limits=limits or Limits())
    return caught.value.code


def test_the_vectors_of_the_pre_authentication_encoding() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("application/vnd.exämple+json", b"").startswith(b"DSSEv1 29 application/vnd.ex\xc3\xa4mple+json 0 ")
    assert pae(PAYLOAD_TYPE, b"\xfb\xff\xbf\x3e\x3f").hex() == (
        "445353457631203238206170706c69636174696f6e2f766e642e696e2d746f746f2b6a736f6e203520fbffbf3e3f"
    )


def test_signatures_are_those_of_the_reference_vectors(owner: SigningKey, stranger: SigningKey) -> None:
    sealed = json.loads(seal(STATEMENT, owner))
    assert sealed["signatures"] == [{"keyid": owner.keyid, "sig": SINGLE}]
    assert sealed["payload"] == "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ=="
    assert json.loads(seal(b"", owner))["signatures"][0]["sig"] == EMPTY
    both = json.loads(seal(STATEMENT, owner, stranger, owner))["signatures"]
    assert {entry["sig"] for entry in both} == {SINGLE, SECOND}
    assert [entry["keyid"] for entry in both] == sorted(entry["keyid"] for entry in both)


def test_a_sealed_payload_is_opened(owner: SigningKey, trusted: tuple[TrustedKey, ...]) -> None:
    text = seal(STATEMENT, owner)
    opened = open_envelope(text, trusted)
    assert opened.payload == STATEMENT
    assert opened.keys == (trusted[0],)
    assert opened.digest == envelope_digest(text) == sha256(text)


def test_a_foreign_implementation_opens_ours_and_we_open_its(
    owner: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse")
    signer = pytest.importorskip("securesystemslib.signer")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    foreign = signer.CryptoSigner(private)
    found = dsse.Envelope.from_dict(json.loads(seal(STATEMENT, owner)))
    assert list(found.verify([foreign.public_key], 1)) == [owner.keyid]
    theirs = dsse.Envelope(STATEMENT, PAYLOAD_TYPE, {})
    theirs.sign(foreign)
    assert open_envelope(canonical_json(theirs.to_dict()), trusted).payload == STATEMENT


def changed(text: bytes, **fields: Any) -> bytes:
    return canonical_json({**json.loads(text), **fields})


def test_every_way_to_be_wrong_has_its_code(
    owner: SigningKey, stranger: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    text = seal(STATEMENT, owner)
    entry = {"keyid": owner.keyid, "sig": SINGLE}
    foreign = json.loads(seal(STATEMENT, stranger))["signatures"][0]
    malformed = [
        b"[]",
        text + b"\n",
        json.dumps(json.loads(text)).encode(),
        changed(text, payload="eyJ"),
        changed(text, payload=None),
        changed(text, payloadType="application/json"),
        changed(text, payloadType=1),
        changed(text, signatures={}),
        changed(text, signatures=[entry, entry]),
        changed(text, signatures=["x"]),
        changed(text, signatures=[{"sig": SINGLE}]),
        changed(text, signatures=[{**entry, "cert": ""}]),
        changed(text, signatures=[{**entry, "sig": SINGLE[:-4]}]),
        changed(text, signatures=[{**entry, "keyid": "A"}]),
        changed(text, more=1),
        changed(text, payload="-_-_Pj8=", signatures=[{**entry, "sig": URL_SAFE}]),  # DSSE allows it, we have one form
    ]
    assert [code_of(one, trusted) for one in malformed] == ["MALFORMED_JSON"] * len(malformed)
    swapped = changed(text, payload=write_base64(b"{}"))
    assert code_of(swapped, trusted) == "SIGNATURE_INVALID"
    assert code_of(changed(text, signatures=[]), trusted) == "SIGNATURE_INVALID"
    assert code_of(changed(text, signatures=[{**entry, "sig": EMPTY}]), trusted) == "SIGNATURE_INVALID"
    assert code_of(seal(STATEMENT, stranger), trusted) == "KEY_NOT_TRUSTED"
    assert code_of(changed(text, signatures=[foreign, entry]), trusted) == "KEY_NOT_TRUSTED"
    assert code_of(changed(text, signatures=[{**entry, "keyid": stranger.keyid}]), trusted) == "KEY_NOT_TRUSTED"
    assert code_of(text, ()) == "KEY_NOT_TRUSTED"
    assert code_of(text, trusted[1:]) == "KEY_NOT_TRUSTED"  # trusted with logs, not with records
    assert code_of(text, trusted, Limits(json_bytes=50)) == "SIZE_LIMIT"
    many = seal(STATEMENT, *(signing_key(bytes([number]) * 32) for number in range(3)))
    assert code_of(many, trusted, Limits(signatures=2)) == "SIZE_LIMIT"


def test_all_signatures_must_hold_in_one_order(owner: SigningKey, stranger: SigningKey) -> None:
    both = (owner.trusted("one"), stranger.trusted("two"))
    text = seal(STATEMENT, owner, stranger)
    assert {key.keyid for key in open_envelope(text, both).keys} == {owner.keyid, stranger.keyid}
    assert code_of(changed(text, signatures=json.loads(text)["signatures"][::-1]), both) == "MALFORMED_JSON"
    assert code_of(text, both[:1]) == "KEY_NOT_TRUSTED"


def test_an_envelope_without_a_key_is_not_made() -> None:
    with pytest.raises(InvalidArgument, match="at least one key"):
        seal(STATEMENT)


def test_every_altered_byte_is_refused(owner: SigningKey, trusted: tuple[TrustedKey, ...]) -> None:
    text = seal(b'{"a":1}', owner)
    for at in range(len(text)):
        for bit in range(0, 8, 3):
            other = text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]
            assert code_of(other, trusted) in ("MALFORMED_JSON", "SIGNATURE_INVALID", "KEY_NOT_TRUSTED")
        assert code_of(text[:at], trusted) == "MALFORMED_JSON"


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_payload_comes_back_and_no_two_encodings_meet(one: bytes, two: bytes) -> None:
    key = signing_key(b"\x07" * 32)
    assert open_envelope(seal(one, key), [key.trusted("me", KeyRole.OWNER)]).payload == one
    assert (pae("a", one) == pae("a", two)) == (one == two)
    assert pae(one.hex(), two) != pae(one.hex() + " 1", two)
