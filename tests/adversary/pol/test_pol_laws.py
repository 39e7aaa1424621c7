"""Laws of initial weights, and how far off a proof may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tests.conftest import run_json

from expunge.adversary.pol.calibration import calibrate, calibration_of, final_state
from expunge.adversary.pol.laws import init_p_values
from expunge.adversary.pol.proof import LinePoint, prove
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256, u64
from expunge.data.dataset import Dataset
from expunge.models.resolver import build
from expunge.train.run import Run
from expunge.train.state import full_state, weights_of
from expunge.train.training import make_recipe, train

CHANCE = sha256(b"what the verifier of these tests draws")


def test_initial_weights_of_the_zoo_follow_their_laws(pictures: Dataset) -> None:
    recipe = make_recipe(pictures, model="cnn", model_options={"width": 8, "norm": "batch"})
    found: dict[str, list[float]] = {}
    for seed in range(150):
        state = full_state(build(recipe, sha256(u64(seed))))
        for name, value in init_p_values(recipe, state).items():
            found.setdefault(name, []).append(value)
    assert len(found) == 10
    for name, values in found.items():
        if len(set(values)) == 1:
            assert values[0] == 1.0, name  # biases and norms are constants
        else:
            assert name.endswith("weight")
            assert kstest(values, "uniform").pvalue > 1e-3, name


def test_weights_twice_too_wide_are_refused_by_their_law(pictures: Dataset) -> None:
    recipe = make_recipe(pictures, model="mlp")
    state = full_state(build(recipe, bytes(32)))
    for name in ("body.1.weight", "body.3.weight"):
        wide = {**state, f"model.{name}": 1.5 * state[f"model.{name}"]}
        assert init_p_values(recipe, wide)[name] < 1e-6
    shifted = {**state, "model.body.1.bias": state["model.body.1.bias"] + 1e-6}
    assert init_p_values(recipe, shifted)["body.1.bias"] == 0.0
    broken = {**state, "model.body.1.weight": state["model.body.1.weight"] * float("nan")}
    assert init_p_values(recipe, broken)["body.1.weight"] == 0.0


def test_the_law_of_somebodys_own_factory_is_read_off_its_draws(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pol_own_factory.py").write_text(
        "import math\nfrom torch import nn\n\n\ndef make(inputs, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(inputs), 32), nn.LayerNorm(32), nn.ReLU(),\n"
        "                         nn.Linear(32, classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe = make_recipe(pictures, model="pol_own_factory:make")
    state = full_state(build(recipe, sha256(b"somebody's seed")))
    values = init_p_values(recipe, state)
    assert values["body.2.weight"] == values["body.2.bias"] == 1.0
    assert min(values.values()) >= 0.01
    assert len({value for value in values.values() if value < 1}) == 4
    wide = {**state, "model.body.1.weight": 1.5 * state["model.body.1.weight"]}
    assert init_p_values(recipe, wide)["body.1.weight"] < 1e-6


def test_delta_is_a_share_of_how_far_runs_of_other_seeds_end(pictures: Dataset, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16}
    runs = [train(pictures, out=tmp_path / f"{seed}", seed=seed, **fields) for seed in (4, 5, 6)]
    finals = [np.concatenate([v.numpy().ravel() for v in weights_of(run.model()).values()]) for run in runs]
    distances = [np.linalg.norm(finals[a].astype(float) - finals[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    found = calibrate(runs[0], data=pictures)
    assert found.distances == pytest.approx(distances, rel=1e-9)
    assert found.d_ref == pytest.approx(np.mean(distances))
    assert found.delta == pytest.approx(0.008 * np.mean(distances))
    assert found.work == sum(run_json(run)["example_steps"] for run in runs[1:])
    assert f"{found.d_ref:.4g}" in str(found)
    names = tuple(f"model.{name}" for name, _ in runs[0].model().named_parameters())
    assert calibration_of([final_state(run) for run in runs], names).distances == pytest.approx(distances)
    with pytest.raises(InvalidArgument, match="ask for two at least"):
        calibrate(runs[0], data=pictures, runs=1)
    with pytest.raises(InvalidArgument, match="give two at least, of different"):
        calibration_of([final_state(runs[0])], names)


def test_a_line_ends_in_its_last_point_to_the_last_bit() -> None:
    first, last = (torch.tensor([value, 1.0]) for value in (1e15, 1e-15))
    line = [LinePoint({"w": first}, {"w": last}, share, {"b": first}) for share in (0.0, 0.5, 1.0)]
    assert [point.tensors()["w"].tolist() for point in line] == [
        first.tolist(),
        [pytest.approx(5e14), 1.0],
        last.tolist(),
    ]
    assert all(torch.equal(point.tensors()["b"], first) for point in line)


def test_a_shards_final_weights_are_found_in_the_model_of_all(pictures: Dataset, tmp_path: Path) -> None:
    run: Run = train(pictures, out=tmp_path / "run", model="mlp", shards=3, epochs=1, batch_size=8)
    for shard in range(3):
        last = prove(run, shard=shard, data=pictures).trajectory.states[-1].tensors()
        final = final_state(run, shard)
        assert {name for name in last if name.startswith("model.")} == set(final)
        assert all(torch.equal(last[name], value) for name, value in final.items())
