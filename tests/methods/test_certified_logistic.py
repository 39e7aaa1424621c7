"""Certified removal: closed forms, the bounds, the account, and the whole way through run folders."""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from scipy.optimize import brentq
from tests.train import newton_twin as newton
from torch import nn

from expunge.core.errors import ExpungeError, InvalidArgument, RunError, UnsupportedEver
from expunge.core.values import Certified, Empirical
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.splits import Split
from expunge.methods.certified_logistic import CertifiedLogistic
from expunge.methods.contract import Given, Need, Parent
from expunge.methods.lookup import find_method, make_method, method_from_json
from expunge.methods.removal_account import allowance, profile, rounded_up
from expunge.methods.unlearn import unlearn
from expunge.models.linear import features_of, head_of
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import Calendar, Optimiser, Recipe
from expunge.schedule.schedule import Schedule
from expunge.tasks.classification import TASKS
from expunge.tasks.linear import LinearTask, Logistic, Squared
from expunge.train.examples import Examples
from expunge.train.newton_removal import Bound, Removal, Rows, gradient, hessian, newton_steps
from expunge.train.perturbation import KEY_NAME, draw_noise, read_key
from expunge.train.run import Run
from expunge.train.state import weights_digest
from expunge.train.training import make_recipe, train

DECAY = 1e-2
SIGMA = 2.0
FIELDS: dict[str, Any] = {
    "model": "linear",
    "task": "logistic",
    "epochs": 300,
    "batch_size": 1000,
    "optimiser": Optimiser(rate=4.0, weight_decay=DECAY, calendar=Calendar.CONSTANT),
    "perturbation": SIGMA,
}
PERSON = "subject:someone-02"


def random_rows(generator: np.random.Generator, count: int, width: int, classes: int = 3) -> Rows:
    """Rows of length 1 at most, labels by a noisy linear rule."""
    x = generator.normal(size=(count, width)) * generator.uniform(0.2, 2, width)
    x /= np.maximum(1.0, np.linalg.norm(x, axis=1, keepdims=True))
    y = (x @ generator.normal(size=(width, classes)) + 0.3 * generator.normal(size=(count, classes))).argmax(axis=1)
    return Rows(torch.from_numpy(x), torch.from_numpy(y))


def parts(rows: Rows, forget: np.ndarray) -> tuple[Rows, Rows]:
    """(retain, forget)."""
    mask = torch.zeros(len(rows), dtype=torch.bool)
    mask[forget] = True
    return Rows(rows.features[~mask], rows.labels[~mask]), Rows(rows.features[mask], rows.labels[mask])


def optimum(task: LinearTask, rows: Rows, decay: float, noise: torch.Tensor | None = None) -> torch.Tensor:
    """The minimum with noise, by Newton's method from zero down to the last bits."""
    weights = torch.zeros(3, rows.features.shape[1], dtype=torch.float64)
    for _ in range(60):
        left = gradient(task, weights, rows, decay) + (0 if noise is None else noise)
        steps = [torch.linalg.solve(hessian(task, weights, rows, decay, c), left[c]) for c in range(3)]
        weights = weights - torch.stack(steps)
    return weights


def removal_after(steps: int, *arguments: Any, **named: Any) -> Removal:
    found = newton_steps(*arguments, **named)
    for _ in range(steps - 1):
        next(found)
    return next(found)


def residual(task: LinearTask, removal: Removal, retain: Rows, decay: float, noise: torch.Tensor | float = 0.0) -> Any:
    return torch.linalg.vector_norm(gradient(task, removal.weights, retain, decay) + noise, dim=1)


# -- the mathematics, in float64


@pytest.mark.parametrize("task", [Squared(), Logistic()], ids=lambda task: task.name)
def test_gradient_and_hessian_equal_autograd_row_by_row(task: LinearTask) -> None:
    generator = np.random.default_rng(0)
    rows = random_rows(generator, 12, 4)
    weights = torch.from_numpy(generator.normal(size=(3, 4)))

    def objective(flat: torch.Tensor) -> torch.Tensor:
        losses = [task.each((x @ flat.T)[None], y[None]).sum() for x, y in zip(rows.features, rows.labels, strict=True)]
        return torch.stack(losses).sum() + 0.5 * DECAY * len(rows) * flat.square().sum()

    expected = torch.autograd.functional.jacobian(objective, weights)
    torch.testing.assert_close(gradient(task, weights, rows, DECAY), expected, rtol=0, atol=1e-12)
    full = torch.autograd.functional.hessian(objective, weights)
    for label in range(3):
        found = hessian(task, weights, rows, DECAY, label)
        torch.testing.assert_close(found, full[label, :, label, :], rtol=0, atol=1e-12)
        assert all(not full[label, :, other, :].any() for other in range(3) if other != label)


