"""How weights lie in memory: a field of the recipe that decides bits, and no part of what is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import run_json
from tests.train.test_bits import interrupt_at

from expunge.core.errors import ExpungeError, InvalidArgument, RunError
from expunge.core.hashing import canonical_json
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.models.resolver import build
from expunge.models.zoo import cnn
from expunge.schedule.plan import TrainingPlan
from expunge.schedule.recipe import MemoryLayout, Optimiser, OptimiserName, Precision, Profile, Recipe
from expunge.schedule.recipe_file import read_recipe
from expunge.study.training_table import read_training
from expunge.train import call, profile
from expunge.train.examples import Examples
from expunge.train.load import export
from expunge.train.optimiser import make_optimiser
from expunge.train.profile import pinned, self_test
from expunge.train.run import Run
from expunge.train.segment import StepRunner
from expunge.train.state import copied, state_digest, weights_digest
from expunge.train.training import make_recipe, train

FORGET = "subject:someone-04"
FIELDS: dict[str, Any] = {"model": "cnn", "epochs": 2, "batch_size": 16, "checkpoint_interval": 3}
CPU = torch.device("cpu")


def own(inputs: tuple[int, ...], classes: int) -> torch.nn.Module:
    """Somebody's factory of a network with convolutions."""
    return cnn(inputs, classes, width=4)


def lies_last(model: torch.nn.Module) -> bool:
    """Whether there are weights of convolutions, and the channels of each are next to each other in memory."""
    weights = [one for one in model.parameters() if one.dim() == 4]
    return bool(weights) and all(one.stride(1) == 1 for one in weights)


