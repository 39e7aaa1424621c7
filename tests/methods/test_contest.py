"""The contest's methods: an edit and then the loop; identities, closed forms, hand counts, and every field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tests.methods.conftest import make_parent
from torch import nn

from expunge.core.errors import InvalidArgument, UnsupportedEver, UnsupportedYet
from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.methods.class_weights import class_weights
from expunge.methods.contract import Given, Method, Need, Parent
from expunge.methods.contrast_and_strengthen import ContrastAndStrengthen, Turn, flatness
from expunge.methods.convolution_transpose import ConvolutionTranspose, transpose
from expunge.methods.convolutions import kernels
from expunge.methods.fine_tune import FineTune
from expunge.methods.magnitude import smallest
from expunge.methods.masked_small_gradients import MaskedSmallGradients
from expunge.methods.noise_and_tune import Layers, NoiseAndTune, disturb
from expunge.methods.objective_method import ObjectiveMethod
from expunge.methods.prune_and_match import PruneAndMatch, entropy_gap, layer_weights, round_to_half
from expunge.schedule.plan import Role, UnlearningPlan, Walk
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.tasks.classification import TASKS
from expunge.tasks.task import Batch
from expunge.train.meter import Meter
from expunge.train.objective import Answer, Extras, Loss, StepBatch
from expunge.train.optimiser import make_optimiser
from expunge.train.state import weights_digest

FORGET = np.array([3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26])
RETAIN = np.setdiff1d(np.arange(150), FORGET)
SIZE = 16
Problem = Callable[[str], Parent]
on_images = pytest.mark.parametrize("name", ["convolved", "convolved-normed", "residual"])
on_anything = pytest.mark.parametrize("name", ["plain", "normed", "double", "convolved-normed"])


def digest(method: Method, parent: Parent, budget: float = 0.5, forget: np.ndarray = FORGET) -> str:
    return weights_digest(method(parent, forget, budget=budget).model)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def edited(method: Method, parent: Parent) -> dict[str, torch.Tensor]:
    """The result where nothing is done but the edit."""
    result = method(parent, FORGET, budget=0.5)
    assert result.steps == 0
    assert result.stopped is not None
    return tensors(result.model)


def given_of(parent: Parent, needs: frozenset[Need], forget: np.ndarray = FORGET) -> Given:
    return Given(
        parent,
        np.sort(forget),
        needs,
        seed=0,
        meter=Meter(),
        workspace=None,
        progress=None,
        checkpoint_interval=None,
        trace=False,
    )


def plan_of(method: ObjectiveMethod, parent: Parent, allowed: float | None = None) -> UnlearningPlan:
    given = given_of(parent, method.needs)
    given.meter.allowed = allowed
    teacher = given.original if Need.ORIGINAL in method.needs else None
    return method.plan(given, given.student().train(), teacher, still=False)


def rows_of(plan: UnlearningPlan, role: Role) -> list[int]:
    """How many rows of a role each step has."""
    parts = [plan.step(index).parts for index in range(plan.total)]
    return [len(of[role].slots) if role in of else 0 for of in parts]


def training_work(parent: Parent) -> int:
    return int(parent.schedule.work(np.zeros(0, dtype=np.int64)))


def with_model(parent: Parent, model: nn.Module) -> Parent:
    """The same parent with other weights, under the old digest so that every stream stays what it was."""
    return replace(parent, model=model.eval())


# Without its idea every method is fine-tuning, to the bit.


@on_images
def test_masked_small_gradients_without_mask_and_factor_is_fine_tuning(name: str, problem: Problem) -> None:
    tuned = {"rate": 0.02, "epochs": 5, "batch_size": 64, "calendar": Calendar.WARM_UP}
    plain = FineTune(**tuned)
    bare = MaskedSmallGradients(rate=0.02, fraction=0.0, factor=1.0)
    assert digest(bare, problem(name)) == digest(plain, problem(name))
    assert digest(replace(bare, factor=0.1), problem(name)) != digest(plain, problem(name))
    assert digest(replace(bare, fraction=0.1), problem(name)) != digest(plain, problem(name))


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


@on_anything
@pytest.mark.parametrize(
    "none", [{"uniform_epochs": 0, "forget_epochs": 0}, {"uniform_rate": 0.0, "contrast_rate": 0.0}]
)
def test_contrast_and_strengthen_without_forget_passes_is_fine_tuning(
    name: str, none: dict[str, Any], problem: Problem
) -> None:
    tuned: dict[str, Any] = {"weight_decay": 0.01, "calendar": Calendar.CONSTANT, "epochs": 8}
    plain = digest(FineTune(rate=0.02 * SIZE / 64, **tuned), problem(name), budget=3.0)
    assert digest(ContrastAndStrengthen(rate=0.02, **none), problem(name), budget=3.0) == plain
    for kept in none:
        value = 1 if kept.endswith("epochs") else 1e-3
        assert digest(ContrastAndStrengthen(rate=0.02, **{**none, kept: value}), problem(name), budget=3.0) != plain


@on_images
def test_noise_and_tune_without_noise_on_equal_classes_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    labels = parent.examples.labels.numpy()
    least = np.bincount(labels).min()
    surplus = np.concatenate([np.flatnonzero(labels == one)[least - 2 :] for one in range(3)])
    quiet = NoiseAndTune(noise=0.0, last_noise=0.0)
    plain = FineTune(rate=7e-4, epochs=4)
    assert digest(quiet, parent, forget=surplus) == digest(plain, parent, forget=surplus)
    assert digest(quiet, parent) != digest(plain, parent)  # classes of this retain set are of unequal size
    assert digest(replace(quiet, balance=0.0), parent) == digest(plain, parent)
    for noise in ("noise", "last_noise"):
        assert digest(replace(quiet, **{noise: 0.1}), parent, forget=surplus) != digest(plain, parent, forget=surplus)


@on_anything
def test_prune_and_match_with_nothing_on_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    bare = PruneAndMatch(amount=0.0, half=False, entropy_weight=0.0, balance=0.0)
    plain = FineTune(rate=5e-4, epochs=3.2)
    assert digest(bare, parent, budget=2.0) == digest(plain, parent, budget=2.0)
    for change in ({"amount": 0.01}, {"half": True}, {"entropy_weight": 0.1}, {"balance": 0.1}):
        assert digest(replace(bare, **change), parent, budget=2.0) != digest(plain, parent, budget=2.0)


def test_prune_and_match_on_equal_classes_needs_no_weights(problem: Problem) -> None:
    parent = problem("plain")
    labels = parent.examples.labels.numpy()
    least = np.bincount(labels).min()
    surplus = np.concatenate([np.flatnonzero(labels == one)[least - 2 :] for one in range(3)])
    bare = PruneAndMatch(amount=0.0, half=False, entropy_weight=0.0)
    assert digest(bare, parent, forget=surplus) == digest(FineTune(rate=5e-4, epochs=3.2), parent, forget=surplus)


# Turned kernels.


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


class Odd(nn.Module):
    """Kernels of all shapes, one of them used twice."""

    def __init__(self, side: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, side, padding=side // 2)
        self.flat = nn.Conv2d(2, 2, (1, 3), padding=(0, 1))
        self.point = nn.Conv2d(2, 2, 1)
        self.first = nn.Conv2d(2, 2, side, padding=side // 2)
        self.second = nn.Conv2d(2, 2, side, padding=side // 2)
        self.second.weight = self.first.weight
        self.frozen = nn.Conv2d(2, 2, side, padding=side // 2).requires_grad_(False)
        self.head = nn.Linear(128, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.point(self.flat(self.stem(inputs)))
        hidden = self.frozen(self.second(torch.relu(self.first(hidden))))
        return self.head(hidden.flatten(1))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(5)
    return make()


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


# The mask of small gradients.


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
                row = parent.examples.plain(np.array([slot]))
                loss = nn.functional.cross_entropy(model(row.inputs), row.labels)
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
        plan = plan_of(MaskedSmallGradients(), problem("convolved"), allowed)
        rates = [plan.step(index).rate for index in range(plan.total)]
        expected = [1e-3 * (1 - abs(2 * (at + 1) / (plan.total + 1) - 1)) for at in range(plan.total)]
        assert rates == pytest.approx(expected)
        assert plan.total == (15 if allowed is None else 6)
        assert rates[0] == pytest.approx(rates[-1])
        assert rates[0] < max(rates)


# Contrast and strengthen.


def answer(outputs: torch.Tensor) -> Answer:
    return Answer(outputs, Batch(torch.zeros(len(outputs), 1), torch.zeros(len(outputs), dtype=torch.int64)))


def test_the_uniform_pass_has_gradient_p_minus_one_over_c() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 5))).requires_grad_()
    (found,) = torch.autograd.grad(flatness(answer(logits)), logits)
    expected = (torch.softmax(logits.detach(), 1) - 1 / 5) / 7
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    p = torch.softmax(logits.detach(), 1)
    by_hand = sum(0.2 * math.log(0.2 / float(value)) for value in p.flatten()) / 7
    assert flatness(answer(logits)).item() == pytest.approx(by_hand, abs=1e-12)


def test_the_contrast_has_its_closed_form_and_no_gradient_in_the_retained() -> None:
    """∂/∂z_f = Σ_r (q_fr − 1/R) z_r / (F·T), with q_f the softmax over retained rows of z_f·z_r / T."""
    generator = np.random.default_rng(1)
    forgotten, retained = (torch.from_numpy(generator.normal(size=(rows, 4))) for rows in (3, 6))
    forgotten.requires_grad_()
    method = ContrastAndStrengthen(temperature=1.7)
    loss = method.contrast(answer(forgotten), answer(retained))
    (found,) = torch.autograd.grad(loss, forgotten)
    total, expected = 0.0, np.zeros((3, 4))
    z, others = forgotten.detach().numpy(), retained.numpy()
    for f in range(3):
        likeness = np.array([z[f] @ other / 1.7 for other in others])
        q = np.exp(likeness) / np.exp(likeness).sum()
        total -= np.log(q).mean() / 3
        expected[f] = sum((q[r] - 1 / 6) * others[r] for r in range(6)) / (3 * 1.7)
    assert loss.item() == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_the_retained_side_of_the_contrast_has_no_gradient(problem: Problem) -> None:
    parent = problem("double")
    method = ContrastAndStrengthen(uniform_epochs=0)
    model = given_of(parent, method.needs).student().train()
    plan = plan_of(method, parent)
    assert plan.step(0).turn == Turn.CONTRAST
    batch = StepBatch(plan.step(0), plan, parent.examples, TASKS["classification"])
    value = method.objective(model, batch, None).value()
    assert value is not None
    found = torch.autograd.grad(value, list(model.parameters()))
    parts = plan.step(0).parts
    forgotten, retained = (
        model(parent.examples.plain(parts[role].slots).inputs) for role in (Role.FORGET, Role.RETAIN)
    )
    alone, both = (-torch.log_softmax(forgotten @ other.T / 1.15, 1).mean() for other in (retained.detach(), retained))
    expected = torch.autograd.grad(alone, list(model.parameters()), retain_graph=True)
    wrong = torch.autograd.grad(both, list(model.parameters()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert max(float((a - b).abs().max()) for a, b in zip(expected, wrong, strict=True)) > 1e-4


def test_three_turns_with_optimisers_of_their_own(problem: Problem) -> None:
    parent = problem("plain")
    method = ContrastAndStrengthen(epochs=2.5, batch_size=5, momentum=0.7)
    plan = plan_of(method, parent)
    forget, retain = math.ceil(12 / 5), math.ceil(138 / 5)
    steps = [plan.step(index) for index in range(plan.total)]
    turns = [step.turn for step in steps]
    halves = [round(forget / 2), round(retain / 2)]
    expected = [(Turn.UNIFORM, forget), *[(Turn.CONTRAST, forget), (Turn.RETAIN, retain)] * 2]
    expected += [(Turn.CONTRAST, halves[0]), (Turn.RETAIN, halves[1])]
    assert turns == [turn for turn, count in expected for _ in range(count)]
    rates = {turn: [step.rate for step in steps if step.turn == turn] for turn in Turn}
    assert set(rates[Turn.UNIFORM]) == {5e-3}
    assert set(rates[Turn.RETAIN]) == {1e-3 * 5 / 64}
    total = len(rates[Turn.CONTRAST])
    cosine = [3e-4 * 0.5 * (1 + math.cos(math.pi * at / total)) for at in range(total)]
    assert rates[Turn.CONTRAST] == pytest.approx(cosine)
    decays = {stretch.turn: stretch.optimiser.weight_decay for stretch in method.stretches(parent.recipe)}
    assert decays == {Turn.RETAIN: 0.01, Turn.UNIFORM: 0.0, Turn.CONTRAST: 0.0}
    assert {stretch.optimiser.momentum for stretch in method.stretches(parent.recipe)} == {0.7}
    walks = {stretch.turn: stretch.walk for stretch in method.stretches(parent.recipe)}
    assert walks == {Turn.RETAIN: Walk.RETAIN, Turn.UNIFORM: Walk.FORGET, Turn.CONTRAST: Walk.PAIRED_BY_FORGET}


def test_the_budget_bounds_contrast_and_strengthen(problem: Problem) -> None:
    """None goes on with the retain set; forget_epochs beyond the epochs are not begun; cosines span planned steps."""
    parent = problem("plain")
    endless = ContrastAndStrengthen(epochs=None, forget_epochs=1)
    plan = plan_of(endless, parent, 700.0)
    turns = [plan.step(index).turn for index in range(plan.total)]
    assert turns[:2] == [Turn.UNIFORM, Turn.CONTRAST]
    assert set(turns[2:]) == {Turn.RETAIN}
    assert 700 - SIZE < sum(rows_of(plan, Role.RETAIN)[2:]) + 2 * 12 + SIZE / 3 <= 700
    few, many = (plan_of(ContrastAndStrengthen(epochs=1, forget_epochs=count), parent) for count in (1, 9))
    assert few.total == many.total == 2 + math.ceil(138 / SIZE)


def test_the_cost_of_contrast_and_strengthen(problem: Problem) -> None:
    parent = problem("plain")
    result = ContrastAndStrengthen(epochs=2, batch_size=5)(parent, FORGET, budget=3.0)
    beside = 2 * 3 * 5  # two passes of three steps, with five retained rows beside each
    assert result.cost.example_steps == pytest.approx(3 * 12 + beside / 3 + 2 * 138, abs=1e-9)
    assert result.stopped == "own epochs (2) are done"


def test_contrast_passes_write_statistics_of_the_retain_set_alone(problem: Problem) -> None:
    parent = problem("normed")
    method = ContrastAndStrengthen(epochs=1)

    def statistics(model: nn.Module) -> list[torch.Tensor]:
        return [value for key, value in model.state_dict().items() if "running" in key or "tracked" in key]

    alone = replace(method, epochs=0)(parent, FORGET, budget=1.0).model  # the uniform pass alone
    assert all(torch.equal(a, b) for a, b in zip(statistics(parent.model), statistics(alone), strict=True))
    plan = plan_of(method, parent)
    result = method(parent, FORGET, budget=3.0).model
    passes = sum(rows > 0 for rows in rows_of(plan, Role.RETAIN))
    assert passes == 1 + math.ceil(138 / SIZE)
    assert [int(v) for k, v in result.state_dict().items() if "tracked" in k] == [
        int(v) + passes for k, v in parent.model.state_dict().items() if "tracked" in k
    ]


def test_the_forget_passes_flatten_beliefs(problem: Problem) -> None:
    parent = problem("plain")
    rows = parent.examples.plain(FORGET)
    flatter = ContrastAndStrengthen(epochs=0, uniform_epochs=20)(parent, FORGET, budget=3.0).model
    with torch.no_grad():
        before, after = (flatness(answer(model(rows.inputs))) for model in (parent.model, flatter))
    assert after < before


def test_the_contrast_falls(problem: Problem) -> None:
    parent = problem("plain")
    method = ContrastAndStrengthen(uniform_epochs=0, rate=1e-12, weight_decay=0.0, epochs=8, contrast_rate=0.01)
    result = method(parent, FORGET, budget=4.0)

    def contrast(model: nn.Module) -> float:
        parts = (parent.examples.plain(slots).inputs for slots in (np.sort(FORGET), RETAIN))
        return method.contrast(*(answer(model(inputs)) for inputs in parts)).item()

    assert contrast(result.model) < contrast(parent.model)


# Noise.


def test_noise_on_the_stem_alone_or_everywhere(pictures: Dataset) -> None:
    parent = make_parent(pictures, model="cnn", model_options={"width": 32}, epochs=1)
    before = tensors(parent.model)
    for layers, changed in ((Layers.STEM, {"body.0.weight"}), (Layers.ALL, {"body.0.weight", "body.3.weight"})):
        after = edited(NoiseAndTune(layers=layers, epochs=0), parent)
        assert {key for key in before if not torch.equal(before[key], after[key])} == changed
        for key in changed:
            drawn = (after[key] - before[key]).flatten().double().numpy() / 0.6
            assert kstest(drawn, "norm").pvalue > 1e-3


class Watching(NoiseAndTune):
    """Notes the stem before every step that is taken."""

    noted: ClassVar[list[torch.Tensor]] = []

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        if next(student.parameters()).requires_grad:
            self.noted.append(next(iter(kernels(student).values())).detach().clone())
        return super().objective(student, batch, teacher)


@pytest.mark.parametrize(("budget", "epochs"), [(5.0, 4), (0.55, 3), (0.2, 1)])
def test_the_last_noise_comes_before_the_last_planned_epoch(
    budget: float, epochs: int, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rate that moves nothing, noise is all that does."""
    parent = problem("convolved")
    monkeypatch.setattr(Watching, "noted", [])
    method = Watching(rate=1e-30, weight_decay=0.0, last_noise=0.1)
    result = method(parent, FORGET, budget=budget)
    seen = Watching.noted[-result.steps :]  # planning asks for the cost of steps before
    each = math.ceil(len(RETAIN) / SIZE)
    assert math.ceil(result.steps / each) == epochs
    assert (result.steps % each == 0) == (budget == 5.0)
    moved = [index for index in range(1, result.steps) if not torch.equal(seen[index - 1], seen[index])]
    assert moved == ([(epochs - 1) * each] if epochs > 1 else [])
    given = given_of(parent, method.needs)
    expected = given.student()
    stem = list(kernels(expected).values())[:1]
    disturb(stem, 0.6, Stream(given.seed, "unlearn/noise", 0, 0))
    if epochs > 1:
        assert torch.equal(seen[0], stem[0])
    disturb(stem, 0.1, Stream(given.seed, "unlearn/noise", 0, 1))
    assert torch.equal(seen[-1], stem[0])


