"""Retraining the last layers: all of them under the recipe is retraining to the bit; fewer keep features that saw F."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.shared import FORGET, MakeParent, Problem, digest, given_of
from torch import nn

from expunge.core.errors import UnsupportedEver
from expunge.core.values import Empirical, Exact
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.methods.contract import Given, Parent
from expunge.methods.last_layers import LayerShare, RetrainLastLayers, StepsOf, draw_again
from expunge.methods.lookup import method_rows
from expunge.methods.objective_method import Prepared
from expunge.methods.retrain import Retrain
from expunge.schedule.plan import Role
from expunge.schedule.recipe import Augmentation, Calendar, Optimiser, OptimiserName, Precision
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.train.loop import Hooks
from expunge.train.state import weights_digest

WHOLE = RetrainLastLayers(layers=LayerShare.ALL, schedule=StepsOf.RECIPE)


# All layers under the recipe's schedule are retraining, to the bit.

ADAMW = Optimiser(name=OptimiserName.ADAMW, rate=0.01)
RECIPES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "cnn": {"model": "cnn", "model_options": {"width": 4}},
    "batch norm": {"model_options": {"norm": "batch", "width": 16}},
    "cnn with batch norm and dropout": {"model": "cnn", "model_options": {"norm": "batch", "dropout": 0.2, "width": 4}},
    "resnet18": {"model": "resnet18", "model_options": {"width": 2}, "epochs": 2},
    "dropout": {"model_options": {"dropout": 0.3}},
    "augmentation": {"augmentation": Augmentation(flip=True, crop=1)},
    "no momentum": {"optimiser": Optimiser(momentum=0.0)},
    "momentum": {"optimiser": Optimiser(momentum=0.95, calendar=Calendar.STEP)},
    "adamw": {"optimiser": ADAMW},
    "slices": {"slices": 3},
    "bfloat16": {"precision": Precision.BFLOAT16},
}


@pytest.mark.parametrize("fields", RECIPES.values(), ids=RECIPES.keys())
def test_all_layers_under_the_recipe_are_retraining(
    fields: dict[str, Any], pictures: Dataset, parent_of: MakeParent
) -> None:
    parent = parent_of(pictures, **fields)
    retrained, found = Retrain()(parent, FORGET), WHOLE(parent, FORGET, budget=1.0)
    assert weights_digest(found.model) == weights_digest(retrained.model) != parent.weights_digest
    assert found.cost.example_steps == retrained.cost.example_steps
    assert found.steps == retrained.steps
    assert isinstance(found.guarantee, Exact)
    assert found.seen == ()
    assert found.stopped is None


def test_after_an_earlier_forgetting_too(parent: Parent) -> None:
    later = replace(parent, emptied=np.array([1, 2, 140]))
    assert digest(WHOLE, later, 1.0) == digest(Retrain(), later, None) != digest(Retrain(), parent, None)


def test_exact_is_said_only_then(parent: Parent) -> None:
    whole, cut = (WHOLE(parent, FORGET, budget=budget) for budget in (1.0, 0.5))
    assert isinstance(whole.guarantee, Exact)
    assert isinstance(cut.guarantee, Empirical)
    assert cut.exact_refused is not None
    assert cut.exact_refused.startswith("the budget ended the recipe's training after")
    assert cut.stopped is not None
    assert "original weights" in cut.seen
    doubtful = WHOLE(replace(parent, exact_refused="the self-test gave two different digests"), FORGET, budget=1.0)
    assert isinstance(doubtful.guarantee, Empirical)
    assert doubtful.exact_refused == "the self-test gave two different digests"
    for other in (
        RetrainLastLayers(layers=1, schedule=StepsOf.RECIPE),
        RetrainLastLayers(layers=2, schedule=StepsOf.RECIPE),
        RetrainLastLayers(layers=LayerShare.ALL),
    ):
        result = other(parent, FORGET, budget=1.0)
        assert isinstance(result.guarantee, Empirical)
        assert result.exact_refused is None
    table = {row["name"]: row["guarantee"] for row in method_rows()}
    assert table["retrain-last-layers"] == table["fine-tune-last-layers"] == "empirical"


def test_training_under_secret_noise_is_not_walked_again(parent: Parent) -> None:
    noisy = replace(parent, recipe=replace(parent.recipe, task="squared", model="linear", perturbation=1.0))
    with pytest.raises(UnsupportedEver, match="its secret noise is for certified removal alone; use retrain"):
        WHOLE(noisy, FORGET, budget=1.0)


def test_the_meter_counts_what_is_computed(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the recipe's schedule too: every row once a pass, none of the forget set."""
    counted: list[int] = []

    class Counting(Classification):
        def outputs(self, model: nn.Module, batch: Any) -> torch.Tensor:
            counted.append(len(batch))
            return super().outputs(model, batch)

    monkeypatch.setitem(TASKS, "classification", Counting())
    assert WHOLE(parent, FORGET, budget=0.7).cost.example_steps == sum(counted) <= 0.7 * 600


