"""Gradients of single examples, their squares and their sums, for any model whose rows do not meet.

The model is read in eval mode and left as it was: modes, gradients, ``requires_grad``, buffers. Parameters are those
with ``requires_grad`` in the order of ``model.parameters()``, tied ones once; flat vectors concatenate in this order.

Three ways lead to the same numbers. *Mapped*: ``torch.func.vmap`` over rows. *One by one*: a loop, for models that
cannot be mapped (control flow that looks at the data, functions without a batching rule). *Factored*, for squares
alone: the gradient of a layer's weight in one example is what came back to its output times what went in, so it is
squared layer by layer and never kept.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call, jacrev, vmap

from expunge.core.errors import InvalidArgument
from expunge.tasks.task import Batch, Task

ENTRIES = 1 << 26  # numbers held at once while going over rows: 256 MiB in float32
CACHED_ENTRIES = 1 << 18  # numbers of a product that stay in a processor's cache: 1 MiB in float32

Values = Callable[[nn.Module, Batch], torch.Tensor]  # (rows, columns), each row from its own example
Totals = dict[nn.Parameter, torch.Tensor]


# What callers use.


def per_example_gradients(task: Task, model: nn.Module, batch: Batch) -> torch.Tensor:
    """Gradient of each example's loss, flat: (rows, parameters). Costs 1 example-step a row."""
    return _jacobian(model, batch, _losses_of(task))[:, 0]


def output_gradients(task: Task, model: nn.Module, batch: Batch) -> torch.Tensor:
    """Gradient of each output of each example: (rows, outputs, parameters). Costs as many example-steps a row as outputs."""
    return _jacobian(model, batch, outputs_of(task))


def squared_gradients(task: Task, model: nn.Module, batch: Batch) -> list[torch.Tensor]:
    """Sum over rows of the squared gradient of each example's loss, shaped as parameters. Costs 1 example-step a row.

    Of examples, not of the batch's mean: the sum does not depend on how rows are cut into batches.
    """
    return _squares(model, batch, _losses_of(task))


def label_squared_gradients(task: Task, model: nn.Module, batch: Batch) -> list[torch.Tensor]:
    """Sum over rows of the expected squared gradient of log p_y with y drawn from the model's own softmax.

    The diagonal of the Fisher information, exact, without a draw; the batch's labels are not read. The outputs must be
    logits (rows, classes). Costs as many example-steps a row as there are classes.
    """
    return _squares(model, batch, _label_scores_of(task))


def summed_gradient(task: Task, model: nn.Module, batches: Iterable[Batch]) -> list[torch.Tensor]:
    """Gradient of the sum of all losses, shaped as parameters. Costs 1 example-step a row."""
    with asking(model, _losses_of(task)) as asked:
        totals = [torch.zeros_like(parameter) for parameter in asked.learnt.values()]
        for batch in batches:
            for total, gradient in zip(totals, asked.pull(asked.answer(batch).sum()), strict=True):
                total += gradient
        return totals


def mean_gradient(task: Task, model: nn.Module, batches: Iterable[Batch]) -> list[torch.Tensor]:
    """Gradient of the mean loss over all rows of all batches, shaped as parameters. Costs 1 example-step a row."""
    kept = list(batches)
    rows = sum(len(batch) for batch in kept)
    if not rows:
        raise InvalidArgument("the mean gradient of no examples is not defined: give one row at least")
    return [total / rows for total in summed_gradient(task, model, kept)]


def learnt_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters with ``requires_grad`` in the model's order, tied ones once."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """One vector of all tensors, in their order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflat(vector: torch.Tensor, likes: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The reverse of ``flat``: pieces of a vector, shaped as ``likes``."""
    pieces = vector.split([like.numel() for like in likes])
    return [piece.reshape(like.shape) for piece, like in zip(pieces, likes, strict=True)]


def pieces(batch: Batch, rows: int) -> Iterator[Batch]:
    """A batch cut into batches of so many rows at most."""
    for start in range(0, len(batch), rows):
        part = slice(start, start + rows)
        yield replace(batch, inputs=batch.inputs[part], labels=batch.labels[part])


# What is asked of a model.


def _losses_of(task: Task) -> Values:
    return lambda model, batch: task.losses(model, batch)[:, None]


def outputs_of(task: Task) -> Values:
    """The outputs of each example in one row."""
    return lambda model, batch: task.outputs(model, batch).flatten(1)


