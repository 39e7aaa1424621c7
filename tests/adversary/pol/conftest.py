"""Honest proofs that the tests share."""

from __future__ import annotations

import pytest
from tests.adversary.pol.pol_runs import KINDS, Proven, prove_kind

from expunge.core.hashing import sha256
from expunge.data.dataset import Dataset

CHANCE = sha256(b"what the verifier of these tests draws")


@pytest.fixture(scope="module")
def proven(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Proven]:
    place = tmp_path_factory.mktemp("proofs")
    return {kind: prove_kind(kind, pictures, place / str(at)) for at, kind in enumerate(KINDS)}
