"""The noise that stands for a class: how it is learnt, and how it is mixed with rows that stay."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.methods.shared import Problem, given_of, rows_of
from torch.nn.functional import cross_entropy

from expunge.methods.contract import Given, Parent
from expunge.methods.impair_repair import ImpairRepair
from expunge.methods.learnt_noise import Learning, Mixture, learn_noise
from expunge.train.state import weights_digest

# Learning it.


def by_hand(parent: Parent, given: Given, label: int, rows: int, learning: Learning, unit: float) -> torch.Tensor:
    """Adam from its formula, in the units that the model sees."""
    plain = parent.examples.batch(rows_of(parent, label)[:1])["inputs"]
    shape = (rows, *plain.shape[1:])
    dtype = plain.dtype if plain.is_floating_point() else torch.float32
    values = torch.from_numpy(given.stream("noise", label).normal(math.prod(shape)).reshape(shape)).to(dtype)
    first, second = torch.zeros_like(values), torch.zeros_like(values)
    model = parent.model.eval()
    for step in range(1, learning.steps + 1):
        free = values.clone().requires_grad_(True)
        loss = -cross_entropy(model(free * unit), torch.full((rows,), label))
        loss = loss + learning.decay * (free**2).flatten(1).sum(1).mean()
        (gradient,) = torch.autograd.grad(loss, [free])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        update = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        values = values - learning.rate * update
    return values * unit


@pytest.mark.parametrize(
    ("name", "unit", "slack"), [("double", 1.0, 1e-10), ("plain", 255.0, 0.5), ("normed", 255.0, 0.5)]
)
def test_noise_by_hand(name: str, unit: float, slack: float, problem: Problem) -> None:
    """Pixels are scaled by the model's front, so noise of length 1 comes in as 255."""
    parent = problem(name)
    given = given_of(parent, ImpairRepair.needs, rows_of(parent, 1))
    learning = Learning(steps=7, rate=0.1, decay=0.1)
    found = learn_noise(given, given.original, 1, 5, learning)
    expected = by_hand(parent, given, 1, 5, learning, unit)
    torch.testing.assert_close(found, expected, rtol=0, atol=slack)
    assert float((found - by_hand(parent, given, 1, 5, replace(learning, steps=6), unit)).abs().max()) > 0.05 * unit
    assert given.meter.example_steps == 5 * 7
    assert (found < 0).any()


def test_noise_is_what_the_original_is_most_wrong_about(parent: Parent) -> None:
    given = given_of(parent, ImpairRepair.needs, rows_of(parent, 1))
    losses = []
    for steps in (0, 5, 25):
        noise = learn_noise(given, given.original, 1, 16, Learning(steps, 0.1, 0.1))
        with torch.no_grad():
            losses.append(float(cross_entropy(parent.model.eval()(noise), torch.full((16,), 1))))
    assert losses[0] < losses[1] < losses[2]
    lengths = [
        float(learn_noise(given, given.original, 1, 16, Learning(25, 0.1, decay)).flatten(1).norm(dim=1).mean())
        for decay in (0.0, 0.1, 1.0)
    ]
    assert lengths[0] > lengths[1] > lengths[2]
    assert weights_digest(parent.model) == parent.weights_digest


# Mixing it.


def mixture_of(parent: Parent, classes: tuple[int, ...] = (1,), rows: int = 4, batch_size: int = 16) -> Mixture:
    given = given_of(parent, ImpairRepair.needs, rows_of(parent, *classes))
    noise = {label: torch.full((rows, 1, 8, 8), float(label)) for label in classes}
    return Mixture(given, noise, repeats=6, sample=given.retain[:40], batch_size=batch_size)


def test_a_mixture_keeps_enough_rows_for_a_norm(normed: Parent) -> None:
    assert mixture_of(normed, batch_size=1).retained == 2
    one = mixture_of(normed, (0, 1), batch_size=16)
    assert one.retained == round(16 * 40 / (40 + 48))
    assert one.steps == -(-40 // one.retained)
