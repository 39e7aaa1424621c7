"""The checker that was written from docs/format.md agrees with us, and finds every change of what it recomputes."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.verify import independent_checker as checker
from tests.verify.departures import HONEST
from tests.verify.records import bundle

from expunge.core.hashing import sha256, slot_bytes
from expunge.core.merkle import inclusion_proof, leaf_hash, tree_hash
from expunge.core.streams import Stream
from expunge.records.bundle import RECIPE, TRACE, UNITS
from expunge.records.trace_file import NOTHING
from expunge.schedule.digests import epoch_digest, executed_digest
from expunge.schedule.recipe import Placement
from expunge.schedule.recipe_file import read_recipe
from expunge.schedule.schedule import Schedule

BUNDLES = Path(__file__).parents[1] / "golden" / "0.1.0" / "bundles"
Files = dict[str, bytes]
Change = Callable[[Files], None]


def files_of(name: str) -> Files:
    folder = BUNDLES / name
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


HELD = {name: files_of(name) for name in ("plain", "sharded", "twice")}


def record_of(files: Files, name: str = "envelope.json") -> dict[str, Any]:
    return json.loads(b64decode(json.loads(files[name])["payload"]))["predicate"]


@pytest.mark.parametrize("name", HELD)
def test_it_agrees_with_us(name: str) -> None:
    files = HELD[name]
    found, failed = checker.check(files)
    record = record_of(files)
    recipe, root = read_recipe(files[RECIPE]), bytes.fromhex(record["data"]["root"])
    schedule = Schedule.of(recipe, root, np.frombuffer(files[UNITS], dtype="<u8").astype(np.int64))
    gone = set(record["data"]["tombstones"])
    assert failed == []
    assert (found["recipe"], found["root"]) == (recipe.digest.hex(), root.hex())
    assert (found["seed"], found["schedule"]) == (schedule.seed.hex(), schedule.digest().hex())
    chairs = [(shard, seats.tolist()) for shard in range(recipe.shards) for _, seats in schedule.batches(shard)]
    assert [(shard, seats) for shard, _, _, batches in found["chairs"] for seats in batches] == chairs
    present = [[slot for slot in seats if slot not in gone] for _, seats in chairs]
    assert [seats for _, _, _, batches in found["members"] for seats in batches] == present
    assert gone
    assert found["trace"] == record["trace"]["digest"]


@pytest.mark.parametrize("placement", Placement)
def test_it_seats_as_we_do_in_any_shape(placement: Placement) -> None:
    units = np.array([0, 0, 1, 2, 1, 3, 4, 4, 5, 0, 6, 7, 8, 8, 9], dtype=np.int64)
    for shards, slices, count, size in ((1, 1, 3, 4), (3, 1, 2, 2), (1, 4, 5, 7), (2, 3, 1, 3), (3, 3, 7, 50)):
        recipe = read_recipe(HELD["plain"][RECIPE])
        told = recipe.as_json() | {"shards": shards, "slices": slices, "epochs": count, "batch_size": size}
        told["placement"], tiers = placement.value, np.zeros(0, dtype=np.int64)
        if placement is Placement.TIERS:
            tiers = np.arange(10) % slices
            told |= {"tiers": sha256(slot_bytes(tiers)).hex(), "epochs": 4 + slices, "stages": [5] + [1] * (slices - 1)}
        schedule = Schedule.of(recipe.from_json(told), bytes(32), units, tiers=tiers if len(tiers) else None)
        found = list(checker.epochs(schedule.seed, units.tolist(), told, tiers.tolist()))
        ours = [(shard, seats.tolist()) for shard in range(shards) for _, seats in schedule.batches(shard)]
        assert [(shard, seats) for shard, _, _, batches in found for seats in batches] == ours


def test_it_agrees_with_us_about_tiers(tmp_path: Path) -> None:
    folder = bundle(HONEST["tiers"](), tmp_path)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert checker.check(files)[1] == []
    files["tiers.bin"] = files["tiers.bin"][8:] + files["tiers.bin"][:8]
    assert "tiers" in checker.check(files)[1]


def test_skipped_steps_and_shards_without_anybody_are_traced_as_we_do() -> None:
    members = [(0, 0, 0, [[], []]), (1, 0, 0, [[], [4, 2]]), (1, 1, 2, [[2], []])]
    kept = bytes(range(256)) * 3
    told = checker.traced(members, kept, 64)
    steps = [
        executed_digest(1, 0, np.zeros(0)) + NOTHING,
        executed_digest(1, 1, np.array([4, 2])) + kept[64 + 32 : 128],
        executed_digest(1, 2, np.array([2])) + kept[128 + 32 : 192],
        executed_digest(1, 3, np.zeros(0)) + NOTHING,
    ]
    assert told == b"".join([*steps, epoch_digest(1, 0, np.array([4, 2])), epoch_digest(1, 1, np.array([2]))])


def test_its_streams_and_trees_are_ours() -> None:
    for seed, purpose, shard, index, count in (
        (bytes(range(32)), "order", 2, 9, 5),
        (bytes(32), "shard", 0, 2**40, 17),
    ):
        assert (
            checker.stream(seed, purpose, shard, index, count)
            == Stream(seed, purpose, shard, index).words(count).tolist()
        )
    leaves = [leaf_hash(bytes([place])) for place in range(21)]
    for size in range(len(leaves) + 1):
        assert checker.tree(leaves[:size]) == tree_hash(leaves[:size])
        for index in range(size):
            path = [node.hex() for node in inclusion_proof(leaves[:size], index)]
            assert checker.led_to(leaves[index], index, size, path) == tree_hash(leaves[:size])


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    path = Path(checker.__file__)
    text = path.read_text(encoding="utf-8")
    modules = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    modules |= {item.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for item in node.names}
    assert modules <= sys.stdlib_module_names
    assert len(text.splitlines()) <= 150
    other = shutil.copytree(BUNDLES / "twice", tmp_path / "other")
    (other / TRACE).write_bytes(HELD["plain"][TRACE])
    for folder, failed in ((BUNDLES / "twice", []), (other, ["trace"])):
        done = subprocess.run([sys.executable, "-I", "-S", path, folder], capture_output=True, text=True, timeout=60)
        assert (done.returncode, json.loads(done.stdout)["failed"]) == (bool(failed), failed)


def flipped(name: str, at: int) -> Change:
    def change(files: Files) -> None:
        content = bytearray(files[name])
        content[at] ^= 1
        files[name] = bytes(content)

    return change


def cut(name: str, first: int, end: int | None = None) -> Change:
    def change(files: Files) -> None:
        files[name] = files[name][first:end]

    return change


def swapped(name: str, size: int) -> Change:
    """The first two items of a file in the other order."""

    def change(files: Files) -> None:
        content = files[name]
        files[name] = content[size : 2 * size] + content[:size] + content[2 * size :]

    return change


def retold(name: str, field: str, value: Any) -> Change:
    def change(files: Files) -> None:
        told = json.loads(files[name])
        assert told[field] != value
        files[name] = sealed({**told, field: value})

    return change


def sealed(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def longer_log(files: Files) -> None:
    files["log/checkpoint"] = files["log/checkpoint"].replace(b"\n", b"\n1", 1)


def written(place: str, value: Any, at: str = "envelope.json") -> Change:
    """Another value in a record, and every digest that names a record made to fit; the log alone knows better."""

    def change(files: Files) -> None:
        names = ["commit.json", *(name for name in files if name.startswith("parents/")), "envelope.json"]
        opened = {name: json.loads(files[name]) for name in names}
        told = {name: json.loads(b64decode(one["payload"])) for name, one in opened.items()}
        digests = {name: checker.H(files[name]).hex() for name in names}
        *path, last = place.split(".")
        part = told[at]["predicate"]
        for step in path:
            part = part[step]
        before, part[last] = part[last], value(part[last]) if callable(value) else value
        assert part[last] != before
        moved: dict[str, str] = {}
        waiting = list(names)
        while waiting:  # a record is written once the one before it is
            name = waiting.pop(0)
            record = told[name]["predicate"]
            if record.get("parent") in {digests[other] for other in waiting}:
                waiting.append(name)
                continue
            for field in ("parent", "commit"):
                if (name, field) != (at, place) and field in record:
                    record[field] = moved.get(record[field], record[field])
            opened[name]["payload"] = b64encode(sealed(told[name])).decode()
            text = sealed(opened[name])
            digest = moved[digests[name]] = checker.H(text).hex()
            proof = json.loads(files.pop(f"log/inclusion-{digests[name]}.json"))
            files[f"log/inclusion-{digest}.json"] = sealed(proof | {"digest": digest})
            del files[name]
            files[f"parents/{digest}.json" if name.startswith("parents/") else name] = text

    return change


OTHER = "ab" * 32
MUTANTS: tuple[tuple[str, str, Change], ...] = (
    ("epochs of the recipe", "recipe", retold(RECIPE, "epochs", 3)),
    ("batches of the recipe", "recipe", retold(RECIPE, "batch_size", 15)),
    ("seed of the recipe", "recipe", retold(RECIPE, "seed", 1)),
    ("placement of the recipe", "recipe", retold(RECIPE, "placement", "slot")),
    ("least present of the recipe", "recipe", retold(RECIPE, "least_present", 2)),
    ("first leaf", "leaves", flipped("leaves.bin", 0)),
    ("last leaf", "leaves", flipped("leaves.bin", -1)),
    ("two leaves", "leaves", swapped("leaves.bin", 32)),
    ("a leaf less", "leaves", cut("leaves.bin", 32)),
    ("calibration leaf", "leaves-calibration", flipped("leaves-calibration.bin", 40)),
    ("holdout leaf", "leaves-holdout", flipped("leaves-holdout.bin", 99)),
    ("a unit", "units", flipped(UNITS, 8 * 100)),
    ("a split", "assignment", flipped("assignment.bin", 7)),
    ("members of the first step", "trace", flipped(TRACE, 0)),
    ("losses of the first step", "trace", flipped(TRACE, 33)),
    ("members of an epoch", "trace", flipped(TRACE, -1)),
    ("two steps", "trace", swapped(TRACE, 64)),
    ("a step less", "trace", cut(TRACE, 64)),
    ("an epoch less", "trace", cut(TRACE, 0, -32)),
    ("named root", "root", written("data.root", OTHER)),
    ("named count", "root", written("data.count", 191)),
    ("named recipe", "recipe", written("recipe", OTHER)),
    ("named seed", "seed", written("randomness.lineageSeed", OTHER)),
    ("named beacon", "seed", written("randomness.beacon.value", OTHER)),
    ("named schedule", "schedule", written("schedule.root", OTHER)),
    ("named steps", "schedule", written("schedule.steps", lambda steps: [*steps[:-1], steps[-1] + 1])),
    ("a chair occupied again", "tombstones", written("data.tombstones", lambda slots: slots[1:])),
    ("a chair emptied unasked", "tombstones", written("data.tombstones", lambda slots: [0, *slots])),
    ("a request less", "tombstones", written("requests", [])),
    ("named trace", "trace", written("trace.digest", OTHER)),
    ("named commitment", "chain", written("commit", OTHER)),
    ("committed root", "leaves", written("data.root", OTHER, "commit.json")),
    ("committed units", "units", written("data.units", OTHER, "commit.json")),
    ("committed splits", "assignment", written("data.assignment", OTHER, "commit.json")),
    ("committed recipe", "recipe", written("recipe", OTHER, "commit.json")),
    ("the log's root", "log", flipped("log/checkpoint", 25)),
    ("the log's size", "log", longer_log),
)


@pytest.mark.parametrize("bundle", HELD)
@pytest.mark.parametrize(("what", "fails", "change"), MUTANTS, ids=[what for what, _, _ in MUTANTS])
def test_it_finds_what_was_changed(bundle: str, what: str, fails: str, change: Change) -> None:
    files = dict(HELD[bundle])
    change(files)
    assert fails in checker.check(files)[1]


def test_a_chain_that_was_written_anew_is_missing_in_the_log_and_nothing_else() -> None:
    files = dict(HELD["twice"])
    written("recordedAt", "2026-12-01T12:00:01Z", "commit.json")(files)
    assert checker.check(files)[1] == ["log"]