@pytest.mark.parametrize("count", [1, 7])
def test_squared_loss_is_the_solvers_retrain(count: int) -> None:
    """O1: one step from the minimum on D is the minimum on R, and both are the ridge closed forms."""
    generator = np.random.default_rng(count)
    rows = random_rows(generator, 60, 5)
    retain, forget = parts(rows, np.arange(count))
    task = Squared()
    theta = optimum(task, rows, DECAY)
    removal = removal_after(1, task, theta, retain, forget, DECAY)

    def solved(part: Rows) -> np.ndarray:
        x, y = part.features.numpy(), np.eye(3)[part.labels.numpy()]
        return np.linalg.solve(x.T @ x + DECAY * len(x) * np.eye(5), x.T @ y).T

    np.testing.assert_allclose(theta.numpy(), solved(rows), atol=1e-10)
    np.testing.assert_allclose(removal.weights.numpy(), solved(retain), atol=1e-10)
    assert float(removal.added.max()) < 1e-10
    # θ_R = θ_D + H_R⁻¹ (X_Fᵀ(X_F θ_D − y_F) + λmθ_D): the ridge grows with the rows, so its share leaves with F
    x = retain.features.numpy()
    xf, yf = forget.features.numpy(), np.eye(3)[forget.labels.numpy()]
    h = x.T @ x + DECAY * len(x) * np.eye(5)
    right = xf.T @ (xf @ theta.numpy().T - yf) + DECAY * count * theta.numpy().T
    np.testing.assert_allclose(removal.weights.numpy(), (theta.numpy().T + np.linalg.solve(h, right)).T, atol=1e-10)


@pytest.mark.parametrize("task", [Squared(), Logistic()], ids=lambda task: task.name)
@pytest.mark.parametrize("steps", [1, 2])
def test_nothing_owed_is_the_identity(task: LinearTask, steps: int) -> None:
    rows = random_rows(np.random.default_rng(1), 40, 4)
    retain, _ = parts(rows, np.arange(1))
    nobody = Rows(rows.features[:0], rows.labels[:0])
    weights = optimum(task, rows, DECAY)
    removal = removal_after(steps, task, weights, retain, nobody, DECAY)
    torch.testing.assert_close(removal.weights, weights, rtol=0, atol=1e-12)
    assert float(removal.added.max()) < 1e-10


@pytest.mark.parametrize("count", [1, 4, 16])
def test_logistic_removal_comes_near_the_retrained(count: int) -> None:
    """O6: the distance falls fifty times for up to 16 of 400; a second step squares what the first left."""
    rows = random_rows(np.random.default_rng(count), 400, 6)
    retain, forget = parts(rows, np.arange(count))
    task = Logistic()
    before, wanted = optimum(task, rows, DECAY), optimum(task, retain, DECAY)
    one, two = (removal_after(steps, task, before, retain, forget, DECAY).weights for steps in (1, 2))
    distances = [float((weights - wanted).norm()) for weights in (before, one, two)]
    assert distances[0] > 50 * distances[1]
    assert distances[1] > 50 * distances[2] or distances[2] < 1e-12


@pytest.mark.parametrize("bound", list(Bound))
@pytest.mark.parametrize("steps", [1, 2])
def test_the_gradient_left_stays_under_the_bound(bound: Bound, steps: int) -> None:
    """O6: 200 random cases, from the minimum with noise; rounding to float32 included."""
    ratios = []
    for case in range(200):
        generator = np.random.default_rng(case)
        rows = random_rows(generator, int(generator.integers(30, 120)), int(generator.integers(2, 8)))
        decay = 10.0 ** generator.uniform(-3, -0.5)
        noise = torch.from_numpy(generator.normal(size=(3, rows.features.shape[1]))) * generator.choice([0.0, 1.0, 5.0])
        retain, forget = parts(rows, np.arange(int(generator.integers(1, 10))))
        stored = torch.float32 if case % 2 else torch.float64
        weights = optimum(Logistic(), rows, decay, noise).to(stored).double()
        start = torch.linalg.vector_norm(gradient(Logistic(), weights, rows, decay) + noise, dim=1)
        removal = removal_after(steps, Logistic(), weights, retain, forget, decay, bound=bound, stored=stored)
        left = residual(Logistic(), removal, retain, decay, noise)
        assert bool((left <= start + removal.added + 1e-10).all()), case
        assert torch.equal(removal.weights, removal.weights.to(stored).double())
        ratios.append(float((left / (start + removal.added)).max()))
    assert max(ratios) <= 1 + 1e-6
    if steps == 1 and bound is Bound.DATA_DEPENDENT:
        assert np.median(ratios) > 1e-3  # a bound, not an excuse


