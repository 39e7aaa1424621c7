"""Verification at level V1 of a large record: seconds and memory, in a process of its own that never loads torch.

``python -m benchmarks.verify --write`` builds a signed bundle over made-up leaves, verifies it once, and writes
benchmarks/results/verify.json. The bound is that of the specification: 1,000,000 steps of 128 chairs over 1,000,000
leaves within 180 seconds and 512 MiB, on two cores.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256 as begin_sha256
from pathlib import Path

import numpy as np
from tests.logged import sign_and_log

from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, sha256, slot_bytes, u32, u64
from expunge.core.merkle import tree_hash
from expunge.core.streams import ZERO_BEACON, Stream
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.records.bundle import write_folder
from expunge.records.claims import claims_of, not_claimed
from expunge.records.draft import Draft, bundle_files
from expunge.records.keys import KeyRole, signing_key, write_trusted
from expunge.records.log import writing
from expunge.records.record import (
    Algorithm,
    BeaconPart,
    Checkpoints,
    Commit,
    CommittedData,
    CostPart,
    Environment,
    GuaranteeKind,
    GuaranteePart,
    Initiator,
    LeafSalts,
    Operation,
    ProfileName,
    Randomness,
    Request,
    Reuse,
    RunData,
    RunRecord,
    SchedulePart,
    SplitRoot,
    State,
    TraceMode,
    TracePart,
    preprocessing_digest,
    states_root,
)
from expunge.records.statement import Statement
from expunge.schedule.digests import executed_digest
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule

RESULTS = Path(__file__).parent / "results" / "verify.json"
ORIGIN = "example.com/benchmark"
STATES = 64
SECONDS, MEBIBYTES = 180.0, 512.0
NOW = Time("2026-01-01T00:00:00Z")

CODE = """
import json, resource, sys, time
start = time.perf_counter()
from expunge.verify.verify import verify
verdict = verify(sys.argv[1], keys=sys.argv[2], level="V1")
seconds = time.perf_counter() - start
try:  # the peak of this program alone; getrusage would count what was there before it was started
    status = open("/proc/self/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 2**10
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
print(json.dumps({"seconds": seconds, "mebibytes": peak, "torch": "torch" in sys.modules,
                  "status": verdict.status.value, "reached": verdict.reached and verdict.reached.name,
                  "codes": [code.value for code in verdict.codes]}))
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a record is made; ``forgotten`` rows are spread over all slots."""

    leaves: int = 1_000_000
    epochs: int = 128
    batch: int = 128
    forgotten: int = 1_000

    @property
    def steps(self) -> int:
        return self.epochs * -(-self.leaves // self.batch)


def build(folder: Path, size: Size) -> Path:
    """commit → train → retrain over made-up leaves, signed by a key of its own; ``trusted.json`` lies beside it."""
    leaves = Stream(bytes(32), "benchmark").words(4 * size.leaves).astype("<u8").tobytes()
    units = np.arange(size.leaves)
    columns = (Column("x", ColumnKind.NUMERIC),)
    recipe = Recipe(inputs=Encoding(columns), classes=(0, 1), model="mlp", epochs=size.epochs, batch_size=size.batch)
    root = tree_hash(leaves[at : at + 32] for at in range(0, len(leaves), 32))
    schedule = Schedule.of(recipe, root, units)
    emptied = tuple(int(slot) for slot in np.linspace(0, size.leaves - 1, size.forgotten).astype(np.int64))
    trace, states = _trace(schedule, emptied)
    commit = _commit(recipe, root, leaves, units, size)
    part = SchedulePart(
        root=schedule.digest(),
        steps=(schedule.total_steps(0),),
        batch_size=size.batch,
        shards=1,
        slices=1,
        least_present=1,
        drop_last=False,
    )
    trained = _run(recipe, schedule, part, commit, (), _with(states, b"before"), sha256(b"trace of the training"))
    request = Request(
        cases=(),
        initiator=Initiator.OWNER,
        received=NOW,
        slots=emptied,
        receipts=(),
        root=root,
        model=trained.digest,
    )
    touched = schedule.first_touch(0, np.array(emptied))
    reuse = Reuse(shard=0, step=0, first_touched=touched)
    again = _run(recipe, schedule, part, commit, emptied, states, sha256(trace), request, reuse)
    files = {
        "recipe.json": canonical_json(recipe.as_json()),
        "leaves.bin": leaves,
        "leaves-calibration.bin": b"",
        "leaves-holdout.bin": b"",
        "assignment.bin": bytes(size.leaves),
        "units.bin": slot_bytes(units),
        "trace.bin": trace,
    }
    key = signing_key(sha256(b"benchmark"))
    with writing(folder / "log", ORIGIN) as log:
        signed = sign_and_log(Draft(chain=(commit, trained, again), files=files), key, log)
        write_folder(folder / "bundle", bundle_files(signed, log.log, log.sign(key)))
    write_trusted(folder / "trusted.json", [key.trusted(ORIGIN, KeyRole.OWNER), key.trusted(ORIGIN, KeyRole.LOG)])
    return folder / "bundle"


def _trace(schedule: Schedule, emptied: Sequence[int]) -> tuple[bytes, tuple[State, ...]]:
    """trace.bin, and made-up states along it."""
    present = np.ones(schedule.count, dtype=bool)
    present[list(emptied)] = False
    everybody = slot_bytes(np.flatnonzero(present))
    total = schedule.total_steps(0)
    wanted = {total * (at + 1) // STATES for at in range(STATES)}
    running = begin_sha256(b"expunge/trace/1" + u32(0))
    steps, states = bytearray(), list[State]()
    for step, chairs in schedule.batches(0):
        record = executed_digest(0, step, chairs[present[chairs]]) + sha256(u64(step))
        running.update(record)
        steps += record
        if step + 1 in wanted:
            digests = [sha256(name, u64(step)) for name in (b"weights", b"buffers", b"optimiser")]
            states.append(_state(step + 1, digests, running.digest()))
    heads = (b"expunge/epoch/1" + u32(0) + u64(epoch) + u32(len(everybody) // 8) for epoch in range(_epochs(schedule)))
    return bytes(steps) + b"".join(sha256(head, everybody) for head in heads), tuple(states)


def _state(step: int, digests: Sequence[bytes], trace: bytes) -> State:
    return State(shard=0, step=step, weights=digests[0], buffers=digests[1], optimiser=digests[2], trace=trace)


def _epochs(schedule: Schedule) -> int:
    return schedule.stages[0][-1].first_epoch + schedule.stages[0][-1].epochs


def _with(states: Sequence[State], flavour: bytes) -> tuple[State, ...]:
    """Other states at the same steps."""
    return tuple(_state(one.step, [sha256(flavour, u64(one.step))] * 3, sha256(flavour)) for one in states)


def _commit(recipe: Recipe, root: bytes, leaves: bytes, units: np.ndarray, size: Size) -> Statement:
    nobody = SplitRoot(rows=0, root=tree_hash(()))
    data = CommittedData(
        rows=size.leaves,
        count=size.leaves,
        root=root,
        calibration=nobody,
        holdout=nobody,
        leaf_format="expunge/leaf/1",
        salts=LeafSalts.SECRET,
        units=sha256(slot_bytes(units)),
        assignment=sha256(bytes(size.leaves)),
        preprocessing=preprocessing_digest(recipe.as_json(), ()),
        origins=(),
        source={},
    )
    commit = Commit(
        operation=Operation.COMMIT,
        recorded_at=NOW,
        recorded_afterwards=True,
        recipe=recipe.digest,
        data=data,
        claim=claims_of(Operation.COMMIT, None, emptied=False, recorded=False),
        not_claimed=not_claimed(),
    )
    return Statement(name="training data", digest=root, predicate=commit)


def _run(
    recipe: Recipe,
    schedule: Schedule,
    part: SchedulePart,
    commit: Statement,
    emptied: tuple[int, ...],
    states: tuple[State, ...],
    trace: bytes,
    request: Request | None = None,
    reuse: Reuse | None = None,
) -> Statement:
    operation = Operation.TRAIN if request is None else Operation.RETRAIN
    record = RunRecord(
        operation=operation,
        recorded_at=NOW,
        recorded_afterwards=True,
        guarantee=GuaranteePart(kind=GuaranteeKind.EXACT),
        algorithm=Algorithm(name=operation.value, version="0", fields={}, package=bytes(32)),
        recipe=recipe.digest,
        environment=Environment(
            profile=ProfileName.EXACT_CPU,
            fingerprint={"threads": 1, "device": "cpu"},
            self_test=bytes(32),
            factory="zoo",
            initial_weights=bytes(32),
        ),
        data=RunData(
            root=commit.digest,
            count=schedule.count,
            tombstones=emptied,
            preprocessing=preprocessing_digest(recipe.as_json(), ()),
            released_calibration=(),
            released_holdout=(),
        ),
        requests=() if request is None else (request,),
        randomness=Randomness(
            beacon=BeaconPart(source="zero", value=ZERO_BEACON),
            derivation="expunge/seed/1",
            lineage_seed=schedule.seed,
        ),
        schedule=part,
        alive=(0,),
        reuse=() if reuse is None else (reuse,),
        retired=(),
        cost=CostPart(thirds=3 * sum(recipe.stage_epochs) * (schedule.count - len(emptied)), seconds=1.0),
        commit=bytes(32),
        parent=bytes(32),
        claim=claims_of(operation, GuaranteeKind.EXACT, emptied=bool(emptied), recorded=True),
        not_claimed=not_claimed(),
        checkpoints=Checkpoints(
            interval=states[0].step, count=len(states), root=states_root(states), buffers=(), states=states
        ),
        trace=TracePart(mode=TraceMode.LOSSES, digest=trace),
    )
    return Statement(name=recipe.model, digest=states[-1].weights, predicate=record)


def measure(bundle: Path) -> dict[str, object]:
    """Verify at V1 in a fresh process: seconds with the imports, peak memory, and whether torch was loaded."""
    command = [sys.executable, "-c", CODE, str(bundle), str(bundle.parent / "trusted.json")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def verify_speed(size: Size) -> dict[str, object]:
    """One row: build a bundle in a temporary folder and verify it."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        bundle = build(Path(folder), size)
        built = time.perf_counter() - begun
        before = os.getloadavg()[0]
        found = measure(bundle)
        after = os.getloadavg()[0]
    seconds, mebibytes = float(str(found["seconds"])), float(str(found["mebibytes"]))
    accepted = found["status"] == "accepted" and not found["torch"]
    return {
        "name": f"V1 of {size.steps:,} steps × {size.batch}, {size.leaves:,} leaves ({mebibytes:.0f} MiB)",
        "value": seconds,
        "unit": "seconds",
        "bound": SECONDS,
        "mebibytes": mebibytes,
        "most_mebibytes": MEBIBYTES,
        "steps": size.steps,
        "leaves": size.leaves,
        "forgotten": size.forgotten,
        "verdict": found,
        "built_in_seconds": built,
        "load_before": before,
        "load_after": after,
        "kept": accepted and seconds < SECONDS and mebibytes < MEBIBYTES,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__)
    parser.add_argument("--leaves", type=int, default=Size.leaves)
    parser.add_argument("--epochs", type=int, default=Size.epochs)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/verify.json")
    options = parser.parse_args()
    forgotten = min(Size.forgotten, max(1, options.leaves // 10))
    row = verify_speed(Size(leaves=options.leaves, epochs=options.epochs, forgotten=forgotten))
    outcome = "ok" if row["kept"] else "MISSED"
    print(f"{row['name']:<70} {row['value']:>8.1f} s, bound {row['bound']:g}  {outcome}")
    print(
        f"load {row['load_before']:.2f} before, {row['load_after']:.2f} after; built in {row['built_in_seconds']:.0f} s"
    )
    if options.write:
        written = {
            "date": datetime.date.today().isoformat(),
            "command": "python -m benchmarks.verify --write",
            "python": platform.python_version(),
            "numpy": np.__version__,
            "cores": os.cpu_count(),
            "row": row,
        }
        RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if row["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