def _label_scores_of(task: Task) -> Values:
    """√p_c · log p_c with √p_c held fixed: the squares of these gradients sum to the expectation over labels."""

    def values(model: nn.Module, batch: Batch) -> torch.Tensor:
        outputs = task.outputs(model, batch)
        if outputs.dim() != 2:
            raise InvalidArgument(f"outputs of shape {tuple(outputs.shape)} are not (rows, classes) logits")
        scores = torch.log_softmax(outputs.float() if outputs.dtype.itemsize < 4 else outputs, dim=1)
        return scores.detach().exp().sqrt() * scores

    return values


class Asked(nn.Module):
    """A model and what is asked of it as one module, so that other tensors can stand in for its own."""

    def __init__(self, model: nn.Module, values: Values) -> None:
        super().__init__()
        self.model = model
        self.values = values
        self.learnt = {name: one for name, one in self.named_parameters() if one.requires_grad}
        if not self.learnt:
            raise InvalidArgument("no parameter of the model has requires_grad: there is no gradient to take")

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.values(self.model, batch)

    def answer(self, batch: Batch, parameters: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """(rows, columns), on copies of the buffers, so that a model which writes to them writes to no one's."""
        buffers = {name: buffer.clone() for name, buffer in self.named_buffers()}
        return functional_call(self, buffers | (parameters or {}), (batch,))

    def answer_alone(self, batch: Batch, parameters: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """The answer to a batch's only row: its inputs and labels come without the dimension of rows."""
        row = replace(batch, inputs=batch.inputs[None], labels=batch.labels[None])
        return self.answer(row, parameters)[0]

    def pull(self, answer: torch.Tensor, weights: torch.Tensor | None = None) -> Sequence[torch.Tensor]:
        """Gradient of ``answer``, weighted, in each learnt parameter; the graph is kept."""
        learnt = list(self.learnt.values())
        if not answer.requires_grad:
            return [torch.zeros_like(parameter) for parameter in learnt]
        return torch.autograd.grad(answer, learnt, weights, retain_graph=True, materialize_grads=True)


@contextmanager
def asking(model: nn.Module, values: Values) -> Generator[Asked]:
    """The model in eval mode, ready to be asked; every module's own mode comes back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.enable_grad():
            yield Asked(model, values)
    finally:
        for module, training in modes:
            module.training = training


# Mapped, or one by one.


def _jacobian(model: nn.Module, batch: Batch, values: Values) -> torch.Tensor:
    """(rows, columns, parameters)."""
    with asking(model, values) as asked:
        parts = [torch.cat([one.flatten(2) for one in part], dim=2) for part in _jacobians(asked, batch)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]


def _jacobians(asked: Asked, batch: Batch) -> Iterator[list[torch.Tensor]]:
    """Gradients (rows, columns, …) in each parameter, for a few rows at a time."""
    if not len(batch):
        raise InvalidArgument("the batch holds no rows: there are no gradients of single examples to take")
    with torch.no_grad():
        columns = asked.answer(next(pieces(batch, 1))).shape[1]
    size = sum(parameter.numel() for parameter in asked.learnt.values())
    mapped = True
    for part in pieces(batch, max(1, ENTRIES // (columns * size))):
        found = _mapped(asked, part) if mapped else None
        if found is not None:
            yield found
            continue
        mapped = False
        for row in pieces(part, 1):
            yield _one_by_one(asked, row)


def _mapped(asked: Asked, batch: Batch) -> list[torch.Tensor] | None:
    """All rows at once, or nothing if the model cannot be mapped over rows."""

    def of_row(parameters: dict[str, torch.Tensor], inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return asked.answer_alone(replace(batch, inputs=inputs, labels=labels), parameters)

    parameters = {name: parameter.detach() for name, parameter in asked.learnt.items()}
    over_rows = vmap(jacrev(of_row), in_dims=(None, 0, 0))
    found = _if_mappable(lambda: over_rows(parameters, batch.inputs, batch.labels))
    return None if found is None else list(found.values())


def _one_by_one(asked: Asked, row: Batch) -> list[torch.Tensor]:
    answer = asked.answer(row)
    columns = [asked.pull(answer[0, column]) for column in range(answer.shape[1])]
    return [torch.stack(gradients)[None].detach() for gradients in zip(*columns, strict=True)]


def _if_mappable[Found](compute: Callable[[], Found]) -> Found | None:
    """None where ``vmap`` refuses; what else is wrong shows again in the loop, where it is raised."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        try:
            return compute()
        except (RuntimeError, TypeError, ValueError):
            return None