def test_noise_is_not_added_twice_by_a_run_that_was_interrupted(problem: Problem, tmp_path: Path) -> None:
    parent = problem("convolved")
    methods: list[ObjectiveMethod] = [
        NoiseAndTune(last_noise=0.2, epochs=2),
        MaskedSmallGradients(epochs=2, batch_size=16),
        ConvolutionTranspose(epochs=2),
        ContrastAndStrengthen(epochs=2),
        PruneAndMatch(epochs=2),
    ]
    for number, method in enumerate(methods):
        whole = method(parent, FORGET, budget=3.0)
        for stop in (9, 13):  # on either side of the last epoch's beginning
            folder = tmp_path / f"{number}-{stop}"
            folder.mkdir()

            def interrupt(done: int, total: int, stop: int = stop) -> None:
                if done == stop:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                method(parent, FORGET, budget=3.0, workspace=folder, checkpoint_interval=3, progress=interrupt)
            again = method(parent, FORGET, budget=3.0, workspace=folder, checkpoint_interval=3)
            assert weights_digest(again.model) == weights_digest(whole.model)
            assert again.cost.example_steps == whole.cost.example_steps


@pytest.mark.parametrize("power", [1.0, 0.1])
def test_classes_are_weighted_by_their_counts(power: float, problem: Problem) -> None:
    parent = problem("plain")
    given = given_of(parent, frozenset({Need.RETAIN}))
    labels = parent.examples.labels.numpy()[RETAIN]
    counts = np.array([sum(int(label) == one for label in labels) for one in range(3)])
    assert len(set(counts)) > 1
    weights = class_weights(given, power)
    assert weights is not None
    np.testing.assert_allclose(weights.numpy(), counts.astype(float) ** -power, rtol=1e-12)
    balanced = len(labels) / (3 * counts)
    if power == 1:
        np.testing.assert_allclose(weights.numpy() / weights.sum().item(), balanced / balanced.sum(), rtol=1e-12)
    method = NoiseAndTune()
    plan = plan_of(FineTune(epochs=1), parent)
    batch = StepBatch(plan.step(0), plan, parent.examples, TASKS["classification"], Extras(class_weights=weights))
    model = given.student()
    value = method.objective(model, batch, None).value()
    rows = parent.examples.plain(plan.step(0).parts[Role.RETAIN].slots)
    expected = nn.functional.cross_entropy(model(rows.inputs), rows.labels, weight=weights.float())
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)


