"""The forger that keeps an epoch's members and changes who sits where: somebody from another step takes x's chair.

Counts and members of the epoch are right; only a schedule that was fixed before shows that the order is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expunge.adversary.forging.forger import Forger, FoundBatch
from expunge.adversary.forging.forgers import Swap
from expunge.adversary.forging.step_state import StepState
from expunge.schedule.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Order(Swap):
    """Like swap among the members of the same epoch; whoever comes in leaves an empty chair in another step.

    Costs one pass over the pool. The step that is left with an empty chair is forged as well (``Leave``).
    """

    name = "order"

    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        members = state.training.schedule.epoch_order(state.shard, state.part.epoch)
        return super()._find(state, target_batch, np.intersect1d(pool, members))


@dataclass(frozen=True, kw_only=True)
class Leave(Forger):
    """Leave the chairs of those who have to go empty, and change nothing else: no work at all."""

    name = "leave"

    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        staying = np.isin(target_batch, pool)
        if np.count_nonzero(staying) < state.recipe.least_present:
            return FoundBatch(slots=None)
        return FoundBatch(slots=target_batch[staying], chairs=state.part.chairs[staying])


class Moves:
    """Who moved within which epoch, so that nobody moves twice and each leaves an empty chair behind."""

    def __init__(self, schedule: Schedule, touched: Sequence[tuple[int, int]]) -> None:
        self._schedule = schedule
        self._touched = touched
        self._gone: dict[tuple[int, int], list[int]] = {}

    @property
    def steps(self) -> list[tuple[int, int]]:
        """(shard, step) of every step that somebody left."""
        return sorted(self._gone)

    def free(self, state: StepState, pool: np.ndarray) -> np.ndarray:
        """The pool without those who moved in this epoch already, or sit where somebody has to go."""
        taken: list[np.ndarray] = []
        for shard, step in self._touched:
            if shard == state.shard and step != state.index and self._epoch(shard, step) == state.part.epoch:
                taken.append(self._schedule.chairs(shard, step))
        for (shard, step), slots in self._gone.items():
            if shard == state.shard and self._epoch(shard, step) == state.part.epoch:
                taken.append(np.array(slots))
        return pool if not taken else np.setdiff1d(pool, np.concatenate(taken))

    def note(self, state: StepState, forged: np.ndarray | None) -> None:
        """Write down whom a forged batch took from which step."""
        if forged is None:
            return
        order = self._schedule.epoch_order(state.shard, state.part.epoch)
        first = state.index - self._schedule.locate(state.shard, state.index)[1]
        for slot in np.setdiff1d(forged, state.part.slots).tolist():
            step = first + int(np.flatnonzero(order == slot)[0]) // self._schedule.batch_size
            self._gone.setdefault((state.shard, step), []).append(slot)

    def gone(self, state: StepState) -> np.ndarray:
        """Who left a step."""
        return np.array(self._gone[state.shard, state.index], dtype=np.int64)

    def _epoch(self, shard: int, step: int) -> int:
        return self._schedule.locate(shard, step)[0]
