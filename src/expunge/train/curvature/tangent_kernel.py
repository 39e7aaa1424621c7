"""Training in closed form where a model is replaced by its tangent (Jacot et al., 2018; Golatkar et al., 2020).

Around the weights w₀ that the model has, the outputs are taken as f₀ + J (w − w₀), J their gradients at w₀; least
squares on targets t with a pull ρ towards w₀ then ends at w_I = w₀ + J_Iᵀ (J_I J_Iᵀ + ρI)⁻¹ (t_I − f₀(I)).
"""

from __future__ import annotations

import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.tasks.gradients import (
    LayerUse,
    asking,
    direct_gradients,
    factored_pass,
    flat,
    learnt_parameters,
    output_gradients,
    outputs_of,
    rows_to_factor,
    weight_sides,
)
from expunge.tasks.task import Batch, Task

BLOCK = 512  # rows of a kernel computed at once


def tangent_weights(task: Task, model: nn.Module, batch: Batch, targets: torch.Tensor, damping: float) -> torch.Tensor:
    """w_I, flat, for the rows of the batch; ``targets`` are shaped as the outputs.

    Costs as many example-steps a row as there are outputs, and 1 more.
    """
    start = flat(parameter.detach() for parameter in learnt_parameters(model))
    return start + _moved(task, model, batch, targets, damping, None)


def tangent_difference(
    task: Task, model: nn.Module, batch: Batch, targets: torch.Tensor, damping: float, kept: torch.Tensor
) -> torch.Tensor:
    """w_R − w_D, flat: D are the rows of the batch, R those where ``kept`` is true.

    Costs what ``tangent_weights`` costs for D. With outputs fewer than parameters one factorisation serves both.
    """
    if kept.shape != (len(batch),) or kept.dtype != torch.bool:
        raise InvalidArgument(f"kept must hold a truth value for each of the {len(batch)} rows, not {kept.dtype}")
    if bool(kept.all()):
        raise InvalidArgument("every row is kept: nothing is to be forgotten, so there is no difference")
    return _moved(task, model, batch, targets, damping, kept)


def output_kernel(task: Task, model: nn.Module, batch: Batch) -> torch.Tensor:
    """J Jᵀ in float64, (rows·outputs, rows·outputs). Costs as many example-steps a row as there are outputs.

    Where the model is made of plain layers J is never held: the kernel of a dense layer is, entry by entry, the kernel
    of what went in times the kernel of what came back.
    """
    with asking(model, outputs_of(task)) as asked:
        passed = factored_pass(asked, batch) if rows_to_factor(asked, batch) else None
        if passed is None:
            return gram(output_gradients(task, model, batch).flatten(0, 1).double())
        outputs = passed.values.shape[1]
        backs: dict[LayerUse, dict[int, torch.Tensor]] = {use: {} for use in passed.uses}
        for column in range(outputs):
            for use, back in passed.returned(column):
                backs[use][column] = back
        side = len(batch) * outputs
        kernel = torch.zeros(side, side, dtype=torch.float64, device=passed.values.device)
        for use, found in backs.items():
            if found:
                nothing = torch.zeros_like(next(iter(found.values())))
                kernel += _layer_kernel(use, [found.get(column, nothing) for column in range(outputs)])
        return kernel


def gram(rows: torch.Tensor) -> torch.Tensor:
    """A Aᵀ, each half computed once."""
    count = len(rows)
    product = rows.new_empty(count, count)
    for start in range(0, count, BLOCK):
        stop = start + BLOCK
        product[start:, start:stop] = rows[start:] @ rows[start:stop].T
        product[start:stop, stop:] = product[stop:, start:stop].T
    return product


