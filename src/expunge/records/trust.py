"""The digest by which a verifier allows one piece of foreign code: its name and its sources together. No torch.

Sources alone would not do: the record names what is imported and called, so a record with another name could borrow
the digest of sources that somebody trusts and have its own code run before anything is compared.
"""

from __future__ import annotations

from expunge.core.hashing import sha256, text_bytes
from expunge.records.record import RunRecord


def trust_digest(kind: str, name: str, sources: str) -> str:
    """What ``trust`` names. ``kind`` is "model" or "method", ``sources`` their digest in hexadecimal."""
    return sha256(b"expunge/trust/1", text_bytes(kind), text_bytes(name), text_bytes(sources)).hex()


def of_model(name: str, record: RunRecord) -> str:
    """The digest that allows the recipe's factory of that name, with the sources that the record names."""
    return trust_digest("model", name, record.environment.factory)


def of_method(record: RunRecord) -> str:
    """The digest that allows the record's method, with the sources that it names."""
    source = record.algorithm.source
    return trust_digest("method", record.algorithm.name, "" if source is None else source.hex())
