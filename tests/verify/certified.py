"""Signed bundles with an invented life of a model, for pages and tests that need a record and no run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.logged import cosign
from tests.verify.lineages import Lineage, MadeUp
from tests.verify.records import files_of, statement_of

from expunge.adversary.table.story import record_of
from expunge.core.clock import Time
from expunge.core.hashing import canonical_json
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.records.bundle import write_folder, write_zip
from expunge.records.draft import Draft
from expunge.records.keys import SigningKey
from expunge.records.record import BeaconPart, CostPart, Initiator, LeafSalts, Operation, Request, Reuse, RunRecord
from expunge.records.statement import Statement
from expunge.schedule.recipe import Recipe

RECIPE = Recipe(
    inputs=Encoding((Column("image", ColumnKind.IMAGE, (8, 8), "HW", 1 / 16),)), classes=(0, 1), model="cnn"
)


def digest(*parts: object) -> bytes:
    """A digest that stands for whatever is invented."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).digest()


LIFE = Lineage(
    recipe=RECIPE,
    count=1438,
    calibration=90,
    holdout=269,
    beacon=BeaconPart(source="drand", value=digest("beacon"), round=4242, not_before=Time("2026-01-05T10:00:00Z")),
    interval=100,
    afterwards=False,
)


def commitment(*, name: str = "digits classifier", salts: LeafSalts = LeafSalts.OPEN, **changes: Any) -> Statement:
    record = replace(LIFE.commit.predicate, **{"recorded_at": Time("2026-01-05T09:00:00Z"), **changes})
    data = replace(record.data, salts=salts, source={"label": "label"})
    return Statement(name=name, digest=LIFE.root, predicate=replace(record, data=data))


def request(slots: Sequence[int], **changes: Any) -> Request:
    found = Request(
        cases=("2026-0017",),
        initiator=Initiator.PERSON,
        received=Time("2026-02-01T08:30:00Z"),
        slots=tuple(slots),
        receipts=(digest("receipt"),),
        root=digest("root"),
        model=digest("trained"),
    )
    return replace(found, **changes)


@cache
def _record(algorithm: str, tombstones: tuple[int, ...]) -> RunRecord:
    return record_of(statement_of(MadeUp(lineage=LIFE, emptied=tombstones), algorithm))


def run_record(operation: Operation, algorithm: str, tombstones: Sequence[int] = (), **changes: Any) -> RunRecord:
    found = _record(algorithm, tuple(tombstones))
    machine = {"python": "3.11.7", "torch": "2.13.0+cpu", "processor": "x86_64 AVX2", "threads": 1}
    settings: dict[str, Any] = {
        "operation": operation,
        "recorded_at": Time("2026-02-03T12:00:00Z"),
        "recorded_afterwards": False,
        "environment": replace(found.environment, fingerprint=machine),
        "cost": CostPart(thirds=31056, seconds=12.5),
    }
    return replace(found, **{**settings, **changes})


def life(*, name: str = "digits classifier", commit: Statement | None = None, **changes: Any) -> tuple[Statement, ...]:
    """A commitment, a training, and an unlearning of one person whose record ``changes`` alter."""
    slots = (3, 17, 42)
    forgot = run_record(
        Operation.UNLEARN,
        "exact-replay",
        slots,
        requests=(request(slots),),
        reuse=(Reuse(shard=0, step=100, leaf=digest("leaf"), first_touched=112),),
    )
    return (
        commitment(name=name) if commit is None else commit,
        Statement(name=name, digest=digest("trained"), predicate=run_record(Operation.TRAIN, "train")),
        Statement(name=name, digest=digest("forgot"), predicate=replace(forgot, **changes)),
    )


def make_bundle(path: Path, chain: Sequence[Statement], key: SigningKey, *, witness: SigningKey | None = None) -> Path:
    """Sign a life, log it and lay it out; a name that ends in .zip makes a zip."""
    draft = Draft(chain=tuple(chain), files={"recipe.json": canonical_json(RECIPE.as_json())})
    files = files_of(draft, key=key)
    if witness is not None:
        files["log/checkpoint"] = cosign(files["log/checkpoint"], "witness.example", witness, 1770000000)
    write_zip(path, files) if path.suffix == ".zip" else write_folder(path, files)
    return path
