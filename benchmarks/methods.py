"""Epochs of a method against the same passes written out by hand, in turn.

Forgetting 200 of 2,000 digits of 28×28 with the two-layer ``cnn``. The bare loops do nothing but the passes that the
method is billed for: gather, forward, backward, and a step of the same optimiser, on a model that lies in memory as
torch makes it. They are plain on purpose: a method may take less time than them, because of the recipe's layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.pairs import ratio_row, ratios, seconds
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.digits import bundled
from expunge.methods.contract import Method, Parent
from expunge.methods.lookup import find_method
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import MemoryLayout, Optimiser, OptimiserName
from expunge.schedule.schedule import Schedule
from expunge.train.examples import Examples
from expunge.train.optimiser import make_optimiser
from expunge.train.profile import pinned
from expunge.train.state import weights_digest
from expunge.train.training import make_recipe

RETAIN, FORGET, SIZE = 1800, 200, 64
TIMES = 3  # epochs, so that what a method does once is spread as in use
BOUND, LONGEST = 0.95, 1.0


def enlarged_digits(rows: int) -> Dataset:
    """The built-in digits at 28×28, again from the first where more are wanted.

    Not noise: pooling and rectifying take their time by what they see, and noise is kind to the plain layout alone.
    """
    images, labels = bundled()
    which = np.arange(rows) % len(labels)
    large = images[which].reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2)
    pixels = np.pad(15 * large, ((0, 0), (2, 2), (2, 2)))
    return make_dataset(
        labels=[int(label) for label in labels[which]],
        columns=[Column("image", ColumnKind.IMAGE, (28, 28), "HW", 1 / 255)],
        content={"image": pixels},
        where="benchmark",
    )


def parent(threads: int) -> Parent:
    """An original run in memory; what it learnt does not matter to the clock."""
    dataset = enlarged_digits(RETAIN + FORGET)
    recipe = make_recipe(dataset, model="cnn", epochs=100, batch_size=SIZE, threads=threads)
    schedule = Schedule.of(recipe, bytes(32), number_units(dataset.subjects))
    model = build(recipe, schedule.seed).eval()
    return Parent(
        recipe=recipe,
        schedule=schedule,
        root=bytes(32),
        beacon=bytes(32),
        units=number_units(dataset.subjects),
        examples=Examples(recipe, dataset, torch.device("cpu")),
        model=model,
        weights_digest=weights_digest(model),
        emptied=np.zeros(0, dtype=np.int64),
    )


@dataclass(frozen=True)
class Bare:
    """The rows and a copy of the model, and passes over them by hand."""

    inputs: torch.Tensor
    labels: torch.Tensor
    student: nn.Module
    original: nn.Module
    rate: float
    optimiser: torch.optim.Optimizer
    ready: list[str]  # what is made once, before the first epoch

    def passes(
        self, slots: torch.Tensor, size: int, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> None:
        """A pass in batches, in random order, with a step after each."""
        order = slots[torch.randperm(len(slots))]
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            value = loss(self.inputs[rows], self.labels[rows])
            self.optimiser.zero_grad(set_to_none=True)
            value.backward()
            self.optimiser.step()

    def cross_entropy(self, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.student(inputs), labels)

    def divergence(self, teacher: nn.Module, inputs: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        with torch.no_grad():
            target = torch.softmax(teacher(inputs) / temperature, dim=1)
        return nn.functional.kl_div(
            torch.log_softmax(self.student(inputs) / temperature, dim=1), target, reduction="batchmean"
        )


R, F = torch.arange(FORGET, RETAIN + FORGET), torch.arange(FORGET)


def fine_tune(bare: Bare) -> None:
    bare.passes(R, SIZE, bare.cross_entropy)


def neggrad_plus(bare: Bare) -> None:
    forget = F[torch.randperm(FORGET)].repeat(-(-RETAIN // FORGET))
    taken = iter(forget.split(SIZE))

    def both(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        rows = next(taken)
        against = nn.functional.cross_entropy(bare.student(bare.inputs[rows]), bare.labels[rows])
        return 0.95 * bare.cross_entropy(inputs, labels) - 0.05 * against

    bare.passes(R, SIZE, both)


def salun(bare: Bare) -> None:
    if not bare.ready:
        mask(bare)
    bare.passes(torch.cat([R, F]), SIZE, bare.cross_entropy)


def mask(bare: Bare) -> None:
    """The gradient that the mask is made from."""
    totals = [torch.zeros_like(parameter) for parameter in bare.student.parameters()]
    for rows in F.split(256):
        loss = nn.functional.cross_entropy(bare.student(bare.inputs[rows]), bare.labels[rows], reduction="sum")
        for total, part in zip(totals, torch.autograd.grad(loss, list(bare.student.parameters())), strict=True):
            total += part
    bare.ready.append("mask")


def scrub(bare: Bare) -> None:
    bare.passes(F, 32, lambda inputs, labels: -4 * bare.divergence(bare.original, inputs, 2.0))

    def keep(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = torch.softmax(bare.original(inputs) / 2.0, dim=1)
        logits = bare.student(inputs)
        divergence = nn.functional.kl_div(torch.log_softmax(logits / 2.0, dim=1), target, reduction="batchmean")
        return nn.functional.cross_entropy(logits, labels) + 0.5 * 4 * divergence

    bare.passes(R, 64, keep)


def bad_teacher(bare: Bare) -> None:
    """Each batch in two passes: its forget members, and its retain members."""
    sample = R[torch.randperm(RETAIN)[: round(0.3 * RETAIN)]]
    rows = torch.cat([F, sample])
    rows = rows[torch.randperm(len(rows))]
    for batch in rows.split(SIZE):
        forgotten, kept = batch[batch < FORGET], batch[batch >= FORGET]
        value = sum(
            len(part) / len(batch) * bare.divergence(bare.original, bare.inputs[part]) for part in (forgotten, kept)
        )
        bare.optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[union-attr]
        bare.optimiser.step()


def boundary_shrink(bare: Bare) -> None:
    if not bare.ready:
        nearest(bare)
    bare.passes(F, SIZE, bare.cross_entropy)


def nearest(bare: Bare) -> None:
    """The class on the other side, as the label to train on."""
    inputs = (bare.inputs[F].float()).requires_grad_(True)
    loss = nn.functional.cross_entropy(bare.original(inputs), bare.labels[F], reduction="sum")
    (slope,) = torch.autograd.grad(loss, inputs)
    with torch.no_grad():
        bare.labels[F] = bare.original(inputs + 25.5 * slope.sign()).argmax(dim=1)
    bare.ready.append("labels")


EPOCHS: dict[str, tuple[Callable[[Bare], None], dict[str, Any]]] = {
    "fine-tune": (fine_tune, {"epochs": TIMES}),
    "neggrad-plus": (neggrad_plus, {"epochs": TIMES}),
    "saliency-unlearning": (salun, {"epochs": TIMES}),
    "scrub": (scrub, {"epochs": TIMES, "forget_epochs": TIMES}),
    "bad-teacher": (bad_teacher, {"epochs": TIMES}),
    "boundary-shrink": (boundary_shrink, {"epochs": TIMES}),
}
WITHIN = ("saliency-unlearning", "scrub", "bad-teacher", "boundary-shrink")


def method_epochs(pairs: int) -> list[dict[str, object]]:
    """Each method's epochs against the bare loop, on one thread as in the exact profile."""
    original = parent(1)
    rows: list[dict[str, object]] = []
    for name, (by_hand, settings) in EPOCHS.items():
        method: Method = find_method(name)(**settings)

        def bare(by_hand: Callable[[Bare], None] = by_hand, method: Method = method) -> None:
            with pinned(original.recipe):
                made = _bare(original, method)
                for _ in range(TIMES):
                    by_hand(made)

        found = ratios(_ours(original, method), bare, pairs)
        rows.append(ratio_row(f"method epoch / plain contiguous loop, {name}", found, BOUND))
    return rows


