"""A record under verification: an open bundle, what the verifier brings to it, and what the checks made of it so far.

Everything read here is as the owner wrote it. That it fits together is what the checks say; each relies only on what
those that it needs have shown.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from expunge.core.merkle import DIGEST_BYTES
from expunge.core.values import Progress
from expunge.data.commitment import Commitment
from expunge.data.dataset import Dataset
from expunge.data.splits import SPLITS, Split
from expunge.data.stored import LEAVES
from expunge.records.bundle import ASSIGNMENT, COMMIT, ENVELOPE, TIERS, UNITS, Bundle
from expunge.records.catalogue import Execution
from expunge.records.keys import TrustedKey
from expunge.records.limits import SEGMENTS
from expunge.records.note import SignedCheckpoint
from expunge.records.record import Commit, Operation, RunRecord
from expunge.records.statement import Statement
from expunge.records.verdict import Finding, Level
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule

if TYPE_CHECKING:
    from expunge.models.sums import Accumulation
    from expunge.verify.levels.steps import Scan


@dataclass(frozen=True, kw_only=True)
class Supplied:
    """What the verifier brings: a list of keys, how far to go, and from V2 on rows, states and secrets.

    ``known_checkpoint`` is a signed note that was kept from an earlier visit, and ``known_records`` are digests of
    records that were: the run must come from each. So many ``witnesses`` must have cosigned
    what the bundle shows of the log. ``checkpoints`` is a folder with states that the bundle does not hold, and for an
    approximate method the model.safetensors of its parent. ``base`` is the file that training began with. ``chance``
    draws segments; only tests give it.
    """

    keys: tuple[TrustedKey, ...]
    level: Level = Level.V1
    known_checkpoint: bytes | None = None
    known_records: tuple[bytes, ...] = ()
    witnesses: int = 0
    data: Path | str | Dataset | None = None
    salts: Path | str | None = None
    checkpoints: Path | None = None
    segments: int = SEGMENTS
    noise_key: Path | str | None = None
    trust: Collection[str] = ()
    base: Path | str | None = None
    chance: Random = field(default_factory=secrets.SystemRandom)
    progress: Progress | None = None


@dataclass(frozen=True)
class Envelope:
    """An envelope that trusted keys signed: its digest, what it says, and those keys."""

    digest: bytes
    statement: Statement
    keys: tuple[TrustedKey, ...]


@dataclass
class LoggedAt:
    """A log by its last checkpoint, earlier ones by size, and each envelope's place."""

    head: SignedCheckpoint
    earlier: tuple[SignedCheckpoint, ...] = ()
    places: Mapping[bytes, int] = field(default_factory=dict[bytes, int])

    @property
    def checkpoints(self) -> tuple[SignedCheckpoint, ...]:
        return (*self.earlier, self.head)


