"""Data, recipes and runs that never ran: real schedules, commitments and traces over made-up examples.

States are made up too, but as a training would have them: the state after a step depends on the forgotten rows that had
sat in an earlier step, and on nothing else of them. So an exact replay reuses its parent's states, as honest ones do.
What is computed here is written out the slow way, step by step, and shares no code with the verifier's pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from safetensors.numpy import save

from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, example_bytes, sha256, slot_bytes, text_bytes, u32, u64
from expunge.core.merkle import tree_hash
from expunge.core.streams import ZERO_BEACON
from expunge.data.commitment import leaf_of, open_salt
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.records.bundle import checkpoint_name
from expunge.records.claims import claims_of, not_claimed
from expunge.records.keys import Role, TrustedKey, signing_key
from expunge.records.record import (
    Beacon,
    Checkpoints,
    Commit,
    CommittedData,
    Environment,
    Operation,
    Origin,
    ProfileName,
    Reuse,
    Salts,
    SplitRoot,
    State,
    TraceMode,
    preprocessing_digest,
    states_root,
)
from expunge.records.statement import Statement
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import Profile, Recipe
from expunge.schedule.schedule import Schedule

ORIGIN = "example.com/unlearning"
OWNER = signing_key(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
STRANGER = signing_key(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
WITNESS = signing_key(sha256(b"a witness"))
TRUSTED: tuple[TrustedKey, ...] = (
    OWNER.trusted(ORIGIN, Role.OWNER),
    OWNER.trusted(ORIGIN, Role.LOG),
    WITNESS.trusted("example.org/witness", Role.WITNESS),
)
COMMITTED_AT = Time("2026-01-01T00:00:00Z")
RECORDED_AT = Time("2026-02-01T00:00:00Z")
ZERO = Beacon(source="zero", value=ZERO_BEACON)
BUFFERS = ("running_mean",)
INPUTS = Encoding((Column("x", ColumnKind.NUMERIC),))
BYTES = {TraceMode.LOSSES: 64, TraceMode.GRADIENTS: 96}


def small_recipe(**fields: Any) -> Recipe:
    """Two epochs of batches of four, unless said otherwise."""
    settings: dict[str, Any] = {"inputs": INPUTS, "classes": (0, 1), "model": "mlp", "epochs": 2, "batch_size": 4}
    return Recipe(**{**settings, **fields})


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Data and recipe that a chain of records is about. The last rows are calibration and holdout."""

    recipe: Recipe = field(default_factory=small_recipe)
    count: int = 30  # training rows
    subjects: int = 10
    calibration: int = 2
    holdout: int = 5
    salts: Salts = Salts.OPEN
    beacon: Beacon = ZERO
    mode: TraceMode = TraceMode.LOSSES
    interval: int = 5
    afterwards: bool = True
    noise: bytes | None = None

    def _leaves(self, what: str, rows: int) -> tuple[bytes, ...]:
        found: list[bytes] = []
        for slot in range(rows):
            fields = {"id": f"{what}-{slot}", "subject": self._subject(slot), "label": slot % 2, "x": slot / 7}
            salt = open_salt(slot) if self.salts is Salts.OPEN else sha256(b"secret", what.encode(), u64(slot))
            found.append(leaf_of(example_bytes(fields), slot, salt))
        return tuple(found)

    def _subject(self, slot: int) -> str:
        return f"person-{slot % self.subjects}"

    @cached_property
    def leaves(self) -> tuple[tuple[bytes, ...], ...]:
        rows = {"train": self.count, "calibration": self.calibration, "holdout": self.holdout}
        return tuple(self._leaves(what, number) for what, number in rows.items())

    @cached_property
    def units(self) -> np.ndarray:
        return number_units([self._subject(slot) for slot in range(self.count)])

    @cached_property
    def root(self) -> bytes:
        return tree_hash(self.leaves[0])

    @cached_property
    def schedule(self) -> Schedule:
        return Schedule.of(self.recipe, self.root, self.units, self.beacon.value)

    @cached_property
    def origins(self) -> tuple[Origin, ...]:
        return (Origin(name="numbers", origin="training state"), Origin(name="class_weights", origin="none"))

    @property
    def assignment(self) -> bytes:
        return bytes([0] * self.count + [1] * self.calibration + [2] * self.holdout)

    @cached_property
    def commit(self) -> Statement:
        data = CommittedData(
            rows=self.count + self.calibration + self.holdout,
            count=self.count,
            root=self.root,
            calibration=SplitRoot(rows=self.calibration, root=tree_hash(self.leaves[1])),
            holdout=SplitRoot(rows=self.holdout, root=tree_hash(self.leaves[2])),
            leaf_format="expunge/leaf/1",
            salts=self.salts,
            units=sha256(slot_bytes(self.units)),
            assignment=sha256(self.assignment),
            preprocessing=preprocessing_digest(self.recipe.as_json(), self.origins),
            origins=self.origins,
            source={},
        )
        commit = Commit(
            operation=Operation.COMMIT,
            recorded_at=COMMITTED_AT,
            recorded_afterwards=self.afterwards,
            recipe=self.recipe.digest,
            data=data,
            claim=claims_of(Operation.COMMIT, None, emptied=False, recorded=False),
            not_claimed=not_claimed(),
            noise_commitment=self.noise,
        )
        return Statement(name="training data", digest=self.root, predicate=commit)

    @property
    def files(self) -> dict[str, bytes]:
        """The files of a bundle that all runs of the lineage share."""
        return {
            "recipe.json": canonical_json(self.recipe.as_json()),
            "leaves.bin": b"".join(self.leaves[0]),
            "leaves-calibration.bin": b"".join(self.leaves[1]),
            "leaves-holdout.bin": b"".join(self.leaves[2]),
            "assignment.bin": self.assignment,
            "units.bin": slot_bytes(self.units),
        }


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """A run that never ran: which chairs are empty, and everything that a training would have left behind."""

    lineage: Lineage
    emptied: tuple[int, ...] = ()
    steps: Mapping[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)  # members of steps, where forged
    flavour: bytes = b""  # other weights for the same members

    @cached_property
    def alive(self) -> tuple[int, ...]:
        shards = range(self.lineage.schedule.shards)
        return tuple(shard for shard in shards if any(self._seated(shard, step) for step in self._all_steps(shard)))

    def _all_steps(self, shard: int) -> range:
        return range(self.lineage.schedule.total_steps(shard))

    def present(self, shard: int, step: int) -> tuple[int, ...]:
        """Who a step was carried out with; nobody where it was skipped."""
        return self.steps.get((shard, step), self._seated(shard, step))

    def _seated(self, shard: int, step: int) -> tuple[int, ...]:
        chairs = self.lineage.schedule.chairs(shard, step)
        found = tuple(int(slot) for slot in chairs if int(slot) not in self.emptied)
        return found if len(found) >= self.lineage.recipe.least_present else ()

    def _seen(self, shard: int, step: int) -> bytes:
        """What the state after ``step`` steps depends on besides the lineage: whom its steps missed, and forgeries."""
        schedule = self.lineage.schedule
        touched = {slot: schedule.first_touch(shard, np.array([slot])) for slot in self.emptied}
        missed = sorted(slot for slot, first in touched.items() if first is not None and first < step)
        forged = sorted((at, members) for (of, at), members in self.steps.items() if of == shard and at < step)
        return repr((shard, step, missed, forged, self.flavour)).encode()

    def record_of(self, shard: int, step: int) -> bytes:
        """A step's record in the trace."""
        present = np.array(self.present(shard, step), dtype=np.int64)
        executed = sha256(b"expunge/executed/1" + u32(shard) + u64(step) + u32(len(present)) + slot_bytes(present))
        made = [sha256(what, self._seen(shard, step)) if len(present) else sha256(b"") for what in (b"loss", b"grad")]
        return executed + b"".join(made[: BYTES[self.lineage.mode] // 32 - 1])

    def epoch_of(self, shard: int, epoch: int) -> bytes:
        """An epoch's record in the trace."""
        schedule = self.lineage.schedule
        steps = [step for step in self._all_steps(shard) if schedule.locate(shard, step)[0] == epoch]
        members = np.array(sorted(slot for step in steps for slot in self.present(shard, step)), dtype=np.int64)
        return sha256(b"expunge/epoch/1" + u32(shard) + u64(epoch) + u32(len(members)) + slot_bytes(members))

    @cached_property
    def trace(self) -> bytes:
        found = b""
        for shard in self.alive:
            found += b"".join(self.record_of(shard, step) for step in self._all_steps(shard))
            stages = self.lineage.schedule.stages[shard]
            found += b"".join(
                self.epoch_of(shard, epoch) for epoch in range(stages[-1].first_epoch + stages[-1].epochs)
            )
        return found

    def running(self, shard: int, step: int) -> bytes:
        records = b"".join(self.record_of(shard, before) for before in range(step))
        return sha256(b"expunge/trace/1" + u32(shard) + records)

    def member(self, shard: int, step: int) -> dict[str, np.ndarray]:
        """A shard's weights and buffers after so many steps."""
        drawn = hashlib.sha256(b"model" + self._seen(shard, step)).digest()
        values = np.frombuffer(drawn, dtype="<u4").astype(np.float32)
        return {"weight": values[:6].reshape(2, 3), "running_mean": values[6:]}

    def tensors(self, shard: int, step: int) -> dict[str, np.ndarray]:
        """A shard's whole state."""
        moments = np.frombuffer(hashlib.sha256(b"moments" + self._seen(shard, step)).digest(), dtype="<u4")
        member = {f"model.{name}": value for name, value in self.member(shard, step).items()}
        return {**member, "optimiser.0.momentum_buffer": moments[:6].astype(np.float32).reshape(2, 3)}

    def state(self, shard: int, step: int) -> State:
        tensors = self.tensors(shard, step)
        member = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        return State(
            shard=shard,
            step=step,
            weights=digest_of({name: value for name, value in member.items() if name not in BUFFERS}),
            buffers=digest_of({name: value for name, value in member.items() if name in BUFFERS}),
            optimiser=digest_of({name: value for name, value in tensors.items() if not name.startswith("model.")}),
            trace=self.running(shard, step),
        )

    def kept_steps(self, shard: int) -> list[int]:
        """The steps after which a state is kept."""
        total = self.lineage.schedule.total_steps(shard)
        ends = set(self.lineage.schedule.stage_ends(shard)) | {total}
        return sorted(ends | set(range(self.lineage.interval, total, self.lineage.interval)))

    @cached_property
    def states(self) -> tuple[State, ...]:
        return tuple(self.state(shard, step) for shard in self.alive for step in self.kept_steps(shard))

    @cached_property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(
            interval=self.lineage.interval,
            count=len(self.states),
            root=states_root(self.states),
            buffers=BUFFERS,
            states=self.states,
        )

    @property
    def buffers(self) -> tuple[str, ...]:
        return BUFFERS

    @property
    def digest(self) -> bytes:
        return digest_of(self.model)

    def thirds(self, reuse: Sequence[Reuse]) -> int:
        """Three times the example-steps from the reused states to the end."""
        starts = {item.shard: item.step for item in reuse}
        every = ((shard, step) for shard in self.alive for step in self._all_steps(shard))
        return 3 * sum(len(self.present(*place)) for place in every if place[1] >= starts.get(place[0], 0))

    @cached_property
    def model(self) -> dict[str, np.ndarray]:
        """Tensors of the model: the last states of all shards that are alive."""
        found: dict[str, np.ndarray] = {}
        for place, shard in enumerate(self.alive):
            prefix = f"shards.{place}." if self.lineage.recipe.shards > 1 else ""
            last = self.member(shard, self.lineage.schedule.total_steps(shard))
            found |= {prefix + name: value for name, value in last.items()}
        return found

    @property
    def files(self) -> dict[str, bytes]:
        """The files of a bundle that are this run's own."""
        return {
            "trace.bin": self.trace,
            "model.safetensors": save(self.model),
            **{
                checkpoint_name(state.shard, state.step): save(self.tensors(state.shard, state.step))
                for state in self.states
            },
        }


def digest_of(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The canonical digest of named float32 arrays."""
    parts = [b"expunge/tensors/1", u32(len(tensors))]
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name], dtype="<f4")
        parts += [text_bytes(name), text_bytes("float32"), u32(value.ndim), *(u64(size) for size in value.shape)]
        parts.append(value.tobytes())
    return sha256(*parts)


def environment_of(recipe: Recipe) -> Environment:
    """One machine for all records; on the speed profile it pins nothing."""
    return Environment(
        profile=ProfileName.EXACT_CPU if recipe.profile is Profile.EXACT else ProfileName.TOLERANT,
        fingerprint={"threads": recipe.threads, "device": "cpu", "torch": "2.13.0"},
        self_test=sha256(b"self-test"),
        factory="zoo",
        initial_weights=sha256(b"initial weights"),
    )
