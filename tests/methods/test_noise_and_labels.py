"""Methods that train on: with noise, wrong labels, a penalty on weights, or signs alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import nn
from torch.nn import functional

from expunge.core.errors import InvalidArgument
from expunge.core.streams import Stream
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.methods.contract import Given, Method, Parent
from expunge.methods.fine_tune import FineTune
from expunge.methods.l1_sparse import L1Sparse, absolute_sum
from expunge.methods.lookup import make_method
from expunge.methods.noisy_gradient_descent import NoisyGradientDescent
from expunge.methods.objective_method import ObjectiveMethod
from expunge.methods.random_labels import Amnesiac, LabelOrder, RandomLabels, draw_labels
from expunge.methods.sign_descent import SignDescent
from expunge.schedule.plan import Role, UnlearningPlan, Walk
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.tasks.classification import TASKS, Classification
from expunge.tasks.task import Batch
from expunge.train.meter import Meter
from expunge.train.objective import StepBatch
from expunge.train.state import weights_digest

FORGET = np.array([3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26])
RETAINED = 150 - len(FORGET)
Problem = Callable[[str], Parent]
MakeParent = Callable[..., Parent]


def digest(method: Method, parent: Parent, budget: float = 0.5, **named: Any) -> str:
    return weights_digest(method(parent, FORGET, budget=budget, **named).model)


def given_of(parent: Parent, method: Method) -> Given:
    return Given(
        parent,
        np.sort(FORGET),
        method.needs,
        seed=0,
        meter=Meter(),
        workspace=None,
        progress=None,
        checkpoint_interval=None,
        trace=False,
    )


def planned(method: ObjectiveMethod, parent: Parent) -> UnlearningPlan:
    given = given_of(parent, method)
    return method.plan(given, given.student(), None, still=False)


# Many scalars at once: each column of the weights is a descent of its own.

PLAIN: dict[str, Any] = {"momentum": 0.0, "weight_decay": 0.0, "calendar": Calendar.CONSTANT}


class Columns(Classification):
    """½ Σ_c (x·w_c − y_c)², with the labels as targets unless there are others for each column."""

    targets: torch.Tensor | None = None

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        targets = batch.labels.double()[:, None] if self.targets is None else self.targets
        return 0.5 * (outputs - targets).square().sum(1)


class ColumnModel(nn.Module):
    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.weight


def columns_of(
    parent_of: MakeParent,
    monkeypatch: pytest.MonkeyPatch,
    weight: torch.Tensor,
    inputs: np.ndarray,
    *,
    targets: torch.Tensor | None = None,
    batch_size: int,
) -> Parent:
    """A parent whose model is one weight, (inputs, columns), in float64."""
    rows, width = inputs.shape
    table = make_dataset(
        labels=[row % 3 for row in range(rows)],
        columns=[Column("x", ColumnKind.ARRAY, (width,))],
        content={"x": inputs},
        where="test",
    )
    parent = parent_of(table, model=ColumnModel(weight), epochs=1000, batch_size=batch_size)
    parent.examples.inputs = torch.from_numpy(inputs)
    task = Columns()
    task.targets = targets
    monkeypatch.setitem(TASKS, "classification", task)
    return parent


def moved(method: Method, parent: Parent, forget: np.ndarray) -> np.ndarray:
    return method(parent, forget, budget=5.0).model.weight.detach().numpy()  # type: ignore[union-attr, return-value]


# Noise.


@pytest.mark.parametrize("name", ["plain", "normed", "double", "convolved-normed"])
def test_noise_of_no_variance_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    assert digest(NoisyGradientDescent(variance=0.0), parent) == digest(FineTune(), parent)
    assert digest(NoisyGradientDescent(variance=1e-7), parent) != digest(FineTune(), parent)


@pytest.mark.parametrize("optimiser", list(OptimiserName))
def test_noise_of_no_variance_under_every_optimiser(optimiser: OptimiserName, parent: Parent) -> None:
    settings: dict[str, Any] = {"optimiser": optimiser, "rate": 1e-3, "momentum": 0.0, "weight_decay": 0.0}
    assert digest(NoisyGradientDescent(variance=0.0, **settings), parent) == digest(FineTune(**settings), parent)


STEPS, RATE, VARIANCE, WIDTH, COPIES, SMALL = 12, 0.3, 0.04, 3, 40_000, np.arange(4)


def test_the_spread_of_noisy_descent(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean θ_R + A^K(θ_D − θ_R), covariance η²σ²(I − A^2K)(I − A²)⁻¹ with A = I − ηH_R; 40,000 descents at once."""
    generator = np.random.default_rng(2)
    inputs = generator.normal(size=(24, WIDTH)) * [1.0, 0.6, 0.3]
    start = generator.normal(size=WIDTH)
    weight = torch.from_numpy(np.repeat(start[:, None], COPIES, axis=1))
    parent = columns_of(parent_of, monkeypatch, weight, inputs, batch_size=24)
    method = NoisyGradientDescent(variance=VARIANCE, rate=RATE, epochs=STEPS, **PLAIN)
    found = moved(method, parent, SMALL)
    kept, labels = inputs[len(SMALL) :], np.arange(len(SMALL), 24) % 3
    descent = np.eye(WIDTH) - RATE * kept.T @ kept / len(kept)
    best = np.linalg.lstsq(kept, labels.astype(float), rcond=None)[0]
    mean = best + np.linalg.matrix_power(descent, STEPS) @ (start - best)
    square = descent @ descent
    wide = (
        RATE**2
        * VARIANCE
        * (np.eye(WIDTH) - np.linalg.matrix_power(square, STEPS))
        @ np.linalg.inv(np.eye(WIDTH) - square)
    )
    spread = np.cov(found)
    assert np.linalg.norm(spread - wide) < 0.03 * np.linalg.norm(wide)
    scaled = (found.mean(1) - mean) / np.sqrt(np.diag(wide) / COPIES)
    assert np.abs(scaled).max() < 4
    # One draw for all steps, or a variance that is taken for a standard deviation, would be seen.
    same = sum(np.linalg.matrix_power(descent, step) for step in range(STEPS))
    repeated = RATE**2 * VARIANCE * same @ same
    for defective in (repeated, VARIANCE * wide):
        assert np.linalg.norm(defective - wide) > 0.5 * np.linalg.norm(wide)
    assert abs(np.corrcoef(found[0, :-1], found[0, 1:])[0, 1]) < 0.02


