"""What the contest's methods have in common, an edit and then the loop: refusals, interruptions, every field."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from tests.methods.conftest import make_parent
from tests.methods.shared import FORGET, Odd, Problem, continues, digest, seeded, usual_digest
from torch import nn

from expunge.core.errors import InvalidArgument, UnsupportedEver, UnsupportedYet
from expunge.data.dataset import Dataset
from expunge.methods.contract import Method
from expunge.methods.contrast_and_strengthen import ContrastAndStrengthen
from expunge.methods.convolution_transpose import ConvolutionTranspose
from expunge.methods.masked_small_gradients import MaskedSmallGradients
from expunge.methods.noise_and_tune import Layers, NoiseAndTune
from expunge.methods.objective_method import ObjectiveMethod
from expunge.methods.prune_and_match import PruneAndMatch, layer_weights
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.train.state import weights_digest


@pytest.mark.parametrize("method", [ConvolutionTranspose(), NoiseAndTune()], ids=lambda m: m.name)
def test_edits_cost_nothing(method: ObjectiveMethod, problem: Problem) -> None:
    result = method(problem("convolved"), FORGET, budget=5.0)
    assert result.cost.example_steps == (method.epochs or 0) * 138
    nothing = method(problem("convolved"), FORGET, budget=0.0)
    assert (nothing.cost.example_steps, nothing.steps) == (0, 0)
    assert nothing.stopped == "nothing done: the budget covers no step after the edit; a larger `budget` would"
    assert weights_digest(nothing.model) == problem("convolved").weights_digest
    alone = replace(method, epochs=0)(problem("convolved"), FORGET, budget=0.0)
    assert weights_digest(alone.model) != problem("convolved").weights_digest


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
        for stop in (9, 13):  # on either side of the last epoch's beginning
            continues(method, parent, tmp_path / f"{number}-{stop}", stop=stop, budget=3.0, interval=3)


# Refusals.


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


# Every field.

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
    assert digest(kind(**{field: value}), parent, budget=2.0) != usual_digest(kind(), parent, budget=2.0)


def test_every_field_is_tried() -> None:
    for kind, own in OWN:
        assert {*SHARED, *own} == {item.name for item in fields(kind)}