def method_seconds(threads: int) -> list[dict[str, object]]:
    """Seconds of an epoch of the four methods that were measured in a public library at 2.9 to 14 s."""
    original = parent(threads)
    rows: list[dict[str, object]] = []
    for name in WITHIN:
        work = _ours(original, find_method(name)(**EPOCHS[name][1]))
        work()
        taken = min(seconds(work) for _ in range(3)) / TIMES
        what = f"method epoch, {name}, {threads} threads"
        rows.append({"name": what, "value": taken, "unit": "seconds", "bound": LONGEST, "kept": taken <= LONGEST})
    return rows


def _ours(original: Parent, method: Method) -> Callable[[], None]:
    def work() -> None:
        with pinned(original.recipe):
            method(original, np.arange(FORGET), budget=10.0)

    return work


def _bare(original: Parent, method: Method) -> Bare:
    recipe = replace(original.recipe, layout=MemoryLayout.CONTIGUOUS)
    student, teacher = (build(recipe, original.schedule.seed) for _ in range(2))
    for model in (student, teacher):
        model.load_state_dict(original.model.state_dict())
    rate = float(getattr(method, "rate", 0.01))
    described = Optimiser(name=getattr(method, "optimiser", OptimiserName.SGD), rate=rate)
    student.train()
    return Bare(
        inputs=original.examples.inputs,
        labels=original.examples.labels.clone(),
        student=student,
        original=teacher.eval().requires_grad_(False),
        rate=rate,
        optimiser=make_optimiser(described, student),
        ready=[],
    )
