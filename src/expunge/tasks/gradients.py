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
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call, jacrev, vmap

from expunge.core.errors import InvalidArgument
from expunge.tasks.task import Batch, ClassTask, Task

ENTRIES = 1 << 26  # numbers held at once while going over rows: 256 MiB in float32
CACHED_ENTRIES = 1 << 18  # numbers of a product that stay in a processor's cache: 1 MiB in float32

Values = Callable[[nn.Module, Batch], torch.Tensor]  # (rows, columns), each row from its own example
_Found = TypeVar("_Found")


def per_example_gradients(task: Task, model: nn.Module, batch: Batch) -> torch.Tensor:
    """Gradient of each example's loss, flat: (rows, parameters). Costs 1 example-step a row."""
    return _jacobian(model, batch, _losses_of(task))[:, 0]


def output_gradients(task: Task, model: nn.Module, batch: Batch) -> torch.Tensor:
    """Gradient of each output of each example: (rows, outputs, parameters). Costs one example-step a row and output."""
    return _jacobian(model, batch, outputs_of(task))


def squared_gradients(task: Task, model: nn.Module, batch: Batch) -> list[torch.Tensor]:
    """Sum over rows of the squared gradient of each example's loss, shaped as parameters. Costs 1 example-step a row.

    Of examples, not of the batch's mean: the sum does not depend on how rows are cut into batches.
    """
    return _squares(model, batch, _losses_of(task))


def label_squared_gradients(task: ClassTask, model: nn.Module, batch: Batch) -> list[torch.Tensor]:
    """Sum over rows of the expected squared gradient of log p_y with y drawn from the model's own softmax.

    The diagonal of the Fisher information, exact, without a draw; the batch's labels are not read. The task's
    beliefs must be logits (rows, classes). Costs as many example-steps a row as there are classes.
    """
    return _squares(model, batch, _label_scores_of(task))


def summed_gradient(task: Task, model: nn.Module, batches: Iterable[Batch]) -> list[torch.Tensor]:
    """Gradient of the sum of all losses, shaped as parameters. Costs 1 example-step a row."""
    with asking(model, _losses_of(task)) as asked:
        totals = [torch.zeros_like(parameter) for parameter in asked.learnt.values()]
        for batch in batches:
            gradients = asked.pull(asked.answer(batch).sum())
            totals = [total + one for total, one in zip(totals, gradients, strict=True)]
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


def pieces(batch: Batch, rows: int) -> Iterator[Batch]:
    """A batch cut into batches of so many rows at most."""
    return (batch.take(slice(start, start + rows)) for start in range(0, max(1, len(batch)), rows))


# What is asked of a model.


def _losses_of(task: Task) -> Values:
    return lambda model, batch: task.losses(model, batch)[:, None]


def outputs_of(task: Task) -> Values:
    """The outputs of each example in one row."""
    return lambda model, batch: task.outputs(model, batch).flatten(1)


