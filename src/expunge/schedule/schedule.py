"""Which slots sit in which step: a pure function of the recipe, the committed root and the beacon.

A deleted example leaves an empty chair: the batch keeps its other members and nobody moves. So the steps before the
first one that holds a deleted example are the same computation with and without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256, slot_bytes
from expunge.core.merkle import leaf_hash, tree_hash
from expunge.core.streams import ZERO_BEACON, Stream, lineage_seed, stable_order
from expunge.core.wording import counted
from expunge.schedule.digests import step_bytes
from expunge.schedule.placement import place
from expunge.schedule.recipe import Placement, Recipe


@dataclass(frozen=True)
class Stage:
    """A shard's training on its slices 1 … s. Steps and epochs are counted through the stages."""

    slots: np.ndarray
    first_epoch: int
    epochs: int
    first_step: int
    steps_per_epoch: int
    end_step: int


class Schedule:
    """All steps of one lineage, for every shard; deletions do not change it."""

    def __init__(
        self,
        *,
        seed: bytes,
        units: np.ndarray,
        batch_size: int,
        stage_epochs: tuple[int, ...],
        shards: int = 1,
        placement: Placement = Placement.SUBJECT,
        tiers: np.ndarray | None = None,
    ) -> None:
        self.seed = seed
        self.count = len(units)
        self.batch_size = batch_size
        slices = len(stage_epochs)
        self.tiers: np.ndarray | None = None if tiers is None else tiers[units]  # of each slot
        self.cells = place(seed, units, shards=shards, slices=slices, placement=placement, tiers=tiers)
        self.stages = tuple(self._stages(shard, stage_epochs) for shard in range(shards))
        self._cached: tuple[int, int, np.ndarray] | None = None

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        root: bytes,
        units: np.ndarray,
        beacon: bytes = ZERO_BEACON,
        tiers: np.ndarray | None = None,
    ) -> Schedule:
        """The schedule of a recipe over committed data; ``tiers`` are those of the units, where it deals by them."""
        cells = recipe.shards * recipe.slices
        places = len(units) if recipe.placement is Placement.SLOT else len(np.unique(units))
        if cells > places:
            unit = "training rows" if recipe.placement is Placement.SLOT else "subjects in training"
            raise InvalidArgument(
                f"{recipe.shards} shards × {recipe.slices} slices need {cells} {unit} at least, there are {places}: "
                "ask for fewer"
            )
        if recipe.placement is Placement.TIERS:
            _check_tiers(recipe, units, tiers)
        return cls(
            seed=lineage_seed(recipe.digest, root, beacon),
            units=units,
            batch_size=recipe.batch_size,
            stage_epochs=recipe.stage_epochs,
            shards=recipe.shards,
            placement=recipe.placement,
            tiers=tiers,
        )

    def _stages(self, shard: int, stage_epochs: tuple[int, ...]) -> tuple[Stage, ...]:
        stages: list[Stage] = []
        epoch = step = 0
        for index, epochs in enumerate(stage_epochs):
            slots = np.flatnonzero((self.cells[:, 0] == shard) & (self.cells[:, 1] <= index))
            per_epoch = -(-len(slots) // self.batch_size)
            stage = Stage(slots, epoch, epochs, step, per_epoch, step + epochs * per_epoch)
            stages.append(stage)
            epoch, step = epoch + epochs, stage.end_step
        return tuple(stages)

    @property
    def shards(self) -> int:
        return len(self.stages)

    def total_steps(self, shard: int) -> int:
        """Calendar steps of a shard, counted from all its slots, never from those present."""
        return self.stages[shard][-1].end_step

    def total_epochs(self, shard: int) -> int:
        """Epochs of a shard, counted through its stages."""
        return self.stages[shard][-1].first_epoch + self.stages[shard][-1].epochs

    def stage_ends(self, shard: int) -> tuple[int, ...]:
        """Steps after which a stage is complete."""
        return tuple(stage.end_step for stage in self.stages[shard])

    def shard_slots(self, shard: int) -> np.ndarray:
        """Every slot of a shard, ascending."""
        return self.stages[shard][-1].slots

    def epoch_order(self, shard: int, epoch: int) -> np.ndarray:
        """All slots of a shard's epoch in the order in which they are cut into batches."""
        if self._cached is None or self._cached[:2] != (shard, epoch):
            stage = next(s for s in self.stages[shard] if epoch < s.first_epoch + s.epochs)
            keys = Stream(self.seed, "order", shard, epoch).words(self.count)
            ordered = stage.slots[stable_order(keys if len(stage.slots) == self.count else keys[stage.slots])]
            self._cached = (shard, epoch, ordered)
        return self._cached[2]

    def locate(self, shard: int, step: int) -> tuple[int, int]:
        """(epoch, batch within the epoch) of a step."""
        for stage in self.stages[shard]:
            if step < stage.end_step:
                passed, batch = divmod(step - stage.first_step, stage.steps_per_epoch)
                return stage.first_epoch + passed, batch
        raise InvalidArgument(f"step {step} lies beyond the {self.total_steps(shard)} steps of shard {shard}")

    def chairs(self, shard: int, step: int) -> np.ndarray:
        """Slots of one step in chair order, empty chairs included."""
        epoch, batch = self.locate(shard, step)
        return self.epoch_order(shard, epoch)[batch * self.batch_size : (batch + 1) * self.batch_size]

    def batches(self, shard: int) -> Iterator[tuple[int, np.ndarray]]:
        """(step, chairs) for every step of a shard."""
        step = 0
        for stage in self.stages[shard]:
            for epoch in range(stage.first_epoch, stage.first_epoch + stage.epochs):
                ordered = self.epoch_order(shard, epoch)
                for start in range(0, len(ordered), self.batch_size):
                    yield step, ordered[start : start + self.batch_size]
                    step += 1

    def first_touch(self, shard: int, slots: np.ndarray) -> int | None:
        """First step of a shard that holds one of these slots; None when it never does."""
        wanted = np.zeros(self.count, dtype=bool)
        wanted[slots] = True
        if not wanted[self.shard_slots(shard)].any():
            return None
        for stage in self.stages[shard]:
            if not wanted[stage.slots].any():
                continue
            touched = np.flatnonzero(wanted[self.epoch_order(shard, stage.first_epoch)])
            return stage.first_step + int(touched[0]) // self.batch_size
        return None

    def work(self, emptied: np.ndarray, *, least_present: int = 1, starts: tuple[int, ...] | None = None) -> int:
        """Example-steps from ``starts`` (one step per shard, default 0) to the end, with these slots empty."""
        present = np.ones(self.count, dtype=np.int64)
        present[emptied] = 0
        if least_present <= 1 and starts is None:  # everybody present counts once an epoch, whatever the order
            stages = [stage for shard in self.stages for stage in shard]
            return sum(stage.epochs * int(present[stage.slots].sum()) for stage in stages)
        total = 0
        for shard in range(self.shards):
            start = 0 if starts is None else starts[shard]
            for stage in self.stages[shard]:
                for epoch in range(stage.first_epoch, stage.first_epoch + stage.epochs):
                    first = stage.first_step + (epoch - stage.first_epoch) * stage.steps_per_epoch
                    if first + stage.steps_per_epoch <= start:
                        continue
                    seated = present[self.epoch_order(shard, epoch)]
                    sums = np.add.reduceat(seated, np.arange(0, len(seated), self.batch_size))
                    sums = sums[max(0, start - first) :]
                    total += int(sums[sums >= least_present].sum())
        return total

    def digest(self) -> bytes:
        """RFC 6962 root over all steps, shard by shard, empty chairs included."""
        return tree_hash(
            leaf_hash(step_bytes(shard, step, chairs))
            for shard in range(self.shards)
            for step, chairs in self.batches(shard)
        )


def _check_tiers(recipe: Recipe, units: np.ndarray, tiers: np.ndarray | None) -> None:
    """Every subject has a tier, and every tier somebody for each shard."""
    if tiers is None or len(tiers) != units.max() + 1 or sha256(slot_bytes(tiers)).hex() != recipe.tiers:
        what = "are not at hand" if tiers is None else "are others"
        raise InvalidArgument(
            f"the recipe deals subjects by tiers, which {what}: name their file in `placement` as tiers:FILE"
        )
    if not 0 <= tiers.min() <= tiers.max() < recipe.slices:
        raise InvalidArgument(
            f"tiers from {tiers.min()} to {tiers.max()} in {recipe.slices} slices: a tier is a slice, counted from 0"
        )
    there = np.bincount(tiers, minlength=recipe.slices)
    scarce = int(there.argmin())
    if there[scarce] < recipe.shards:
        raise InvalidArgument(
            f"tier {scarce} has {counted(int(there[scarce]), 'subject')} in training, and {recipe.shards} shards need "
            "one each in every tier: ask for fewer `shards`, or join tiers"
        )
