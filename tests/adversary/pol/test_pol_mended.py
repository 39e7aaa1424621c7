"""Each flaw of the published verifier is there, and mended beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.adversary.pol.pol_runs import Proven, fixed, published, with_state

from expunge.adversary.forging.told import told_proof
from expunge.adversary.pol.proof import Course, forge, prove
from expunge.adversary.pol.replay import Distance
from expunge.adversary.pol.verdict import Mode, PolCheck
from expunge.adversary.pol.verify import largest_of_each_epoch, verify_proof
from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.core.hashing import sha256, u64
from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.data.salts import destroy_salts
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.models.resolver import build
from expunge.schedule.recipe import Optimiser, OptimiserName
from expunge.train.state import full_state
from expunge.train.training import train

CHANCE = sha256(b"what the verifier of these tests draws")


def test_the_published_verifier_takes_the_rate_from_the_prover(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    slower = replace(found.proof, rates=found.proof.rates / 2)
    assert published(slower, found.rows).refused_by == (PolCheck.WEIGHTS,)
    idle = replace(found.proof, rates=np.full(len(found.proof.parts), 1e-12))
    frozen = Course(
        idle.trajectory.steps,
        tuple(found.proof.trajectory.states[0] for _ in idle.trajectory.steps),
        idle.trajectory.parameters,
    )
    still = replace(idle, trajectory=frozen)
    assert published(still, found.rows).accepted
    refusals = fixed(still, found.rows).refused_by
    assert PolCheck.RATES in refusals
    assert PolCheck.WEIGHTS in refusals


def test_momentum_and_decay_are_the_provers_as_published_and_the_recipes_when_fixed(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    other = replace(found.proof, optimiser=replace(found.proof.optimiser, momentum=0.0))
    assert published(other, found.rows).refused_by == (PolCheck.WEIGHTS,)
    verdict = fixed(other, found.rows)
    assert verdict.refused_by == (PolCheck.RATES,)  # carried out by the recipe, the states are right


def orthogonal_mix(wanted: torch.Tensor) -> torch.Tensor:
    """Half of a vector, and as much beside it again: ⟨v, w⟩ = ‖v‖², at 45 degrees."""
    draws = torch.from_numpy(Stream(bytes(32), "test-mix").normal(wanted.numel()))
    beside = draws - (draws @ wanted) / (wanted @ wanted) * wanted
    return wanted / 2 + beside * (wanted.norm() / 2 / beside.norm())


def test_the_published_cosine_is_zero_for_weights_that_stand_at_45_degrees() -> None:
    wanted = torch.from_numpy(Stream(bytes(32), "test-vector").normal(500))
    mixed = orthogonal_mix(wanted)
    assert Distance.COSINE.as_published(mixed, wanted) == pytest.approx(0, abs=1e-12)
    assert Distance.COSINE.between(mixed, wanted) == pytest.approx(1 - np.sqrt(0.5), abs=1e-12)
    assert Distance.COSINE.as_published(0.1 * wanted, wanted) == pytest.approx(-9)
    assert Distance.COSINE.between(0.1 * wanted, wanted) == pytest.approx(0, abs=1e-12)


def test_a_proof_that_ends_elsewhere_passes_the_published_cosine_and_not_the_mended_one(
    proven: dict[str, Proven],
) -> None:
    found = proven["mlp"]
    names = found.proof.trajectory.parameters
    last = found.proof.trajectory.states[-1].tensors()
    flat = torch.cat([last[name].double().reshape(-1) for name in names])
    mixed = 0.99 * orthogonal_mix(flat)  # as floats, a hair within the bound
    pieces = mixed.split([last[name].numel() for name in names])
    elsewhere = with_state(
        found.proof,
        -1,
        {name: piece.reshape(last[name].shape).float() for name, piece in zip(names, pieces, strict=True)},
    )
    assert len(elsewhere.trajectory.states) - 2 in largest_of_each_epoch(elsewhere)
    assert published(elsewhere, found.rows, delta=1e-3, distance=Distance.COSINE).accepted
    assert published(elsewhere, found.rows, delta=1e-3, distance=Distance.L2).refused_by == (PolCheck.WEIGHTS,)
    verdict = fixed(elsewhere, found.rows, delta=1e-3, distance=Distance.COSINE)
    assert verdict.refused_by == (PolCheck.WEIGHTS,)
    assert verdict.largest_distance == pytest.approx(1 - np.sqrt(0.5), abs=1e-3)


@given(
    arrays.arrays(np.float64, 12, elements=st.floats(-8, 8)), arrays.arrays(np.float64, 12, elements=st.floats(-8, 8))
)
def test_distances_are_those_of_numpy(one: np.ndarray, other: np.ndarray) -> None:
    first, second = torch.from_numpy(one), torch.from_numpy(other)
    for distance, order in ((Distance.L2, 2), (Distance.L1, 1), (Distance.LARGEST, np.inf)):
        expected = pytest.approx(np.linalg.norm(one - other, ord=order), rel=1e-9, abs=1e-12)
        assert distance.between(first, second) == expected
        assert distance.as_published(first, second) == expected
    if np.linalg.norm(one) > 1e-3 and np.linalg.norm(other) > 1e-3:
        cosine = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        assert Distance.COSINE.between(first, second) == pytest.approx(1 - cosine, abs=1e-9)
        assert Distance.COSINE.as_published(first, second) == pytest.approx(1 - one @ other / (one @ one), rel=1e-9)
    assert Distance.COSINE.between(first, first) == 0


def test_buffers_are_ignored_as_published_and_compared_when_fixed(proven: dict[str, Proven]) -> None:
    found = proven["batch norm, AdamW"]
    last = found.proof.trajectory.states[-1].tensors()
    name = next(name for name in last if name.endswith("running_var"))
    altered = with_state(found.proof, -1, {name: last[name] + 1})
    assert published(altered, found.rows).accepted
    verdict = fixed(altered, found.rows)
    assert verdict.refused_by == (PolCheck.BUFFERS,)
    counter = next(name for name in last if name.endswith("num_batches_tracked"))
    assert fixed(with_state(found.proof, -1, {counter: last[counter] + 1}), found.rows).refused_by == (
        PolCheck.BUFFERS,
    )


@pytest.mark.parametrize("kind", ["mlp", "batch norm, AdamW"])
def test_optimiser_state_is_ignored_as_published_and_compared_when_fixed(kind: str, proven: dict[str, Proven]) -> None:
    found = proven[kind]
    last = found.proof.trajectory.states[-1].tensors()
    for name in [name for name in last if name.startswith("optimiser.0.")]:
        altered = with_state(found.proof, -1, {name: last[name] + 1})
        assert published(altered, found.rows).accepted
        assert fixed(altered, found.rows).refused_by == (PolCheck.OPTIMISER,)
        if name.endswith(".step"):  # a counter is right or wrong, however far delta reaches
            assert fixed(altered, found.rows, delta=1e9).refused_by == (PolCheck.OPTIMISER,)


def test_a_jump_in_a_small_segment_is_not_looked_at_as_published_and_the_first_one_always_is_when_fixed(
    proven: dict[str, Proven],
) -> None:
    found = proven["warm-up"]
    first = found.proof.trajectory.states[0].tensors()
    name = "model.body.1.weight"
    nudged = with_state(found.proof, 0, {name: first[name] + 1e-3 * first[name].sign()})
    assert 0 not in largest_of_each_epoch(nudged)
    assert published(nudged, found.rows).accepted
    verdict = fixed(nudged, found.rows, largest=1)
    assert PolCheck.WEIGHTS in verdict.refused_by
    assert PolCheck.INIT in verdict.refused_by
    assert verdict.segments[0].start == 0
    assert verdict.segments[0].distance > 0


def test_the_mended_verifier_looks_at_first_last_smallest_largest_and_at_what_it_draws(
    proven: dict[str, Proven],
) -> None:
    rows, proof = proven["constant rate"].rows, proven["constant rate"].proof
    name = "model.body.1.weight"
    proof = with_state(proof, 7, {name: 2 * proof.trajectory.states[7].tensors()[name]})  # a jump, and back
    proof = with_state(proof, 11, proof.trajectory.states[10].tensors())  # a segment in which nothing moves
    trajectory = proof.trajectory
    order = np.argsort(trajectory.sizes)
    must = {trajectory.segments[at] for at in (0, len(order) - 1, order[0], order[-1])}
    assert trajectory.sizes[order[0]] == 0
    assert order[-1] in (6, 7)
    assert len(must) == 4
    drawn: set[tuple[int, int]] = set()
    for turn in range(6):
        chance = sha256(u64(turn))
        verdict = fixed(proof, rows, largest=1, randomness=chance)
        looked_at = {(segment.start, segment.end) for segment in verdict.segments}
        assert must <= looked_at
        assert len(looked_at) <= len(must) + 1
        again = fixed(proof, rows, largest=1, randomness=chance)
        assert looked_at == {(segment.start, segment.end) for segment in again.segments}
        drawn |= looked_at - must
    assert len(drawn) >= 3
    fresh = [verify_proof(proof, rows, mode=Mode.FIXED, delta=0.0).randomness for _ in range(2)]
    assert fresh[0] != fresh[1]


def test_initial_weights_of_another_law_are_refused_in_both_modes(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    trained = with_state(found.proof, 0, found.proof.trajectory.states[-1].tensors())
    verdict = published(trained, found.rows, delta=1e9)
    assert verdict.refused_by == (PolCheck.INIT,)
    assert verdict.p_values is not None
    assert min(verdict.p_values.values()) < 0.01


def test_initial_weights_of_another_seed_follow_the_law_and_are_not_those_of_the_seed(
    proven: dict[str, Proven],
) -> None:
    found = proven["mlp"]
    other = full_state(build(found.run.recipe, sha256(b"another seed")))
    exchanged = with_state(found.proof, 0, other)
    assert published(exchanged, found.rows, delta=1e9).accepted
    assert fixed(exchanged, found.rows, delta=1e9).refused_by == (PolCheck.INIT,)


def test_another_seed_or_beacon_is_refused_when_fixed(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    verdict = fixed(replace(found.proof, seed=sha256(b"mine")), found.rows)
    assert verdict.refused_by == (PolCheck.SEED,)
    verdict = fixed(replace(found.proof, beacon=sha256(b"drawn later")), found.rows)
    assert {PolCheck.SEED, PolCheck.INIT, PolCheck.BATCHES} <= set(verdict.refused_by)


def test_rows_that_only_a_forgotten_slot_may_lack_are_missed(proven: dict[str, Proven]) -> None:
    found = proven["without somebody"]
    assert fixed(found.proof, found.rows).accepted
    slot = next(slot for slot in range(len(found.rows)) if slot not in found.run.tombstones)
    present = found.rows.present.copy()
    present[slot] = False
    lacking = replace(found.rows, present=present)
    refusals = published(found.proof, lacking)
    assert PolCheck.BATCHES in refusals.refused_by
    assert "1 stated rows are not among the data" in refusals.reasons
    missed = fixed(found.proof, lacking)
    assert (missed.refused_by, missed.segments) == ((PolCheck.DATA,), ())
    assert missed.reasons[0].endswith(f"the first is slot {slot}")
    gone = found.rows.present.copy()
    gone[found.run.tombstones] = False
    assert fixed(found.proof, replace(found.rows, present=gone)).accepted
    seated = forge(found.proof, {0: np.array([found.run.tombstones[0]])})
    assert fixed(seated, replace(found.rows, present=gone)).refused_by == (PolCheck.BATCHES,)


def test_rows_under_secret_salts_are_checked_with_their_salts(pictures: Dataset, tmp_path: Path) -> None:
    place = tmp_path / "salts"
    asked: dict[str, Any] = {"out": tmp_path / "run", "model": "mlp", "epochs": 2, "batch_size": 8, "salts": place}
    train(pictures, commit_only=True, **asked)
    run = train(pictures, **asked)
    data = run.data(pictures)
    proof, rows = prove(run, data=data), data[Split.TRAIN]
    assert fixed(proof, rows, delta=0.0, salts=run.salts()).accepted
    verdict = fixed(proof, rows, delta=0.0)
    assert verdict.refused_by == (PolCheck.DATA,)
    assert f"{len(rows)} of {len(rows)} rows" in verdict.reasons[0]
    source = int(run.commitment.source_rows(Split.TRAIN, [4])[0])
    assert destroy_salts(place, [source]) == 1
    verdict = fixed(proof, rows, delta=0.0, salts=run.salts())
    assert verdict.refused_by == (PolCheck.DATA,)
    assert verdict.reasons[0].endswith(
        "1 of 120 rows are missing or not the ones that were committed, the first is slot 4"
    )


def test_states_that_are_no_numbers_are_infinitely_far_off(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    last = found.proof.trajectory.states[-2].tensors()
    name = "model.body.1.weight"
    broken = with_state(found.proof, -2, {name: last[name] * float("nan")})
    verdict = fixed(broken, found.rows, delta=1e9)
    assert PolCheck.WEIGHTS in verdict.refused_by
    assert verdict.largest_distance == float("inf")


def test_the_published_verifier_leaves_with_0_whatever_it_found(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    slower = replace(found.proof, rates=found.proof.rates / 2)
    verdict = published(slower, found.rows)
    assert (verdict.accepted, verdict.exit_status) == (False, 0)
    assert len(verdict.reasons) == 1
    assert fixed(slower, found.rows).exit_status == 1
    shown = told_proof(verdict)
    assert (shown["accepted"], shown["exit_status"], shown["mode"]) == (False, 0, "as_published")
    assert shown["largest_distance"] == max(apart for _, _, apart in shown["segments"])


def test_what_cannot_be_asked_is_refused_in_a_sentence(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    for delta in (-1.0, float("nan")):
        with pytest.raises(InvalidArgument, match="must be a distance from 0"):
            published(found.proof, found.rows, delta=delta)
    with pytest.raises(InvalidArgument, match="verify nothing"):
        published(found.proof, found.rows, largest=0)
    with pytest.raises(InvalidArgument, match="the data hold 10 rows"):
        published(found.proof, found.rows.take(np.arange(10)))
    fewer = replace(found.proof.trajectory, parameters=found.proof.trajectory.parameters[:1])
    with pytest.raises(InvalidArgument, match="other tensors than the parameters"):
        published(replace(found.proof, trajectory=fewer), found.rows)


def test_a_proof_without_the_right_form_is_no_proof(proven: dict[str, Proven]) -> None:
    proof = proven["mlp"].proof
    trajectory = proof.trajectory
    with pytest.raises(InvalidArgument, match="must run from step 0 to 60"):
        replace(proof, trajectory=replace(trajectory, steps=trajectory.steps[1:], states=trajectory.states[1:]))
    with pytest.raises(InvalidArgument, match="needs 60 rates"):
        replace(proof, rates=proof.rates[1:])


def test_only_a_recorded_trajectory_can_be_proven(pictures: Dataset, proven: dict[str, Proven], tmp_path: Path) -> None:
    run = unlearn(proven["mlp"].run, "random:5:1", method="fine-tune", data=pictures, out=tmp_path / "tuned")
    with pytest.raises(InvalidArgument, match="has no recorded trajectory of shard 0"):
        prove(run, data=pictures)
    noisy = train(
        pictures,
        out=tmp_path / "noisy",
        model="linear",
        task="logistic",
        perturbation=1.0,
        optimiser=Optimiser(name=OptimiserName.SGD),
        epochs=1,
    )
    with pytest.raises(UnsupportedYet, match="secret noise"):
        prove(noisy, data=pictures)


def test_a_checkpoint_that_is_not_the_logged_one_is_refused(
    pictures: Dataset, proven: dict[str, Proven], tmp_path: Path
) -> None:
    run = train(pictures, out=tmp_path / "run", model="mlp", epochs=1, batch_size=8, checkpoint_interval=5)
    proof = prove(run, data=pictures)
    here, there = (sorted((found.path / "checkpoints").iterdir()) for found in (run, proven["warm-up"].run))
    here[1].write_bytes(there[1].read_bytes())
    with pytest.raises(RunError, match="not the state that the log names"):
        published(proof, run.data(pictures)[Split.TRAIN])
