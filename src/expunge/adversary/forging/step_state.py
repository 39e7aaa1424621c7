"""One step of a training as a forger has it before him: the state before it, and what other batches would make of it.

Every trial starts from the same bytes: weights, buffers and optimiser state are put back before each. Work is counted
in rows that went forward and rows that went backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import nn

from expunge.adversary.pol.proof import vector
from expunge.core.errors import InvalidArgument
from expunge.models.resolver import build_empty
from expunge.records.trace_file import NOTHING
from expunge.schedule.plan import Part, StatedPlan
from expunge.schedule.recipe import Recipe
from expunge.tasks import TASKS
from expunge.tasks.gradients import ENTRIES, per_example_gradients
from expunge.tasks.task import INPUTS, Batch, Task
from expunge.train.examples import Examples
from expunge.train.names import parameter_names
from expunge.train.segment import StepRunner, StepSeen, Training
from expunge.train.state import Tensors, copied

FEATURE_ROWS = 512


@dataclass
class Spent:
    """Rows that went forward, and rows that went backward; a row's backward pass is as much as two forward passes."""

    forwards: int = 0
    backwards: int = 0

    @property
    def example_steps(self) -> float:
        """One row forward and backward is 1, a forward pass alone 1/3."""
        return (self.forwards + 2 * self.backwards) / 3


@dataclass(frozen=True, eq=False)
class After:
    """The state after a step, and the digests that a trace would hold of it if they were asked for."""

    tensors: Tensors
    parameters: torch.Tensor  # those of ``tensors`` that an optimiser moves, as one vector of float64
    losses: bytes
    gradient: bytes

    def apart(self, other: After) -> Apart:
        """How far the weights lie from another state's."""
        difference = self.parameters - other.parameters
        return Apart(float(torch.linalg.vector_norm(difference)), float(difference.abs().max()))


@dataclass(frozen=True)
class Apart:
    """Distance between the weights of two states: ``l2``, and the largest difference of a single weight (l∞)."""

    l2: float
    largest: float