def test_the_bounds_by_their_formulas() -> None:
    rows = random_rows(np.random.default_rng(3), 80, 4)
    retain, forget = parts(rows, np.arange(5))
    weights = optimum(Logistic(), rows, DECAY)
    u = removal_after(1, Logistic(), weights, retain, forget, DECAY).weights - weights
    x = retain.features
    expected = [0.25 * np.linalg.norm(x.numpy(), 2) * float(row.norm()) * float((x @ row).norm()) for row in u]
    longest = float(x.norm(dim=1).max())
    found = removal_after(1, Logistic(), weights, retain, forget, DECAY).added
    assert found.tolist() == pytest.approx([longest * value for value in expected], rel=1e-9)
    worst = removal_after(1, Logistic(), weights, retain, forget, DECAY, bound=Bound.WORST_CASE).added
    assert (DECAY * weights.norm(dim=1)).max() < 1
    assert worst.tolist() == pytest.approx([4 * 0.25 * 5**2 / (DECAY**2 * 75)] * 3, rel=1e-9)
    assert bool((found <= worst).all())


@pytest.mark.parametrize("task", [Squared(), Logistic()], ids=lambda task: task.name)
def test_every_class_on_its_own_is_the_binary_problem(task: LinearTask) -> None:
    """Against the solver of binary problems in ``train/curvature``: minimum, step and bound, class by class."""
    generator = np.random.default_rng(9)
    rows = random_rows(generator, 80, 5)
    noise = torch.from_numpy(generator.normal(size=(3, 5)))
    retain, forget = parts(rows, np.arange(6))
    start = optimum(task, rows, DECAY, noise)
    removal = removal_after(1, task, start, retain, forget, DECAY)
    loss = newton.SquaredLoss() if isinstance(task, Squared) else newton.LogisticLoss()
    for label in range(3):
        own = (rows.labels == label).double()
        labels = own if isinstance(task, Squared) else 2 * own - 1
        whole = newton.LinearProblem(rows.features, labels, loss, DECAY, noise[label])
        kept, gone = whole.only(torch.arange(6, 80)), whole.only(torch.arange(6))
        assert torch.allclose(newton.minimise(whole, torch.zeros(5).double()), start[label], rtol=0, atol=1e-9)
        step = newton.removal_step(kept, gone, start[label])
        assert torch.allclose(start[label] + step, removal.weights[label], rtol=0, atol=1e-12)
        bound = float(newton.residual_bound(kept, step, task.lipschitz))
        assert float(removal.added[label]) == pytest.approx(bound, abs=1e-11)


def test_rows_are_counted_as_they_are_passed_over() -> None:
    rows = random_rows(np.random.default_rng(4), 50, 4)
    retain, forget = parts(rows, np.arange(6))
    arguments = Logistic(), torch.zeros(3, 4, dtype=torch.float64), retain, forget, DECAY
    counts = [(found.gradients, found.hessians) for found, _ in zip(newton_steps(*arguments), range(2), strict=False)]
    assert counts == [(6, 44), (6 + 2 * 44, 88)]
    known = gradient(Logistic(), arguments[1], retain, DECAY)
    assert removal_after(2, *arguments, kept=known).gradients == 6 + 44


def test_the_allowance_and_the_theorem_behind_it() -> None:
    """σε/c with c = √(2 ln(1.5/δ)): shifting a Gaussian by so much stays within (ε, δ), by its exact profile."""
    assert allowance(2.0, 1.0, 1e-4, 1) == pytest.approx(2.0 / math.sqrt(2 * math.log(15000)))
    assert allowance(2.0, 1.0, 1e-4, 10) == pytest.approx(2.0 * 0.1 / math.sqrt(2 * math.log(150000)))
    for epsilon, delta, classes in itertools.product(
        (0.01, 0.5, 1.0, 10.0, 50.0, 300.0), (1e-5, 1e-2, 0.5), (1, 3, 10)
    ):
        shift = allowance(1.0, epsilon, delta, classes)
        own = epsilon / classes
        found = stats.norm.cdf(shift / 2 - own / shift) - np.exp(own + stats.norm.logcdf(-shift / 2 - own / shift))
        assert found <= delta / classes * (1 + 1e-9)
        assert found == pytest.approx(profile(shift, own), abs=1e-12)