def test_noise_by_hand(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draws of a step come from its own stream; they pass through momentum as the gradient does."""
    inputs = np.random.default_rng(3).normal(size=(20, 2))
    weight = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.0, -0.5]], dtype=torch.float64)
    parent = columns_of(parent_of, monkeypatch, weight.clone(), inputs, batch_size=20)
    method = NoisyGradientDescent(variance=0.25, rate=0.1, epochs=5, momentum=0.7, weight_decay=0.02)
    given = given_of(parent, method)
    expected, velocity = weight.numpy().copy(), np.zeros((2, 3))
    kept, labels = inputs[len(SMALL) :], (np.arange(len(SMALL), 20) % 3)[:, None]
    for step in range(5):
        gradient = kept.T @ (kept @ expected - labels) / len(kept)
        noise = 0.5 * Stream(given.seed, "unlearn/noise", 0, step).normal(6).reshape(2, 3)
        velocity = 0.7 * velocity + gradient + noise + 0.02 * expected
        expected = expected - 0.1 * 0.5 * (1 + np.cos(np.pi * step / 5)) * velocity
    np.testing.assert_allclose(moved(method, parent, SMALL), expected, rtol=0, atol=1e-12)


def test_noise_reaches_weights_that_no_row_uses(pictures: Dataset, parent_of: MakeParent) -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Linear(64, 3)
            self.spare = nn.Parameter(torch.zeros(500))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.used(inputs.flatten(1).float() / 255)

    parent = parent_of(pictures, model=Spare())
    settings: dict[str, Any] = {**PLAIN, "rate": 0.1, "epochs": 1, "batch_size": RETAINED}
    noisy = NoisyGradientDescent(variance=1e-4, **settings)(parent, FORGET, budget=1.0).model
    assert float(noisy.spare.detach().std()) == pytest.approx(0.1 * 1e-2, rel=0.15)  # type: ignore[union-attr, operator]
    with torch.no_grad():
        parent.model.spare += 1.0  # type: ignore[union-attr, operator]
    settings["weight_decay"] = 0.5  # which no optimiser applies where there is no gradient
    assert digest(NoisyGradientDescent(variance=0.0, **settings), parent) == digest(FineTune(**settings), parent)


def test_interrupted_noise_continues(normed: Parent, tmp_path: Path) -> None:
    method = NoisyGradientDescent(variance=1e-4)
    whole = digest(method, normed)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    (tmp_path / "run").mkdir()
    with pytest.raises(KeyboardInterrupt):
        digest(method, normed, workspace=tmp_path / "run", checkpoint_interval=2, progress=stop)
    begun: list[int] = []
    again = digest(
        method,
        normed,
        workspace=tmp_path / "run",
        checkpoint_interval=2,
        progress=lambda done, total: begun.append(done),
    )
    assert begun[0] == 3
    assert again == whole


# Wrong labels.


def labelled(parent: Parent, method: RandomLabels, epoch: int = 0) -> torch.Tensor:
    """The labels that the method gives to every row in an epoch."""
    slots = torch.arange(len(parent.examples))
    return method.relabel(given_of(parent, method))(slots, parent.examples.labels, epoch)


def test_no_drawn_label_is_right(parent: Parent) -> None:
    labels, true = labelled(parent, Amnesiac()), parent.examples.labels
    retained = np.setdiff1d(np.arange(150), FORGET)
    assert bool((labels[FORGET] != true[FORGET]).all())
    assert torch.equal(labels[retained], true[retained])
    assert torch.equal(labelled(parent, Amnesiac(), 2), labels)
    assert bool(((labels >= 0) & (labels < 3)).all())
    assert bool((labelled(parent, RandomLabels())[FORGET] == true[FORGET]).any())  # drawn from all classes


@pytest.mark.parametrize("classes", [2, 5])
def test_wrong_labels_are_uniform(classes: int) -> None:
    method = Amnesiac()
    assert method.choices(classes) == classes - 1
    for own in range(classes):
        drawn = torch.from_numpy(draw_labels(bytes([own]) * 32, 0, 20_000, method.choices(classes)))
        counts = np.bincount(method.label(drawn, torch.full((20_000,), own)).numpy(), minlength=classes)
        assert counts[own] == 0
        assert counts.sum() == 20_000
        if classes > 2:
            assert chisquare(np.delete(counts, own)).pvalue > 1e-4


def test_the_expected_gradient_of_wrong_labels() -> None:
    """p − (1 − y)/(C − 1) on the logits, over all draws."""
    method, classes = Amnesiac(), 6
    logits = torch.randn(4, classes, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    own = torch.tensor([0, 5, 2, 2])
    total = torch.zeros_like(logits)
    for draw in range(method.choices(classes)):
        labels = method.label(torch.full((4,), draw), own)
        total += torch.autograd.grad(functional.cross_entropy(logits, labels, reduction="sum"), logits)[0]
    spread = (1 - functional.one_hot(own, classes).double()) / (classes - 1)
    torch.testing.assert_close(total / (classes - 1), (logits.softmax(1) - spread).detach(), rtol=1e-12, atol=1e-12)


def test_amnesiac_trains_on_the_labels_that_it_drew(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row under one label through all epochs, retained rows under their own."""
    seen: dict[bytes, set[int]] = {}

    class Watching(Classification):
        def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
            for row, label in zip(batch.inputs, batch.labels, strict=True):
                seen.setdefault(row.numpy().tobytes(), set()).add(int(label))
            return super().loss_of(outputs, batch)

    monkeypatch.setitem(TASKS, "classification", Watching())
    expected = labelled(parent, Amnesiac())
    for order in LabelOrder:
        seen.clear()
        Amnesiac(order=order)(parent, FORGET, budget=1.0)
        for slot, row in enumerate(parent.examples.inputs):
            assert seen[row.numpy().tobytes()] == {int(expected[slot])}


def test_true_labels_make_amnesiac_plain_training(parent: Parent) -> None:
    class Everybody(FineTune):
        name = "everybody"
        needs = Amnesiac.needs

        @property
        def walk(self) -> Walk:
            return Walk.MIXED

    class Honest(Amnesiac):
        name = "honest"

        def label(self, drawn: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
            return own

    plain = Everybody(rate=1e-4, epochs=3, optimiser=OptimiserName.ADAM)
    assert digest(Honest(), parent, 2.0) == digest(plain, parent, 2.0)
    assert digest(Amnesiac(), parent, 2.0) != digest(plain, parent, 2.0)


# Sparse weights.


@pytest.mark.parametrize("name", ["plain", "normed", "double", "convolved-normed"])
def test_no_penalty_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    assert digest(L1Sparse(strength=0.0), parent) == digest(FineTune(), parent)
    assert digest(L1Sparse(), parent) != digest(FineTune(), parent)


def test_the_penalty_thresholds_softly(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """½(x − a)² + α|x| ends at sign(a)·max(|a| − α, 0): one epoch of many steps holds α still.

    Within ηα of it for |a| ≥ α. Below that a step across 0 is as long as η(α + |a|), so the last weight lies within it.
    """
    wanted = torch.linspace(-2, 2, 41, dtype=torch.float64)
    start = torch.full((1, 41), 0.37, dtype=torch.float64)
    parent = columns_of(parent_of, monkeypatch, start, np.ones((300, 1)), targets=wanted, batch_size=2)
    rate, strength = 0.05, 0.8
    method = L1Sparse(strength=strength, rate=rate, epochs=1, **PLAIN)
    found = moved(method, parent, np.arange(2))[0]
    size = np.abs(wanted.numpy())
    soft = np.sign(wanted.numpy()) * np.maximum(size - strength, 0)
    outside = size >= strength + 1e-9
    assert (np.abs(found - soft)[outside] <= rate * strength).all()
    assert (np.abs(found - soft)[~outside] <= rate * (strength + size[~outside])).all()
    assert np.abs(found - wanted.numpy()).max() > 0.5 * strength
    assert min(outside.sum(), (~outside).sum()) > 10


def test_the_penalty_fades_from_epoch_to_epoch(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, with α(1 − e/E)·sign(θ) beside the gradient: whole in the first of E epochs, never negative."""
    inputs = np.random.default_rng(4).normal(size=(20, 2))
    weight = torch.tensor([[0.5, -1.0, 0.0], [1.0, 0.01, -0.5]], dtype=torch.float64)
    parent = columns_of(parent_of, monkeypatch, weight.clone(), inputs, batch_size=8)
    method = L1Sparse(strength=0.3, rate=0.1, epochs=4, **PLAIN)
    plan = planned_for(method, parent)
    expected = weight.numpy().copy()
    factors = []
    for index in range(plan.total):
        step = plan.step(index)
        rows = step.parts[Role.RETAIN].slots
        gradient = inputs[rows].T @ (inputs[rows] @ expected - (rows % 3)[:, None]) / len(rows)
        factors.append(1 - (index // 2) / 4)
        expected = expected - 0.1 * (gradient + 0.3 * factors[-1] * np.sign(expected))
    assert sorted(set(factors)) == [0.25, 0.5, 0.75, 1.0]
    np.testing.assert_allclose(moved(method, parent, SMALL), expected, rtol=0, atol=1e-12)


def planned_for(method: ObjectiveMethod, parent: Parent) -> UnlearningPlan:
    given = Given(
        parent,
        SMALL,
        method.needs,
        seed=0,
        meter=Meter(),
        workspace=None,
        progress=None,
        checkpoint_interval=None,
        trace=False,
    )
    return method.plan(given, given.student(), None, still=False)


def test_the_penalty_counts_trainable_weights_alone(parent: Parent) -> None:
    model = given_of(parent, FineTune()).student()
    first, *others = model.parameters()
    first.requires_grad_(False)
    by_hand = sum(float(parameter.detach().abs().double().sum()) for parameter in others)
    assert float(absolute_sum(model).detach()) == pytest.approx(by_hand, rel=1e-5)


def test_a_skipped_step_has_no_penalty(parent: Parent) -> None:
    """A batch with too few rows changes no weight."""
    recipe = replace(parent.recipe, least_present=12)
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 16}
    method = L1Sparse(**settings)
    short = replace(parent, recipe=recipe)
    plan = planned(method, short)
    step = replace(plan.step(0), parts={})
    assert method.objective(parent.model, StepBatch(step, plan, parent.examples, Classification()), None).terms == ()
    assert plan.total == 9
    result = method(short, FORGET, budget=1.0)
    assert result.cost.example_steps == RETAINED - RETAINED % 16


# Signs.


def test_the_scale_of_the_loss_does_not_matter_to_signs(
    normed: Parent, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Louder(Classification):
        def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
            return 4096 * super().loss_of(outputs, batch)

    for parent in (normed, problem("double"), problem("convolved")):
        quiet = digest(SignDescent(), parent), digest(FineTune(), parent)
        with monkeypatch.context() as patched:
            patched.setitem(TASKS, "classification", Louder())
            loud = digest(SignDescent(), parent), digest(FineTune(rate=1e-6), parent)
        assert quiet[0] == loud[0] != parent.weights_digest
        assert quiet[1] != loud[1]


def test_signs_by_hand(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every coordinate moves by the rate or, where its gradient is 0, stays; decay and moments have no part."""
    inputs = np.random.default_rng(5).normal(size=(20, 3))
    inputs[:, 1] = 0
    weight = torch.tensor([[5.0, -1.0], [3.0, 4.0], [-2.0, 0.3]], dtype=torch.float64)
    parent = columns_of(parent_of, monkeypatch, weight.clone(), inputs, batch_size=20)
    kept, labels = inputs[len(SMALL) :], (np.arange(len(SMALL), 20) % 3)[:, None]
    expected = weight.numpy().copy()
    for step in range(6):
        before = expected
        rate = 0.2 * 0.5 * (1 + np.cos(np.pi * step / 6))
        expected = expected - rate * np.sign(kept.T @ (kept @ expected - labels))
        assert np.abs(expected - before).max() <= rate + 1e-15
    found = moved(SignDescent(rate=0.2, epochs=6), parent, SMALL)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert np.array_equal(found[1], weight.numpy()[1])


def test_no_weight_moves_further_than_the_rates(problem: Problem) -> None:
    parent = problem("double")
    method = SignDescent(rate=1e-3)
    plan = planned(replace(method, epochs=2), parent)
    reach = sum(plan.step(index).rate for index in range(plan.total))
    result = replace(method, epochs=2)(parent, FORGET, budget=2.0)
    assert result.steps == plan.total
    pairs = zip(result.model.parameters(), parent.model.parameters(), strict=True)
    far = max(float((after - before).detach().abs().max()) for after, before in pairs)
    assert 0.2 * reach < far <= reach + 1e-12


# Costs, directions, options.


def test_costs_by_hand(parent: Parent) -> None:
    f, r = len(FORGET), RETAINED
    for method, rows in (
        (NoisyGradientDescent(epochs=2), 2 * r),
        (L1Sparse(epochs=2), 2 * r),
        (SignDescent(epochs=2), 2 * r),
        (Amnesiac(), 3 * (f + r)),
        (Amnesiac(epochs=2, order=LabelOrder.FORGET_THEN_RETAIN), 2 * (f + r)),
    ):
        result = method(parent, FORGET, budget=10.0)
        assert result.cost.example_steps == rows
        assert result.stopped is not None
        assert "epochs" in result.stopped


@pytest.mark.parametrize(
    "method",
    [
        NoisyGradientDescent(epochs=20, batch_size=150, weight_decay=0),
        L1Sparse(epochs=20, batch_size=150, strength=1e-2),
        SignDescent(epochs=20, batch_size=150),
        Amnesiac(epochs=20, batch_size=150, rate=1e-3),
    ],
    ids=lambda method: method.name,
)
def test_the_objective_falls(method: ObjectiveMethod, problem: Problem) -> None:
    parent = problem("double")
    given = given_of(parent, method)
    extras = method.prepare(given, given.student()).extras
    plan = method.plan(given, parent.model, None, still=False)
    assert plan.total == 20

    def loss(model: nn.Module) -> float:
        batch = StepBatch(plan.step(0), plan, parent.examples, Classification(), extras)
        value = method.objective(model, batch, None).value()
        assert value is not None
        return float(value.detach())

    assert loss(method(parent, FORGET, budget=10.0).model) < loss(parent.model)


class Renamed(Amnesiac):
    """Wrong labels that are renamed along with the classes."""

    name = "renamed"

    def label(self, drawn: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return ORDER[super().label(drawn, torch.argsort(ORDER)[own])]


ORDER = torch.tensor([2, 0, 1])


@pytest.mark.parametrize(
    ("method", "other"),
    [(L1Sparse(), L1Sparse()), (SignDescent(), SignDescent()), (Amnesiac(), Renamed())],
    ids=lambda method: method.name,
)
def test_renaming_the_classes_renames_the_result(
    method: Method, other: Method, pictures: Dataset, parent_of: MakeParent
) -> None:
    results = []
    for renamed in (False, True):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
        with torch.no_grad():
            model[1].weight.copy_(torch.sin(0.1 * torch.arange(192).double()).reshape(3, 64))
            model[1].bias.zero_()
            if renamed:
                model[1].weight[ORDER] = model[1].weight.clone()
        parent = replace(parent_of(pictures, model=model), weights_digest="00" * 32)
        parent.examples.inputs = parent.examples.inputs.double() / 255
        if renamed:
            parent.examples.labels = ORDER[parent.examples.labels]
        after = (other if renamed else method)(parent, FORGET, budget=0.5).model
        results.append(after[1].weight.detach())  # type: ignore[index, union-attr]
    torch.testing.assert_close(results[1][ORDER], results[0], rtol=0, atol=1e-10)


BASE: dict[str, Any] = {
    "rate": 0.002,
    "epochs": 1,
    "batch_size": 7,
    "momentum": 0.5,
    "weight_decay": 0.3,
    "calendar": Calendar.CONSTANT,
    "optimiser": OptimiserName.ADAMW,
    "recalibrate": True,
}
ONE_WAY = ("momentum", "weight_decay", "optimiser")
OPTIONS: list[tuple[type[ObjectiveMethod], str, object]] = [
    *((kind, field, value) for kind in (NoisyGradientDescent, L1Sparse, Amnesiac) for field, value in BASE.items()),
    *((SignDescent, field, value) for field, value in BASE.items() if field not in ONE_WAY),
    (NoisyGradientDescent, "variance", 1e-5),
    (L1Sparse, "strength", 1e-2),
    (Amnesiac, "order", LabelOrder.FORGET_THEN_RETAIN),
]


@pytest.mark.parametrize(("kind", "field", "value"), OPTIONS, ids=lambda value: getattr(value, "name", str(value)))
def test_every_option_has_an_effect(kind: type[ObjectiveMethod], field: str, value: object, normed: Parent) -> None:
    assert digest(kind(), normed, 2.0) != digest(kind(**{field: value}), normed, 2.0)


def test_every_field_is_among_the_options() -> None:
    for kind in (NoisyGradientDescent, L1Sparse, Amnesiac, SignDescent):
        tried = {field for one, field, _ in OPTIONS if one is kind}
        refused = set(ONE_WAY) if kind is SignDescent else set()
        assert tried | refused == {item.name for item in fields(kind)}


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ngd", {"variance": "-1"}, "variance -1.0 must be a finite number from 0"),
        ("ngd", {"variance": "inf"}, "variance inf must be a finite number from 0"),
        ("l1-sparse", {"strength": "-1"}, "strength -1.0 must be a finite number from 0"),
        ("l1-sparse", {"strength": "nan"}, "strength nan must be a finite number from 0"),
        ("sign-descent", {"momentum": "0.9"}, "momentum 0.9 must be 0: signs know neither momentum nor decay"),
        ("sign-descent", {"weight_decay": "0.1"}, "weight_decay 0.1 must be 0: signs know"),
        ("sign-descent", {"weight_decay": "none"}, "weight_decay None must be 0: signs know"),
        ("sign-descent", {"optimiser": "sgd"}, "optimiser sgd must be sign: .* use fine-tune with another optimiser"),
        ("sign-descent", {"rate": "inf"}, "rate inf must be a finite number from 0"),
        ("amnesiac", {"order": "sideways"}, "is not one of mixed, forget-then-retain"),
        ("amnesiac", {"momentum": "1"}, "momentum 1.0 must lie"),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_method(name, settings)
