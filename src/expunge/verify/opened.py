"""A record whose form holds: the chain of statements, and the bundle's files as values. What V1 and replay read.

Everything here is as the owner wrote it. That it fits together is what the checks of level V1 say; replay starts only
after them, so it may rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from expunge.data.commitment import Commitment
from expunge.data.splits import SPLITS, Split
from expunge.data.stored import LEAVES
from expunge.records.bundle import ASSIGNMENT, LEAF_BYTES, UNITS, Bundle
from expunge.records.record import Commit, RunRecord
from expunge.records.statement import Statement
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class OpenedRecord:
    """An open bundle with its chain, oldest first, and what its files hold.

    ``parents`` are the runs between the commitment and the run that the record is of. ``digests`` are those of the
    envelopes of the whole chain: the commitment's, the parents', the run's.
    """

    bundle: Bundle
    commit: Statement
    parents: tuple[Statement, ...]
    run: Statement
    digests: tuple[bytes, ...]
    recipe: Recipe

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
        return (*self.parents, self.run)

    @property
    def parent(self) -> Statement | None:
        """The run that this one came from; None where its parent is the commitment."""
        return self.parents[-1] if self.parents else None

    @property
    def ancestor(self) -> Statement | None:
        """The nearest run before this one whose trajectory was recorded: whose states may be used again."""
        return recorded_before(self.parents)

    @cached_property
    def schedule(self) -> Schedule:
        """All steps of the lineage; the seed is computed from recipe, root and beacon, never read."""
        beacon = self.record.randomness.beacon.value
        return Schedule.of(self.recipe, self.committed.data.root, self.units, beacon)

    @cached_property
    def units(self) -> np.ndarray:
        """Unit number of every training slot, int64."""
        return np.frombuffer(self.bundle.read(UNITS), dtype="<u8").astype(np.int64)

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
            leaves.append(tuple(content[at : at + LEAF_BYTES] for at in range(0, len(content), LEAF_BYTES)))
        assignment = np.frombuffer(self.bundle.read(ASSIGNMENT), dtype=np.uint8)
        return Commitment(assignment, tuple(leaves))

    @property
    def released(self) -> dict[Split, tuple[int, ...]]:
        """Calibration and holdout slots whose rows may be gone."""
        data = self.record.data
        return {Split.CALIBRATION: data.released_calibration, Split.HOLDOUT: data.released_holdout}


def recorded_before(runs: tuple[Statement, ...]) -> Statement | None:
    """The last of these runs that has a recorded trajectory."""
    return next((run for run in reversed(runs) if cast("RunRecord", run.predicate).checkpoints is not None), None)
