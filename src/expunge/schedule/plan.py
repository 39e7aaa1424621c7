"""What the loop carries out: numbered steps, each with a rate and the members of its batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from expunge.core.streams import Stream, stable_order
from expunge.schedule.recipe import Optimiser, Recipe
from expunge.schedule.schedule import Schedule


class Role(Enum):
    """What a batch's members are to a run. In training everyone present is retained."""

    RETAIN = "retain"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Part:
    """The members of one batch: their slots, their chairs in the full batch of ``width``, the epoch they belong to."""

    slots: np.ndarray
    chairs: np.ndarray
    width: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Step:
    """One calendar step. It is skipped when it has no parts; a skipped step changes no state."""

    index: int
    rate: float
    parts: Mapping[Role, Part]


class Plan(Protocol):
    """A row of steps that can be entered anywhere."""

    @property
    def shard(self) -> int: ...

    @property
    def seed(self) -> bytes: ...

    @property
    def total(self) -> int: ...

    def purpose(self, kind: str, role: Role) -> str:
        """Name of the stream that draws augmentation or dropout for a role."""
        ...

    def step(self, index: int) -> Step: ...


class TrainingPlan:
    """One shard of a schedule with some chairs empty."""

    def __init__(self, recipe: Recipe, schedule: Schedule, shard: int, emptied: np.ndarray) -> None:
        self.shard = shard
        self.seed = schedule.seed
        self.total = schedule.total_steps(shard)
        self._schedule = schedule
        self._optimiser = recipe.optimiser
        self._least_present = recipe.least_present
        self._present = np.ones(schedule.count, dtype=bool)
        self._present[emptied] = False
        self._parts: tuple[int, list[Part | None]] | None = None

    def purpose(self, kind: str, role: Role) -> str:
        return kind

    def step(self, index: int) -> Step:
        epoch, batch = self._schedule.locate(self.shard, index)
        if self._parts is None or self._parts[0] != epoch:
            self._parts = (epoch, self._parts_of(epoch))
        part = self._parts[1][batch]
        rate = self._optimiser.rate_at(index, self.total)
        return Step(index, rate, {} if part is None else {Role.RETAIN: part})

    def _parts_of(self, epoch: int) -> list[Part | None]:
        """Every batch of an epoch; None where too few are present."""
        order, size = self._schedule.epoch_order(self.shard, epoch), self._schedule.batch_size
        present = self._present[order]
        everybody = np.arange(size)
        parts: list[Part | None] = []
        for start in range(0, len(order), size):
            chairs, seats = order[start : start + size], present[start : start + size]
            seated = everybody[: len(chairs)] if seats.all() else np.flatnonzero(seats)
            enough = len(seated) >= self._least_present
            parts.append(Part(chairs[seated], seated, len(chairs), epoch) if enough else None)
        return parts


class Walk(Enum):
    """Which rows an unlearning epoch passes over."""

    RETAIN = "retain"
    FORGET = "forget"
    PAIRED = "paired"  # a retain batch and a forget batch in every step; the retain pass sets the epoch
    MIXED = "mixed"  # retain and forget rows in one order, as in training
    FORGET_THEN_RETAIN = "forget-then-retain"


class UnlearningPlan:
    """Passes over the forget and retain rows; orders do not depend on the method's name or fields.

    A retain batch with fewer than ``least_present`` rows is left out, as in training.
    """

    shard = 0

    def __init__(
        self,
        *,
        seed: bytes,
        walk: Walk,
        retain: np.ndarray,
        forget: np.ndarray,
        count: int,
        retain_batch: int,
        forget_batch: int,
        optimiser: Optimiser,
        total: int,
        least_present: int = 1,
    ) -> None:
        self.seed = seed
        self.walk = walk
        self.total = total
        self._count = count
        self._retain = np.union1d(retain, forget) if walk is Walk.MIXED else np.sort(retain)
        self._forget = np.sort(forget)
        self._retain_batch = max(1, min(retain_batch, len(self._retain)))
        self._forget_batch = max(1, min(forget_batch, len(self._forget)))
        self._optimiser = optimiser
        self._least_present = least_present
        self._orders: dict[Role, tuple[int, np.ndarray]] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass: the retain pass sets it wherever there is one."""
        if self.walk is Walk.FORGET:
            return self._forget_batches
        if self.walk is Walk.FORGET_THEN_RETAIN:
            return self._forget_batches + self._retain_batches
        return self._retain_batches

    @property
    def _retain_batches(self) -> int:
        return -(-len(self._retain) // self._retain_batch)

    @property
    def _forget_batches(self) -> int:
        return -(-len(self._forget) // self._forget_batch)

    def purpose(self, kind: str, role: Role) -> str:
        return f"unlearn/{kind}/{role.value}"

    def step(self, index: int) -> Step:
        parts = self._parts(index)
        if Role.RETAIN in parts and len(parts[Role.RETAIN].slots) < self._least_present:
            del parts[Role.RETAIN]
        return Step(index, self._optimiser.rate_at(index, max(1, self.total)), parts)

    def _parts(self, index: int) -> dict[Role, Part]:
        epoch, batch = divmod(index, self.steps_per_epoch)
        match self.walk:
            case Walk.FORGET:
                return {Role.FORGET: self._part(Role.FORGET, epoch, batch)}
            case Walk.PAIRED:
                forget_epoch, forget_batch = divmod(index, self._forget_batches)
                return {
                    Role.RETAIN: self._part(Role.RETAIN, epoch, batch),
                    Role.FORGET: self._part(Role.FORGET, forget_epoch, forget_batch),
                }
            case Walk.FORGET_THEN_RETAIN if batch < self._forget_batches:
                return {Role.FORGET: self._part(Role.FORGET, epoch, batch)}
            case Walk.FORGET_THEN_RETAIN:
                return {Role.RETAIN: self._part(Role.RETAIN, epoch, batch - self._forget_batches)}
            case _:
                return {Role.RETAIN: self._part(Role.RETAIN, epoch, batch)}

    def _part(self, role: Role, epoch: int, batch: int) -> Part:
        size = self._retain_batch if role is Role.RETAIN else self._forget_batch
        slots = self._order(role, epoch)[batch * size : (batch + 1) * size]
        return Part(slots, np.arange(len(slots)), len(slots), epoch)

    def _order(self, role: Role, epoch: int) -> np.ndarray:
        """Rows in the order of the keys of all slots, restricted to this role; reshuffled at every pass."""
        kept = self._orders.get(role)
        if kept is None or kept[0] != epoch:
            members = self._retain if role is Role.RETAIN else self._forget
            keys = Stream(self.seed, f"unlearn/{role.value}-order", 0, epoch).words(self._count)
            kept = (epoch, members[stable_order(keys[members])])
            self._orders[role] = kept
        return kept[1]
