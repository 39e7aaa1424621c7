"""Data, recipes and runs that never ran: real schedules, commitments and traces over made-up examples.

States are made up too, but as a training would have them: the state after a step depends on the forgotten rows that had
sat in an earlier step, and on nothing else of them. So an exact replay reuses its parent's states, as honest ones do.
Who takes part in a step is written out the slow way, chair by chair, and shares no code with the verifier's pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from expunge.adversary.table.retelling import ShardTale, Tale
from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, example_bytes, sha256, slot_bytes, u64
from expunge.core.merkle import tree_hash
from expunge.core.streams import ZERO_BEACON
from expunge.data.commitment import leaf_of, open_salt
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.records.claims import claims_of, not_claimed
from expunge.records.keys import KeyRole, TrustedKey, signing_key
from expunge.records.record import (
    BeaconPart,
    Commit,
    CommittedData,
    Environment,
    LeafSalts,
    Operation,
    Origin,
    ProfileName,
    SplitRoot,
    State,
    TraceMode,
    preprocessing_digest,
)
from expunge.records.statement import Statement
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import Profile, Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.state import Tensors

ORIGIN = "example.com/unlearning"
OWNER = signing_key(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
STRANGER = signing_key(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
WITNESS = signing_key(sha256(b"a witness"))
TRUSTED: tuple[TrustedKey, ...] = (
    OWNER.trusted(ORIGIN, KeyRole.OWNER),
    OWNER.trusted(ORIGIN, KeyRole.LOG),
    WITNESS.trusted("example.org/witness", KeyRole.WITNESS),
)
COMMITTED_AT = Time("2026-01-01T00:00:00Z")
RECORDED_AT = Time("2026-02-01T00:00:00Z")
ZERO = BeaconPart(source="zero", value=ZERO_BEACON)
BUFFERS = ("running_mean",)
INPUTS = Encoding((Column("x", ColumnKind.NUMERIC),))


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
    salts: LeafSalts = LeafSalts.OPEN
    beacon: BeaconPart = ZERO
    mode: TraceMode = TraceMode.LOSSES
    interval: int = 5
    afterwards: bool = True
    noise: bytes | None = None
    tiers: tuple[int, ...] | None = None  # of subjects, where the recipe deals by them

    def _leaves(self, what: str, rows: int) -> tuple[bytes, ...]:
        found: list[bytes] = []
        for slot in range(rows):
            fields = {"id": f"{what}-{slot}", "subject": self._subject(slot), "label": slot % 2, "x": slot / 7}
            salt = open_salt(slot) if self.salts is LeafSalts.OPEN else sha256(b"secret", what.encode(), u64(slot))
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
        tiers = None if self.tiers is None else np.array(self.tiers)
        return Schedule.of(self.recipe, self.root, self.units, self.beacon.value, tiers)

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
        tiers = {} if self.tiers is None else {"tiers.bin": slot_bytes(np.array(self.tiers))}
        return tiers | {
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

    def tensors(self, shard: int, step: int) -> Tensors:
        """A shard's whole state after so many steps."""
        seen = self._seen(shard, step)
        values, moments = (
            torch.from_numpy(np.frombuffer(sha256(what, seen), dtype="<u4").astype(np.float32))
            for what in (b"model", b"moments")
        )
        return {
            "model.weight": values[:6].reshape(2, 3),
            "model.running_mean": values[6:],
            "optimiser.0.momentum_buffer": moments[:6].reshape(2, 3),
        }

    def _traced(self, shard: int, step: int) -> bytes:
        """What the trace has of a step beside its members: a digest of losses, and of a gradient where it holds one."""
        what = (b"loss",) if self.lineage.mode is TraceMode.LOSSES else (b"loss", b"grad")
        seen = self.present(shard, step)
        return b"".join(sha256(one, self._seen(shard, step)) if seen else sha256(b"") for one in what)

    def kept_steps(self, shard: int) -> list[int]:
        """The steps after which a state is kept."""
        total = self.lineage.schedule.total_steps(shard)
        ends = set(self.lineage.schedule.stage_ends(shard)) | {total}
        return sorted(ends | set(range(self.lineage.interval, total, self.lineage.interval)))

    @cached_property
    def tale(self) -> Tale:
        """Its steps and states as its owner tells them."""
        shards = tuple(
            ShardTale(
                shard=shard,
                members=tuple(np.array(self.present(shard, step), dtype=np.int64) for step in self._all_steps(shard)),
                losses=tuple(self._traced(shard, step) for step in self._all_steps(shard)),
                states={step: self.tensors(shard, step) for step in self.kept_steps(shard)},
            )
            for shard in self.alive
        )
        return Tale(recipe=self.lineage.recipe, schedule=self.lineage.schedule, buffers=BUFFERS, shards=shards)

    def state(self, shard: int, step: int) -> State:
        """One of the states that are kept, as a record has it."""
        return next(state for state in self.tale.states if (state.shard, state.step) == (shard, step))


def environment_of(recipe: Recipe) -> Environment:
    """One machine for all records; on the speed profile it pins nothing."""
    return Environment(
        profile=ProfileName.EXACT_CPU if recipe.profile is Profile.EXACT else ProfileName.TOLERANT,
        fingerprint={"threads": recipe.threads, "device": "cpu", "torch": "2.13.0"},
        self_test=sha256(b"self-test"),
        factory="zoo",
        initial_weights=sha256(b"initial weights"),
    )
