"""Noise in the loss: drawn under a secret key, kept, repeated with the key and not without it."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import run_json

from expunge.core.errors import ExpungeError, InvalidArgument, RunError
from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.models.linear import features_of, head_of
from expunge.schedule.plan import TrainingPlan
from expunge.schedule.recipe import Calendar, Optimiser, OptimiserName
from expunge.tasks import TASKS
from expunge.train.examples import Examples
from expunge.train.objective import StepBatch
from expunge.train.perturbation import KEY_NAME, draw_noise, keep_key, perturbed_objective, read_key, reveal_key
from expunge.train.run import Run
from expunge.train.shards import carry_out_shards
from expunge.train.training import make_recipe, train

DECAY = 0.01
FIELDS: dict[str, Any] = {
    "model": "linear",
    "task": "squared",
    "epochs": 400,
    "batch_size": 1000,
    "optimiser": Optimiser(rate=0.5, weight_decay=DECAY, calendar=Calendar.CONSTANT),
    "perturbation": 2.0,
}


@pytest.fixture(scope="module")
def run(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(pictures, out=tmp_path_factory.mktemp("noise") / "base", **FIELDS)


def rows(run: Run, data: Dataset, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features and one-hot targets in float64."""
    batch = Examples(run.recipe, run.data(data)[Split.TRAIN], torch.device("cpu")).batch(slots)
    with torch.no_grad():
        features = features_of(run.model(), batch["inputs"]).double().numpy()
    return features, np.eye(3)[batch["labels"].numpy()]


def ridge(run: Run, data: Dataset, slots: np.ndarray) -> np.ndarray:
    """The minimum of Σ ½‖Wx − y‖² + (λn/2)‖W‖² + b·W in closed form."""
    x, y = rows(run, data, slots)
    noise = draw_noise(run.recipe, read_key(run.path / KEY_NAME), run.schedule.seed)
    return np.linalg.solve(x.T @ x + DECAY * len(x) * np.eye(x.shape[1]), x.T @ y - noise.T).T


def weights(run: Run) -> np.ndarray:
    return head_of(run.model()).weight.detach().double().numpy()


def test_noise_by_hand(run: Run) -> None:
    """HMAC-SHA-256 in the place of the lineage seed, purpose `noise`; against hashlib's own arithmetic."""
    key, lineage = bytes(range(32)), run.schedule.seed
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + lineage).digest()
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()
    assert outer == hmac.new(key, lineage, "sha256").digest()
    expected = 2.0 * Stream(outer, "noise").normal(3 * 65).reshape(3, 65)
    assert np.array_equal(draw_noise(run.recipe, key, lineage), expected)


def test_noise_has_the_stated_spread(run: Run) -> None:
    draws = np.concatenate([draw_noise(run.recipe, bytes([at]) * 32, bytes(32)).ravel() for at in range(50)])
    assert draws.std() == pytest.approx(2.0, rel=0.03)
    assert abs(draws.mean()) < 4 * 2.0 / np.sqrt(len(draws))


