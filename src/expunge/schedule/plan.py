"""What the loop carries out: numbered steps, each with a rate and the members of its batches."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate
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
    """The members of one batch: their slots, their chairs in the full batch of ``width``, the epoch they belong to.

    ``draw`` numbers a role's batches: dropout is addressed by it, so that another role's passes shift nothing.
    """

    slots: np.ndarray
    chairs: np.ndarray
    width: int
    epoch: int
    draw: int


@dataclass(frozen=True, slots=True)
class Step:
    """One calendar step. It is skipped when it has no parts; a skipped step changes no state.

    ``stretch`` numbers the stretch of the plan that it belongs to, ``turn`` the optimiser that takes it; ``epoch`` of
    ``epochs`` is how far the stretch has come.
    """

    index: int
    rate: float
    parts: Mapping[Role, Part]
    stretch: int = 0
    turn: int = 0
    epoch: int = 0
    epochs: int = 1
    begins: bool = False  # whether an epoch of its stretch begins with it


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
            self._parts = (epoch, self._parts_of(epoch, index - batch))
        part = self._parts[1][batch]
        rate = self._optimiser.rate_at(index, self.total)
        return Step(index, rate, {} if part is None else {Role.RETAIN: part})

    def _parts_of(self, epoch: int, first: int) -> list[Part | None]:
        """Every batch of an epoch; None where too few are present."""
        order, size = self._schedule.epoch_order(self.shard, epoch), self._schedule.batch_size
        present = self._present[order]
        everybody = np.arange(size)
        parts: list[Part | None] = []
        for start in range(0, len(order), size):
            chairs, seats = order[start : start + size], present[start : start + size]
            seated = everybody[: len(chairs)] if seats.all() else np.flatnonzero(seats)
            enough = len(seated) >= self._least_present
            parts.append(Part(chairs[seated], seated, len(chairs), epoch, first + len(parts)) if enough else None)
        return parts


class StatedPlan:
    """Steps with whatever members and rates somebody names, from step ``first`` on; ``rates`` may still be changed."""

    def __init__(
        self, shard: int, seed: bytes, parts: Sequence[Part | None], rates: np.ndarray | Sequence[float], first: int = 0
    ) -> None:
        self.shard = shard
        self.seed = seed
        self.total = first + len(parts)
        self._parts = parts
        self._rates = rates
        self._first = first

    def purpose(self, kind: str, role: Role) -> str:
        return kind

    def step(self, index: int) -> Step:
        part, rate = self._parts[index - self._first], self._rates[index - self._first]
        return Step(index, float(rate), {} if part is None else {Role.RETAIN: part})


class Walk(Enum):
    """Which rows an unlearning epoch passes over."""

    RETAIN = "retain"
    FORGET = "forget"
    PAIRED = "paired"  # a retain batch and a forget batch in every step; the retain pass sets the epoch
    PAIRED_BY_FORGET = "paired-by-forget"  # the same; the forget pass sets the epoch
    MIXED = "mixed"  # retain and forget rows in one order, as in training, all of them trained on
    SPLIT = "split"  # the same order, but each step keeps its forget and its retain members apart
    FORGET_THEN_RETAIN = "forget-then-retain"
    NOBODY = "nobody"  # steps without rows: what they minimise is not a loss on examples


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Passes of one kind under one optimiser.

    ``epochs`` None goes on to the budget's end. Stages of one ``turn`` share an optimiser, its state and the calendar,
    which spans all their steps.
    """

    walk: Walk
    optimiser: Optimiser
    retain_batch: int
    forget_batch: int
    epochs: float | None = None
    turn: int = 0


