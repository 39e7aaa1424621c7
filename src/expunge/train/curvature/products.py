"""Hessian and Gauss–Newton of the mean loss, times a vector, without either matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.tasks.gradients import Asked, Values, asking, flat
from expunge.tasks.task import Batch, Task

Product = Callable[[torch.Tensor], torch.Tensor]
PerParameter = Sequence[torch.Tensor]


def hessian_product(task: Task, model: nn.Module, batches: Sequence[Batch], vector: torch.Tensor) -> torch.Tensor:
    """H v: second derivative of the mean loss over all rows of all batches, times a flat vector.

    By double backward. Away from a minimum H has negative eigenvalues. Costs 2 example-steps a row.
    """

    def summed(asked: Asked, batch: Batch, directions: PerParameter) -> PerParameter:
        slopes = _traced_pull(asked, asked.answer(batch).sum())
        return asked.pull(_inner(slopes, directions))

    return _mean_over_rows(model, task.losses, batches, vector, summed)


def gauss_newton_product(task: Task, model: nn.Module, batches: Sequence[Batch], vector: torch.Tensor) -> torch.Tensor:
    """G v, where G is the mean over rows of Jᵀ H J: J of the outputs in the parameters, H of the loss in the outputs.

    Never negative where the loss is convex in the outputs (Schraudolph, 2002). By double backward, so that layers need
    no rule for forward derivatives. Costs 2 example-steps a row.
    """

    def summed(asked: Asked, batch: Batch, directions: PerParameter) -> PerParameter:
        outputs = asked.answer(batch)
        return asked.pull(outputs, loss_hessian_product(task, batch, outputs, push(asked, outputs, directions)))

    return _mean_over_rows(model, task.outputs, batches, vector, summed)


def push(asked: Asked, outputs: torch.Tensor, directions: PerParameter) -> torch.Tensor:
    """J v, shaped as the outputs: Jᵀu is linear in u, so its derivative in u along v is J v, whatever u is."""
    free = torch.zeros_like(outputs, requires_grad=True)
    inner = _inner(_traced_pull(asked, outputs, free), directions)
    if not inner.requires_grad:
        return torch.zeros_like(outputs)
    return torch.autograd.grad(inner, free, retain_graph=True, materialize_grads=True)[0]


def loss_hessian_product(task: Task, batch: Batch, outputs: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Second derivative of the summed loss in the outputs, times a vector shaped as the outputs."""
    free = outputs.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(task.loss_of(free, batch).sum(), free, create_graph=True)
    if not slopes.requires_grad:
        return torch.zeros_like(outputs)
    return torch.autograd.grad(slopes, free, vector, materialize_grads=True)[0]


def _mean_over_rows(
    model: nn.Module,
    values: Values,
    batches: Sequence[Batch],
    vector: torch.Tensor,
    summed: Callable[[Asked, Batch, PerParameter], PerParameter],
) -> torch.Tensor:
    rows = sum(len(batch) for batch in batches)
    if not rows:
        raise InvalidArgument("the mean over no examples is not defined: give one row at least")
    with asking(model, values) as asked:
        learnt = list(asked.learnt.values())
        size = sum(parameter.numel() for parameter in learnt)
        if vector.shape != (size,):
            raise InvalidArgument(f"a vector of shape {tuple(vector.shape)} does not fit the {size} parameters learnt")
        parts = vector.split([parameter.numel() for parameter in learnt])
        directions = [part.view_as(like).to(like.dtype) for part, like in zip(parts, learnt, strict=True)]
        total = torch.zeros_like(vector)
        for batch in batches:
            if len(batch):
                total += flat(summed(asked, batch, directions))
    return total / rows


def _traced_pull(asked: Asked, answer: torch.Tensor, weights: torch.Tensor | None = None) -> PerParameter:
    """Gradients that can be differentiated once more."""
    learnt = list(asked.learnt.values())
    if not answer.requires_grad:
        return [torch.zeros_like(parameter) for parameter in learnt]
    return torch.autograd.grad(answer, learnt, weights, create_graph=True, materialize_grads=True)


def _inner(lefts: PerParameter, rights: PerParameter) -> torch.Tensor:
    return torch.stack([(left * right).sum() for left, right in zip(lefts, rights, strict=True)]).sum()
