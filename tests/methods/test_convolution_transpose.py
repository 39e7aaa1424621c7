"""Turned kernels: closed form, what is turned and what is not, and fine-tuning after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from tests.methods.conftest import make_parent
from tests.methods.shared import FORGET, Odd, Problem, digest, given_of, on_images, seeded, tensors, with_model
from torch import nn

from expunge.data.dataset import Dataset
from expunge.methods.convolution_transpose import ConvolutionTranspose, transpose
from expunge.methods.convolutions import kernels
from expunge.methods.fine_tune import FineTune
from expunge.train.state import weights_digest


@on_images
def test_convolution_transpose_is_fine_tuning_of_the_turned_model(name: str, problem: Problem) -> None:
    parent = problem(name)
    turned = tensors(parent.model)
    for key, value in turned.items():
        if value.dim() == 4 and value.shape[2] == value.shape[3]:
            turned[key] = torch.from_numpy(np.swapaxes(value.numpy(), 2, 3).copy())
    model = given_of(parent, FineTune.needs).student()
    model.load_state_dict(turned)
    plain = digest(FineTune(rate=1e-3, epochs=3), with_model(parent, model))
    assert digest(ConvolutionTranspose(), parent) == plain
    assert digest(FineTune(rate=1e-3, epochs=3), parent) != plain


def test_a_turned_kernel_on_a_turned_image_gives_the_turned_answer() -> None:
    """O15, against a convolution by loops."""
    generator = np.random.default_rng(3)
    image, kernel = generator.normal(size=(2, 6, 5)), generator.normal(size=(3, 2, 3, 3))
    layer = nn.Conv2d(2, 3, 3, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel))
    by_hand = np.zeros((3, 4, 3))
    for out in range(3):
        for row in range(4):
            for column in range(3):
                by_hand[out, row, column] = (kernel[out] * image[:, row : row + 3, column : column + 3]).sum()
    transpose(layer.weight)
    found = layer(torch.from_numpy(image).transpose(1, 2)[None])[0].transpose(1, 2)
    np.testing.assert_allclose(found.detach().numpy(), by_hand, rtol=0, atol=1e-12)


@on_images
def test_turning_twice_changes_nothing(name: str, problem: Problem) -> None:
    parent = problem(name)
    edit = ConvolutionTranspose(epochs=0)
    once = edit(parent, FORGET, budget=0.5)
    twice = edit(with_model(parent, once.model), FORGET, budget=0.5)
    assert weights_digest(once.model) != parent.weights_digest
    assert weights_digest(twice.model) == parent.weights_digest
    assert once.cost.example_steps == 0


def test_symmetric_kernels_and_no_epochs_change_nothing(problem: Problem) -> None:
    parent = problem("convolved")
    model = given_of(parent, FineTune.needs).student()
    with torch.no_grad():
        for kernel in kernels(model).values():
            kernel.add_(kernel.transpose(2, 3).clone())
    even = with_model(parent, model)
    assert digest(ConvolutionTranspose(epochs=0), even) == weights_digest(model)
    assert digest(ConvolutionTranspose(epochs=0), even) != parent.weights_digest


def test_kernels_that_cannot_turn_are_left_and_listed(pictures: Dataset) -> None:
    parent = make_parent(pictures, model=seeded(Odd))
    result = ConvolutionTranspose(epochs=0)(parent, FORGET, budget=0.5)
    assert result.notices == ("kernels left as they were, not square or one pixel: flat, point",)
    before, after = tensors(parent.model), tensors(result.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"stem.weight", "first.weight", "second.weight"}  # the shared one once, else it would be back
    assert torch.equal(after["first.weight"], before["first.weight"].transpose(2, 3))
    assert result.model.second.weight is result.model.first.weight


def test_computed_and_frozen_weights_are_no_kernels() -> None:
    model = seeded(Odd)
    assert list(kernels(model)) == ["stem", "flat", "point", "first"]
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3)), nn.Conv2d(2, 2, 3))
    assert list(kernels(normed)) == ["1"]


def test_an_optimiser_that_holds_the_kernel_keeps_it() -> None:
    """The published code assigns a new parameter, which an optimiser built before would never move."""

    def moved(turn: Callable[[nn.Conv2d], None]) -> bool:
        layer = nn.Conv2d(1, 1, 3)
        descent = torch.optim.SGD(layer.parameters(), lr=0.1)
        turn(layer)
        before = layer.weight.detach().clone()
        layer(torch.ones(1, 1, 3, 3)).sum().backward()
        descent.step()
        return not torch.equal(before, layer.weight)

    def replaced(layer: nn.Conv2d) -> None:
        layer.weight = nn.Parameter(layer.weight.swapaxes(2, 3))

    assert moved(lambda layer: transpose(layer.weight))
    assert not moved(replaced)
