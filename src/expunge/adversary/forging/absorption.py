"""Forging that leaves no trace in the bytes: contributions so small that rounding swallows the difference.

Late in training a row's gradient is so near to another's that exchanging them changes no bit of the next state. No
replay can tell such a batch from the one that was carried out, however exact it is. A schedule that was fixed before
can: it says who sat there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from expunge.adversary.forging.forger import FoundBatch, Trying, put_in
from expunge.adversary.forging.forgers import gradient_distances, nearest_unused
from expunge.adversary.forging.step_state import After, StepState, same_bytes
from expunge.records.states import MODEL_PREFIX
from expunge.train.state import Tensors


@dataclass(frozen=True)
class Likeness:
    """Which parts of two next states, and of what a trace would hold of the step, are the same to the last bit."""

    weights: bool
    buffers: bool
    optimiser: bool
    losses: bool
    gradient: bool

    @property
    def state(self) -> bool:
        """Whether a replay, however exact, could not tell the two steps apart."""
        return self.weights and self.buffers and self.optimiser


def likeness(one: After, other: After, parameters: tuple[str, ...]) -> Likeness:
    """Compare two steps from one state; both must have been carried out with digests."""
    own = frozenset(parameters)

    def same(kind: str) -> bool:
        return same_bytes(*(_of_kind(after, kind, own) for after in (one, other)))

    return Likeness(
        weights=same("weights"),
        buffers=same("buffers"),
        optimiser=same("optimiser"),
        losses=one.losses == other.losses,
        gradient=one.gradient == other.gradient,
    )


def _of_kind(after: After, kind: str, parameters: frozenset[str]) -> Tensors:
    return {name: value for name, value in after.tensors.items() if _kind(name, parameters) == kind}


def _kind(name: str, parameters: frozenset[str]) -> str:
    if name in parameters:
        return "weights"
    return "buffers" if name.startswith(MODEL_PREFIX) else "optimiser"


@dataclass(frozen=True, kw_only=True)
class Absorb(Trying):
    """Try rows in the order of ‖g_j − g_x‖ until one leaves every byte of the next state as it was.

    Weights, buffers and optimiser state all count. Where none of the tries is absorbed the step stays as it is. Costs
    one pass over the pool for the order, and a step for every try.
    """

    name = "absorb"

    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        for slots in self.tries(state, target_batch, pool):
            if same_bytes(state.after(slots).tensors, state.honest.tensors):
                return FoundBatch(slots=slots)
        return FoundBatch(slots=None)

    def tries(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> Iterator[np.ndarray]:
        """Batches with a substitute, the likeliest first."""
        free, apart = gradient_distances(state, target_batch, pool)
        left = apart.copy()
        for _ in range(min(self.candidates, len(free) - len(apart) + 1)):
            chosen = nearest_unused(left)
            yield put_in(target_batch, pool, free[chosen])
            left[np.arange(len(left)), chosen] = np.inf