@pytest.fixture(scope="module", params=["none", "batch"])
def trained(request: pytest.FixtureRequest, pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(
        pictures, out=tmp_path_factory.mktemp("layout") / "run", **FIELDS, model_options=_options(request.param)
    )


def _options(norm: str) -> dict[str, Any]:
    return {"width": 4, "norm": norm}


def _like(run: Run) -> dict[str, Any]:
    return {**FIELDS, "model_options": dict(run.recipe.model_options)}


def _runner(run: Run, data: Dataset, **changes: Any) -> StepRunner:
    """The run's first model, under a recipe with these changes and the run's own seed."""
    recipe = replace(run.recipe, **changes)
    return StepRunner(recipe, Examples(recipe, run.data(data)[Split.TRAIN], CPU), build(recipe, run.schedule.seed))


def _order(value: torch.Tensor) -> list[int]:
    """The strides of its axes; where there is one entry, a stride says nothing."""
    return [stride for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1]


def _plan(run: Run) -> TrainingPlan:
    return TrainingPlan(run.recipe, run.schedule, 0, np.zeros(0, dtype=np.int64))


# What a training comes to.


def test_convolutions_of_ours_lie_with_channels_last_and_repeat(
    trained: Run, pictures: Dataset, tmp_path: Path
) -> None:
    assert run_json(trained)["recipe"]["layout"] == "channels-last"
    assert run_json(trained)["guarantee"]["kind"] == "exact"
    assert train(pictures, out=tmp_path / "again", **_like(trained)).weights_digest == trained.weights_digest


def test_an_interrupted_training_ends_in_the_same_bits(trained: Run, pictures: Dataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(pictures, out=tmp_path / "run", progress=interrupt_at(10), **_like(trained))
    assert len(list((tmp_path / "run" / "checkpoints").glob("*.safetensors"))) == 3
    assert train(pictures, out=tmp_path / "run", **_like(trained)).weights_digest == trained.weights_digest


def test_exact_replay_is_retraining_bit_for_bit(trained: Run, pictures: Dataset, tmp_path: Path) -> None:
    replayed, retrained = (
        unlearn(trained, FORGET, method=method, out=tmp_path / method, data=pictures)
        for method in ("exact-replay", "retrain")
    )
    assert replayed.weights_digest == retrained.weights_digest != trained.weights_digest
    assert run_json(replayed)["guarantee"]["kind"] == "exact"


def test_the_two_layouts_differ_by_rounding_alone(trained: Run, pictures: Dataset) -> None:
    runners = [_runner(trained, pictures, layout=layout) for layout in MemoryLayout]
    assert weights_digest(runners[0].model) == weights_digest(runners[1].model), "bytes are of the plain order"
    with pinned(trained.recipe):
        for runner in runners:
            runner.run(_plan(trained))
    plain, last = (runner.state for runner in runners)
    assert all(torch.allclose(plain[name], last[name], rtol=1e-2, atol=1e-4) for name in plain)
    assert [lies_last(runner.model) for runner in runners] == [False, True]
    assert weights_digest(runners[1].model) == trained.weights_digest


# Where the weights lie.


def test_models_lie_as_the_recipe_says_wherever_they_come_from(trained: Run, pictures: Dataset, tmp_path: Path) -> None:
    forgot = unlearn(trained, FORGET, method="fine-tune", budget=0.1, out=tmp_path / "forgot", data=pictures)
    for model in (trained.model(), forgot.model(), export(trained, tmp_path / "exported").model):
        assert lies_last(model)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_moments_that_are_taken_up_lie_as_they_did(trained: Run, pictures: Dataset, name: str) -> None:
    """The next step then runs over one layout, as it does where nothing was taken up."""
    optimiser = Optimiser(name=OptimiserName(name), rate=0.01)
    straight, fresh = (_runner(trained, pictures, optimiser=optimiser) for _ in range(2))
    with pinned(trained.recipe):
        straight.run(_plan(trained), 0, 3)
        fresh.take_up(copied(straight.state), "here")
        for key, value in straight.state.items():
            assert _order(fresh.state[key]) == _order(value), key
        for runner in (straight, fresh):
            runner.run(_plan(trained), 3, 6)
    assert state_digest(fresh.model, fresh.optimiser) == state_digest(straight.model, straight.optimiser)


# What it is unless said, and what is refused.


@pytest.mark.parametrize(
    ("fields", "layout"),
    [
        ({"model": "cnn"}, MemoryLayout.CHANNELS_LAST),
        ({"model": "resnet18", "model_options": {"width": 4}}, MemoryLayout.CHANNELS_LAST),
        ({"model": "mlp"}, MemoryLayout.CONTIGUOUS),
        ({"model": own}, MemoryLayout.CONTIGUOUS),
        ({"model": own, "profile": Profile.SPEED}, MemoryLayout.CHANNELS_LAST),
        ({"model": "mlp", "profile": Profile.SPEED}, MemoryLayout.CONTIGUOUS),
        ({"model": "cnn", "layout": MemoryLayout.CONTIGUOUS}, MemoryLayout.CONTIGUOUS),
        ({"model": own, "layout": MemoryLayout.CHANNELS_LAST}, MemoryLayout.CHANNELS_LAST),
    ],
)
def test_what_is_taken_unless_said(pictures: Dataset, fields: dict[str, Any], layout: MemoryLayout) -> None:
    recipe = make_recipe(pictures, **fields)
    assert recipe.layout is layout
    assert lies_last(build(recipe, bytes(32))) == (layout is MemoryLayout.CHANNELS_LAST)


def test_a_study_says_it_among_the_fields_of_a_recipe(pictures: Dataset) -> None:
    for table, layout in (({}, MemoryLayout.CHANNELS_LAST), ({"layout": "contiguous"}, MemoryLayout.CONTIGUOUS)):
        assert read_training("small", {"model": "cnn", **table}).recipe(pictures, 3).layout is layout


def test_recipes_of_before_are_contiguous_and_keep_their_digest(pictures: Dataset) -> None:
    plain, last = (make_recipe(pictures, model="cnn", layout=layout) for layout in MemoryLayout)
    told = plain.as_json()
    assert "layout" not in told
    assert Recipe.from_json(told) == plain == read_recipe(canonical_json(told))
    assert plain.digest != last.digest
    assert Recipe.from_json(last.as_json()) == last == read_recipe(canonical_json(last.as_json()))


@pytest.mark.parametrize("written", ["contiguous", "sideways", 1])
def test_a_record_has_no_other_text_for_it(pictures: Dataset, written: object) -> None:
    told = {**make_recipe(pictures, model="cnn").as_json(), "layout": written}
    with pytest.raises(ExpungeError, match=r"MALFORMED_JSON: recipe\.json"):
        read_recipe(canonical_json(told))


def test_a_run_that_was_begun_before_there_were_layouts_goes_on(pictures: Dataset, tmp_path: Path) -> None:
    fields = {**FIELDS, "model_options": _options("none")}
    with pytest.raises(KeyboardInterrupt):
        train(pictures, out=tmp_path, progress=interrupt_at(10), layout=MemoryLayout.CONTIGUOUS, **fields)
    with pytest.raises(RunError, match="holds another run"):
        train(pictures, out=tmp_path, layout=MemoryLayout.CHANNELS_LAST, **fields)
    assert train(pictures, out=tmp_path, **fields).recipe.layout is MemoryLayout.CONTIGUOUS


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "cnn", "layout": "sideways"}, "`layout` 'sideways' is not one of contiguous, channels-last"),
        (
            {"model": "mlp", "layout": "channels-last"},
            "`layout` channels-last with model 'mlp', which has no weights of a convolution over images: no channels "
            "can lie last in it; leave `layout` out",
        ),
    ],
)
def test_what_is_refused(pictures: Dataset, tmp_path: Path, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidArgument) as found:
        call.train(pictures, out=tmp_path / "run", **fields)
    assert str(found.value) == sentence
    assert not (tmp_path / "run").exists()


def test_the_machine_is_tested_in_the_layout_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was for the layout of before, whose digests stand in old runs, and with channels last for the other."""
    seen: list[bool] = []

    def noted(described: Optimiser, model: torch.nn.Module) -> torch.optim.Optimizer:
        seen.append(lies_last(model))
        return make_optimiser(described, model)

    monkeypatch.setattr(profile, "make_optimiser", noted)
    for layout in MemoryLayout:
        seen.clear()
        assert self_test(CPU, Precision.FLOAT32, layout)[1]
        assert seen == [layout is MemoryLayout.CHANNELS_LAST] * 4
