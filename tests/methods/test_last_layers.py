"""Methods that keep to the last layers: which layers those are, what is frozen, costs, refusals, options."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.methods.shared import FORGET, MakeParent, Problem, continues, digest, given_of, usual_digest
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.methods.batch_norm import batch_norms
from expunge.methods.contract import Method, Parent
from expunge.methods.fine_tune import FineTune
from expunge.methods.last_layers import (
    FineTuneLastLayers,
    LastLayers,
    LayerShare,
    RetrainLastLayers,
    StepsOf,
    layers_of,
)
from expunge.methods.lookup import make_method, read_method
from expunge.methods.objective_method import ObjectiveMethod
from expunge.methods.retrain import Retrain
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.train.state import weights_digest

KINDS = (RetrainLastLayers, FineTuneLastLayers)
WHOLE = RetrainLastLayers(layers=LayerShare.ALL, schedule=StepsOf.RECIPE)


# Fine-tuning.


@pytest.mark.parametrize("name", ["plain", "normed", "double", "convolved-normed", "residual"])
def test_all_layers_are_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    assert (
        digest(FineTuneLastLayers(layers=LayerShare.ALL), parent) == digest(FineTune(), parent) != parent.weights_digest
    )
    assert digest(FineTuneLastLayers(), parent) not in (digest(FineTune(), parent), parent.weights_digest)


@pytest.mark.parametrize("name", ["plain", "normed"])
def test_rate_zero_is_the_identity(name: str, problem: Problem) -> None:
    parent = problem(name)
    for layers in (1, LayerShare.HALF, LayerShare.ALL):
        assert digest(FineTuneLastLayers(rate=0.0, layers=layers), parent) == parent.weights_digest


# What is frozen.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["normed", "double", "convolved-normed", "residual"])
def test_what_is_frozen_keeps_its_bits(kind: type[LastLayers], name: str, problem: Problem) -> None:
    """Weights and buffers, momentum, decay and running statistics included; everything else moves."""
    parent = problem(name)
    layers = layers_of(parent.model)
    for count in range(1, len(layers)):
        result = kind(layers=count, weight_decay=0.1, rate=0.05)(parent, FORGET, budget=0.5).model
        frozen = {f"{module}." for layer in layers[:-count] for module in layer}
        for key, value in parent.model.state_dict().items():
            same = torch.equal(value, result.state_dict()[key])
            assert same == (key[: key.rindex(".") + 1] in frozen), key
        assert all(p.requires_grad for p in result.parameters())


def test_layers_of_the_zoo(problem: Problem) -> None:
    assert layers_of(problem("plain").model) == [["body.1"], ["body.3"]]
    assert layers_of(problem("normed").model) == [["body.1", "body.2"], ["body.5"]]
    assert layers_of(problem("convolved-normed").model)[:2] == [["body.0", "body.1"], ["body.4", "body.5"]]
    residual = layers_of(problem("residual").model)
    assert len(residual) == 21
    assert residual[0] == ["body.0", "body.1"]
    assert residual[7] == ["body.5.shortcut.0", "body.5.shortcut.1"]
    assert residual[-1] == ["body.13"]


def test_layers_of_other_models(parent_of: MakeParent) -> None:
    norms = nn.Sequential(
        nn.BatchNorm1d(4, affine=False), nn.LayerNorm((2, 4)), nn.Linear(4, 4), nn.PReLU(4), nn.ReLU()
    )
    assert layers_of(norms) == [["0", "1", "2", "3"]]
    assert layers_of(nn.Sequential(nn.LayerNorm(3))) == [["0"]]
    attention = nn.Sequential(nn.Embedding(5, 4), nn.MultiheadAttention(4, 2), nn.LayerNorm(4), nn.Linear(4, 2))
    assert layers_of(attention) == [["0"], ["1"], ["1.out_proj", "2"], ["3"]]
    numbers = make_dataset(
        labels=[0, 1] * 20,
        columns=[Column("x", ColumnKind.ARRAY, (5,))],
        content={"x": np.random.default_rng(0).normal(size=(40, 5))},
        where="test",
    )
    parent = parent_of(numbers)
    assert layers_of(parent.model) == [["front.norm", "body.1"], ["body.3"]]
    assert weights_digest(WHOLE(parent, FORGET[:2], budget=1.0).model) == weights_digest(
        Retrain()(parent, FORGET[:2]).model
    )


@pytest.mark.parametrize(("layers", "count"), [(1, 1), (3, 3), (4, 4), (LayerShare.HALF, 2), (LayerShare.ALL, 4)])
def test_how_many_are_trained(layers: int | LayerShare, count: int, problem: Problem) -> None:
    parent = problem("convolved-normed")
    model = given_of(parent, FineTune.needs).student().train()
    chosen = FineTuneLastLayers(layers=layers).freeze(model)
    assert chosen == [name for layer in layers_of(model)[-count:] for name in layer]
    frozen = [name for layer in layers_of(model)[: 4 - count] for name in layer]
    modules = dict(model.named_modules())
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        f"{name}.{own}" for name in chosen for own, _ in modules[name].named_parameters(recurse=False)
    }
    for norm in batch_norms(model):
        assert norm.training != any(modules[name] is norm for name in frozen)


def test_half_of_one_layer_is_one(parent_of: MakeParent, pictures: Dataset) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    parent = parent_of(pictures, model=model)
    parent.examples.inputs = parent.examples.inputs.double() / 255
    assert digest(FineTuneLastLayers(layers=LayerShare.HALF), parent) == digest(FineTune(), parent)


def test_what_the_owner_froze_stays_frozen(parent_of: MakeParent, pictures: Dataset) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Linear(6, 3)).double()
    model[1].bias.requires_grad_(False)
    parent = parent_of(pictures, model=model)
    parent.examples.inputs = parent.examples.inputs.double() / 255
    result = FineTuneLastLayers(layers=LayerShare.ALL)(parent, FORGET, budget=0.5).model
    assert torch.equal(result[1].bias, model[1].bias)  # type: ignore[index, union-attr]
    assert [p.requires_grad for p in result.parameters()] == [True, False, True, True]


# Costs, refusals, options.


def test_costs_by_hand(parent: Parent) -> None:
    """138 rows stay, in batches of 16: 8 whole ones and one of 10."""
    for kind in KINDS:
        result = kind(epochs=2)(parent, FORGET, budget=1.0)
        assert (result.steps, result.cost.example_steps) == (18, 2 * 138)
        assert result.stopped == "own epochs (2) are done"
        assert kind()(parent, FORGET, budget=0.5).cost.example_steps == 2 * 138 + 16
    assert WHOLE(parent, FORGET, budget=1.0).cost.example_steps == 4 * 138


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("eu-k", {"layers": "0"}, "layers 0 must be at least 1"),
        ("eu-k", {"layers": "most"}, "'most' is not a whole number or one of half, all"),
        ("cf-k", {"layers": "1.5"}, "'1.5' is not a whole number or one of half, all"),
        ("eu-k", {"schedule": "mine"}, "is not one of own, recipe"),
        ("eu-k", {"schedule": "recipe", "rate": "0.02"}, "rate 0.02 with schedule recipe: the recipe's own training"),
        ("eu-k", {"schedule": "recipe", "epochs": "3"}, "epochs 3 with schedule recipe"),
        ("eu-k", {"schedule": "recipe", "batch_size": "3"}, "batch_size 3 with schedule recipe"),
        ("eu-k", {"schedule": "recipe", "momentum": "0"}, "momentum 0.0 with schedule recipe"),
        ("eu-k", {"schedule": "recipe", "weight_decay": "0"}, "weight_decay 0.0 with schedule recipe"),
        ("eu-k", {"schedule": "recipe", "calendar": "step"}, "with schedule recipe"),
        ("eu-k", {"schedule": "recipe", "optimiser": "adam"}, "with schedule recipe"),
        ("eu-k", {"schedule": "recipe", "recalibrate": "true"}, "recalibrate True with schedule recipe"),
        ("cf-k", {"schedule": "recipe"}, "has no field 'schedule'"),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_method(name, settings)


@pytest.mark.parametrize("layers", ["2", "half", "all"])
def test_layers_read_back(layers: str) -> None:
    method = make_method("eu-k", {"layers": layers, "schedule": "recipe"})
    assert method.told.fields["layers"] == (2 if layers == "2" else layers)
    assert read_method(method.told) == method


def test_more_layers_than_there_are_is_refused(parent: Parent) -> None:
    for kind in KINDS:
        with pytest.raises(InvalidArgument, match="layers 3 of a model that has 2: ask for 2 at most, or all"):
            kind(layers=3)(parent, FORGET)


@pytest.mark.parametrize(
    "method", [WHOLE, RetrainLastLayers(layers=1), FineTuneLastLayers(layers=LayerShare.HALF)], ids=lambda m: m.name
)
def test_interrupted_and_continued(method: Method, normed: Parent, tmp_path: Path) -> None:
    continues(method, normed, tmp_path / "run", stop=5, budget=1.0)


BASE = {
    "rate": 0.02,
    "epochs": 2,
    "batch_size": 3,
    "momentum": 0.5,
    "weight_decay": 0.3,
    "calendar": Calendar.CONSTANT,
    "optimiser": OptimiserName.ADAMW,
    "recalibrate": True,
    "layers": 2,
}
OPTIONS = [(kind, field, value) for kind in KINDS for field, value in BASE.items()]
OPTIONS.append((RetrainLastLayers, "schedule", StepsOf.RECIPE))


@pytest.mark.parametrize(("kind", "field", "value"), OPTIONS, ids=lambda v: v if isinstance(v, str) else "")
def test_every_option_has_an_effect(kind: type[ObjectiveMethod], field: str, value: object, normed: Parent) -> None:
    assert digest(kind(**{field: value}), normed, 1.0) != usual_digest(kind(), normed, 1.0)


def test_every_field_is_among_the_options() -> None:
    for kind in KINDS:
        assert {field for one, field, _ in OPTIONS if one is kind} == {item.name for item in fields(kind)}
