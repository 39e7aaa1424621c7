"""Keys that every run of the tests shares: those of RFC 8032, section 7.1."""

from __future__ import annotations

import pytest

from expunge.audit.keys import Role, SigningKey, TrustedKey, signing_key

ORIGIN = "example.com/unlearning"


@pytest.fixture(scope="session")
def owner() -> SigningKey:
    return signing_key(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))


@pytest.fixture(scope="session")
def stranger() -> SigningKey:
    return signing_key(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))


@pytest.fixture(scope="session")
def trusted(owner: SigningKey) -> tuple[TrustedKey, ...]:
    return (owner.trusted(ORIGIN, Role.OWNER), owner.trusted(ORIGIN, Role.LOG))
