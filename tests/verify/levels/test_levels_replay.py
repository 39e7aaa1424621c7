"""Levels V2 and V3: honest records are accepted, and whatever was carried out otherwise is refused under its code."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import run_json
from tests.verify.levels.replaying import (
    finding_of,
    opened_record,
    replay_findings,
    sealed,
    story_of,
    verified,
    with_losses,
)

from expunge.core.errors import InvalidArgument, RunError
from expunge.data.dataset import Dataset
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.models.resolver import build
from expunge.records.keys import SigningKey
from expunge.records.verdict import FindingOutcome, Level, Status
from expunge.schedule.recipe import Optimiser
from expunge.train import segment
from expunge.train.examples import Examples
from expunge.train.optimiser import make_optimiser
from expunge.train.run import Run
from expunge.train.state import read_tensors, weights_of
from expunge.train.training import train
from expunge.verify.levels.segments import missed, segments_of

PERSON = "subject:someone-03"


@pytest.fixture(scope="module")
def base(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("replay") / "base"
    return train(pictures, out=out, model="mlp", epochs=4, batch_size=16, checkpoint_interval=1)


@pytest.fixture(scope="module")
def forgot(base: Run, pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("replay") / "forgot"
    return unlearn(base, PERSON, out=out, data=pictures, checkpoint_interval=3)


def codes(verdict: Any) -> list[str]:
    return [code.value for code in verdict.codes]


def test_a_retraining_and_a_training_without_rows_are_accepted(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    retrained = unlearn(base, PERSON, method="retrain", out=tmp_path / "retrained", data=pictures)
    without = train(pictures, out=tmp_path / "without", recipe=base.recipe, without=PERSON)
    seeded = unlearn(base, PERSON, method=Retrain(training_seed=9), out=tmp_path / "seeded", data=pictures)
    for one in (retrained, without, seeded):
        verdict = verified(
            sealed(story_of(one, owner), owner, tmp_path / one.path.name / "b"), trusted, "V3", data=pictures
        )
        assert verdict.status is Status.ACCEPTED, verdict.as_json()
    assert retrained.weights_digest == without.weights_digest != seeded.weights_digest


def test_the_draw_is_printed_with_what_it_may_miss(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey
) -> None:
    """32 segments: the first, and the three least and largest changes always; five of the others by chance."""
    details: list[str] = []
    with opened_record(sealed(story_of(base, owner), owner, tmp_path), owner) as opened:
        for seed in (1, 1, 2):
            found = list(replay_findings(opened, level=Level.V2, data=pictures, segments=5, chance=random.Random(seed)))
            assert all(finding.stands for finding in found)
            details.append(found[-1].detail)
    assert details[0] == details[1] != details[2]
    total = base.schedule.total_steps(0)
    assert total == 32
    always = int(details[0].split(" of 32 segments")[0]) - 5
    assert always in (6, 7)
    pool = total - always
    assert f"5 drawn here from the other {pool}; 1 bad one among them would be missed" in details[0]
    for bad in (1, 4):
        assert f"with probability {float(missed(pool, bad, 5)):.4g}" in details[0]
    assert "drawn: shard 0 steps " in details[0]


def test_a_bad_segment_is_refused_exactly_when_it_is_looked_at(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey
) -> None:
    """One jump between two honest halves: the segment before it differs, all others hold."""
    step, name = 17, "shard-0-step-00000017.safetensors"
    state = read_tensors(base.path / "checkpoints" / name)
    key = next(key for key in state if key.startswith("optimiser."))
    state[key] = state[key] * 1.0000001
    draft = story_of(base, owner).with_state(step, state)
    seen: dict[bool, int] = {True: 0, False: 0}
    with opened_record(sealed(draft, owner, tmp_path / "sealed"), owner) as opened:
        for seed in range(12):
            found = list(
                replay_findings(opened, level=Level.V2, data=pictures, segments=8, chance=random.Random(seed))
            )[-1]
            refused = found.outcome is FindingOutcome.REFUSED
            seen[refused] += 1
            if refused:
                assert found.code == "REPLAY_STATE_MISMATCH"
                assert "shard 0 steps 16–16 (optimiser state)" in found.detail or "steps 17–17" in found.detail
            else:
                assert "16–16" not in found.detail
                assert "17–17" not in found.detail
            assert "drawn: shard 0 steps " in found.detail
        whole = list(replay_findings(opened, level=Level.V3, data=pictures))[-1]
    assert seen[True] > 0
    assert seen[False] > 0
    assert (whole.outcome, whole.code) == (FindingOutcome.REFUSED, "REPLAY_STATE_MISMATCH")
    assert "shard 0 steps 16–16 (optimiser state)" in whole.detail


@pytest.mark.parametrize(
    ("part", "said"), [("weights", "weights"), ("buffers", "buffers"), ("optimiser", "optimiser state")]
)
def test_every_component_of_a_state_counts_to_the_last_bit(
    part: str, said: str, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Fixtures 6 and 15 b: a state altered by one unit in the last place, its leaf signed again."""
    run = train(
        pictures,
        out=tmp_path / "run",
        model="resnet18",
        model_options={"width": 2},
        epochs=1,
        batch_size=30,
        checkpoint_interval=2,
    )
    name = "shard-0-step-00000002.safetensors"
    state = read_tensors(run.path / "checkpoints" / name)
    key = {
        "weights": "model.body.stem.weight",
        "buffers": next(name for name in sorted(state) if name.endswith("running_mean")),
        "optimiser": next(name for name in sorted(state) if name.startswith("optimiser.")),
    }[part]
    key = key if key in state else next(name for name in sorted(state) if name.endswith("weight"))
    flat = state[key].reshape(-1)
    flat[0] = torch.nextafter(flat[0], torch.tensor(float("inf")))
    draft = story_of(run, owner).with_state(2, state)
    bundle = sealed(draft, owner, tmp_path / "sealed")
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    verdict = verified(bundle, trusted, "V3", data=pictures)
    assert codes(verdict) == ["REPLAY_STATE_MISMATCH"]
    assert f"shard 0 steps 0–1 ({said})" in finding_of(verdict, "execution", Level.V3).detail
    assert codes(verified(bundle, trusted, "V4", data=pictures)) == ["REPLAY_STATE_MISMATCH"]


