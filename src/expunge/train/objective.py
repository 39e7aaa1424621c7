"""What a step minimises: a weighted sum of terms that are computed only if their weight is not zero."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.models.dropout import DropoutAddress, addressed
from expunge.schedule.plan import Plan, Role, Step
from expunge.tasks.task import Batch, Task
from expunge.train.examples import Examples


@dataclass(frozen=True, slots=True)
class Term:
    """A scalar that costs ``thirds`` thirds of an example-step once it is computed."""

    weight: float
    thirds: int
    compute: Callable[[], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Loss:
    """A weighted sum of terms. A term whose weight is exactly 0 is never computed: no pass, no cost."""

    terms: tuple[Term, ...] = ()

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.terms + other.terms)

    def __neg__(self) -> Loss:
        return -1.0 * self

    def __sub__(self, other: Loss) -> Loss:
        return self + -other

    def __rmul__(self, factor: float) -> Loss:
        return Loss(tuple(Term(factor * term.weight, term.thirds, term.compute) for term in self.terms))

    @property
    def needed(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if term.weight != 0)

    @property
    def thirds(self) -> int:
        return sum(term.thirds for term in self.needed)

    def value(self) -> torch.Tensor | None:
        """The sum; None when nothing is left of it."""
        total: torch.Tensor | None = None
        for term in self.needed:
            computed = term.compute()
            weighted = computed if term.weight == 1.0 else term.weight * computed
            total = weighted if total is None else total + weighted
        return total


class StepBatch:
    """What an objective sees of one step: losses of its retain and forget members, as terms."""

    def __init__(
        self,
        step: Step,
        plan: Plan,
        examples: Examples,
        task: Task,
        relabel: Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor] | None = None,
    ) -> None:
        self.step = step
        self.losses: dict[Role, torch.Tensor] = {}
        self._plan = plan
        self._examples = examples
        self._task = task
        self._relabel = relabel

    def retain_loss(self, student: nn.Module) -> Loss:
        """Mean loss of the retain members; nothing where the step has none."""
        return self._mean_loss(student, Role.RETAIN, writes=True)

    def forget_loss(self, student: nn.Module, *, writes: bool = False) -> Loss:
        """Mean loss of the forget members.

        Running statistics are an average over the training: a forget pass does not write them unless ``writes``.
        """
        return self._mean_loss(student, Role.FORGET, writes=writes)

    def _mean_loss(self, student: nn.Module, role: Role, *, writes: bool) -> Loss:
        part = self.step.parts.get(role)
        if part is None or len(part.slots) == 0:
            return Loss()
        return Loss((Term(1.0, 3 * len(part.slots), lambda: self._compute(student, role, writes)),))

    def _compute(self, student: nn.Module, role: Role, writes: bool) -> torch.Tensor:
        part = self.step.parts[role]
        batch = self._gather(role)
        address = DropoutAddress(
            self._plan.seed,
            self._plan.purpose("dropout", role),
            self._plan.shard,
            self.step.index,
            part.chairs,
            part.width,
        )
        with addressed(address, student), running_statistics(student, written=writes, rows=len(batch)):
            losses = _losses(self._task, student, batch)
        self.losses[role] = losses.detach()
        return losses.mean()

    def _gather(self, role: Role) -> Batch:
        part = self.step.parts[role]
        batch = self._examples.batch(
            part, seed=self._plan.seed, purpose=self._plan.purpose("augment", role), shard=self._plan.shard
        )
        if self._relabel is None:
            return batch
        slots = torch.from_numpy(part.slots).to(batch.labels.device)
        return Batch(batch.inputs, self._relabel(slots, batch.labels, part.epoch))


class Objective(Protocol):
    """A small pure function of the student, a step's batch, and a frozen teacher where the method asked for one."""

    def __call__(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None, /) -> Loss: ...


def training_objective(student: nn.Module, batch: StepBatch, teacher: nn.Module | None = None) -> Loss:
    """Plain training: the mean loss over those present."""
    return batch.retain_loss(student)


@contextmanager
def running_statistics(model: nn.Module, *, written: bool, rows: int) -> Generator[None]:
    """Let a pass in training mode use batch statistics without writing them into the running ones.

    A batch norm over one row is undefined: a single row that must not be written passes on the running statistics.
    """
    if written and rows >= 2:
        yield
        return
    touched = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)  # pyright: ignore[reportPrivateUsage]
        and module.track_running_stats
        and module.training
    ]
    kept = [(vars(module)["_buffers"], dict(module.named_buffers(recurse=False))) for module in touched]
    for module, (buffers, own) in zip(touched, kept, strict=True):
        module.training = rows >= 2
        buffers.update({name: value.clone() for name, value in own.items()})  # what is written goes into copies
    try:
        yield
    finally:
        for module, (buffers, own) in zip(touched, kept, strict=True):
            module.training = True
            buffers.update(own)


def _losses(task: Task, student: nn.Module, batch: Batch) -> torch.Tensor:
    """The model's own failure is one sentence of ours."""
    try:
        return task.losses(student, batch)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise RunError(
            f"the model failed on a batch of {len(batch)} rows of shape {tuple(batch.inputs.shape[1:])} in training "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}): nothing is lost; repair the model"
        ) from error