# Drawing anew, once.

PATHS: list[list[torch.Tensor]] = []


class Tracing(RetrainLastLayers):
    """Keeps the weights of the head before the first step and after each."""

    name = "tracing"

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        prepared = super().prepare(given, student)
        head = list(student.modules())[-1]
        path: list[torch.Tensor] = [head.weight.detach().clone()]  # type: ignore[operator]
        PATHS.append(path)
        return replace(
            prepared,
            hooks=Hooks(after_update=lambda optimiser: path.append(head.weight.detach().clone())),  # type: ignore[operator]
        )


def test_it_starts_from_the_recipes_own_weights(parent: Parent) -> None:
    PATHS.clear()
    Tracing()(parent, FORGET, budget=0.2)
    initial = given_of(parent, WHOLE.needs).initial().state_dict()["body.3.weight"]
    assert torch.equal(PATHS[0][0], initial)
    assert not torch.equal(PATHS[0][0], parent.model.state_dict()["body.3.weight"])


def test_norms_that_are_drawn_anew_start_anew(problem: Problem) -> None:
    """Their statistics and what they scale by; a norm in front of them does neither."""
    parent = problem("convolved-normed")
    given = given_of(parent, WHOLE.needs)
    model, initial = given.student(), given.initial()
    draw_again(model, initial, ["body.4", "body.5"])
    state, old, new = model.state_dict(), parent.model.state_dict(), initial.state_dict()
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(state[f"body.5.{name}"], new[f"body.5.{name}"])
        assert torch.equal(state[f"body.1.{name}"], old[f"body.1.{name}"])
    assert not torch.equal(new["body.5.running_mean"], old["body.5.running_mean"])
    assert int(state["body.5.num_batches_tracked"]) == 0
    assert torch.equal(state["body.9.weight"], old["body.9.weight"])


def own_loop(parent: Parent, epochs: int, *, anew_each_epoch: bool) -> torch.Tensor:
    """The head after some epochs by a loop of the test's own; or as public code does it, drawn anew at each."""
    method = RetrainLastLayers(rate=0.05, epochs=epochs, calendar=Calendar.CONSTANT)
    given = given_of(parent, method.needs)
    model = given.student().train()
    method.freeze(model)
    plan = method.plan(given, model, None, still=False)
    head = model.body[3]  # type: ignore[index, union-attr]
    for index in range(plan.total):
        step = plan.step(index)
        if index == 0 or (anew_each_epoch and step.epoch != plan.step(index - 1).epoch):
            draw_again(model, given.initial(), ["body.3"])
            optimiser = torch.optim.SGD(
                head.parameters(), lr=0.05, momentum=0.9, weight_decay=parent.recipe.optimiser.weight_decay
            )
        rows = parent.examples.batch(step.parts[Role.RETAIN].slots)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(rows["inputs"]), rows["labels"]).backward()
        optimiser.step()
    return head.weight.detach()


def test_the_second_epoch_continues_from_the_first(parent: Parent) -> None:
    method = RetrainLastLayers(rate=0.05, epochs=2, calendar=Calendar.CONSTANT)
    found = method(parent, FORGET, budget=1.0).model.state_dict()["body.3.weight"]
    right, defective = (own_loop(parent, 2, anew_each_epoch=each) for each in (False, True))
    torch.testing.assert_close(found, right, rtol=0, atol=1e-6)
    assert float((found - defective).abs().max()) > 1e-2