def test_the_usual_formula_is_false_for_large_epsilon() -> None:
    """σε/c at ε 50 has a true δ of almost 1; the allowance is the largest shift that the exact profile grants."""
    usual = 50.0 / math.sqrt(2 * math.log(1.5e4))
    assert profile(usual, 50.0) > 0.5
    granted = allowance(1.0, 50.0, 1e-4, 1)
    assert granted < 0.8 * usual
    assert profile(granted, 50.0) <= 1e-4 < profile(1.0001 * granted, 50.0)


def test_accounts_are_rounded_up() -> None:
    for value in (3.34e-6, 9.91e-3, 0.1, 1.0, 12345.0):
        said = rounded_up(value)
        assert value * (1 - 1e-9) <= said <= 1.1 * value
    assert rounded_up(0.0) == 0.0
    assert math.isnan(rounded_up(math.nan))
    assert rounded_up(math.inf) == math.inf


# -- the method, in memory


def make_parent(dataset: Dataset, *, noise_seed: int | None = 0, double: bool = False, **change: Any) -> Parent:
    """A linear model at the minimum of its perturbed objective, found by the solver instead of the loop."""
    recipe: Recipe = make_recipe(dataset, **{**FIELDS, **change})
    schedule = Schedule.of(recipe, bytes(32), number_units(dataset.subjects))
    examples = Examples(recipe, dataset, torch.device("cpu"))
    model: nn.Module = build(recipe, schedule.seed).eval()
    if double:
        examples.inputs = examples.inputs.double() / 255
        model = build(recipe, schedule.seed).body.double().eval()
    task = TASKS[recipe.task]
    noise = None
    if recipe.perturbation and noise_seed is not None:
        noise = draw_noise(recipe, bytes([noise_seed]) * 32, schedule.seed)
    if isinstance(task, LinearTask) and recipe.model == "linear":
        with torch.no_grad():
            features = features_of(model, examples.inputs).double()
            pull = None if noise is None else torch.from_numpy(noise)
            head_of(model).weight.copy_(optimum(task, Rows(features, examples.labels), DECAY, pull))
    return Parent(
        recipe=recipe,
        schedule=schedule,
        root=bytes(32),
        beacon=bytes(32),
        units=number_units(dataset.subjects),
        examples=examples,
        model=model,
        weights_digest=weights_digest(model),
        emptied=np.zeros(0, dtype=np.int64),
        exact_refused=None,
        noise=noise,
    )


FORGET = np.array([3, 14, 15, 92, 65, 35])


def after(parent: Parent, result: Any, slots: np.ndarray) -> Parent:
    """The result as the parent of the next request."""
    return replace(
        parent,
        model=result.model,
        weights_digest=weights_digest(result.model),
        emptied=np.union1d(parent.emptied, slots),
        account=result.account,
    )


@pytest.fixture(scope="module")
def parent(pictures: Dataset) -> Parent:
    return make_parent(pictures)


def test_the_method_in_float64_is_the_solvers_retrain(pictures: Dataset) -> None:
    """Squared loss, b = 0, through the sealed call: to 1e-10."""
    parent = make_parent(pictures, task="squared", perturbation=0.0, double=True)
    result = CertifiedLogistic()(parent, FORGET)
    retain = np.setdiff1d(np.arange(150), FORGET)
    features = features_of(parent.model, parent.examples.plain(retain).inputs)
    wanted = optimum(Squared(), Rows(features, parent.examples.labels[retain]), DECAY)
    torch.testing.assert_close(head_of(result.model).weight.detach(), wanted, rtol=0, atol=1e-10)
    assert result.steps == 1