def _label_scores_of(task: ClassTask) -> Values:
    """√p_c · log p_c with √p_c held fixed: the squares of these gradients sum to the expectation over labels."""

    def values(model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = task.beliefs(task.outputs(model, batch))
        if logits.dim() != 2:
            raise InvalidArgument(f"logits of shape {tuple(logits.shape)} must be (rows, classes)")
        scores = torch.log_softmax(logits.float() if logits.dtype.itemsize < 4 else logits, dim=1)
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

    def answer_alone(self, parameters: dict[str, torch.Tensor], row: dict[str, torch.Tensor]) -> torch.Tensor:
        """(columns): the answer to one row, whose tensors come without the dimension of rows."""
        return self.answer(Batch({name: value[None] for name, value in row.items()}), parameters)[0]

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
        return torch.cat([torch.cat([one.flatten(2) for one in part], dim=2) for part in _jacobians(asked, batch)])


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
        mapped = found is not None
        yield from [found] if found is not None else (_one_by_one(asked, row) for row in pieces(part, 1))


def _mapped(asked: Asked, batch: Batch) -> list[torch.Tensor] | None:
    """All rows at once, or nothing if the model cannot be mapped over rows."""
    parameters = {name: parameter.detach() for name, parameter in asked.learnt.items()}
    each = vmap(jacrev(asked.answer_alone), in_dims=(None, 0))
    found = _if_mappable(lambda: each(parameters, batch.tensors))
    return None if found is None else list(found.values())


def _one_by_one(asked: Asked, row: Batch) -> list[torch.Tensor]:
    answer = asked.answer(row)
    columns = [asked.pull(answer[0, column]) for column in range(answer.shape[1])]
    return [torch.stack(gradients)[None].detach() for gradients in zip(*columns, strict=True)]


def _if_mappable(compute: Callable[[], _Found]) -> _Found | None:
    """None where ``vmap`` refuses; what else is wrong shows again in the loop, where it is raised."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        try:
            return compute()
        except (RuntimeError, TypeError, ValueError):
            return None


# Factored: layer by layer, from what went in and what came back.


@dataclass(frozen=True, eq=False)
class LayerUse:
    """The one time that a layer was called: what went in, and where the gradient of its output can be had."""

    layer: nn.Module
    inputs: torch.Tensor
    output: GradientEdge


@dataclass(frozen=True)
class LayerPass:
    """A forward pass in which every learnt parameter belongs to a layer that was called once at most."""

    values: torch.Tensor
    uses: list[LayerUse]

    def returned(self, column: int) -> Iterator[tuple[LayerUse, torch.Tensor]]:
        """What comes back to each layer's output from the sum of a column of values; unused layers are left out."""
        if not self.uses:
            return
        edges = [use.output for use in self.uses]
        back = torch.autograd.grad(self.values[:, column].sum(), edges, retain_graph=True, allow_unused=True)
        yield from ((use, one) for use, one in zip(self.uses, back, strict=True) if isinstance(one, torch.Tensor))


def factored_pass(asked: Asked, batch: Batch) -> LayerPass | None:
    """The batch through the model, or None where the gradients of its rows cannot be had layer by layer.

    They can if every learnt parameter belongs to one plain dense, convolution or norm layer that is called once, with
    rows first, and is used nowhere else: in the graph of the answer one edge at most leads to it.
    """
    layers = _plain_layers(asked.model)
    if layers is None:
        return None
    uses: list[LayerUse] = []
    strange: list[nn.Module] = []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if not inputs or not output.requires_grad or not len(inputs[0]) == len(output) == len(batch):
            strange.append(layer)
        else:
            uses.append(LayerUse(layer, inputs[0].detach(), get_gradient_edge(output)))

    hooks = [layer.register_forward_hook(note, prepend=True) for layer in layers]
    try:
        values = asked.answer(batch)
    finally:
        for hook in hooks:
            hook.remove()
    called = Counter(use.layer for use in uses)
    edges = _edges_to_parameters(values)
    once = all(edges[id(one)] <= called[layer] <= 1 for layer in layers for one in learnt_parameters(layer))
    return LayerPass(values, uses) if once and not strange else None


def _plain_layers(model: nn.Module) -> list[nn.Module] | None:
    """The modules that hold learnt parameters, if all are plain layers."""
    layers = [one for one in model.modules() if any(own.requires_grad for own in one.parameters(recurse=False))]
    return layers if all(_is_plain(layer) for layer in layers) else None


def _is_plain(layer: nn.Module) -> bool:
    """Whether this is a layer whose gradients are spelt out below; a subclass or a patched one may do anything."""
    if "forward" in vars(layer):
        return False
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d):
        return bool(layer.track_running_stats)
    return type(layer) in (nn.Linear, nn.GroupNorm, nn.LayerNorm)


def _edges_to_parameters(values: torch.Tensor) -> Counter[int]:
    """How many edges of the graph behind ``values`` lead to each leaf, by the leaf's identity."""
    found: Counter[int] = Counter()
    waiting: list[Any] = [values.grad_fn] if values.requires_grad else []
    seen = set(waiting)
    while waiting:
        for below, _ in waiting.pop().next_functions:
            found[id(getattr(below, "variable", None))] += 1
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)
    return found


def weight_sides(layer: nn.Module, inputs: torch.Tensor, back: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, out, places) and (rows, places, in): their product is the gradient of a layer's weight in each row."""
    if isinstance(layer, nn.Conv2d):
        patches = nn.functional.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # pyright: ignore[reportArgumentType]
        return back.flatten(2), patches.transpose(1, 2)
    rows = len(back)
    return back.reshape(rows, -1, back.shape[-1]).transpose(1, 2), inputs.reshape(rows, -1, inputs.shape[-1])


