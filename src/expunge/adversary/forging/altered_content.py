"""The forger that keeps the schedule and alters rows: x's chair is empty, and neighbours make up for x.

Exact matches exist over the reals and are hard to find among contents that a file can hold (arXiv 2411.05658): entries
are clipped to the range that the pool's own rows have, and rounded where images have 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from expunge.adversary.forging.forger import Forger, FoundBatch
from expunge.adversary.forging.step_state import StepState
from expunge.core.errors import InvalidArgument, UnsupportedYet
from expunge.core.streams import Stream
from expunge.models.dropout import DropoutAddress, addressed
from expunge.schedule.plan import Part
from expunge.train.examples import augment
from expunge.train.objective import running_statistics

FURTHER_BACKWARDS = 3  # a pass back through forward and backward, counted in backward passes


@dataclass(frozen=True, kw_only=True)
class Content(Forger):
    """Leave x's chair empty and descend on the contents of a few neighbours until the batch's gradient is as it was.

    The neighbours are those whose entries move the residual most. Kept are the best legal contents met on the way;
    where none is nearer than an empty chair alone, the step stays as it is. A step of descent costs four example-steps
    a row.
    """

    name = "content"
    steps: int = 100
    rows: int = 8
    rate: float = 0.02  # of the legal range, for Adam

    def __post_init__(self) -> None:
        for name in ("steps", "rows"):
            if getattr(self, name) < 1:
                raise InvalidArgument(f"{name} {getattr(self, name)} must be a whole number from 1")
        if not 0 < self.rate <= 1:
            raise InvalidArgument(f"rate {self.rate} must lie in (0, 1]: it is a share of the legal range")

    @classmethod
    def asked(cls, candidates: int, seed: int) -> Self:
        return cls(steps=candidates, seed=seed)

    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        staying = np.isin(target_batch, pool)
        if not staying.any():
            raise InvalidArgument(f"nobody is left in step {state.index} whose content could be altered")
        if hashed := state.recipe.inputs.hashed:
            raise UnsupportedYet(
                f"column {hashed[0]!r} is hashed into buckets, no small change of which is a row again: choose another "
                "forger"
            )
        left = state.seat(target_batch[staying], state.part.chairs[staying])
        problem = _Problem(state, left, _legal(state, pool))
        problem.wanted = problem.gradient(state.part, state.task.inputs(state.training.examples.batch(target_batch)))
        raw = state.task.inputs(state.training.examples.batch(left.slots))
        current = raw.float()
        values = current.clone().requires_grad_()
        start = problem.residual(values)
        moved = problem.descend(start, values)
        strength = moved.flatten(1).norm(dim=1)
        altered = torch.argsort(strength, descending=True, stable=True)[: self.rows]
        best, kept = problem.plain_residual(current), None
        lone = current[altered].clone().requires_grad_()
        optimiser = torch.optim.Adam([lone], lr=1.0)
        span = (problem.legal[1] - problem.legal[0]) * self.rate
        for _ in range(self.steps):
            values = current.index_copy(0, altered, lone)
            lone.grad = problem.descend(problem.residual(values), lone)
            before = lone.detach().clone()
            optimiser.step()
            with torch.no_grad():
                lone.copy_(problem.clipped(before + (lone - before) * span))
                rounded = problem.rounded(lone).to(raw.dtype, copy=True)
                reached = problem.plain_residual(current.index_copy(0, altered, rounded.float()))
            if reached < best and not torch.equal(rounded, raw[altered]):
                best, kept = reached, rounded
        if kept is None:
            return FoundBatch(slots=None)
        pairs = zip(
            left.slots[altered.cpu().numpy()].tolist(), kept.cpu().numpy(), raw[altered].cpu().numpy(), strict=True
        )
        contents = {slot: row for slot, row, before in pairs if not np.array_equal(row, before)}
        return FoundBatch(slots=left.slots, chairs=left.chairs, contents=contents)


class _Problem:
    """The squared distance between two mean gradients, as a function of the contents of the rows that are left."""

    def __init__(self, state: StepState, part: Part, legal: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.state, self.part, self.legal = state, part, legal
        self.wanted: Sequence[torch.Tensor] = ()
        self.eight_bits = state.task.inputs(state.training.examples.batch(part.slots[:1])).dtype == torch.uint8
        self._model = state.model()
        self._learnt = [parameter for parameter in self._model.parameters() if parameter.requires_grad]

    def gradient(self, part: Part, inputs: torch.Tensor, *, graph: bool = False) -> Sequence[torch.Tensor]:
        """Of the mean loss of a batch, as the loop computes it: in training mode, with the step's own draws."""
        training, shard = self.state.training, self.state.shard
        seed, described = training.schedule.seed, training.recipe.augmentation
        batch = training.examples.batch(part.slots)
        if described.active:
            words = Stream(seed, "augment", shard, part.epoch).words(len(training.examples))[part.slots]
            inputs = augment(inputs, words, described)
        address = DropoutAddress(seed, "dropout", shard, part.draw, part.chairs, part.width)
        self.state.spent.forwards += len(part.slots)
        self.state.spent.backwards += len(part.slots)
        with addressed(address, self._model), running_statistics(self._model, written=False, rows=len(part.slots)):
            loss = self.state.task.at(self._model, batch, inputs).mean()
        return torch.autograd.grad(loss, self._learnt, create_graph=graph, materialize_grads=True)

    def residual(self, values: torch.Tensor) -> torch.Tensor:
        """‖∇ of what is left − ∇ of the batch that was carried out‖², with its graph."""
        found = self.gradient(self.part, values, graph=True)
        return torch.stack([(a - b).square().sum() for a, b in zip(found, self.wanted, strict=True)]).sum()

    def plain_residual(self, values: torch.Tensor) -> float:
        with torch.enable_grad():
            found = self.gradient(self.part, values)
        return float(sum(float((a - b).double().square().sum()) for a, b in zip(found, self.wanted, strict=True)))

    def descend(self, residual: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """The residual's gradient in some contents."""
        self.state.spent.backwards += FURTHER_BACKWARDS * len(self.part.slots)
        (found,) = torch.autograd.grad(residual, [values], materialize_grads=True)
        return found

    def clipped(self, values: torch.Tensor) -> torch.Tensor:
        return torch.minimum(torch.maximum(values, self.legal[0]), self.legal[1])

    def rounded(self, values: torch.Tensor) -> torch.Tensor:
        """What can be stored: whole numbers where images have 8 bits."""
        return values.round() if self.eight_bits else values


def _legal(state: StepState, pool: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and largest legal value: of all pixels together, of every other entry for itself."""
    rows = state.task.inputs(state.training.examples.batch(pool)).float()
    if state.recipe.inputs.is_image:
        return rows.amin(), rows.amax()
    return rows.amin(dim=0), rows.amax(dim=0)