def test_the_contract(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the table's rows are held to: untouched parents, same bytes, declared data only, counted work."""
    given: list[Given] = []
    read: list[np.ndarray] = []
    real_init, real_plain = Given.__init__, Examples.plain

    def remember(self: Given, *arguments: Any, **named: Any) -> None:
        real_init(self, *arguments, **named)
        given.append(self)

    def plain(self: Examples, slots: np.ndarray) -> Any:
        read.append(slots)
        return real_plain(self, slots)

    monkeypatch.setattr(Given, "__init__", remember)
    monkeypatch.setattr(Examples, "plain", plain)
    before = weights_digest(parent.model), parent.model.training
    first, again, other = (CertifiedLogistic()(parent, FORGET, seed=seed) for seed in (1, 1, 2))
    assert weights_digest(first.model) == weights_digest(again.model) == weights_digest(other.model) != before[0]
    assert (weights_digest(parent.model), parent.model.training) == before
    assert all(p.grad is None and p.requires_grad for p in [*parent.model.parameters(), *first.model.parameters()])
    assert given[0].used == CertifiedLogistic.needs == {Need.FORGET, Need.RETAIN, Need.GRADIENTS}
    assert len(read) == 3 * 2  # what the refusal looked at is not read again
    assert first.seen == ("original weights", "forget examples")
    method = make_method("newton", {"bound": "worst-case", "steps": "2", "epsilon": "0.5", "decay": "none"})
    assert method == CertifiedLogistic(bound=Bound.WORST_CASE, steps=2, epsilon=0.5)
    assert method_from_json(json.loads(json.dumps(method.as_json()))) == method


@pytest.mark.parametrize("steps", [1, 2])
def test_the_meter_by_hand(parent: Parent, steps: int) -> None:
    """Gradients and Hessians of rows, 1 each; the first request measures what training left on F and R as well."""
    method = CertifiedLogistic(steps=steps, epsilon=1e6)
    first = method(parent, FORGET)
    assert first.steps == steps
    kept = 150 - 6
    assert first.cost.example_steps == 6 + kept + kept + (2 * kept if steps == 2 else 0)
    assert first.cost.allowed is None
    assert first.cost.seconds > 0
    second = method(after(parent, first, FORGET), np.array([1, 2]))
    kept -= 2
    assert second.cost.example_steps == 2 + kept + (3 * kept if steps == 2 else 0)
    with pytest.raises(InvalidArgument, match="has no budget"):
        method(parent, FORGET, budget=0.1)


@pytest.mark.parametrize("name", ["logistic", "squared"])
def test_the_gradient_left_is_what_the_account_says_at_most(name: str, pictures: Dataset) -> None:
    """Two requests one after the other, measured afterwards under the noise that nobody else has."""
    parent = make_parent(pictures, task=name)
    task = TASKS[name]
    assert isinstance(task, LinearTask)
    assert parent.noise is not None
    current, gone = parent, np.zeros(0, dtype=np.int64)
    spent = 0.0
    for slots in (FORGET, np.array([7, 70, 77]), np.array([100])):
        result = CertifiedLogistic()(current, slots)
        assert result.guarantee == Certified(1.0, 1e-4)
        gone = np.union1d(gone, slots)
        rows = parent.examples.plain(np.setdiff1d(np.arange(150), gone))
        features = features_of(result.model, rows.inputs).detach().double()
        weights = head_of(result.model).weight.detach().double()
        left = gradient(task, weights, Rows(features, rows.labels), DECAY) + torch.from_numpy(parent.noise)
        assert result.account is not None
        measured, stated = torch.linalg.vector_norm(left, dim=1), torch.tensor(result.account["spent"])
        assert bool((measured <= stated + 1e-12).all())
        assert float(stated.max()) > spent
        spent = float(stated.max())
        current = after(current, result, slots)
    assert len(current.account["removals"]) == 3  # type: ignore[index]
    assert result.account["training"] == pytest.approx([0] * 3, abs=1e-4)
    if name == "squared":
        assert spent < 1e-4


def test_the_account_adds_and_the_refusal_fires_naming_retrain(pictures: Dataset) -> None:
    """Single steps one after the other until nothing is left; the sum is checked against the entries."""
    parent = make_parent(pictures, perturbation=6.0)
    current, given = parent, list[Any]()
    method = CertifiedLogistic(steps=1)
    refusal = ""
    while not refusal and len(given) < 150:
        slots = np.array([len(given)])
        try:
            given.append(method(current, slots))
        except UnsupportedEver as error:
            refusal = str(error)
        else:
            current = after(current, given[-1], slots)
    assert "the account would stand at" in refusal
    assert refusal.endswith("use --method retrain, which opens a new account")
    assert len(given) >= 2
    account = given[-1].account
    assert account is not None
    entries = np.array([entry["added"] for entry in account["removals"]])
    np.testing.assert_allclose(np.array(account["training"]) + entries.sum(axis=0), account["spent"], rtol=1e-12)
    assert max(account["spent"]) <= allowance(6.0, 1.0, 1e-4, 3)
    further = CertifiedLogistic()(current, np.array([len(given)]))  # two steps still fit
    assert further.steps == 2
    assert isinstance(further.guarantee, Certified)


def embeddings() -> Dataset:
    """Ninety rows of six given features: few enough that one step may do."""
    rows = random_rows(np.random.default_rng(0), 90, 6)
    return make_dataset(
        labels=rows.labels.tolist(),
        columns=[Column("embedding", ColumnKind.ARRAY, (6,))],
        content={"embedding": rows.features.numpy()},
        where="test embeddings",
    )


def test_a_second_step_is_taken_only_where_it_is_needed(pictures: Dataset) -> None:
    parent = make_parent(pictures)  # 65 features, 144 rows: wide
    assert CertifiedLogistic()(parent, FORGET).steps == 2
    assert CertifiedLogistic(epsilon=1e6, steps=1)(parent, FORGET).steps == 1
    assert CertifiedLogistic()(make_parent(pictures, task="squared"), FORGET).steps == 1
    narrow = make_parent(embeddings(), model_options={"standardise": False})
    one = CertifiedLogistic(steps=1, epsilon=1e6)(narrow, FORGET[:1])
    assert one.account is not None
    spent = max(one.account["removals"][0]["added"])

    def allowing(times: float) -> float:
        """The ε whose allowance is so many times what one step spends."""
        return float(brentq(lambda epsilon: allowance(SIGMA, epsilon, 1e-4, 3) - times * spent, 1e-3, 1e6))

    assert CertifiedLogistic(epsilon=allowing(110))(narrow, FORGET[:1]).steps == 1
    assert CertifiedLogistic(epsilon=allowing(90))(narrow, FORGET[:1]).steps == 2


def test_without_noise_nothing_is_certified(pictures: Dataset) -> None:
    result = CertifiedLogistic()(make_parent(pictures, perturbation=0.0), FORGET)
    assert result.guarantee == Empirical()
    assert any("trained without perturbation" in notice for notice in result.notices)
    assert any("must not have seen the forget set" in notice for notice in result.notices)
    assert result.account is not None


def test_what_does_not_fit_is_refused(pictures: Dataset, parent: Parent, refused: Any) -> None:
    method = CertifiedLogistic()
    plain = {"perturbation": 0.0, "optimiser": Optimiser(weight_decay=DECAY)}
    with refused(UnsupportedEver, "task 'classification'", "--task logistic or squared, with --model linear"):
        method(make_parent(pictures, task="classification", **plain), FORGET)
    with refused(UnsupportedEver, "on model 'mlp'", "train with --model linear", "or use --method retrain"):
        method(make_parent(pictures, model="mlp", **plain), FORGET)
    with refused(UnsupportedEver, "a row has length", "unit_rows=true"):
        method(make_parent(pictures, model_options={"unit_rows": False}), FORGET)
    with refused(UnsupportedEver, "without weight decay"):
        method(make_parent(pictures, perturbation=0.0, optimiser=Optimiser(weight_decay=0.0)), FORGET)
    with refused(RunError, "secret noise", KEY_NAME):
        method(replace(parent, noise=None), FORGET)
    with refused(UnsupportedEver, "the account of this run stands at", "full batches", "or use --method retrain"):
        method(replace(parent, noise=2 * np.asarray(parent.noise)), FORGET)
    first = method(parent, FORGET)
    with refused(UnsupportedEver, "is about decay 0.01", "leave decay out"):
        CertifiedLogistic(decay=0.02)(after(parent, first, FORGET), np.array([1]))
    for settings, words in (
        ({"epsilon": "0"}, "epsilon 0.0 must be a number above 0"),
        ({"delta": "1"}, "delta 1.0 must lie strictly"),
        ({"steps": "3"}, "steps 3 must be 1 or 2"),
        ({"decay": "0"}, "decay 0.0 must be"),
        ({"bound": "hopeful"}, "is not one of worst-case, data-dependent"),
    ):
        with refused(InvalidArgument, words):
            make_method("certified-logistic", settings)


def test_bad_forget_sets_are_refused(parent: Parent) -> None:
    for forget, words in ((np.zeros(0, dtype=np.int64), "is empty"), (np.arange(150), "leaves nobody")):
        with pytest.raises(InvalidArgument, match=words):
            CertifiedLogistic()(parent, forget)


def test_numbers_need_to_pass_as_they_are(refused: Any) -> None:
    """A batch norm in front holds F in its statistics; without it a head on given features is certified."""
    dataset = embeddings()
    with refused(UnsupportedEver, "batch norm in front", "standardise=false"):
        CertifiedLogistic()(make_parent(dataset), np.array([1, 2]))
    raw = make_parent(dataset, model_options={"standardise": False})
    assert raw.recipe.least_present == 1
    assert isinstance(CertifiedLogistic()(raw, np.array([1, 2])).guarantee, Certified)


def test_the_minimum_is_what_a_general_optimiser_finds(parent: Parent) -> None:
    """The fixture's own solver against SciPy, with the mean objective as the recipe states it."""
    assert parent.noise is not None
    rows = parent.examples.plain(np.arange(150))
    features = features_of(parent.model, rows.inputs).detach().double().numpy()
    sign = 2.0 * (rows.labels.numpy() == 1) - 1

    def objective(w: np.ndarray) -> float:
        losses = np.logaddexp(0, -sign * (features @ w)).mean()
        return float(losses + 0.5 * DECAY * w @ w + parent.noise[1] @ w / 150)  # type: ignore[index]

    found = optimize.minimize(objective, np.zeros(65), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(head_of(parent.model).weight[1].detach().numpy(), found.x, atol=1e-3)


# -- the whole way, on disk


@pytest.fixture(scope="module")
def base(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(pictures, out=tmp_path_factory.mktemp("certified") / "base", **FIELDS)


def test_two_requests_on_disk_share_an_account(base: Run, pictures: Dataset, tmp_path: Path) -> None:
    first = unlearn(base, PERSON, method="certified-logistic", out=tmp_path / "first", data=pictures)
    second = unlearn(first, "subject:someone-03", method="newton", out=tmp_path / "second", data=pictures)
    for child in (first, second):
        assert child.guarantee == Certified(1.0, 1e-4)
        assert child.manifest["trajectory"] == "none"
        assert (child.path / KEY_NAME).read_bytes() == (base.path / KEY_NAME).read_bytes()
        assert any("is spent of the gradient" in notice for notice in child.manifest["notices"])
    assert "account" not in base.manifest
    spent = [np.array(child.manifest["account"]["spent"]) for child in (first, second)]
    added = second.manifest["account"]["removals"][1]["added"]
    np.testing.assert_allclose(spent[0] + np.array(added), spent[1], rtol=1e-12)
    assert second.manifest["account"]["training"] == first.manifest["account"]["training"]
    assert len(second.manifest["account"]["removals"]) == 2
    retrained = unlearn(
        base, [PERSON, "subject:someone-03"], method="retrain", out=tmp_path / "retrained", data=pictures
    )
    assert "account" not in retrained.manifest
    assert np.abs(weights_of(second) - weights_of(retrained)).max() < 1e-3
    assert np.abs(weights_of(second) - weights_of(base)).max() > 1e-2
    afresh = unlearn(retrained, "subject:someone-04", method="newton", out=tmp_path / "afresh", data=pictures)
    assert len(afresh.manifest["account"]["removals"]) == 1
    again = unlearn(first, "subject:someone-03", method="newton", out=tmp_path / "again", data=pictures)
    assert again.weights_digest == second.weights_digest
    assert again.manifest["account"] == second.manifest["account"]


def weights_of(run: Run) -> np.ndarray:
    return head_of(run.model()).weight.detach().double().numpy()


def test_float32_training_alone_leaves_little(base: Run, pictures: Dataset, tmp_path: Path) -> None:
    """Full batches with momentum reach a gradient far below what the noise hides: no float64 polish is needed."""
    child = unlearn(base, PERSON, method="newton", out=tmp_path / "child", data=pictures)
    left = max(child.manifest["account"]["training"])
    assert 0 < left < 0.01 * allowance(SIGMA, 1.0, 1e-4, 3)
    rows = Examples(base.recipe, base.data(pictures)[Split.TRAIN], torch.device("cpu")).plain(np.arange(120))
    features = features_of(base.model(), rows.inputs).detach().double()
    noise = draw_noise(base.recipe, read_key(base.path / KEY_NAME), base.schedule.seed)
    weights = torch.from_numpy(weights_of(base))
    found = gradient(Logistic(), weights, Rows(features, rows.labels), DECAY) + torch.from_numpy(noise)
    expected = torch.linalg.vector_norm(found, dim=1).tolist()
    for said, true in zip(child.manifest["account"]["training"], expected, strict=True):
        assert true <= said <= 1.1 * true  # two digits, rounded up: what is published tells no more
        assert float(f"{said:.1e}") == pytest.approx(said, rel=1e-12)


def test_a_refusal_writes_nothing(pictures: Dataset, tmp_path: Path) -> None:
    careless = train(pictures, out=tmp_path / "careless", **{**FIELDS, "epochs": 3})
    with pytest.raises(UnsupportedEver, match="use --method retrain"):
        unlearn(careless, PERSON, method="newton", out=tmp_path / "child", data=pictures)
    assert not (tmp_path / "child").exists()


def test_other_methods_work_on_linear_runs(base: Run, pictures: Dataset, tmp_path: Path) -> None:
    tuned = unlearn(base, PERSON, method="fine-tune", out=tmp_path / "tuned", data=pictures)
    assert tuned.guarantee == Empirical()
    with pytest.raises(UnsupportedEver, match="the account of this run stands at"):
        unlearn(tuned, "subject:someone-03", method="newton", out=tmp_path / "child", data=pictures)


def test_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train digits, forget a person under a certificate, evaluate: in less than 10 s."""
    from expunge.cli.main import main

    def expunge(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["expunge", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        found = capsys.readouterr()
        assert int(stop.value.code or 0) == (2 if found.err.startswith("error") else 0), found.err
        return found.out + found.err

    started = time.perf_counter()
    linear = ("train", "digits", "--task", "logistic", "--model", "linear")
    tuned = ("--rate", 4, "--calendar", "constant", "--weight-decay", 1e-3, "--batch-size", 2000, "--epochs", 400)
    out = expunge(*linear, *tuned, "--perturbation", 1, "--out", tmp_path / "base")
    assert "trained linear on 1438 rows" in out
    forget = ("--forget", "subject:person-017")
    out = expunge("unlearn", tmp_path / "base", *forget, "--method", "newton", "--out", tmp_path / "child")
    assert "guarantee Certified(ε=1, δ=0.0001)" in out
    assert "is spent of the gradient" in out
    expunge("unlearn", tmp_path / "base", *forget, "--method", "retrain", "--out", tmp_path / "retrained")
    shown = expunge("evaluate", tmp_path / "child", "--reference", tmp_path / "retrained", "--json")
    probes = {probe["name"]: probe for probe in json.loads(shown)["probes"]}
    assert probes["test-accuracy"]["unlearned"]["value"] > 0.9
    assert probes["mean-margin"]["unlearned"]["value"] == pytest.approx(
        probes["mean-margin"]["references"][0]["value"], abs=0.05
    )
    assert time.perf_counter() - started < 10
    assert "task 'poetry' is not known: choose one of classification, logistic, squared" in expunge(
        "train", "digits", "--task", "poetry", "--out", tmp_path / "no"
    )
    assert "perturbation 1 with task classification" in expunge(
        "train", "digits", "--perturbation", 1, "--out", tmp_path / "no"
    )
    assert "noise key" in expunge("train", "digits", "--noise-key", tmp_path / "none", "--out", tmp_path / "no")
    assert not (tmp_path / "no").exists()
    assert find_method("newton").name == "certified-logistic"


def test_an_account_that_was_altered_is_refused(base: Run, pictures: Dataset, tmp_path: Path) -> None:
    child = unlearn(base, PERSON, method="newton", out=tmp_path / "child", data=pictures)
    honest = json.loads((child.path / "run.json").read_text(encoding="utf-8"))
    spent = honest["account"]["spent"]
    wrong: list[tuple[Any, str]] = [
        ({**honest["account"], "spent": [-1.0] * len(spent)}, "not one of 3 classes"),
        ({**honest["account"], "spent": [0.0] * len(spent)}, "does not add up"),
        ({**honest["account"], "spent": spent[:2]}, "not one of 3 classes"),
        ({**honest["account"], "spent": "abc"}, "cannot be read"),
        ({**honest["account"], "removals": []}, "not one of 3 classes"),
        ("x", "is no table"),
        (None, "its account is gone"),
    ]
    for number, (account, words) in enumerate(wrong):
        altered = {name: value for name, value in honest.items() if name != "account"}
        if account is not None:
            altered["account"] = account
        (child.path / "run.json").write_text(json.dumps(altered), encoding="utf-8")
        with pytest.raises(ExpungeError, match=words):
            unlearn(child.path, "subject:someone-05", method="newton", out=tmp_path / f"next-{number}", data=pictures)
        assert not (tmp_path / f"next-{number}").exists()
    (child.path / "run.json").write_text(json.dumps(honest), encoding="utf-8")
    again = unlearn(child.path, "subject:someone-05", method="newton", out=tmp_path / "again", data=pictures)
    assert len(again.manifest["account"]["removals"]) == 2
