"""DSSE v1: a payload and signatures over its pre-authentication encoding, as canonical JSON.

What is stricter here than DSSE asks: one form of base64 (standard, padded), canonical JSON around it, one payload type,
at least one signature, ascending key ids, and *every* signature must be by a trusted key and hold. So no byte of an
envelope can be changed without being noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import canonical_json, sha256
from expunge.records.canonical import (
    checked_list,
    checked_object,
    checked_text,
    read_base64,
    read_digest,
    read_object,
    write_base64,
)
from expunge.records.keys import SIGNATURE_BYTES, KeyRole, SigningKey, TrustedKey, find_key
from expunge.records.limits import LIMITS, Code, Limits, refused

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def pae(payload_type: str, body: bytes) -> bytes:
    """What is signed: ``DSSEv1 LEN(type) type LEN(body) body``, lengths in bytes."""
    name = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(body), body)


@dataclass(frozen=True)
class OpenedEnvelope:
    """An envelope whose signatures all hold; ``digest`` is SHA-256 of its bytes, as logs and children name it."""

    payload: bytes
    keys: tuple[TrustedKey, ...]
    digest: bytes


def envelope_digest(text: bytes) -> bytes:
    """SHA-256 of the envelope's bytes."""
    return sha256(text)


def seal(payload: bytes, *keys: SigningKey) -> bytes:
    """The bytes of an envelope around ``payload``, signed by each key."""
    by_id = {key.keyid: key for key in keys}
    if not by_id:
        raise InvalidArgument("an envelope without a signature proves nothing: give at least one key")
    message = pae(PAYLOAD_TYPE, payload)
    signatures = [{"keyid": keyid, "sig": write_base64(by_id[keyid].sign(message))} for keyid in sorted(by_id)]
    return canonical_json({"payload": write_base64(payload), "payloadType": PAYLOAD_TYPE, "signatures": signatures})


def open_envelope(
    text: bytes, trusted: Sequence[TrustedKey], what: str = "the envelope", limits: Limits = LIMITS
) -> OpenedEnvelope:
    """Payload and signers of an envelope, or a refusal; only owners' keys of ``trusted`` count."""
    fields = read_object(text, what, ("payload", "payloadType", "signatures"), limits=limits)
    payload_type = checked_text(fields["payloadType"], f"{what}, payloadType")
    if payload_type != PAYLOAD_TYPE:
        raise refused(
            Code.MALFORMED_JSON,
            f"{what} has payload type {payload_type[:80]!r}, that of a record is {PAYLOAD_TYPE!r}: give a record",
        )
    payload = read_base64(fields["payload"], f"{what}, payload")
    message = pae(payload_type, payload)
    signers = [
        _signer(entry, message, trusted, f"{what}, signature {number}")
        for number, entry in enumerate(_entries(fields["signatures"], what, limits), start=1)
    ]
    ids = [key.keyid for key in signers]
    if ids != sorted(set(ids)):
        raise refused(Code.MALFORMED_JSON, f"{what}: signatures must be in ascending order of key ids, each key once")
    return OpenedEnvelope(payload, tuple(signers), sha256(text))


def _entries(value: object, what: str, limits: Limits) -> list[object]:
    entries = checked_list(value, f"{what}, signatures")
    if not entries:
        raise refused(Code.SIGNATURE_INVALID, f"{what} bears no signature: anyone could have written it")
    if len(entries) > limits.signatures:
        raise refused(
            Code.SIZE_LIMIT, f"{what} bears {len(entries)} signatures, the limit is {limits.signatures}: ask for fewer"
        )
    return entries


def _signer(entry: object, message: bytes, trusted: Sequence[TrustedKey], what: str) -> TrustedKey:
    fields = checked_object(entry, what, ("keyid", "sig"))
    keyid = read_digest(fields["keyid"], f"{what}, keyid").hex()
    signature = read_base64(fields["sig"], f"{what}, sig", SIGNATURE_BYTES)
    key = find_key(trusted, keyid, KeyRole.OWNER)
    if key is None:
        raise refused(
            Code.KEY_NOT_TRUSTED,
            f"{what} is by key {keyid[:16]}…, which is not among the "
            f"{sum(key.role is KeyRole.OWNER for key in trusted)} owners' keys of your list: a key counts only if you "
            "got it by another way than the record",
        )
    if not key.verify(message, signature):
        raise refused(
            Code.SIGNATURE_INVALID,
            f"{what} names key {keyid[:16]}… ({key.name}), which did not sign these bytes: the record was altered",
        )
    return key