class UnlearningPlan:
    """Passes over the forget and retain rows; orders do not depend on the method's name or fields.

    ``steps`` says how many steps of each stretch are planned. Passes of a role are numbered through all stretches: none
    replays an earlier order. A retain batch with fewer than ``least_present`` rows is left out, as in training. A
    ``draft`` is for counting: its batches have the right sizes, in no order.
    """

    shard = 0

    def __init__(
        self,
        *,
        seed: bytes,
        stretches: Sequence[Stretch],
        steps: Sequence[int],
        retain: np.ndarray,
        forget: np.ndarray,
        count: int,
        least_present: int = 1,
        draft: bool = False,
    ) -> None:
        self.seed = seed
        self.total = sum(steps)
        self._draft = draft and all(stretch.walk is not Walk.SPLIT for stretch in stretches)
        self._stretches = tuple(stretches)
        self.steps = tuple(steps)
        self._count = count
        self._retain = np.sort(retain)
        self._forget = np.sort(forget)
        self._everybody = np.union1d(retain, forget)
        self._forgotten = np.zeros(count, dtype=bool)
        self._forgotten[forget] = True
        self._least_present = least_present
        self._starts = [0, *accumulate(steps)]
        self._passed = self._passes_before()
        self._turns = {
            turn: sum(of for stretch, of in zip(self._stretches, self.steps, strict=True) if stretch.turn == turn)
            for turn in {stretch.turn for stretch in self._stretches}
        }
        self._orders: dict[Role, tuple[int, np.ndarray]] = {}

    def steps_per_epoch(self, number: int) -> int:
        """Steps of one pass of a stretch: the retain pass sets it wherever there is one."""
        stretch = self._stretches[number]
        retain, forget = self._batches(number, Role.RETAIN), self._batches(number, Role.FORGET)
        match stretch.walk:
            case Walk.FORGET | Walk.PAIRED_BY_FORGET:
                return forget
            case Walk.FORGET_THEN_RETAIN:
                return forget + retain
            case Walk.NOBODY:
                return 1
            case _:
                return retain

    def wanted(self, number: int) -> int | None:
        """Steps that a stretch's own epochs ask for; None where the budget alone ends it."""
        epochs = self._stretches[number].epochs
        return None if epochs is None else round(epochs * self.steps_per_epoch(number))

    def purpose(self, kind: str, role: Role) -> str:
        return f"unlearn/{kind}/{role.value}"

    def step(self, index: int) -> Step:
        number = min(bisect_right(self._starts, index), len(self._stretches)) - 1
        within, stretch = index - self._starts[number], self._stretches[number]
        parts = self._parts(number, within)
        if Role.RETAIN in parts and len(parts[Role.RETAIN].slots) < self._least_present:
            parts = {} if self._stretches[number].walk is Walk.PAIRED else parts  # never ascent without its descent
            parts.pop(Role.RETAIN, None)
        taken = sum(
            of
            for other, of in zip(self._stretches[:number], self.steps[:number], strict=True)
            if other.turn == stretch.turn
        )
        per_epoch = self.steps_per_epoch(number)
        return Step(
            index,
            stretch.optimiser.rate_at(taken + within, max(1, self._turns[stretch.turn])),
            parts,
            stretch=number,
            turn=stretch.turn,
            epoch=within // per_epoch,
            epochs=max(1, -(-self.steps[number] // per_epoch)),
            begins=within % per_epoch == 0,
        )

    def _members(self, number: int, role: Role) -> np.ndarray:
        if role is Role.FORGET:
            return self._forget
        return self._everybody if self._stretches[number].walk in (Walk.MIXED, Walk.SPLIT) else self._retain

    def _size(self, number: int, role: Role) -> int:
        stretch = self._stretches[number]
        size = stretch.retain_batch if role is Role.RETAIN else stretch.forget_batch
        return max(1, min(size, len(self._members(number, role))))

    def _batches(self, number: int, role: Role) -> int:
        return -(-len(self._members(number, role)) // self._size(number, role))

    def _passes_before(self) -> list[dict[Role, tuple[int, int]]]:
        """For each stretch and role: passes begun and batches drawn before it."""
        found: list[dict[Role, tuple[int, int]]] = []
        passed, drawn = dict.fromkeys(Role, 0), dict.fromkeys(Role, 0)
        for number, (stretch, steps) in enumerate(zip(self._stretches, self.steps, strict=True)):
            found.append({role: (passed[role], drawn[role]) for role in Role})
            for role, batches in self._drawn(number, stretch.walk, steps).items():
                each = self._batches(number, role)
                passed[role] += -(-batches // each) if each else 0
                drawn[role] += batches
        return found

    def _drawn(self, number: int, walk: Walk, steps: int) -> dict[Role, int]:
        """Batches of each role in the first ``steps`` steps of a stretch."""
        match walk:
            case Walk.FORGET:
                return {Role.FORGET: steps}
            case Walk.PAIRED | Walk.PAIRED_BY_FORGET:
                return {Role.FORGET: steps, Role.RETAIN: steps}
            case Walk.FORGET_THEN_RETAIN:
                first = self._batches(number, Role.FORGET)
                whole, rest = divmod(steps, self.steps_per_epoch(number))
                forget = whole * first + min(rest, first)
                return {Role.FORGET: forget, Role.RETAIN: steps - forget}
            case Walk.NOBODY:
                return {}
            case _:
                return {Role.RETAIN: steps}

    def _parts(self, number: int, within: int) -> dict[Role, Part]:
        match self._stretches[number].walk:
            case Walk.NOBODY:
                return {}
            case Walk.FORGET:
                return {Role.FORGET: self._part(number, Role.FORGET, within)}
            case Walk.PAIRED | Walk.PAIRED_BY_FORGET:
                return {role: self._part(number, role, within) for role in (Role.RETAIN, Role.FORGET)}
            case Walk.FORGET_THEN_RETAIN:
                drawn = self._drawn(number, Walk.FORGET_THEN_RETAIN, within)
                forget, retain = self._batches(number, Role.FORGET), self._batches(number, Role.RETAIN)
                role = Role.FORGET if within % (forget + retain) < forget else Role.RETAIN
                return {role: self._part(number, role, drawn[role])}
            case Walk.SPLIT:
                return self._split(self._part(number, Role.RETAIN, within))
            case _:
                return {Role.RETAIN: self._part(number, Role.RETAIN, within)}

    def _part(self, number: int, role: Role, batch: int) -> Part:
        """A role's batch, counted from the beginning of the stretch."""
        passed, drawn = self._passed[number][role]
        epoch, place = divmod(batch, self._batches(number, role))
        size = self._size(number, role)
        slots = self._order(role, self._members(number, role), passed + epoch)[place * size : (place + 1) * size]
        return Part(slots, np.arange(len(slots)), len(slots), passed + epoch, drawn + batch)

    def _split(self, part: Part) -> dict[Role, Part]:
        forgotten = self._forgotten[part.slots]
        return {
            role: replace(part, slots=part.slots[chosen], chairs=part.chairs[chosen])
            for role, chosen in ((Role.RETAIN, ~forgotten), (Role.FORGET, forgotten))
            if chosen.any()
        }

    def _order(self, role: Role, members: np.ndarray, epoch: int) -> np.ndarray:
        """Rows in the order of the keys of all slots, restricted to this role; reshuffled at every pass."""
        if self._draft:
            return members
        kept = self._orders.get(role)
        if kept is None or kept[0] != epoch or len(kept[1]) != len(members):
            keys = Stream(self.seed, f"unlearn/{role.value}-order", 0, epoch).words(self._count)
            kept = (epoch, members[stable_order(keys[members])])
            self._orders[role] = kept
        return kept[1]
