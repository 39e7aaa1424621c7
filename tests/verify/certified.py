"""Signed bundles with an invented life of a model, for pages and tests that need a record and no run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from expunge.core.clock import Time
from expunge.core.hashing import canonical_json
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.records.bundle import write_folder, write_zip
from expunge.records.claims import claims_of, not_claimed
from expunge.records.draft import Draft, bundle_files, sign_and_log
from expunge.records.keys import SigningKey
from expunge.records.log import writing
from expunge.records.record import (
    Algorithm,
    Beacon,
    Checkpoints,
    Commit,
    CommittedData,
    Cost,
    Environment,
    Guarantee,
    GuaranteeKind,
    Initiator,
    Operation,
    Origin,
    ProfileName,
    Randomness,
    Request,
    Reuse,
    RunData,
    RunRecord,
    Salts,
    SchedulePart,
    SplitRoot,
    State,
    states_root,
)
from expunge.records.statement import Statement
from expunge.schedule.recipe import Recipe

ORIGIN = "example.com/unlearning"
MODEL = save({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)})
RECIPE = Recipe(
    inputs=Encoding((Column("image", ColumnKind.IMAGE, (8, 8), "HW", 1 / 16),)), classes=(0, 1), model="cnn"
)
COUNT = 1438


def digest(*parts: object) -> bytes:
    """A digest that stands for whatever is invented."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).digest()


def commitment(**changes: Any) -> Statement:
    data = CommittedData(
        rows=1797,
        count=COUNT,
        root=digest("root"),
        calibration=SplitRoot(rows=90, root=digest("calibration")),
        holdout=SplitRoot(rows=269, root=digest("holdout")),
        leaf_format="expunge/leaf/1",
        salts=changes.pop("salts", Salts.OPEN),
        units=digest("units"),
        assignment=digest("assignment"),
        preprocessing=digest("preprocessing"),
        origins=(Origin(name="pixels", origin="constant: scaled by the recipe"),),
        source={"label": "label"},
    )
    record = Commit(
        operation=Operation.COMMIT,
        recorded_at=Time("2026-01-05T09:00:00Z"),
        recorded_afterwards=False,
        recipe=RECIPE.digest,
        data=data,
        claim=claims_of(Operation.COMMIT, None, emptied=False, recorded=False),
        not_claimed=not_claimed(),
    )
    return Statement(
        name=changes.pop("name", "digits classifier"), digest=data.root, predicate=replace(record, **changes)
    )


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


def recorded(*steps: int) -> Checkpoints:
    """States of one shard after these steps."""
    states = tuple(
        State(shard=0, step=step, **{part: digest(part, step) for part in ("weights", "buffers", "optimiser", "trace")})
        for step in steps
    )
    return Checkpoints(interval=100, count=len(states), root=states_root(states), buffers=(), states=states)


def run_record(operation: Operation, algorithm: str, tombstones: Sequence[int] = (), **changes: Any) -> RunRecord:
    kind = GuaranteeKind.EXACT
    found = RunRecord(
        operation=operation,
        recorded_at=Time("2026-02-03T12:00:00Z"),
        recorded_afterwards=False,
        guarantee=Guarantee(kind=kind),
        algorithm=Algorithm(name=algorithm, version="0.1.0", fields={}, package=digest("package")),
        recipe=RECIPE.digest,
        environment=Environment(
            profile=ProfileName.EXACT_CPU,
            fingerprint={"python": "3.11.7", "torch": "2.13.0+cpu", "processor": "x86_64 AVX2", "threads": 1},
            self_test=digest("self-test"),
            factory="zoo",
            initial_weights=digest("initial"),
        ),
        data=RunData(
            root=digest("root"),
            count=COUNT,
            tombstones=tuple(tombstones),
            preprocessing=digest("preprocessing"),
            released_calibration=(),
            released_holdout=(),
        ),
        requests=(),
        randomness=Randomness(
            beacon=Beacon(source="drand", value=digest("beacon"), round=4242, not_before=Time("2026-01-05T10:00:00Z")),
            derivation="expunge/seed/1",
            lineage_seed=digest("seed"),
        ),
        schedule=SchedulePart(
            root=digest("schedule"),
            steps=(184,),
            batch_size=64,
            shards=1,
            slices=1,
            least_present=1,
            drop_last=False,
        ),
        alive=(0,),
        reuse=(),
        retired=(),
        cost=Cost(thirds=31056, seconds=12.5),
        commit=bytes(32),
        parent=bytes(32),
        claim=claims_of(operation, kind, emptied=bool(tombstones), recorded=True),
        not_claimed=not_claimed(),
        checkpoints=recorded(100, 184),
    )
    return replace(found, **changes)


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
    from expunge.records.note import cosign

    draft = Draft(chain=tuple(chain), files={"recipe.json": canonical_json(RECIPE.as_json())})
    with writing(path.with_name(f"log of {path.name}"), ORIGIN) as writer:
        signed = sign_and_log(draft, key, writer)
        head = writer.sign(key)
        if witness is not None:
            head = cosign(head, "witness.example", witness, 1770000000)
        files = bundle_files(signed, writer.log, head)
    write_zip(path, files) if path.suffix == ".zip" else write_folder(path, files)
    return path
