"""What a step minimises: a weighted sum of terms that are computed only if their weight is not zero."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from expunge.core.errors import InvalidArgument, RunError
from expunge.models.dropout import DropoutAddress, addressed
from expunge.schedule.plan import Part, Plan, Role, Step
from expunge.tasks.task import Batch, Task
from expunge.train.examples import Examples

Watching = Callable[[nn.Module, Part], AbstractContextManager[None]]
Relabel = Callable[[Batch, int], Batch]  # of the rows of a step in an epoch


@dataclass(frozen=True, slots=True)
class Term:
    """A scalar and the passes that it needs, each with its cost in thirds of an example-step.

    Terms that name the same pass share it: it is computed and counted once.
    """

    weight: float
    passes: Mapping[Hashable, int]
    compute: Callable[[], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Loss:
    """A weighted sum of terms. A term whose weight is exactly 0 is never computed: no pass, no cost."""

    terms: tuple[Term, ...] = ()

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.terms + Loss.checked(other).terms)

    __radd__ = __add__

    def __neg__(self) -> Loss:
        return -1.0 * self

    def __sub__(self, other: Loss) -> Loss:
        return self + -Loss.checked(other)

    def __rsub__(self, other: Loss) -> Loss:
        return Loss.checked(other) - self

    def __mul__(self, factor: float) -> Loss:
        if isinstance(factor, Loss):
            raise InvalidArgument("a product of two losses is no weighted sum of them: write `loss.through(function)`")
        return Loss(tuple(Term(factor * term.weight, term.passes, term.compute) for term in self.terms))

    __rmul__ = __mul__

    def through(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Loss:
        """A function of the sum, such as a hinge at a cap, as one term; nothing where nothing is left of the sum.

        It costs what the sum costs, even where the function is flat: nobody knows that before it is computed.
        """
        if not self.needed:
            return Loss()

        def compute() -> torch.Tensor:
            found = function(self.value())  # pyright: ignore[reportArgumentType]
            if not isinstance(found, torch.Tensor) or found.dim():
                raise InvalidArgument(
                    f"the function of `through` answered {found!r:.40}: it must make one number of the tensor "
                    "that it is given, such as lambda loss: torch.relu(2.0 - loss)"
                )
            return found

        return Loss((Term(1.0, {key: cost for term in self.needed for key, cost in term.passes.items()}, compute),))

    @staticmethod
    def checked(found: object) -> Loss:
        """What an objective is made of; whatever else is refused, with the way to write it."""
        if isinstance(found, Loss):
            return found
        raise InvalidArgument(
            f"an objective is a weighted sum of losses, and {found!r:.40} is no loss but a {type(found).__name__}: a "
            "function of a loss is written as `loss.through(function)`, a constant into that function"
        )

    @property
    def needed(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if term.weight != 0)

    @property
    def thirds(self) -> int:
        costs: dict[Hashable, int] = {}
        for term in self.needed:
            costs.update(term.passes)
        return sum(costs.values())

    def value(self) -> torch.Tensor | None:
        """The sum; None when nothing is left of it."""
        total: torch.Tensor | None = None
        for term in self.needed:
            computed = term.compute()
            weighted = computed if term.weight == 1.0 else term.weight * computed
            total = weighted if total is None else total + weighted
        return total


@dataclass(frozen=True, slots=True)
class Pass:
    """One model over one part of a step. Without ``gradient`` it is a forward pass alone, a third of the cost.

    ``writes`` says whether batch norms in training mode write their running statistics.
    """

    model: nn.Module
    role: Role
    gradient: bool = True
    writes: bool = False

    @property
    def key(self) -> Hashable:
        return id(self.model), self.role, self.gradient, self.writes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a pass gave: outputs for the rows of its batch."""

    outputs: torch.Tensor
    batch: Batch


@dataclass(frozen=True, slots=True)
class Extras:
    """What a method may lay beside the rows: other labels, and a weight for each slot in the retain loss.

    The loss divides by the sum of the weights of those present, of their sizes where some are negative, so that a
    common scale of them means nothing.
    """

    relabel: Relabel | None = None
    slot_weights: torch.Tensor | None = None


@dataclass(slots=True)
class _Gathered:
    batches: dict[Role, Batch] = field(default_factory=dict[Role, Batch])
    answers: dict[Hashable, Answer] = field(default_factory=dict[Hashable, Answer])


