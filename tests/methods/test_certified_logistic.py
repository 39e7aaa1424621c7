"""Certified removal in memory: the contract, the meter, the account, the second step, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.optimize import brentq
from tests.methods.linear_problems import DECAY, SIGMA, certified_parent, embeddings, optimum, parent_after

from expunge.core.errors import InvalidArgument, RunError, UnsupportedEver
from expunge.core.values import Certified, Empirical
from expunge.data.dataset import Dataset
from expunge.methods.certified_logistic import CertifiedLogistic
from expunge.methods.contract import Given, Need, Parent
from expunge.methods.lookup import make_method, read_method
from expunge.methods.removal_account import allowance
from expunge.models.linear import features_of, head_of
from expunge.records.form import from_plain, to_plain
from expunge.records.run_file import MethodFile
from expunge.schedule.recipe import Optimiser
from expunge.tasks import TASKS
from expunge.tasks.linear import LinearTask, Squared
from expunge.train.examples import Examples
from expunge.train.newton_removal import LinearRows, RemovalBound, gradient
from expunge.train.perturbation import KEY_NAME
from expunge.train.state import weights_digest

FORGET = np.array([3, 14, 15, 92, 65, 35])


@pytest.fixture(scope="module")
def parent(pictures: Dataset) -> Parent:
    return certified_parent(pictures)


def test_the_method_in_float64_is_the_solvers_retrain(pictures: Dataset) -> None:
    """Squared loss, b = 0, through the sealed call: to 1e-10."""
    parent = certified_parent(pictures, task="squared", perturbation=0.0, double=True)
    result = CertifiedLogistic()(parent, FORGET)
    retain = np.setdiff1d(np.arange(150), FORGET)
    features = features_of(parent.model, parent.examples.batch(retain)["inputs"])
    wanted = optimum(Squared(), LinearRows(features, parent.examples.labels[retain]), DECAY)
    torch.testing.assert_close(head_of(result.model).weight.detach(), wanted, rtol=0, atol=1e-10)
    assert result.steps == 1


def test_the_contract(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the table's rows are held to: untouched parents, same bytes, declared data only, counted work."""
    given: list[Given] = []
    read: list[np.ndarray] = []
    real_init, real_plain = Given.__init__, Examples.batch

    def remember(self: Given, *arguments: Any, **named: Any) -> None:
        real_init(self, *arguments, **named)
        given.append(self)

    def plain(self: Examples, slots: np.ndarray) -> Any:
        read.append(slots)
        return real_plain(self, slots)

    monkeypatch.setattr(Given, "__init__", remember)
    monkeypatch.setattr(Examples, "batch", plain)
    before = weights_digest(parent.model), parent.model.training
    first, again, other = (CertifiedLogistic()(parent, FORGET, seed=seed) for seed in (1, 1, 2))
    assert weights_digest(first.model) == weights_digest(again.model) == weights_digest(other.model) != before[0]
    assert (weights_digest(parent.model), parent.model.training) == before
    assert all(p.grad is None and p.requires_grad for p in [*parent.model.parameters(), *first.model.parameters()])
    assert given[0].used == CertifiedLogistic.needs == {Need.FORGET, Need.RETAIN, Need.GRADIENTS}
    assert len(read) == 3 * 2 * 2  # F and R, by the refusal and by the removal
    assert first.seen == ("original weights", "forget examples")
    method = make_method("newton", {"bound": "worst-case", "steps": "2", "epsilon": "0.5", "decay": "none"})
    assert method == CertifiedLogistic(bound=RemovalBound.WORST_CASE, steps=2, epsilon=0.5)
    assert read_method(from_plain(MethodFile, json.loads(json.dumps(to_plain(method.told))), "method")) == method


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
    second = method(parent_after(parent, first, FORGET), np.array([1, 2]))
    kept -= 2
    assert second.cost.example_steps == 2 + kept + (3 * kept if steps == 2 else 0)
    with pytest.raises(InvalidArgument, match="has no budget"):
        method(parent, FORGET, budget=0.1)


@pytest.mark.parametrize("name", ["logistic", "squared"])
def test_the_gradient_left_is_what_the_account_says_at_most(name: str, pictures: Dataset) -> None:
    """Two requests one after the other, measured afterwards under the noise that nobody else has."""
    parent = certified_parent(pictures, task=name)
    task = TASKS[name]
    assert isinstance(task, LinearTask)
    assert parent.noise is not None
    current, gone = parent, np.zeros(0, dtype=np.int64)
    spent = 0.0
    for slots in (FORGET, np.array([7, 70, 77]), np.array([100])):
        result = CertifiedLogistic()(current, slots)
        assert result.guarantee == Certified(1.0, 1e-4)
        gone = np.union1d(gone, slots)
        rows = parent.examples.batch(np.setdiff1d(np.arange(150), gone))
        features = features_of(result.model, rows["inputs"]).detach().double()
        weights = head_of(result.model).weight.detach().double()
        left = gradient(task, weights, LinearRows(features, rows["labels"]), DECAY) + torch.from_numpy(parent.noise)
        assert result.account is not None
        measured, stated = torch.linalg.vector_norm(left, dim=1), torch.tensor(result.account["spent"])
        assert bool((measured <= stated + 1e-12).all())
        assert float(stated.max()) > spent
        spent = float(stated.max())
        current = parent_after(current, result, slots)
    assert len(current.account["removals"]) == 3  # type: ignore[index]
    assert result.account["training"] == pytest.approx([0] * 3, abs=1e-4)
    if name == "squared":
        assert spent < 1e-4