def test_a_class_that_nobody_retains_has_no_weight(problem: Problem) -> None:
    parent = problem("convolved")
    labels = parent.examples.labels.numpy()
    gone = np.flatnonzero(labels == 1)
    weights = class_weights(given_of(parent, frozenset({Need.RETAIN}), gone), 1.0)
    assert weights is not None
    assert weights[1] == 0
    assert bool(weights.isfinite().all())
    for method in (NoiseAndTune(), PruneAndMatch()):
        assert digest(method, parent, forget=gone) != parent.weights_digest


# Pruning.


@on_anything
def test_the_smallest_weights_of_all_layers_are_drawn_anew(name: str, problem: Problem) -> None:
    parent = problem(name)
    before = tensors(parent.model)
    after = edited(PruneAndMatch(amount=0.9, half=False, epochs=0), parent)
    layers = {
        f"{key}.weight": module
        for key, module in parent.model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    assert all(torch.equal(before[key], after[key]) for key in before if key not in layers)
    changed = {key: before[key] != after[key] for key in layers}
    total = sum(module.weight.numel() for module in layers.values())
    assert sum(int(mask.sum()) for mask in changed.values()) == round(0.9 * total)
    redrawn = torch.cat([before[key][changed[key]].abs() for key in layers])
    kept = torch.cat([before[key][~changed[key]].abs() for key in layers])
    assert float(redrawn.max()) <= float(kept.min())
    for key, module in layers.items():
        bound = 1 / math.sqrt(module.in_features if isinstance(module, nn.Linear) else module.weight[0].numel())
        drawn = after[key][changed[key]].double().numpy() / bound
        if len(drawn) > 20:
            assert kstest(drawn, "uniform", args=(-1, 2)).pvalue > 1e-3


def test_draws_do_not_depend_on_the_amount(problem: Problem) -> None:
    parent = problem("plain")
    before = tensors(parent.model)
    few, many = (edited(PruneAndMatch(amount=share, half=False, epochs=0), parent) for share in (0.2, 1.0))
    for key in ("body.1.weight", "body.3.weight"):
        changed = few[key] != before[key]
        assert torch.equal(few[key][changed], many[key][changed])


def test_entropy_gap_has_its_closed_form() -> None:
    """∂/∂z_i = 2 (H − H₀) (−p_i (log p_i + H)) / B."""
    generator = np.random.default_rng(2)
    student, teacher = (torch.from_numpy(generator.normal(size=(6, 4))) for _ in range(2))
    student.requires_grad_()
    loss = entropy_gap(answer(student), answer(teacher))
    (found,) = torch.autograd.grad(loss, student)

    def beliefs(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return p, -(p * np.log(p)).sum(1, keepdims=True)

    (p, of_student), (_, of_teacher) = beliefs(student.detach().numpy()), beliefs(teacher.numpy())
    expected = 2 * (of_student - of_teacher) * -p * (np.log(p) + of_student) / 6
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
    assert loss.item() == pytest.approx(((of_student - of_teacher) ** 2).mean(), abs=1e-12)


def test_the_original_is_at_its_own_entropies() -> None:
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    loss = entropy_gap(answer(logits), answer(logits.detach()))
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, logits)[0].any()


def test_rounding_to_half_and_back(problem: Problem) -> None:
    parent = problem("normed")
    after = edited(PruneAndMatch(amount=0.0, epochs=0), parent)
    for key, value in tensors(parent.model).items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(after[key], expected)
        assert after[key].dtype == value.dtype
    trained = PruneAndMatch(epochs=1)(parent, FORGET, budget=1.0).model  # after the last step, not before the first
    assert all(torch.equal(v, v.half().float()) for v in trained.state_dict().values() if v.is_floating_point())
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1e30], [0.1]]))
    round_to_half(model)
    assert model.weight.flatten().tolist() == [torch.tensor(1e30).item(), torch.tensor(0.1).half().float().item()]


