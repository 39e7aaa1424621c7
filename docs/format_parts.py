"""The parts of ``docs/format.md`` that are computed: the fields of records, and test vectors."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, example_bytes, sha256
from expunge.core.merkle import leaf_hash, tree_hash
from expunge.core.streams import Stream, lineage_seed, unlearning_digest
from expunge.data.commitment import leaf_of, tombstones_digest
from expunge.data.salts import open_salt
from expunge.records.envelope import PAYLOAD_TYPE, pae
from expunge.records.form import camel
from expunge.records.keys import keyid_of
from expunge.records.note import TreeHead, key_hash
from expunge.records.record import Commit, RunRecord, State
from expunge.records.scalars import Large
from expunge.records.trace_file import NOTHING, RunningDigest, step_record
from expunge.schedule.digests import epoch_digest, executed_digest, step_bytes
from expunge.schedule.placement import place
from expunge.schedule.recipe import Placement
from expunge.schedule.schedule import Schedule
from expunge.train.state import tensors_digest

BUNDLES = Path(__file__).parents[1] / "tests" / "golden" / "0.1.0" / "bundles"
PLAIN = {bytes: "digest", int: "number", float: "real", str: "text", bool: "truth", Time: "time", Large: "number"}


def records_block() -> str:
    """Every class of a predicate, a line each, the outermost first."""
    waiting: list[type] = [Commit, RunRecord]
    lines: list[str] = []
    for kind in waiting:  # grows while it is read
        hints = get_type_hints(kind, include_extras=True)
        told = [
            f"{camel(item.name)}{'?' * (item.default is None)} {_told(hints[item.name], waiting)}"
            for item in fields(kind)
        ]
        lines.append(f"- **{kind.__name__}**: {', '.join(told)}")
    return "\n".join(lines)


def _told(kind: Any, classes: list[type]) -> str:
    inner = [one for one in get_args(kind) if one is not type(None)]
    if kind in PLAIN:
        return PLAIN[kind]
    if type(None) in get_args(kind):
        return _told(inner[0], classes)
    if get_origin(kind) is tuple:
        return f"{_told(inner[0], classes)} …"
    if get_origin(kind) is Mapping or inner:
        return "object"
    if issubclass(kind, Enum):
        return "(" + " | ".join(str(member.value) for member in kind) + ")"
    if is_dataclass(kind) and kind not in classes:
        classes.append(kind)
    return f"*{kind.__name__}*"


def vectors_block() -> str:
    rows = ["| what | value |", "|---|---|", *(f"| {what} | `{value}` |" for what, value in _vectors())]
    return "\n".join([*rows, "", "The bundles under `tests/golden/0.1.0/bundles/`:", "", *_bundles()])


def _vectors() -> Iterator[tuple[str, str]]:
    seed, root, recipe, beacon = bytes(range(32)), sha256(b"root"), sha256(b"recipe"), bytes([7]) * 32
    yield 'canonical JSON of {b: ½, a: [1, true, "é"]}', canonical_json({"b": 0.5, "a": [1, True, "é"]}).decode()
    person = {"id": "row-0", "subject": "Ann", "label": 3, "content.age": 41.5}
    yield "example id row-0, subject Ann, label 3, content.age 41.5", example_bytes(person).hex()
    picture = {**person, "content.age": np.array([[0, 255], [16, 1]], dtype=np.uint8)}
    yield "H of the same with the u8 array [[0, 255], [16, 1]]", sha256(example_bytes(picture)).hex()
    yield "open salt of slot 5", open_salt(5).hex()
    yield "leaf of the first example in slot 5 under it", leaf_of(example_bytes(person), 5, open_salt(5)).hex()
    for count in (0, 1, 2, 3, 7):
        told = tree_hash(leaf_hash(bytes(range(length))) for length in range(count)).hex()
        yield f"tree of the first {count} of the entries nothing, 00, 00 01, 00 01 02 …", told
    yield "tombstones 3, 8", tombstones_digest([3, 8]).hex()
    words = Stream(seed, "order", 2, 9).words(5)
    yield "five words of stream (00 01 … 1f, order, 2, 9)", " ".join(f"{int(word):016x}" for word in words)
    yield 'lineage seed of H("recipe"), H("root"), beacon 07 × 32', lineage_seed(recipe, root, beacon).hex()
    stands = unlearning_digest(recipe, sha256(b"weights"), 11)
    yield 'method seed, parent H("weights"), request seed 11', lineage_seed(stands, root, beacon).hex()
    units = np.array([0, 0, 1, 2, 1, 3, 4, 4, 5, 0])
    for placement in Placement:
        cells = place(seed, units, shards=2, slices=2, placement=placement)
        shown = " ".join(f"{shard}.{part}" for shard, part in cells.tolist())
        yield f"shard.slice of units {' '.join(map(str, units))} by {placement.value}, 2 × 2", shown
    schedule = Schedule(seed=seed, units=units, batch_size=4, stage_epochs=(1, 2), shards=2)
    for shard in range(2):
        steps = " / ".join(" ".join(map(str, chairs)) for _, chairs in schedule.batches(shard))
        yield f"steps of shard {shard} so placed, seed 00 01 … 1f, batches of 4, stages of 1 and 2 epochs", steps
    yield "its schedule root", schedule.digest().hex()
    chairs = np.array([7, 2, 9])
    yield "step 4 of shard 1 with chairs 7 2 9", leaf_hash(step_bytes(1, 4, chairs)).hex()
    executed = executed_digest(1, 4, chairs[:2])
    yield "executed with 7 2", executed.hex()
    yield "epoch 3 of shard 1 with 7 2 9", epoch_digest(1, 3, chairs).hex()
    running = RunningDigest(1, step_record(executed, NOTHING)).digest()
    yield 'trace so far of shard 1 after that one record, losses H("")', running.hex()
    state = State(shard=1, step=5, weights=recipe, buffers=root, optimiser=beacon, trace=running)
    yield 'state at step 5: weights H("recipe"), buffers H("root"), optimiser 07 × 32', state.leaf.hex()
    yield "tensors: b = float32 [1, −2], a = int64 scalar 3", _tensors()
    yield "what is signed of the payload {}", pae(PAYLOAD_TYPE, b"{}").decode()
    yield "id of the public key 07 × 32", keyid_of(beacon)
    yield (
        'note of log example.com/log, 3 entries, root H("root"), ⏎ for newline',
        TreeHead("example.com/log", 3, root).as_text().replace("\n", "⏎"),
    )
    yield "first 4 bytes in its signature line, public key 07 × 32", key_hash("example.com/log", beacon).hex()


def _tensors() -> str:
    import torch

    return tensors_digest({"b": torch.tensor([1.0, -2.0]), "a": torch.tensor(3)}).hex()


def _bundles() -> Iterator[str]:
    """What a checker must find in the bundles of the tests."""
    yield "| | " + " | ".join(names := ["plain", "sharded", "twice"]) + " |"
    yield "|---|" + "---|" * len(names)
    sealed = [json.loads((BUNDLES / name / "envelope.json").read_text()) for name in names]
    told = [json.loads(b64decode(one["payload"])) for one in sealed]
    records = [one["predicate"] for one in told]
    for what, found in (
        ("recipe digest", [one["recipe"] for one in records]),
        ("root", [one["data"]["root"] for one in records]),
        ("lineage seed", [one["randomness"]["lineageSeed"] for one in records]),
        ("steps by shard", [" ".join(map(str, one["schedule"]["steps"])) for one in records]),
        ("schedule root", [one["schedule"]["root"] for one in records]),
        ("H(`trace.bin`)", [one["trace"]["digest"] for one in records]),
        ("root of states", [one["checkpoints"]["root"] for one in records]),
        ("model", [one["subject"][0]["digest"]["expungeTensors1"] for one in told]),
    ):
        yield f"| {what} | " + " | ".join(f"`{value}`" for value in found) + " |"