def direct_gradients(layer: nn.Module, inputs: torch.Tensor, back: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients in each row, (rows, …), of the parameters that are small: biases and what norms scale by."""
    rows = len(back)
    if isinstance(layer, nn.Linear):
        return {"bias": back.reshape(rows, -1, back.shape[-1]).sum(1)}
    if isinstance(layer, nn.LayerNorm):
        shape = (rows, -1, *layer.normalized_shape)
        scaled = back * nn.functional.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
        return {"weight": scaled.reshape(shape).sum(1), "bias": back.reshape(shape).sum(1)}
    shape = (rows, back.shape[1], -1)
    if isinstance(layer, nn.GroupNorm):
        scaled = back * nn.functional.group_norm(inputs, layer.num_groups, eps=layer.eps)
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        scaled = back * nn.functional.batch_norm(inputs, layer.running_mean, layer.running_var, eps=layer.eps)
    else:
        return {"bias": back.reshape(shape).sum(2)}
    return {"weight": scaled.reshape(shape).sum(2), "bias": back.reshape(shape).sum(2)}


def _squares(model: nn.Module, batch: Batch, values: Values) -> list[torch.Tensor]:
    with asking(model, values) as asked:
        totals = {parameter: torch.zeros_like(parameter) for parameter in asked.learnt.values()}
        size = rows_to_factor(asked, batch)
        for part in pieces(batch, size or max(1, len(batch))):
            passed = factored_pass(asked, part) if size else None
            if passed is not None:
                _add_factored_squares(passed, totals)
                continue
            for gradients in _jacobians(asked, part):
                for total, one in zip(totals.values(), gradients, strict=True):
                    total += one.square().sum((0, 1))
        return list(totals.values())


def rows_to_factor(asked: Asked, batch: Batch) -> int:
    """How many rows to take through the layers at once; 0 if one row or two show that it would be wrong.

    A row alone must answer as it does beside another: otherwise rows meet in the model, or it looks at the data.
    """
    if not len(batch):
        return 0
    both = next(pieces(batch, 2))
    passed = factored_pass(asked, next(pieces(batch, 1)))
    if passed is None:
        return 0
    with torch.no_grad():
        beside = asked.answer(both)
        each = vmap(asked.answer_alone, in_dims=(None, 0))
        alone = _if_mappable(lambda: each({}, both.tensors))
    slack = torch.finfo(beside.dtype).eps ** 0.5 * float(beside.abs().max())
    if alone is None or float((alone - beside).abs().max()) > slack:
        return 0
    held = sum(use.inputs.numel() for use in passed.uses)
    return max(1, ENTRIES // max(1, 2 * held))


def _add_factored_squares(passed: LayerPass, totals: dict[nn.Parameter, torch.Tensor]) -> None:
    for column in range(passed.values.shape[1]):
        for use, back in passed.returned(column):
            direct = direct_gradients(use.layer, use.inputs, back)
            for name, parameter in use.layer.named_parameters(recurse=False):
                if parameter not in totals:
                    continue
                if name in direct:
                    totals[parameter] += direct[name].square().sum(0)
                else:
                    _add_weight_squares(use, back, totals[parameter])


def _add_weight_squares(use: LayerUse, back: torch.Tensor, total: torch.Tensor) -> None:
    """Where a weight meets one place alone, the squares of a product are the product of the squares."""
    if isinstance(use.layer, nn.Linear) and back.dim() == 2:
        total += back.square().T @ use.inputs.square()
        return
    size = max(1, (CACHED_ENTRIES if total.device.type == "cpu" else ENTRIES) // total.numel())
    product = total.new_empty(0)  # one piece of memory for all rows: on processors fresh pages cost more than the sum
    for start in range(0, len(back), size):
        part = slice(start, start + size)
        left, right = weight_sides(use.layer, use.inputs[part], back[part])
        if len(left) != len(product):
            product = left.new_empty(len(left), left.shape[1], right.shape[2])
        torch.bmm(left, right, out=product)
        if size == 1:
            total.addcmul_(product.view_as(total), product.view_as(total))
        else:
            total += product.square_().sum(0).view_as(total)
