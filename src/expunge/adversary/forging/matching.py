"""The forger that builds its batch row by row: orthogonal matching pursuit with coefficients of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from expunge.adversary.forging.forger import Forger, FoundBatch
from expunge.adversary.forging.step_state import StepState

KEPT = 1 << 28  # gradient entries that are held in memory: 1 GiB in float32
LEAST_GAIN = 1e-12  # of the squared residual: below, rounding would decide


@dataclass(frozen=True, kw_only=True)
class Matching(Forger):
    """Begin with swap's batch, then exchange, again and again, the row that most reduces the residual of its gradient.

    The residual is Σ g over the batch that was carried out less Σ g over the forged one; it never grows. It stops where
    no exchange of one row is a gain. Costs a pass over the pool where its gradients fit into memory, else one for each
    exchange.
    """

    name = "matching"
    exchanges: int = 1000  # at most

    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        slots = target_batch
        for slots, _ in self.trail(state, target_batch, pool):  # noqa: B007
            pass
        return FoundBatch(slots=slots)

    def trail(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
        """Each batch on the way with the length of its residual, swap's first."""
        gone = ~np.isin(target_batch, pool)
        table = _Table(state, pool)
        own = state.gradients(target_batch[gone]).double()
        seats = np.searchsorted(pool, target_batch)  # places in the pool, right only where the row may stay
        squares, toward = table.first_pass(own)
        taken = set(seats[~gone].tolist())
        for at, chair in enumerate(np.flatnonzero(gone)):
            apart = squares - 2 * toward[:, at]
            apart[list(taken)] = np.inf
            seats[chair] = int(np.argmin(apart))
            taken.add(int(seats[chair]))
        residual = own.sum(dim=0) - sum(table.row(int(seat)) for seat in seats[gone])
        yield pool[seats], float(residual.norm())
        members = [table.row(int(seat)) for seat in seats]
        inner = table.products(torch.stack(members))
        for _ in range(self.exchanges):
            pull = table.products(residual[None])[:, 0]
            # ‖r + g_i − g_j‖² − ‖r‖² for every j of the pool (down) and member i (across)
            change = (squares + 2 * -pull)[:, None] + (squares[seats] + 2 * pull[seats])[None] - 2 * inner
            change[seats] = np.inf
            new, chair = np.unravel_index(int(np.argmin(change)), change.shape)
            row = table.row(int(new))
            exchanged = residual + members[chair] - row
            before, after = float(residual.square().sum()), float(exchanged.square().sum())
            if not after < before * (1 - LEAST_GAIN):
                return
            residual, members[chair], seats[chair] = exchanged, row, new
            inner[:, chair] = table.products(row[None])[:, 0]
            yield pool[seats], float(residual.norm())


class _Table:
    """Gradients of the whole pool: kept where they fit, else computed again for every question."""

    def __init__(self, state: StepState, pool: np.ndarray) -> None:
        self._state, self._pool = state, pool
        self._kept: torch.Tensor | None = None

    def first_pass(self, vectors: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """‖g_j‖² and the inner products with some vectors: (pool), (pool, vectors)."""
        pieces: list[torch.Tensor] = []
        squares, products = np.empty(len(self._pool)), np.empty((len(self._pool), len(vectors)))
        fits = len(self._pool) * vectors.shape[1] <= KEPT
        for places, gradients in self._state.gradient_pieces(self._pool):
            wide = gradients.double()
            squares[places] = wide.square().sum(dim=1).cpu().numpy()
            products[places] = (wide @ vectors.T).cpu().numpy()
            if fits:
                pieces.append(gradients)
        if fits:
            self._kept = torch.cat(pieces)
        return squares, products

    def products(self, vectors: torch.Tensor) -> np.ndarray:
        """Inner products of everyone with some vectors: (pool, vectors), in float64."""
        if self._kept is None:
            return self.first_pass(vectors)[1]
        found = np.empty((len(self._pool), len(vectors)))
        for start in range(0, len(self._pool), 256):
            part = slice(start, start + 256)
            found[part] = (self._kept[part].double() @ vectors.T).cpu().numpy()
        return found

    def row(self, place: int) -> torch.Tensor:
        """One gradient in float64."""
        if self._kept is None:
            return self._state.gradients(self._pool[place : place + 1])[0].double()
        return self._kept[place].double()
