"""Forgers that take other rows as they are: at random, by likeness, or by their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from expunge.adversary.forging.forger import Forger, FoundBatch, Trying, outside, put_in
from expunge.adversary.forging.step_state import Apart, StepState
from expunge.core.errors import InvalidArgument
from expunge.core.streams import stable_order


@dataclass(frozen=True, kw_only=True)
class Greedy(Trying):
    """Draw whole batches from everybody else and keep the one whose step lands nearest (Thudi et al., 2022).

    Costs candidates × batch size example-steps. The paper's notebook says 400 candidates.
    """

    name = "greedy"

    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        batches = list(self.proposals(state, target_batch, pool))
        tried = [apart.l2 for apart in distances(state, batches)]
        return FoundBatch(slots=batches[int(np.argmin(tried))])

    def proposals(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> Iterator[np.ndarray]:
        """Every candidate batch, drawn without replacement, independently of the other candidates."""
        if len(pool) < len(target_batch):
            raise InvalidArgument(
                f"a batch of {len(target_batch)} rows cannot be drawn from {len(pool)}: the batch is too large for "
                "this data"
            )
        draws = self.draws(state, target_batch, pool, self.candidates)
        for _ in range(self.candidates):
            yield pool[stable_order(draws.words(len(pool)))[: len(target_batch)]]


@dataclass(frozen=True, kw_only=True)
class GreedyKeep(Greedy):
    """Like greedy, but redraw only the rows that have to go; everybody else keeps their chair.

    Costs candidates × batch size example-steps; nobody is tried twice, so there are at most as many candidates as rows.
    """

    name = "greedy-keep"

    def proposals(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> Iterator[np.ndarray]:
        free = outside(target_batch, pool)
        wanted = int((~np.isin(target_batch, pool)).sum())
        order = free[stable_order(self.draws(state, target_batch, pool, self.candidates).words(len(free)))]
        for start in range(0, min(self.candidates * wanted, len(free) - wanted + 1), wanted):
            yield put_in(target_batch, pool, order[start : start + wanted])


@dataclass(frozen=True, kw_only=True)
class Nearest(Forger):
    """Take the row with the nearest features, of those that are not in the batch (Zhang et al., 2024).

    Features are what enters the last dense layer, in eval mode. Costs one forward pass over the pool.
    """

    name = "nearest"

    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        free = outside(target_batch, pool)
        gone = target_batch[~np.isin(target_batch, pool)]
        features = state.features(np.concatenate([gone, free]))
        apart = torch.cdist(features[: len(gone)], features[len(gone) :]).numpy()
        return FoundBatch(slots=put_in(target_batch, pool, free[nearest_unused(apart)]))


@dataclass(frozen=True, kw_only=True)
class Swap(Forger):
    """Take the row whose gradient is nearest to that of the row that has to go.

    With plain SGD the weights land (rate / b) · ‖g_j − g_x‖ away, exactly, where rows do not meet in the model. Costs
    one pass over the pool.
    """

    name = "swap"

    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        free, apart = gradient_distances(state, target_batch, pool)
        return FoundBatch(slots=put_in(target_batch, pool, free[nearest_unused(apart)]))


def distances(state: StepState, batches: Iterable[np.ndarray]) -> Iterator[Apart]:
    """How far each batch's step lands from the one that was carried out, each for itself."""
    return (state.after(slots).apart(state.honest) for slots in batches)


def gradient_distances(state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who may come in, and ‖g_j − g_x‖ of everyone j of them for each x that has to go: (gone, free)."""
    free = outside(target_batch, pool)
    own = state.gradients(target_batch[~np.isin(target_batch, pool)]).double()
    found = np.empty((len(own), len(free)))
    for places, gradients in state.gradient_pieces(free):
        for row, gradient in enumerate(own):
            found[row, places] = torch.linalg.vector_norm(gradients.double() - gradient, dim=1).cpu().numpy()
    return free, found


def nearest_unused(apart: np.ndarray) -> np.ndarray:
    """For each row of distances the nearest column that no earlier row took."""
    taken: list[int] = []
    for row in apart:
        left = row.copy()
        left[taken] = np.inf
        taken.append(int(np.argmin(left)))
    return np.array(taken, dtype=np.int64)