def test_the_cost_of_prune_and_match(problem: Problem) -> None:
    """3.2 passes in whole steps, 4/3 a row; 1 without the teacher."""
    parent = problem("plain")
    method = PruneAndMatch()
    plan = plan_of(method, parent)
    assert plan.total == round(3.2 * math.ceil(138 / SIZE)) == 29
    rows = sum(rows_of(plan, Role.RETAIN))
    assert rows == 3 * 138 + 2 * SIZE
    assert method(parent, FORGET, budget=3.0).cost.example_steps == pytest.approx(rows * 4 / 3, abs=1e-9)
    assert replace(method, entropy_weight=0.0)(parent, FORGET, budget=3.0).cost.example_steps == rows


@pytest.mark.parametrize("method", [ConvolutionTranspose(), NoiseAndTune()], ids=lambda m: m.name)
def test_edits_cost_nothing(method: ObjectiveMethod, problem: Problem) -> None:
    result = method(problem("convolved"), FORGET, budget=5.0)
    assert result.cost.example_steps == (method.epochs or 0) * 138
    nothing = method(problem("convolved"), FORGET, budget=0.0)
    assert (nothing.cost.example_steps, nothing.steps) == (0, 0)
    assert nothing.stopped == "nothing done: the budget covers no step after the edit; a larger --budget would"
    assert weights_digest(nothing.model) == problem("convolved").weights_digest
    alone = replace(method, epochs=0)(problem("convolved"), FORGET, budget=0.0)
    assert weights_digest(alone.model) != problem("convolved").weights_digest