def test_losses_of_the_trace_are_compared(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """A trace that names other losses from step 20 on, with running digests made to fit."""
    bundle = sealed(with_losses(base, owner, 20), owner, tmp_path)
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    for level in ("V3", "V4"):
        verdict = verified(bundle, trusted, level, data=pictures)
        assert codes(verdict) == ["REPLAY_STATE_MISMATCH"]
        assert "losses from step 20 on" in verdict.refusals[0].detail


def test_a_replay_without_the_trace_says_what_it_did_not_compare(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Every bit of every state is, so the replay passes; what the owner says of the losses is left open."""
    story = with_losses(base, owner, 7).with_files({"trace.bin": None})
    bundle = sealed(story, owner, tmp_path / "sealed")
    for level, name in (("V3", "execution"), ("V4", "execution")):
        verdict = verified(bundle, trusted, level, data=pictures)
        assert verdict.status is Status.ACCEPTED, verdict.as_json()
        assert "trace.bin is not here" in finding_of(verdict, name, Level.V3).detail
    whole = sealed(story_of(base, owner), owner, tmp_path / "whole")
    honest = verified(whole, trusted, "V3", data=pictures)
    assert "trace.bin" not in finding_of(honest, "execution", Level.V3).detail


@pytest.mark.parametrize("what", ["rate", "momentum", "another row's content"])
def test_a_training_that_was_executed_differently_is_refused(
    what: str,
    base: Run,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fixture 14 b, and its like: the record states recipe and schedule rightly, the machine did something else."""
    rate_at, plain = Optimiser.rate_at, Examples.batch

    def faster(self: Optimiser, at: int, total: int) -> float:
        return 1.001 * rate_at(self, at, total)

    def lighter(described: Optimiser, model: torch.nn.Module) -> torch.optim.Optimizer:
        return make_optimiser(replace(described, momentum=0.89), model)

    def neighbours(self: Examples, slots: np.ndarray) -> Any:
        return plain(self, np.where((slots == 7) & (len(self) > 8), 8, slots))

    with monkeypatch.context() as otherwise:
        if what == "rate":
            otherwise.setattr(Optimiser, "rate_at", faster)
        elif what == "momentum":
            otherwise.setattr(segment, "make_optimiser", lighter)
        else:
            otherwise.setattr(Examples, "batch", neighbours)
        other = train(pictures, out=tmp_path / "other", recipe=base.recipe, checkpoint_interval=8)
    bundle = sealed(story_of(other, owner), owner, tmp_path / "sealed")
    assert other.weights_digest != base.weights_digest
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    for level in ("V2", "V4"):
        assert codes(verified(bundle, trusted, level, data=pictures)) == ["REPLAY_STATE_MISMATCH"]


def test_states_may_lie_beside_the_bundle(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    bundle = sealed(story_of(base, owner).without_states(), owner, tmp_path)
    missing = verified(bundle, trusted, "V3", data=pictures)
    assert (missing.status, missing.reached) == (Status.UNDECIDED, Level.V1)
    assert finding_of(missing, "states").reason == "evidence-missing"
    assert "32 states of 32 have no file" in finding_of(missing, "states").detail
    for folder in (base.path, base.path / "checkpoints"):
        assert verified(bundle, trusted, "V3", data=pictures, checkpoints=folder).status is Status.ACCEPTED
    with pytest.raises(RunError, match="is no folder"):
        verified(bundle, trusted, "V3", data=pictures, checkpoints=tmp_path / "nowhere")


@pytest.mark.parametrize("how", ["bit", "pickle", "cut"])
def test_files_beside_the_bundle_are_believed_no_more_than_those_in_it(
    how: str, base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    folder = tmp_path / "states"
    shutil.copytree(base.path / "checkpoints", folder)
    path = folder / "shard-0-step-00000009.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"bit": bytes(content), "pickle": b"\x80\x04K\x01.", "cut": bytes(content[:-8])}[how])
    verdict = verified(
        sealed(story_of(base, owner).without_states(), owner, tmp_path),
        trusted,
        "V2",
        data=pictures,
        checkpoints=folder,
    )
    assert codes(verdict) == ["CHECKPOINT_LEAF_MISMATCH" if how == "bit" else "UNSAFE_FILE"]


def test_every_state_must_be_handed_over_even_where_it_is_not_looked_at(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    draft = story_of(base, owner).with_files({"checkpoints/shard-0-step-00000030.safetensors": None})
    verdict = verified(sealed(draft, owner, tmp_path), trusted, "V2", data=pictures, segments=1)
    assert verdict.status is Status.UNDECIDED
    assert "must not hang on what was handed over" in finding_of(verdict, "states").detail


def test_other_initial_weights_are_refused(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Fixture 10, where the record names the false ones."""
    story = story_of(base, owner).changed(environment__initial_weights=bytes(32))
    verdict = verified(sealed(story, owner, tmp_path), trusted, "V2", data=pictures)
    assert codes(verdict) == ["INIT_MISMATCH"]


@pytest.mark.parametrize("honest", [True, False])
def test_a_recorded_state_at_step_0_is_the_initial_weights(
    honest: bool, base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Fixture 10, where the record shows them: weights sorted into another order, which every test by laws passes."""
    state = {f"model.{key}": value for key, value in weights_of(build(base.recipe, base.schedule.seed)).items()}
    if not honest:
        key = max(state, key=lambda key: state[key].numel())
        state[key] = state[key].reshape(-1).sort().values.reshape(state[key].shape)
    draft = story_of(base, owner).with_state(0, state)
    bundle = sealed(draft, owner, tmp_path / "sealed")
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    for level in ("V2", "V3", "V4"):
        verdict = verified(bundle, trusted, level, data=pictures)
        assert codes(verdict) == ([] if honest else ["INIT_MISMATCH"]), verdict.as_json()


def test_an_interrupted_replay_leaves_torch_as_it_was(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    steps: list[tuple[int, int]] = []

    def moved(done: int, total: int) -> None:
        steps.append((done, total))
        if total == 32 and done == 10:
            raise KeyboardInterrupt

    bundle = sealed(story_of(base, owner), owner, tmp_path)
    torch.use_deterministic_algorithms(False)
    with pytest.raises(KeyboardInterrupt):
        verified(bundle, trusted, "V3", data=pictures, progress=moved)
    assert not torch.are_deterministic_algorithms_enabled()
    assert [done for done, total in steps if total == 32] == list(range(1, 11))


def test_two_replays_that_differ_decide_nothing(
    base: Run,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine whose optimiser wavers: its own two replays differ, so nobody is accused."""
    noise: Iterator[float] = iter(np.linspace(1e-3, 2e-3, 100_000).tolist())
    real = torch.optim.SGD.step

    def wavering(self: torch.optim.SGD, closure: Any = None) -> Any:
        result = real(self, closure)
        with torch.no_grad():
            self.param_groups[0]["params"][0].add_(next(noise))
        return result

    bundle = sealed(story_of(base, owner), owner, tmp_path)
    import expunge.verify.levels.environment as environment

    monkeypatch.setattr(environment, "self_test", lambda *_: (run_json(base)["environment"]["self_test"], True))
    monkeypatch.setattr(torch.optim.SGD, "step", wavering)
    for level, name in (("V3", "execution"), ("V4", "twin run")):
        verdict = verified(bundle, trusted, level, data=pictures)
        assert verdict.status is Status.UNDECIDED
        assert finding_of(verdict, name, Level[level]).reason == "verifier-not-deterministic"


def test_arguments_that_make_no_sense_are_refused(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    bundle = sealed(story_of(base, owner), owner, tmp_path)
    key = tmp_path / "noise.key"
    key.write_bytes(bytes(32))
    with pytest.raises(InvalidArgument, match="has no use here: the run was trained without noise"):
        verified(bundle, trusted, "V2", data=pictures, noise_key=key)
    with pytest.raises(InvalidArgument, match="the salts are open"):
        verified(bundle, trusted, "V2", data=pictures, salts=key)


def test_what_was_taken_over_is_replayed_as_well(
    forgot: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """V3 replays the parent's prefix too: its segments are the run's own."""
    draft = story_of(forgot, owner)
    record = draft.record
    assert record.reuse[0].step >= 0
    verdict = verified(sealed(draft, owner, tmp_path), trusted, "V3", data=pictures)
    assert verdict.status is Status.ACCEPTED
    count = len(segments_of(record.checkpoints.states))
    assert f"all {count} segments" in finding_of(verdict, "execution", Level.V3).detail