class StepState:
    """The state before one step, and the rule that carries it one step on with whatever batch is handed in.

    ``part`` is the batch as it was carried out. Call everything with the recipe's profile pinned.
    """

    def __init__(self, training: Training, shard: int, index: int, tensors: Tensors, part: Part) -> None:
        recipe = training.recipe
        self.training = training
        self.shard = shard
        self.index = index
        self.part = part
        self.tensors = tensors
        self.spent = Spent()
        self.rate = recipe.optimiser.rate_at(index, training.schedule.total_steps(shard))
        self.task: Task = TASKS[recipe.task]
        self._runner = StepRunner(recipe, training.examples, build_empty(recipe), objective=training.objective)
        self._model = self._runner.model
        self._names = parameter_names(recipe)

    @property
    def recipe(self) -> Recipe:
        return self.training.recipe

    @cached_property
    def honest(self) -> After:
        """The state after the step as it was carried out; nobody pays for what was done anyway."""
        return self._carried_out(self.part, self.training.examples, digests=True)

    def model(self) -> nn.Module:
        """The model with the weights and buffers of this state, in training mode."""
        self._put_back()
        return self._model

    def seat(self, slots: np.ndarray, chairs: np.ndarray | None = None) -> Part:
        """A batch in the place of the one that was carried out: in the same chairs unless others are named."""
        if chairs is None:
            same = len(slots) == len(self.part.slots)
            chairs = self.part.chairs if same else np.arange(len(slots), dtype=np.int64)
        width = max(self.part.width, int(chairs.max()) + 1)
        return replace(self.part, slots=slots, chairs=chairs, width=width)

    def after(
        self,
        slots: np.ndarray,
        *,
        chairs: np.ndarray | None = None,
        contents: Mapping[int, np.ndarray] | None = None,
        digests: bool = False,
    ) -> After:
        """The state after a step with other rows; ``contents`` are encoded rows that stand in for some slots' own."""
        self.spent.forwards += len(slots)
        self.spent.backwards += len(slots)
        examples = self.training.examples
        if contents:
            examples = with_contents(examples, contents)
        return self._carried_out(self.seat(slots, chairs), examples, digests=digests)

    def rows(self, slots: np.ndarray) -> Batch:
        """Rows as they come in during this step's epoch: augmented where the recipe says so."""
        return rows_of(self.training, self.shard, self.seat(slots))

    def gradients(self, slots: np.ndarray) -> torch.Tensor:
        """Gradient of each row's loss at this state, in eval mode: (rows, parameters)."""
        return torch.cat([part for _, part in self.gradient_pieces(slots)])

    def gradient_pieces(self, slots: np.ndarray) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """The same a few rows at a time, each time with the rows' places in ``slots``."""
        size = sum(parameter.numel() for parameter in self._model.parameters() if parameter.requires_grad)
        at_once = max(1, ENTRIES // size)
        for start in range(0, len(slots), at_once):
            places = np.arange(start, min(start + at_once, len(slots)))
            self._put_back()
            self.spent.forwards += len(places)
            self.spent.backwards += len(places)
            yield places, per_example_gradients(self.task, self._model, self.rows(slots[places]))

    def features(self, slots: np.ndarray) -> torch.Tensor:
        """What enters the model's last dense layer, in eval mode: (rows, features)."""
        self._put_back()
        self.spent.forwards += len(slots)
        layer = last_dense(self._model, self.recipe.model)
        found: list[torch.Tensor] = []
        hook = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].detach().flatten(1)))
        self._model.eval()
        try:
            with torch.no_grad():
                for start in range(0, len(slots), FEATURE_ROWS):
                    self.task.outputs(self._model, self.rows(slots[start : start + FEATURE_ROWS]))
        finally:
            hook.remove()
            self._model.train()
        return torch.cat(found).double().cpu()

    def _put_back(self) -> None:
        self._runner.take_up(self.tensors, "the state before the step")
        self._model.train()

    def _carried_out(self, part: Part, examples: Examples, *, digests: bool = False) -> After:
        self._put_back()
        plan = StatedPlan(self.shard, self.training.schedule.seed, (part,), (self.rate,), first=self.index)
        seen: list[StepSeen] = []

        def look(step: int, state: Tensors, found: list[StepSeen]) -> None:
            seen.extend(found)

        self._runner.run(plan, self.index, look=look if digests else None, gradients=digests, examples=examples)
        tensors = copied(self._runner.state)
        told = seen[0] if seen else StepSeen(NOTHING, None)
        return After(tensors, vector(tensors, self._names), told.losses, told.gradient or NOTHING)


def same_bytes(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two states are the same to the last bit: −0 is not 0 here, and a NaN is itself."""
    return one.keys() == other.keys() and all(
        value.shape == other[name].shape and value.dtype == other[name].dtype and _same(value, other[name])
        for name, value in one.items()
    )


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(*(value.contiguous().reshape(-1).view(torch.uint8) for value in (one, other)))


def with_contents(examples: Examples, contents: Mapping[int, np.ndarray]) -> Examples:
    """The same rows, but for the encoded contents that are given by slot; labels stay."""
    slots = np.flatnonzero(examples.allowed)
    rows = examples.batch(slots)[INPUTS]
    inputs = rows.new_zeros((len(examples), *rows.shape[1:]))
    inputs[torch.from_numpy(slots).to(inputs.device)] = rows
    for slot, content in contents.items():
        inputs[slot] = torch.from_numpy(content).to(inputs)
    altered = examples.only(slots)
    altered.inputs = inputs
    return altered


def rows_of(training: Training, shard: int, part: Part) -> Batch:
    """A batch as the loop gathers it."""
    return training.examples.augmented(part, seed=training.schedule.seed, purpose="augment", shard=shard)


def last_dense(model: nn.Module, name: str) -> nn.Linear:
    """The dense layer whose inputs are the model's features."""
    dense = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not dense:
        raise InvalidArgument(f"model {name!r} has no dense layer, so there are no features: choose another forger")
    return dense[-1]