@pytest.mark.parametrize("schedule", list(StepsOf))
def test_layers_are_not_drawn_anew_where_nothing_would_be_trained(schedule: StepsOf, parent: Parent) -> None:
    result = RetrainLastLayers(schedule=schedule)(parent, FORGET, budget=0.01)
    assert weights_digest(result.model) == parent.weights_digest
    assert (result.steps, result.cost.example_steps) == (0, 0)
    assert result.stopped == "no step was taken: rate, epochs or budget is zero or covers none"


def test_rows_for_the_norms_are_kept_back(normed: Parent) -> None:
    result = RetrainLastLayers(recalibrate=True)(normed, FORGET, budget=0.03)
    assert result.cost.example_steps <= 0.03 * 600
    for budget in np.linspace(0.02, 0.12, 11):
        one = RetrainLastLayers(recalibrate=True)(normed, FORGET, budget=float(budget))
        drawn = not torch.equal(one.model.state_dict()["body.5.weight"], normed.model.state_dict()["body.5.weight"])
        assert drawn == (one.steps > 0)


# Frozen features under a ridge head.


def features_and_head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3, bias=False)).double()


def test_run_to_its_end_it_is_ridge_on_the_features(parent_of: MakeParent) -> None:
    """And the features are still those that saw F."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(60, 5))
    data = make_dataset(
        labels=[int(label) for label in generator.integers(0, 3, 60)],
        columns=[Column("x", ColumnKind.ARRAY, (5,))],
        content={"x": x},
        where="test",
    )
    torch.manual_seed(3)
    model = features_and_head(6)
    parent = parent_of(data, model=model, task="squared", batch_size=64, epochs=1000)
    parent.examples.inputs = torch.from_numpy(x)
    parent = replace(parent, initial=lambda: features_and_head(6))
    forget, retain, decay = np.arange(10), np.arange(10, 60), 0.05
    method = RetrainLastLayers(rate=0.5, epochs=900, weight_decay=decay, calendar=Calendar.CONSTANT)
    result = method(parent, forget, budget=2.0).model
    with torch.no_grad():
        phi = torch.tanh(model[0](torch.from_numpy(x[retain]))).numpy()
        assert torch.equal(result[0].weight, model[0].weight)  # type: ignore[index, union-attr]
    targets = np.eye(3)[parent.examples.labels.numpy()[retain]]
    gram = phi.T @ phi / 50 + decay * np.eye(6)
    expected = np.linalg.solve(gram, phi.T @ targets / 50).T
    np.testing.assert_allclose(result[2].weight.detach().numpy(), expected, rtol=0, atol=1e-8)  # type: ignore[index, union-attr]


def test_a_probe_of_the_features_still_tells_the_forget_set(parent_of: MakeParent) -> None:
    """The forget rows' labels are coin flips: only who saw them knows. A linear probe is fitted to half of them."""
    generator = np.random.default_rng(8)
    x, labels = generator.normal(size=(160, 20)), generator.integers(0, 2, 160)
    labels[80:] = x[80:, 0] > 0  # those who stay have a rule
    data = make_dataset(
        labels=[int(label) for label in labels],
        columns=[Column("x", ColumnKind.ARRAY, (20,))],
        content={"x": x},
        where="test",
    )
    parent = parent_of(
        data, model_options={"width": 64}, epochs=120, batch_size=32, optimiser=Optimiser(rate=0.1, weight_decay=1e-3)
    )
    forget, signs = np.arange(80), 2.0 * labels[:80] - 1

    def told(model: nn.Module) -> float:
        """How often the probe is right about the other half, over several halves."""
        with torch.no_grad():
            front = model.front(parent.examples.inputs[:80])  # type: ignore[operator, union-attr]
            phi = model.body[:3](front).double().numpy()  # type: ignore[index, union-attr]
        phi = np.hstack([phi, np.ones((80, 1))])
        right = []
        for _ in range(20):
            order = np.random.default_rng(len(right)).permutation(80)
            fitted, tested = order[:40], order[40:]
            weights = np.linalg.solve(phi[fitted].T @ phi[fitted] + np.eye(65), phi[fitted].T @ signs[fitted])
            right.append(np.mean(np.sign(phi[tested] @ weights) == signs[tested]))
        return float(np.mean(right))

    head_only = RetrainLastLayers(layers=1)(parent, forget, budget=1.0).model
    assert told(parent.model) > 0.85
    assert told(head_only) == told(parent.model)
    assert told(Retrain()(parent, forget).model) < 0.65