def _layer_kernel(use: LayerUse, backs: list[torch.Tensor]) -> torch.Tensor:
    """One layer's part of J Jᵀ, from what came back to its output for each of the outputs."""
    rows, outputs = len(use.inputs), len(backs)
    parts: list[torch.Tensor] = []
    kernel = torch.zeros((), dtype=torch.float64, device=use.inputs.device)
    direct = [direct_gradients(use.layer, use.inputs, back) for back in backs]
    for name, parameter in use.layer.named_parameters(recurse=False):
        if not parameter.requires_grad:
            continue
        if name in direct[0]:
            parts.append(torch.stack([one[name].flatten(1) for one in direct], dim=1))
        elif isinstance(use.layer, nn.Linear) and use.inputs.dim() == 2:
            came = gram(torch.stack(backs, dim=1).flatten(0, 1).double()).view(rows, outputs, rows, outputs)
            kernel = kernel + (came * gram(use.inputs.double())[:, None, :, None]).flatten(2).flatten(0, 1)
        else:
            sides = [weight_sides(use.layer, use.inputs, back) for back in backs]
            parts.append(torch.stack([torch.bmm(*pair).flatten(1) for pair in sides], dim=1))
    return kernel + gram(torch.cat(parts, dim=2).flatten(0, 1).double()) if parts else kernel


def _moved(
    task: Task, model: nn.Module, batch: Batch, targets: torch.Tensor, damping: float, kept: torch.Tensor | None
) -> torch.Tensor:
    """w_D − w₀, or w_R − w_D where ``kept`` says which rows are R."""
    if not damping > 0:
        raise InvalidArgument(f"damping {damping} must be above 0: without it the system has no single solution")
    if not len(batch):
        raise InvalidArgument("the batch holds no rows: there is nothing to train the tangent on")
    with asking(model, outputs_of(task)) as asked:
        outputs = asked.answer(batch)
        if targets.numel() != outputs.numel():
            raise InvalidArgument(
                f"targets {tuple(targets.shape)} must be shaped as the outputs {tuple(outputs.shape)}"
            )
        wanted = (targets.reshape(outputs.shape) - outputs.detach()).double().flatten()
        marks = None if kept is None else kept.to(outputs.device).repeat_interleave(outputs.shape[1])
        if wanted.numel() > sum(parameter.numel() for parameter in asked.learnt.values()):
            jacobian = output_gradients(task, model, batch).flatten(0, 1).double()
            return _by_parameters(jacobian, wanted, damping, marks).to(outputs.dtype)
        weights = _by_outputs(output_kernel(task, model, batch), wanted, damping, marks)
        return flat(asked.pull(outputs, weights.view_as(outputs).to(outputs.dtype)))


def _by_outputs(kernel: torch.Tensor, wanted: torch.Tensor, damping: float, kept: torch.Tensor | None) -> torch.Tensor:
    """Weights a of the outputs, so that the parameters move by Jᵀa; of R minus those of D where ``kept`` says R.

    With R first, the Cholesky factor of D's kernel begins with the factor of R's.
    """
    kernel.diagonal().add_(damping)
    if kept is None:
        return _solved(torch.linalg.cholesky(kernel), wanted)
    order, count = torch.argsort(kept.logical_not(), stable=True), int(kept.sum())
    factor = torch.linalg.cholesky(kernel[order][:, order])
    found = -_solved(factor, wanted[order])
    found[:count] += _solved(factor[:count, :count], wanted[order][:count])
    return torch.empty_like(found).index_copy_(0, order, found)


def _by_parameters(
    jacobian: torch.Tensor, wanted: torch.Tensor, damping: float, kept: torch.Tensor | None
) -> torch.Tensor:
    """The same move from the system of the parameters, (JᵀJ + ρI) x = Jᵀ r."""

    def move(rows: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        matrix = rows.T @ rows
        matrix.diagonal().add_(damping)
        return _solved(torch.linalg.cholesky(matrix), rows.T @ right)

    everything = move(jacobian, wanted)
    return everything if kept is None else move(jacobian[kept], wanted[kept]) - everything


def _solved(factor: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.cholesky_solve(right[:, None], factor)[:, 0]
