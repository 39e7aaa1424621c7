"""Masked small gradients: the mask, what is drawn anew, the damped gradients, the rate, the cost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tests.methods.conftest import make_parent
from tests.methods.shared import (
    FORGET,
    RETAIN,
    Odd,
    Problem,
    digest,
    edited,
    given_of,
    on_images,
    plan_of,
    seeded,
    tensors,
)
from torch import nn

from expunge.data.dataset import Dataset
from expunge.methods.contract import Parent
from expunge.methods.fine_tune import FineTune
from expunge.methods.magnitude import smallest
from expunge.methods.masked_small_gradients import MaskedSmallGradients
from expunge.schedule.recipe import Calendar
from expunge.train.state import weights_digest


@on_images
def test_masked_small_gradients_without_mask_and_factor_is_fine_tuning(name: str, problem: Problem) -> None:
    tuned = {"rate": 0.02, "epochs": 5, "batch_size": 64, "calendar": Calendar.WARM_UP}
    plain = FineTune(**tuned)
    bare = MaskedSmallGradients(rate=0.02, fraction=0.0, factor=1.0)
    assert digest(bare, problem(name)) == digest(plain, problem(name))
    assert digest(replace(bare, factor=0.1), problem(name)) != digest(plain, problem(name))
    assert digest(replace(bare, fraction=0.1), problem(name)) != digest(plain, problem(name))


# The mask.


def test_the_mask_by_hand() -> None:
    """O13: six weights, known gradients, one tie."""
    gradient = torch.tensor([[0.5, -0.1, 0.3], [-0.3, 2.0, 0.0]])
    assert smallest([gradient], 3)[0].tolist() == [[False, True, True], [False, False, True]]
    assert smallest([gradient], 4)[0].tolist() == [[False, True, True], [True, False, True]]
    assert [int(smallest([gradient], count)[0].sum()) for count in range(7)] == list(range(7))
    assert [part.tolist() for part in smallest([gradient[0], gradient[1]], 2)] == [
        [False, True, False],
        [False, False, True],
    ]


def contrast_gradient(parent: Parent, size: int) -> dict[str, torch.Tensor]:
    """Σ over batches of ∇CE(sampled R) − ∇CE(F) for every kernel, row by row."""
    given = given_of(parent, MaskedSmallGradients.needs)
    model = given.student().eval()
    weights = {name: p for name, p in model.named_parameters() if p.dim() == 4}
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for sign, slots in ((1, given.sample(given.retain, len(FORGET))), (-1, np.sort(FORGET))):
        for start in range(0, len(slots), size):
            part = slots[start : start + size]
            for slot in part:
                row = parent.examples.batch(np.array([slot]))
                loss = nn.functional.cross_entropy(model(row["inputs"]), row["labels"])
                for name, g in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
                    sums[name] += sign * g / len(part)
    return sums


@on_images
@pytest.mark.parametrize("fraction", [0.3, 0.77])
def test_the_smallest_gradients_of_each_layer_are_drawn_anew(name: str, fraction: float, problem: Problem) -> None:
    parent = problem(name)
    before = tensors(parent.model)
    after = edited(MaskedSmallGradients(fraction=fraction, epochs=0, batch_size=5), parent)
    gradients = contrast_gradient(parent, 5)
    for key, value in before.items():
        changed = before[key] != after[key]
        if value.dim() != 4:
            assert not changed.any()
            continue
        assert int(changed.sum()) == round(fraction * value.numel())
        magnitude = gradients[key].abs()
        if 0 < int(changed.sum()) < value.numel():  # sums in another order differ in the last bits
            assert float(magnitude[changed].max()) <= float(magnitude[~changed].min()) * (1 + 1e-3) + 1e-9


def test_redrawn_weights_are_normal_by_fan_out(pictures: Dataset) -> None:
    parent = make_parent(pictures, model="cnn", model_options={"width": 32}, epochs=1)
    before = tensors(parent.model)
    small, large = (edited(MaskedSmallGradients(fraction=share, epochs=0), parent) for share in (0.3, 1.0))
    for key, channels in (("body.0.weight", 32), ("body.3.weight", 64)):
        drawn = large[key].flatten().double() * math.sqrt(channels * 9 / 2)
        assert kstest(drawn.numpy(), "norm").pvalue > 1e-3
        redrawn = small[key] != before[key]
        assert torch.equal(small[key][redrawn], large[key][redrawn])  # the draws do not depend on the fraction


# The steps after it.


def test_other_kernel_weights_get_a_part_of_their_gradient(problem: Problem) -> None:
    """One step without momentum and decay moves what was not redrawn by factor times as much, and the rest in full."""
    parent = problem("convolved")
    one: dict[str, Any] = {"momentum": 0.0, "weight_decay": 0.0, "epochs": 1, "batch_size": 200, "rate": 0.1}
    edit = edited(MaskedSmallGradients(**{**one, "epochs": 0}), parent)
    before = tensors(parent.model)
    full, part = (tensors(MaskedSmallGradients(**one, factor=f)(parent, FORGET, budget=1.0).model) for f in (1.0, 0.1))
    for key in ("body.0.weight", "body.3.weight"):
        mask = edit[key] != before[key]
        moves = [(after[key] - edit[key]) for after in (full, part)]
        assert torch.equal(moves[0][mask], moves[1][mask])
        torch.testing.assert_close(moves[1][~mask], 0.1 * moves[0][~mask], rtol=1e-2, atol=1e-7)
        assert float(moves[0][~mask].abs().max()) > 1e-4
    for key in ("body.7.weight", "body.0.bias"):
        assert torch.equal(full[key], part[key])


def test_the_factor_is_not_rounded_in_double(pictures: Dataset) -> None:
    parent = make_parent(pictures, model=seeded(lambda: nn.Sequential(Odd())).double())
    parent.examples.inputs = parent.examples.inputs.double()
    one: dict[str, Any] = {"momentum": 0.0, "weight_decay": 0.0, "epochs": 1, "batch_size": 200, "fraction": 0.0}
    before = tensors(parent.model)["0.stem.weight"]
    moves = [
        tensors(MaskedSmallGradients(**one, rate=1.0, factor=f)(parent, FORGET, budget=1.0).model)["0.stem.weight"]
        - before
        for f in (1.0, 0.1)
    ]
    torch.testing.assert_close(moves[1], 0.1 * moves[0], rtol=1e-10, atol=1e-14)


def training_work(parent: Parent) -> int:
    return int(parent.schedule.work(np.zeros(0, dtype=np.int64)))


def test_the_cost_of_the_mask(problem: Problem) -> None:
    parent = problem("convolved")
    method = MaskedSmallGradients(epochs=2)
    result = method(parent, FORGET, budget=2.0)
    assert result.cost.example_steps == 2 * len(FORGET) + 2 * len(RETAIN)
    assert result.steps == 2 * math.ceil(len(RETAIN) / 64)
    assert "gradient of the forget set" in result.seen
    assert "gradient of the forget set" not in replace(method, fraction=0.0)(parent, FORGET, budget=2.0).seen
    tight = (2 * len(FORGET) - 1) / training_work(parent)
    refused = method(parent, FORGET, budget=tight)
    assert (refused.cost.example_steps, refused.steps) == (0, 0)
    assert refused.stopped == "nothing done: the mask and the first step would pass the budget"
    assert weights_digest(refused.model) == parent.weights_digest
    many = np.arange(100)  # as many retained rows as there are, where they are fewer than F
    assert MaskedSmallGradients(epochs=0)(parent, many, budget=2.0).cost.example_steps == 100 + 50


def test_the_rate_rises_and_falls_over_the_planned_steps(problem: Problem) -> None:
    """A smaller budget plans fewer steps and has a whole rise and fall of its own."""
    for allowed in (None, 300.0):
        plan = plan_of(MaskedSmallGradients(), problem("convolved"), allowed=allowed)
        rates = [plan.step(index).rate for index in range(plan.total)]
        expected = [1e-3 * (1 - abs(2 * (at + 1) / (plan.total + 1) - 1)) for at in range(plan.total)]
        assert rates == pytest.approx(expected)
        assert plan.total == (15 if allowed is None else 6)
        assert rates[0] == pytest.approx(rates[-1])
        assert rates[0] < max(rates)