def test_the_account_adds_and_the_refusal_fires_naming_retrain(pictures: Dataset) -> None:
    """Single steps one after the other until nothing is left; the sum is checked against the entries."""
    parent = certified_parent(pictures, perturbation=6.0)
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
            current = parent_after(current, given[-1], slots)
    assert "the account would stand at" in refusal
    assert refusal.endswith("use `method` retrain, which opens a new account")
    assert len(given) >= 2
    account = given[-1].account
    assert account is not None
    entries = np.array([entry["added"] for entry in account["removals"]])
    np.testing.assert_allclose(np.array(account["training"]) + entries.sum(axis=0), account["spent"], rtol=1e-12)
    assert max(account["spent"]) <= allowance(6.0, 1.0, 1e-4, 3)
    further = CertifiedLogistic()(current, np.array([len(given)]))  # two steps still fit
    assert further.steps == 2
    assert isinstance(further.guarantee, Certified)


def test_a_second_step_is_taken_only_where_it_is_needed(pictures: Dataset) -> None:
    parent = certified_parent(pictures)  # 65 features, 144 rows: wide
    assert CertifiedLogistic()(parent, FORGET).steps == 2
    assert CertifiedLogistic(epsilon=1e6, steps=1)(parent, FORGET).steps == 1
    assert CertifiedLogistic()(certified_parent(pictures, task="squared"), FORGET).steps == 1
    narrow = certified_parent(embeddings(), model_options={"standardise": False})
    one = CertifiedLogistic(steps=1, epsilon=1e6)(narrow, FORGET[:1])
    assert one.account is not None
    spent = max(one.account["removals"][0]["added"])

    def allowing(times: float) -> float:
        """The ε whose allowance is so many times what one step spends."""
        return float(brentq(lambda epsilon: allowance(SIGMA, epsilon, 1e-4, 3) - times * spent, 1e-3, 1e6))

    assert CertifiedLogistic(epsilon=allowing(110))(narrow, FORGET[:1]).steps == 1
    assert CertifiedLogistic(epsilon=allowing(90))(narrow, FORGET[:1]).steps == 2


def test_without_noise_nothing_is_certified(pictures: Dataset) -> None:
    result = CertifiedLogistic()(certified_parent(pictures, perturbation=0.0), FORGET)
    assert result.guarantee == Empirical()
    assert any("trained without perturbation" in notice for notice in result.notices)
    assert any("must not have seen the forget set" in notice for notice in result.notices)
    assert result.account is not None


def test_another_decay_than_the_trainings_earns_no_certificate(parent: Parent) -> None:
    """It would be a certificate about another objective than the recipe's."""
    generous = {"epsilon": 1e6, "delta": 0.5}  # so that the account allows what training left
    same = CertifiedLogistic(decay=DECAY, **generous)(parent, FORGET)
    other = CertifiedLogistic(decay=2 * DECAY, **generous)(parent, FORGET)
    assert isinstance(same.guarantee, Certified)
    assert isinstance(other.guarantee, Empirical)
    assert any(f"trained under {DECAY:g}: no certificate" in notice for notice in other.notices)


def test_what_does_not_fit_is_refused(pictures: Dataset, parent: Parent, refused: Any) -> None:
    method = CertifiedLogistic()
    plain = {"perturbation": 0.0, "optimiser": Optimiser(weight_decay=DECAY)}
    with refused(UnsupportedEver, "task 'classification'", "`task` logistic or squared, with `model` linear"):
        method(certified_parent(pictures, task="classification", **plain), FORGET)
    with refused(UnsupportedEver, "on model 'mlp'", "train with `model` linear", "or use `method` retrain"):
        method(certified_parent(pictures, model="mlp", **plain), FORGET)
    with refused(UnsupportedEver, "a row has length", "unit_rows=true"):
        method(certified_parent(pictures, model_options={"unit_rows": False}), FORGET)
    with refused(UnsupportedEver, "without weight decay"):
        method(certified_parent(pictures, perturbation=0.0, optimiser=Optimiser(weight_decay=0.0)), FORGET)
    with refused(RunError, "secret noise", KEY_NAME):
        method(replace(parent, noise=None), FORGET)
    with refused(UnsupportedEver, "the account of this run stands at", "full batches", "or use `method` retrain"):
        method(replace(parent, noise=2 * np.asarray(parent.noise)), FORGET)
    first = method(parent, FORGET)
    with refused(UnsupportedEver, "is about decay 0.01", "leave decay out"):
        CertifiedLogistic(decay=0.02)(parent_after(parent, first, FORGET), np.array([1]))
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
        CertifiedLogistic()(certified_parent(dataset), np.array([1, 2]))
    raw = certified_parent(dataset, model_options={"standardise": False})
    assert raw.recipe.least_present == 1
    assert isinstance(CertifiedLogistic()(raw, np.array([1, 2])).guarantee, Certified)


def test_the_minimum_is_what_a_general_optimiser_finds(parent: Parent) -> None:
    """The fixture's own solver against SciPy, with the mean objective as the recipe states it."""
    assert parent.noise is not None
    rows = parent.examples.batch(np.arange(150))
    features = features_of(parent.model, rows["inputs"]).detach().double().numpy()
    sign = 2.0 * (rows["labels"].numpy() == 1) - 1

    def objective(w: np.ndarray) -> float:
        losses = np.logaddexp(0, -sign * (features @ w)).mean()
        return float(losses + 0.5 * DECAY * w @ w + parent.noise[1] @ w / 150)  # type: ignore[index]

    found = optimize.minimize(objective, np.zeros(65), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(head_of(parent.model).weight[1].detach().numpy(), found.x, atol=1e-3)