@dataclass(eq=False)
class OpenedRecord:
    """One verification. ``findings`` are in the order in which they were made; ``passed`` are the checks that stand.

    ``envelopes`` are by the names of their files. ``links`` are digests and statements of the chain, oldest first.
    """

    bundle: Bundle
    supplied: Supplied
    findings: list[Finding] = field(default_factory=list[Finding])
    passed: set[str] = field(default_factory=set[str])
    envelopes: dict[str, Envelope] = field(default_factory=dict[str, Envelope])
    values: int = 0  # that the records of the chain hold together; each alone is within its limit
    recipe_read: Recipe | None = None
    log: LoggedAt | None = None
    links: tuple[tuple[bytes, Statement], ...] = ()
    scanned: Scan | None = None
    sums: dict[str, np.ndarray] | None = None  # those that were signed, where the verifier brought them
    replay: Any = None  # what checks from V2 on share; its type would bring torch

    @property
    def signed(self) -> bool:
        """Whether the whole chain can be read as what trusted keys signed."""
        return "signatures" in self.passed

    @property
    def chained(self) -> bool:
        """Whether the chain has no gap and its recipe was read: what all beyond form hangs on."""
        return {"chain", "recipe file"} <= self.passed

    @property
    def logged(self) -> LoggedAt | None:
        """The log, where it holds the chain and only grew."""
        return self.log if {"log inclusion", "log consistency"} <= self.passed else None

    @property
    def statements(self) -> dict[bytes, Statement]:
        """All that was signed, by the digests of the envelopes."""
        return {item.digest: item.statement for item in self.envelopes.values()}

    @property
    def digests(self) -> tuple[bytes, ...]:
        """Of the envelopes of the whole chain: the commitment's, the parents', the run's."""
        return tuple(digest for digest, _ in self.links)

    @property
    def commit(self) -> Statement:
        return self.envelopes[COMMIT].statement

    @property
    def run(self) -> Statement:
        return self.envelopes[ENVELOPE].statement

    @property
    def committed(self) -> Commit:
        """What the commitment says."""
        return cast("Commit", self.commit.predicate)

    @property
    def record(self) -> RunRecord:
        """What the run's own record says."""
        return cast("RunRecord", self.run.predicate)

    @property
    def runs(self) -> tuple[Statement, ...]:
        """Every run of the chain, oldest first, the last one included."""
        return tuple(statement for _, statement in self.links[1:])

    @property
    def parents(self) -> tuple[Statement, ...]:
        """The runs between the commitment and the run that the record is of."""
        return self.runs[:-1]

    @property
    def parent(self) -> Statement | None:
        """The run that this one came from; None where its parent is the commitment."""
        return self.parents[-1] if self.parents else None

    @property
    def by_schedule(self) -> bool:
        """Whether the run took the schedule's steps, which a replay carries out one by one, and no steps of its own."""
        return self.record.came_about is Execution.SCHEDULE

    @property
    def solved(self) -> bool:
        """Whether the run's weights follow from sums over its rows."""
        return self.record.came_about is Execution.SOLVE

    @cached_property
    def accumulation(self) -> Accumulation:
        """How the recipe's model is summed, in the lineage whose seed is computed and never read."""
        from expunge.models.sums import accumulation_of

        return accumulation_of(self.recipe, self.schedule.seed)

    @property
    def present(self) -> np.ndarray:
        """Booleans over all slots: whose chair is taken in this run."""
        found = np.ones(self.committed.data.count, dtype=bool)
        found[self.tombstones] = False
        return found

    @property
    def adopted(self) -> bool:
        """Whether the chain begins with a model that was trained elsewhere."""
        return bool(self.runs) and cast("RunRecord", self.runs[0].predicate).operation is Operation.ADOPT

    @property
    def recipe(self) -> Recipe:
        assert self.recipe_read is not None, "the recipe was not read"
        return self.recipe_read

    @cached_property
    def schedule(self) -> Schedule:
        """All steps of the lineage; the seed is computed from recipe, root and beacon, never read."""
        beacon = self.record.randomness.beacon.value
        return Schedule.of(self.recipe, self.committed.data.root, self.units, beacon, self.tiers)

    @cached_property
    def units(self) -> np.ndarray:
        """Unit number of every training slot, int64."""
        return np.frombuffer(self.bundle.read(UNITS), dtype="<u8").astype(np.int64)

    @cached_property
    def tiers(self) -> np.ndarray | None:
        """Tier of every unit, int64, where the recipe deals by them."""
        if self.recipe.tiers is None:
            return None
        return np.frombuffer(self.bundle.read(TIERS), dtype="<u8").astype(np.int64)

    @cached_property
    def tombstones(self) -> np.ndarray:
        """Slots whose chairs are empty in this run, int64, ascending."""
        return np.array(self.record.data.tombstones, dtype=np.int64)

    @cached_property
    def commitment(self) -> Commitment:
        """Splits and leaves of every source row, as reading the data again needs them."""
        leaves: list[tuple[bytes, ...]] = []
        for split in SPLITS:
            content = self.bundle.read(LEAVES[split])
            leaves.append(tuple(content[at : at + DIGEST_BYTES] for at in range(0, len(content), DIGEST_BYTES)))
        assignment = np.frombuffer(self.bundle.read(ASSIGNMENT), dtype=np.uint8)
        return Commitment(assignment, tuple(leaves))

    @property
    def released(self) -> dict[Split, tuple[int, ...]]:
        """Calibration and holdout slots whose rows may be gone."""
        data = self.record.data
        return {Split.CALIBRATION: data.released_calibration, Split.HOLDOUT: data.released_holdout}


def recorded_before(runs: tuple[Statement, ...]) -> RunRecord | None:
    """The record of the last of these runs that has a recorded trajectory."""
    records = (cast("RunRecord", run.predicate) for run in reversed(runs))
    return next((record for record in records if record.checkpoints is not None), None)