class StepBatch:
    """What an objective sees of one step: losses of its retain and forget members, as terms."""

    def __init__(
        self,
        step: Step,
        plan: Plan,
        examples: Examples,
        task: Task,
        extras: Extras | None = None,
        watching: Watching | None = None,
    ) -> None:
        self.step = step
        self.watched = ExitStack()  # of the passes that were begun, until they have gone backward
        self.losses: dict[Role, torch.Tensor] = {}
        self._plan = plan
        self._examples = examples
        self._task = task
        self._extras = extras or Extras()
        self._watching = watching
        self._gathered = _Gathered()

    def retain_loss(self, student: nn.Module) -> Loss:
        """Mean loss of the retain members, by slot weights where there are any; nothing where the step has none."""
        return self.term(self._retained, Pass(student, Role.RETAIN, writes=True))

    def forget_loss(self, student: nn.Module, *, writes: bool = False) -> Loss:
        """Mean loss of the forget members.

        Running statistics are an average over the training: a forget pass does not write them unless ``writes``.
        """
        return self.term(self._forgotten, Pass(student, Role.FORGET, writes=writes))

    def term(self, function: Callable[..., torch.Tensor], *passes: Pass) -> Loss:
        """A scalar function of the answers of some passes; nothing where the step lacks one of their parts."""
        if any(self.size(item.role) == 0 for item in passes):
            return Loss()
        costs = {item.key: (3 if item.gradient else 1) * self.size(item.role) for item in passes}
        return Loss((Term(1.0, costs, lambda: function(*(self._answer(item) for item in passes))),))

    def size(self, role: Role) -> int:
        """How many members of a role the step has."""
        part = self.step.parts.get(role)
        return 0 if part is None else len(part.slots)

    def share(self, role: Role) -> float:
        """The part of the step's members that have a role."""
        everybody = sum(len(part.slots) for part in self.step.parts.values())
        return self.size(role) / everybody if everybody else 0.0

    def _retained(self, answer: Answer) -> torch.Tensor:
        losses = self._kept(Role.RETAIN, answer)
        if self._extras.slot_weights is None:
            return losses.mean()
        weights = answer.batch.of_slots(self._extras.slot_weights).to(losses.dtype)
        return (weights * losses).sum() / weights.abs().sum()

    def _forgotten(self, answer: Answer) -> torch.Tensor:
        return self._kept(Role.FORGET, answer).mean()

    def _kept(self, role: Role, answer: Answer) -> torch.Tensor:
        losses = self._task.loss_of(answer.outputs, answer.batch)
        self.losses[role] = losses.detach()
        return losses

    def _answer(self, item: Pass) -> Answer:
        if item.key not in self._gathered.answers:
            batch = self._gather(item.role)
            outputs = self._train_pass(item, batch) if item.gradient or item.model.training else self._look(item, batch)
            self._gathered.answers[item.key] = Answer(outputs, batch)
        return self._gathered.answers[item.key]

    def _train_pass(self, item: Pass, batch: Batch) -> torch.Tensor:
        part = self.step.parts[item.role]
        if item.gradient and self._watching is not None:
            self.watched.enter_context(self._watching(item.model, part))
        address = DropoutAddress(
            self._plan.seed,
            self._plan.purpose("dropout", item.role),
            self._plan.shard,
            part.draw,
            part.chairs,
            part.width,
        )
        with (
            torch.set_grad_enabled(item.gradient),
            addressed(address, item.model),
            running_statistics(item.model, written=item.writes, rows=len(batch)),
        ):
            return _outputs(self._task, item.model, batch)

    def _look(self, item: Pass, batch: Batch) -> torch.Tensor:
        """A model in eval mode, without a gradient."""
        with torch.no_grad():
            return _outputs(self._task, item.model, batch)

    def _gather(self, role: Role) -> Batch:
        if role not in self._gathered.batches:
            part = self.step.parts[role]
            batch = self._examples.augmented(
                part, seed=self._plan.seed, purpose=self._plan.purpose("augment", role), shard=self._plan.shard
            )
            if self._extras.relabel is not None:
                batch = self._extras.relabel(batch, part.epoch)
            self._gathered.batches[role] = batch
        return self._gathered.batches[role]


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


def _outputs(task: Task, model: nn.Module, batch: Batch) -> torch.Tensor:
    """The model's own failure is one sentence of ours."""
    try:
        outputs = task.outputs(model, batch)
        if not isinstance(outputs, torch.Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"it answers a {type(outputs).__name__}, not a tensor")
        return outputs
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shape = tuple(task.inputs(batch).shape[1:])
        raise RunError(
            f"the model failed on a batch of {len(batch)} rows of shape {shape} in training "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}): nothing is lost; repair the model"
        ) from error