def test_perturbed_training_ends_at_the_closed_form(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    everybody = np.arange(run.schedule.count)
    expected = ridge(run, pictures, everybody)
    np.testing.assert_allclose(weights(run), expected, atol=1e-5)
    plain = train(pictures, out=tmp_path / "plain", **{**FIELDS, "perturbation": 0.0})
    assert np.abs(weights(plain) - weights(run)).max() > 0.05
    child = unlearn(run, "random:20%:1", method="retrain", out=tmp_path / "child", data=pictures)
    retained = np.setdiff1d(everybody, child.tombstones)
    np.testing.assert_allclose(weights(child), ridge(run, pictures, retained), atol=1e-5)  # n is those present


def test_the_key_lies_in_the_folder_and_its_commitment_in_run_json(run: Run) -> None:
    path = run.path / KEY_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_bytes()
    assert len(key) == 32
    assert run_json(run)["noise_commitment"] == hashlib.sha256(key).hexdigest()
    assert run_json(run)["request"]["noise_commitment"] == run_json(run)["noise_commitment"]
    everything = b"".join(
        found.read_bytes() for found in run.path.rglob("*") if found.is_file() and found.name != KEY_NAME
    )
    assert key not in everything
    assert key.hex().encode() not in everything
    assert not list(run.path.glob(".noise*"))


def test_the_key_repeats_a_training_and_nothing_else_does(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    again = train(pictures, out=tmp_path / "again", noise_key=run.path / KEY_NAME, **FIELDS)
    assert again.weights_digest == run.weights_digest
    assert again.recipe.digest == run.recipe.digest
    other = train(pictures, out=tmp_path / "other", **FIELDS)
    assert other.recipe.digest == run.recipe.digest
    assert other.schedule.seed == run.schedule.seed
    assert other.weights_digest != run.weights_digest
    assert run_json(other)["noise_commitment"] != run_json(run)["noise_commitment"]
    public = draw_noise(run.recipe, bytes.fromhex(run_json(run)["noise_commitment"]), run.schedule.seed)
    assert not np.allclose(public, draw_noise(run.recipe, read_key(run.path / KEY_NAME), run.schedule.seed))


def test_a_finished_run_is_answered_and_another_key_is_another_run(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    assert train(pictures, out=run.path, **FIELDS).weights_digest == run.weights_digest
    (tmp_path / "own.key").write_bytes(bytes(32))
    with pytest.raises(RunError, match=r"holds another run \(noise commitment"):
        train(pictures, out=run.path, noise_key=tmp_path / "own.key", **FIELDS)


def test_an_interrupted_training_goes_on_under_its_key(pictures: Dataset, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 150:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(pictures, out=out, progress=stop, **FIELDS)
    continued = train(pictures, out=out, **FIELDS)
    straight = train(pictures, out=tmp_path / "straight", noise_key=out / KEY_NAME, **FIELDS)
    assert continued.weights_digest == straight.weights_digest


def test_killed_between_key_and_run_json_nothing_is_in_the_way(pictures: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    keep_key(out, bytes(32))
    fields = {**FIELDS, "epochs": 2}
    made = train(pictures, out=out, **fields)  # no run.json stood: a new key takes its place
    assert (out / KEY_NAME).read_bytes() != bytes(32)
    (out / KEY_NAME).rename(out / f".{KEY_NAME}")  # run.json stood, the name did not
    assert train(pictures, out=out, **fields).weights_digest == made.weights_digest
    reveal_key(out)
    assert read_key(out / KEY_NAME)


def test_children_have_the_key_and_exact_stays_exact(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    forget = "subject:someone-02"
    made = {
        name: unlearn(run, forget, method=name, out=tmp_path / name, data=pictures) for name in ("retrain", "rewind")
    }
    assert made["retrain"].weights_digest == made["rewind"].weights_digest != run.weights_digest
    for child in made.values():
        assert str(child.guarantee) == "Exact"
        assert (child.path / KEY_NAME).read_bytes() == (run.path / KEY_NAME).read_bytes()
        assert run_json(child)["noise_commitment"] == run_json(run)["noise_commitment"]
        assert stat.S_IMODE((child.path / KEY_NAME).stat().st_mode) == 0o600
    grandchild = unlearn(made["rewind"], "subject:someone-03", out=tmp_path / "g", data=pictures)
    both = unlearn(run, [forget, "subject:someone-03"], method="retrain", out=tmp_path / "both", data=pictures)
    assert grandchild.weights_digest == both.weights_digest


def test_exact_replay_reuses_nothing_under_noise(pictures: Dataset, tmp_path: Path) -> None:
    """b·w/n: with fewer rows present every step is another one, even before the first that held the forgotten."""
    fields = {**FIELDS, "epochs": 6, "batch_size": 8, "slices": 3}
    base = train(pictures, out=tmp_path / "base", checkpoint_interval=2, **fields)
    slot = np.flatnonzero(base.schedule.cells[:, 1] == 2)[:1]
    name = base.data(pictures)[Split.TRAIN].subjects[int(slot[0])]
    replayed = unlearn(base, f"subject:{name}", out=tmp_path / "replayed", data=pictures)
    retrained = unlearn(base, f"subject:{name}", method="retrain", out=tmp_path / "retrained", data=pictures)
    assert replayed.weights_digest == retrained.weights_digest
    assert run_json(replayed)["reused_steps"] == {"0": 0}


def test_another_training_seed_draws_other_noise(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    """References of a convex recipe would otherwise all be one point."""
    found = [
        weights(unlearn(run, "class:1", method=Retrain(training_seed=seed), out=tmp_path / str(seed), data=pictures))
        for seed in (None, 1)
    ]
    assert np.abs(found[0] - found[1]).max() > 0.05


def test_a_lost_or_exchanged_key_is_refused(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", **{**FIELDS, "epochs": 2})
    key = base.path / KEY_NAME
    kept = key.read_bytes()
    key.write_bytes(bytes(32))
    with pytest.raises(RunError, match=r"is not the key that run\.json announces"):
        unlearn(base, "class:1", out=tmp_path / "child", data=pictures)
    key.write_bytes(kept[:5])
    with pytest.raises(InvalidArgument, match="has 5 bytes, it must have 32"):
        unlearn(base, "class:1", out=tmp_path / "child", data=pictures)
    key.unlink()
    with pytest.raises(RunError, match=r"noise\.key could not be read"):
        unlearn(base, "class:1", out=tmp_path / "child", data=pictures)
    assert not (tmp_path / "child").exists()


def test_a_key_without_noise_and_noise_without_a_key_are_refused(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="has no use without a perturbation"):
        train(
            pictures,
            out=tmp_path / "run",
            noise_key=run.path / KEY_NAME,
            **{**FIELDS, "perturbation": 0.0, "epochs": 1},
        )
    assert not (tmp_path / "run").exists()
    examples = Examples(run.recipe, run.data(pictures)[Split.TRAIN], torch.device("cpu"))
    nobody = np.zeros(0, dtype=np.int64)
    with pytest.raises(RunError, match="its secret key is not at hand"):
        carry_out_shards(run.recipe, run.schedule, examples, nobody)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "classification"}, "perturbation 2 with task classification"),
        ({"model": "mlp"}, "perturbation 2 with model mlp"),
        ({"optimiser": Optimiser(name=OptimiserName.ADAMW)}, "with optimiser adamw"),
        ({"optimiser": Optimiser(weight_decay=0.0)}, "with weight decay 0"),
        ({"shards": 2}, "with 2 shards"),
        ({"perturbation": -1.0}, "perturbation -1.0 must be a finite number"),
        ({"perturbation": float("nan")}, "perturbation nan"),
    ],
)
def test_noise_is_for_convex_recipes(change: dict[str, Any], words: str, pictures: Dataset) -> None:
    with pytest.raises(ExpungeError, match=words):
        make_recipe(pictures, **{**FIELDS, **change})


def test_the_term_costs_nothing_and_a_skipped_step_stays_skipped(run: Run, pictures: Dataset) -> None:
    noise = np.ones((3, 65))
    model = run.model()
    examples = Examples(run.recipe, run.data(pictures)[Split.TRAIN], torch.device("cpu"))
    objective = perturbed_objective(noise, 10)
    plan = TrainingPlan(run.recipe, run.schedule, 0, np.zeros(0, dtype=np.int64))
    batch = StepBatch(plan.step(0), plan, examples, TASKS["squared"])
    loss, plain = objective(model, batch, None), batch.retain_loss(model)
    assert loss.thirds == plain.thirds == 3 * 120
    value, without = loss.value(), plain.value()
    assert value is not None
    assert without is not None
    assert value.item() - without.item() == pytest.approx(head_of(model).weight.sum().item() / 10, abs=1e-5)
    empty = StepBatch(replace(plan.step(0), parts={}), plan, examples, TASKS["squared"])
    assert objective(model, empty, None).needed == ()
    with pytest.raises(InvalidArgument, match="noise over 0 rows"):
        perturbed_objective(noise, 0)


def test_a_recipe_without_noise_keeps_the_digest_that_it_had(pictures: Dataset) -> None:
    recipe = make_recipe(pictures, model="mlp")
    assert "perturbation" not in recipe.as_json()
    assert json.loads(json.dumps(make_recipe(pictures, **FIELDS).as_json()))["perturbation"] == 2.0


def test_a_retraining_of_the_same_lineage_warns_of_its_noise(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", **FIELDS)
    same = unlearn(base, "subject:someone-04", method="retrain", out=tmp_path / "same", data=pictures)
    other = unlearn(base, "subject:someone-04", method=Retrain(training_seed=5), out=tmp_path / "other", data=pictures)
    assert any("publish one of them only" in notice for notice in run_json(same)["notices"])
    assert not any("publish one of them only" in notice for notice in run_json(other)["notices"])