# Refusals, and every field.


@pytest.mark.parametrize(
    "method", [MaskedSmallGradients(), ConvolutionTranspose(), NoiseAndTune()], ids=lambda m: m.name
)
def test_models_without_convolutions_are_refused(method: Method, problem: Problem, pictures: Dataset) -> None:
    words = f"method '{method.name}' on a model without convolutions of plain, learnt weights: .* use fine-tune"
    with pytest.raises(UnsupportedEver, match=words):
        method(problem("plain"), FORGET)
    frozen = nn.Sequential(nn.Conv2d(1, 1, 3).requires_grad_(False), nn.Flatten(), nn.Linear(36, 3))
    with pytest.raises(UnsupportedEver, match="without convolutions of plain, learnt weights"):
        method(make_parent(pictures, model=frozen), FORGET)


def test_what_else_has_nothing_to_edit_is_refused(pictures: Dataset) -> None:
    points = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(UnsupportedEver, match=r"without square kernels of more than one pixel.*use fine-tune"):
        ConvolutionTranspose()(make_parent(pictures, model=points), FORGET)
    with pytest.raises(UnsupportedEver, match=r"without convolutions and dense layers.*use fine-tune"):
        PruneAndMatch()(make_parent(pictures, model=nn.Sequential(nn.Flatten(), nn.LayerNorm(64))), FORGET)
    assert len(layer_weights(seeded(Odd))) == 5


@pytest.mark.parametrize(
    "method", [MaskedSmallGradients(), ConvolutionTranspose(), NoiseAndTune(), PruneAndMatch()], ids=lambda m: m.name
)
def test_sharded_parents_are_refused(method: Method, problem: Problem) -> None:
    parent = problem("convolved")
    with pytest.raises(UnsupportedYet, match="on a run with 2 shards"):
        method(replace(parent, recipe=replace(parent.recipe, shards=2)), FORGET)


@pytest.mark.parametrize("method", [ContrastAndStrengthen(), PruneAndMatch()], ids=lambda m: m.name)
def test_beliefs_need_a_softmax(method: Method, problem: Problem) -> None:
    parent = problem("plain")
    with pytest.raises(UnsupportedEver, match="it needs logits of a softmax"):
        method(replace(parent, recipe=replace(parent.recipe, task="logistic")), FORGET)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (MaskedSmallGradients, {"fraction": 1.1}, "fraction 1.1 must be a share"),
        (MaskedSmallGradients, {"factor": -0.1}, "factor -0.1 must be"),
        (MaskedSmallGradients, {"optimiser": OptimiserName.SIGN}, "factor 0.1 with optimiser sign has no effect"),
        (ContrastAndStrengthen, {"temperature": 0.0}, "temperature 0.0 must be"),
        (ContrastAndStrengthen, {"forget_epochs": -1}, "forget_epochs -1"),
        (ContrastAndStrengthen, {"uniform_epochs": -1}, "uniform_epochs -1"),
        (ContrastAndStrengthen, {"uniform_rate": math.inf}, "uniform_rate inf"),
        (ContrastAndStrengthen, {"contrast_rate": -1.0}, "contrast_rate -1.0"),
        (NoiseAndTune, {"noise": -1.0}, "noise -1.0"),
        (NoiseAndTune, {"last_noise": math.nan}, "last_noise nan"),
        (NoiseAndTune, {"balance": -1.0}, "balance -1.0"),
        (PruneAndMatch, {"amount": 2.0}, "amount 2.0 must be a share"),
        (PruneAndMatch, {"entropy_weight": -1.0}, "entropy_weight -1.0"),
        (PruneAndMatch, {"balance": math.inf}, "balance inf"),
        (PruneAndMatch, {"rate": -1.0}, "rate -1.0"),
    ],
)
def test_fields_are_checked(kind: type[ObjectiveMethod], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        kind(**settings)


SHARED: dict[str, Any] = {
    "rate": 0.003,
    "epochs": 1.5,
    "batch_size": 20,
    "momentum": 0.5,
    "weight_decay": 0.3,
    "calendar": Calendar.STEP,
    "optimiser": OptimiserName.ADAM,
    "recalibrate": True,
}
OWN: list[tuple[type[ObjectiveMethod], dict[str, Any]]] = [
    (MaskedSmallGradients, {"fraction": 0.5, "factor": 0.5}),
    (ConvolutionTranspose, {}),
    (
        ContrastAndStrengthen,
        {"uniform_epochs": 2, "uniform_rate": 0.02, "forget_epochs": 1, "contrast_rate": 1e-2, "temperature": 4.0},
    ),
    (NoiseAndTune, {"layers": Layers.ALL, "noise": 0.3, "last_noise": 0.1, "balance": 2.0}),
    (PruneAndMatch, {"amount": 0.5, "entropy_weight": 3.0, "balance": 1.0, "half": False}),
]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [(kind, field, value) for kind, own in OWN for field, value in {**SHARED, **own}.items()],
    ids=lambda value: getattr(value, "name", None) or str(value),
)
def test_every_field_has_an_effect(kind: type[ObjectiveMethod], field: str, value: Any, problem: Problem) -> None:
    parent = problem("convolved-normed")
    assert digest(kind(**{field: value}), parent, budget=2.0) != digest(kind(), parent, budget=2.0)


def test_every_field_is_tried() -> None:
    for kind, own in OWN:
        assert {*SHARED, *own} == {item.name for item in fields(kind)}


def test_adam_and_decay_reach_every_turn(problem: Problem) -> None:
    method = ContrastAndStrengthen(optimiser=OptimiserName.ADAM)
    kinds = {
        type(make_optimiser(stretch.optimiser, problem("plain").model))
        for stretch in method.stretches(problem("plain").recipe)
    }
    assert kinds == {torch.optim.Adam}
