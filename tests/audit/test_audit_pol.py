"""Proofs of learning: honest ones pass, and each flaw of the published verifier is there and mended beside it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import kstest

from expunge.audit.pol import Between, Held, Proof, Trajectory, by_epoch, forge, printed, prove, published_hash
from expunge.audit.pol_calibration import calibrate, calibration_of, final_state
from expunge.audit.pol_laws import init_p_values
from expunge.audit.pol_replay import Distance
from expunge.audit.pol_verdict import Check, Mode, PolVerdict
from expunge.audit.pol_verify import largest_of_each_epoch, verify_proof
from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.core.hashing import sha256, u64
from expunge.core.streams import Stream
from expunge.data.commitment import commit
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.salts import destroy_salts
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.models.resolver import build
from expunge.schedule.recipe import Optimiser, OptimiserName
from expunge.train.run import Run
from expunge.train.state import Tensors, full_state, weights_of
from expunge.train.training import make_recipe, train

sys.path.insert(0, str(Path(__file__).parent))

from pol_runs import KINDS, Proven, prove_kind

CHANCE = sha256(b"what the verifier of these tests draws")


@pytest.fixture(scope="module")
def proven(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Proven]:
    place = tmp_path_factory.mktemp("proofs")
    return {kind: prove_kind(kind, pictures, place / str(at)) for at, kind in enumerate(KINDS)}


def published(proof: Proof, rows: Dataset, delta: float = 1e-6, **more: Any) -> PolVerdict:
    return verify_proof(proof, rows, mode=Mode.AS_PUBLISHED, delta=delta, **more)


def fixed(proof: Proof, rows: Dataset, delta: float = 1e-6, **more: Any) -> PolVerdict:
    return verify_proof(proof, rows, mode=Mode.FIXED, delta=delta, **{"randomness": CHANCE, **more})


def with_state(proof: Proof, number: int, tensors: Tensors) -> Proof:
    states = list(proof.trajectory.states)
    states[number] = Held({**proof.trajectory.states[number].tensors(), **tensors})
    return replace(proof, trajectory=replace(proof.trajectory, states=tuple(states)))


@pytest.mark.parametrize("kind", KINDS)
def test_honest_proofs_are_accepted_in_both_modes_to_the_last_bit(kind: str, proven: dict[str, Proven]) -> None:
    found = proven[kind]
    for mode in Mode:
        verdict = verify_proof(found.proof, found.rows, mode=mode, delta=0.0)
        assert verdict.accepted, verdict.reasons
        assert (verdict.exit_status, verdict.reasons, verdict.refused_by) == (0, (), ())
        assert verdict.segments
        assert verdict.largest_distance == 0.0
        assert verdict.work > 0


def test_every_shard_of_a_run_has_a_proof_of_its_own(pictures: Dataset, tmp_path: Path) -> None:
    run = train(pictures, out=tmp_path / "run", model="mlp", shards=2, epochs=3, batch_size=8, checkpoint_interval=4)
    data = run.data(pictures)
    for shard in range(2):
        proof = prove(run, shard=shard, data=data)
        for mode in Mode:
            assert verify_proof(proof, data[Split.TRAIN], mode=mode, delta=0.0).accepted
    with pytest.raises(InvalidArgument, match="shard 2 is not one of the recipe's 2"):
        prove(run, shard=2, data=data)


def test_a_proof_states_what_the_run_did(proven: dict[str, Proven]) -> None:
    found = proven["without somebody"]
    run, proof = found.run, found.proof
    assert len(run.tombstones) > 0
    chairs = [slots for _, slots in run.schedule.batches(0)]
    for stated, scheduled in zip(proof.batches, chairs, strict=True):
        assert stated.tolist() == [slot for slot in scheduled if slot not in run.tombstones]
    assert proof.rates.tolist() == [run.recipe.optimiser.rate_at(at, len(chairs)) for at in range(len(chairs))]
    final = proof.trajectory.states[-1].tensors()
    assert all(torch.equal(final[f"model.{name}"], value) for name, value in weights_of(run.model()).items())
    states = [state.tensors() for state in proof.trajectory.states]
    for number, size in enumerate(proof.trajectory.sizes):
        squares = [
            float((states[number + 1][name].double() - states[number][name].double()).square().sum())
            for name in proof.trajectory.parameters
        ]
        assert size == pytest.approx(np.sqrt(sum(squares)), rel=1e-12)


def test_the_published_verifier_retrains_the_largest_segments_of_each_epoch_and_no_others(
    proven: dict[str, Proven],
) -> None:
    proof = proven["mlp"].proof
    verdict = published(proof, proven["mlp"].rows)
    sizes = {segment: size for segment, size in zip(proof.trajectory.segments, proof.trajectory.sizes, strict=True)}
    looked_at = {(segment.start, segment.end) for segment in verdict.segments}
    epochs = by_epoch(proof.trajectory.steps, proof.epoch_ends)
    assert len(epochs) == 4
    for end, epoch in zip(proof.epoch_ends, epochs, strict=True):
        assert all(end - 15 <= start < end for start, _ in epoch)
        ranked = sorted(epoch, key=lambda segment: sizes[segment], reverse=True)
        assert set(ranked[:2]) == looked_at & set(epoch)
    members = sum(len(proof.batches[step]) for start, end in looked_at for step in range(start, end))
    assert verdict.work == members


def test_a_forged_batch_outside_the_largest_segments_is_not_seen_as_published(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    checked = {number for number in largest_of_each_epoch(found.proof)}
    number = next(at for at in range(len(found.proof.trajectory.segments)) if at not in checked)
    step = found.proof.trajectory.segments[number][0]
    seated = set(found.proof.batches[step].tolist())
    others = np.array([slot for slot in range(len(found.rows)) if slot not in seated][: len(seated)])
    log = forge(found.proof, {step: others})
    assert log.batches[step].tolist() == others.tolist()
    assert published(log, found.rows, delta=0.0).accepted
    verdict = fixed(log, found.rows)
    assert verdict.refused_by == (Check.BATCHES,)
    assert f"the first is step {step}" in verdict.reasons[0]
    assert verdict.exit_status == 1


def test_a_forged_batch_inside_them_is_seen_and_forgiven_up_to_delta(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    number = largest_of_each_epoch(found.proof)[0]
    step = found.proof.trajectory.segments[number][0]
    batch = found.proof.batches[step].copy()
    batch[0] = next(slot for slot in range(len(found.rows)) if slot not in batch)
    log = forge(found.proof, {step: batch})
    verdict = published(log, found.rows, delta=0.0)
    assert verdict.refused_by == (Check.WEIGHTS,)
    apart = verdict.largest_distance
    assert apart > 0
    assert published(log, found.rows, delta=1.001 * apart).accepted
    assert not published(log, found.rows, delta=0.999 * apart).accepted


def test_a_substitute_of_the_same_number_keeps_the_chairs_and_another_number_does_not(
    proven: dict[str, Proven],
) -> None:
    proof = proven["without somebody"].proof
    step = next(  # one with an empty chair in the middle
        at for at, part in enumerate(proof.parts) if part is not None and part.chairs[-1] >= len(part.slots)
    )
    part = proof.parts[step]
    assert part is not None
    swapped = forge(proof, {step: part.slots[::-1].copy()}).parts[step]
    assert swapped is not None
    assert swapped.chairs.tolist() == part.chairs.tolist()
    fewer = forge(proof, {step: part.slots[:3]}).parts[step]
    assert fewer is not None
    assert (fewer.chairs.tolist(), fewer.width, fewer.epoch) == ([0, 1, 2], 3, part.epoch)
    assert forge(proof, {step: part.slots[:0]}).parts[step] is None
    with pytest.raises(InvalidArgument, match="step 60 is not one of the proof's 60"):
        forge(proof, {60: part.slots})
    with pytest.raises(InvalidArgument, match="slot 1000 is not one of"):
        forge(proof, {step: np.array([1000])})


def picture_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two colour pictures that agree where NumPy prints them: in the corners of every axis."""
    one = Stream(bytes(32), "test-collision").below(256, 32 * 32 * 3).astype(np.uint8).reshape(32, 32, 3)
    other = one.copy()
    middle = slice(3, -3)
    other[middle, middle] = 255 - one[middle, middle]
    other[:3, middle] = 255 - one[:3, middle]
    return one, other


def test_two_pictures_that_differ_in_most_bytes_have_one_hash_as_published() -> None:
    one, other = picture_pair()
    assert np.mean(one != other) > 0.47
    assert str(one) == str(other)
    rows = [pictures_of(np.stack([picture, picture])) for picture in (one, other)]
    assert published_hash(rows[0]) == published_hash(rows[1])
    leaves = [commit(found, np.zeros(2, dtype=np.uint8)).root for found in rows]
    assert leaves[0] != leaves[1]


def pictures_of(pixels: np.ndarray, labels: list[int] | None = None) -> Dataset:
    return make_dataset(
        labels=labels or [row % 2 for row in range(len(pixels))],
        columns=[Column("image", ColumnKind.IMAGE, pixels.shape[1:], "HWC", 1 / 255)],
        content={"image": pixels},
        where="test pictures",
    )


def test_data_that_print_alike_pass_as_published_where_nobody_looks_and_are_refused_by_their_leaves(
    tmp_path: Path,
) -> None:
    one, other = picture_pair()
    draws = Stream(bytes(32), "test-rows").below(256, 24 * one.size).astype(np.uint8).reshape(24, *one.shape)
    pixels = np.concatenate([draws, one[None]])
    rows = pictures_of(pixels)
    run = train(rows, out=tmp_path / "run", model="mlp", model_options={"width": 4}, epochs=2, batch_size=4)
    data = run.data(rows)
    proof, training = prove(run, data=data), data[Split.TRAIN]
    slot = int(np.flatnonzero((training.content["image"] == one).all(axis=(1, 2, 3)))[0])
    changed = training.content["image"].copy()
    changed[slot] = other
    exchanged = replace(training, content={"image": changed})
    found = published(proof, exchanged, delta=1e9)
    assert found.accepted
    refused = fixed(proof, exchanged, delta=1e9)
    assert refused.refused_by == (Check.DATA,)
    assert f"the first is slot {slot}" in refused.reasons[0]


def test_labels_are_not_bound_as_published(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    flipped = replace(found.rows, labels=np.where(np.arange(len(found.rows)) == 7, 0, found.rows.labels))
    if flipped.labels[7] == found.rows.labels[7]:
        flipped = replace(flipped, labels=np.where(np.arange(len(found.rows)) == 7, 1, found.rows.labels))
    assert published_hash(flipped) == published_hash(found.rows)
    assert published(found.proof, flipped, delta=1e9).accepted
    assert fixed(found.proof, flipped, delta=1e9).refused_by == (Check.DATA,)


def test_a_small_array_is_printed_whole_so_that_its_hash_sees_every_byte(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    changed = found.rows.content["image"].copy()
    changed[3, 2, 2] ^= 1
    verdict = published(found.proof, replace(found.rows, content={"image": changed}), delta=1e9)
    assert verdict.refused_by == (Check.DATA,)


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.int64]),
        arrays.array_shapes(max_dims=3, max_side=40),
        elements=st.integers(0, 255),
        fill=st.integers(0, 255),
    )
)
def test_arrays_are_printed_as_numpy_prints_them_whatever_it_is_set_to(array: np.ndarray) -> None:
    expected = str(array)
    with np.printoptions(threshold=5, edgeitems=1, precision=2, linewidth=20):
        assert printed(array) == expected


def test_the_published_verifier_takes_the_rate_from_the_prover(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    slower = replace(found.proof, rates=found.proof.rates / 2)
    assert published(slower, found.rows).refused_by == (Check.WEIGHTS,)
    idle = replace(found.proof, rates=np.full(len(found.proof.parts), 1e-12))
    frozen = Trajectory(
        idle.trajectory.steps,
        tuple(found.proof.trajectory.states[0] for _ in idle.trajectory.steps),
        idle.trajectory.parameters,
    )
    still = replace(idle, trajectory=frozen)
    assert published(still, found.rows).accepted
    refusals = fixed(still, found.rows).refused_by
    assert Check.RATES in refusals
    assert Check.WEIGHTS in refusals


def test_momentum_and_decay_are_the_provers_as_published_and_the_recipes_when_fixed(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    other = replace(found.proof, optimiser=replace(found.proof.optimiser, momentum=0.0))
    assert published(other, found.rows).refused_by == (Check.WEIGHTS,)
    verdict = fixed(other, found.rows)
    assert verdict.refused_by == (Check.RATES,)  # carried out by the recipe, the states are right


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
    assert published(elsewhere, found.rows, delta=1e-3, distance=Distance.L2).refused_by == (Check.WEIGHTS,)
    verdict = fixed(elsewhere, found.rows, delta=1e-3, distance=Distance.COSINE)
    assert verdict.refused_by == (Check.WEIGHTS,)
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
    assert verdict.refused_by == (Check.BUFFERS,)
    counter = next(name for name in last if name.endswith("num_batches_tracked"))
    assert fixed(with_state(found.proof, -1, {counter: last[counter] + 1}), found.rows).refused_by == (Check.BUFFERS,)


@pytest.mark.parametrize("kind", ["mlp", "batch norm, AdamW"])
def test_optimiser_state_is_ignored_as_published_and_compared_when_fixed(kind: str, proven: dict[str, Proven]) -> None:
    found = proven[kind]
    last = found.proof.trajectory.states[-1].tensors()
    for name in [name for name in last if name.startswith("optimiser.0.")]:
        altered = with_state(found.proof, -1, {name: last[name] + 1})
        assert published(altered, found.rows).accepted
        assert fixed(altered, found.rows).refused_by == (Check.OPTIMISER,)
        if name.endswith(".step"):  # a counter is right or wrong, however far delta reaches
            assert fixed(altered, found.rows, delta=1e9).refused_by == (Check.OPTIMISER,)


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
    assert Check.WEIGHTS in verdict.refused_by
    assert Check.INIT in verdict.refused_by
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
    assert verdict.refused_by == (Check.INIT,)
    assert verdict.p_values is not None
    assert min(verdict.p_values.values()) < 0.01


def test_initial_weights_of_another_seed_follow_the_law_and_are_not_those_of_the_seed(
    proven: dict[str, Proven],
) -> None:
    found = proven["mlp"]
    other = full_state(build(found.run.recipe, sha256(b"another seed")))
    exchanged = with_state(found.proof, 0, other)
    assert published(exchanged, found.rows, delta=1e9).accepted
    assert fixed(exchanged, found.rows, delta=1e9).refused_by == (Check.INIT,)


def test_another_seed_or_beacon_is_refused_when_fixed(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    verdict = fixed(replace(found.proof, seed=sha256(b"mine")), found.rows)
    assert verdict.refused_by == (Check.SEED,)
    verdict = fixed(replace(found.proof, beacon=sha256(b"drawn later")), found.rows)
    assert {Check.SEED, Check.INIT, Check.BATCHES} <= set(verdict.refused_by)


def test_rows_that_only_a_forgotten_slot_may_lack_are_missed(proven: dict[str, Proven]) -> None:
    found = proven["without somebody"]
    assert fixed(found.proof, found.rows).accepted
    slot = next(slot for slot in range(len(found.rows)) if slot not in found.run.tombstones)
    present = found.rows.present.copy()
    present[slot] = False
    lacking = replace(found.rows, present=present)
    refusals = published(found.proof, lacking)
    assert Check.BATCHES in refusals.refused_by
    assert "1 stated rows are not among the data" in refusals.reasons
    missed = fixed(found.proof, lacking)
    assert (missed.refused_by, missed.segments) == ((Check.DATA,), ())
    assert missed.reasons[0].endswith(f"the first is slot {slot}")
    gone = found.rows.present.copy()
    gone[found.run.tombstones] = False
    assert fixed(found.proof, replace(found.rows, present=gone)).accepted
    seated = forge(found.proof, {0: np.array([found.run.tombstones[0]])})
    assert fixed(seated, replace(found.rows, present=gone)).refused_by == (Check.BATCHES,)


def test_rows_under_secret_salts_are_checked_with_their_salts(pictures: Dataset, tmp_path: Path) -> None:
    place = tmp_path / "salts"
    asked: dict[str, Any] = {"out": tmp_path / "run", "model": "mlp", "epochs": 2, "batch_size": 8, "salts": place}
    train(pictures, commit_only=True, **asked)
    run = train(pictures, **asked)
    data = run.data(pictures)
    proof, rows = prove(run, data=data), data[Split.TRAIN]
    assert fixed(proof, rows, delta=0.0, salts=run.salts()).accepted
    verdict = fixed(proof, rows, delta=0.0)
    assert verdict.refused_by == (Check.DATA,)
    assert f"{len(rows)} of {len(rows)} rows" in verdict.reasons[0]
    source = int(run.commitment.source_rows(Split.TRAIN, [4])[0])
    assert destroy_salts(place, [source]) == 1
    verdict = fixed(proof, rows, delta=0.0, salts=run.salts())
    assert verdict.refused_by == (Check.DATA,)
    assert verdict.reasons[0].endswith(
        "1 of 120 rows are missing or not the ones that were committed, the first is slot 4"
    )


def test_states_that_are_no_numbers_are_infinitely_far_off(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    last = found.proof.trajectory.states[-2].tensors()
    name = "model.body.1.weight"
    broken = with_state(found.proof, -2, {name: last[name] * float("nan")})
    verdict = fixed(broken, found.rows, delta=1e9)
    assert Check.WEIGHTS in verdict.refused_by
    assert verdict.largest_distance == float("inf")


def test_the_published_verifier_leaves_with_0_whatever_it_found(proven: dict[str, Proven]) -> None:
    found = proven["mlp"]
    slower = replace(found.proof, rates=found.proof.rates / 2)
    verdict = published(slower, found.rows)
    assert (verdict.accepted, verdict.exit_status) == (False, 0)
    assert len(verdict.reasons) == 1
    assert fixed(slower, found.rows).exit_status == 1
    shown = verdict.as_json()
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
    assert found.work == sum(run.manifest["example_steps"] for run in runs[1:])
    assert f"{found.d_ref:.4g}" in str(found)
    names = tuple(f"model.{name}" for name, _ in runs[0].model().named_parameters())
    assert calibration_of([final_state(run) for run in runs], names).distances == pytest.approx(distances)
    with pytest.raises(InvalidArgument, match="ask for two at least"):
        calibrate(runs[0], data=pictures, runs=1)
    with pytest.raises(InvalidArgument, match="give two at least, of different"):
        calibration_of([final_state(runs[0])], names)


def test_a_line_ends_in_its_last_point_to_the_last_bit() -> None:
    first, last = (torch.tensor([value, 1.0]) for value in (1e15, 1e-15))
    line = [Between({"w": first}, {"w": last}, share, {"b": first}) for share in (0.0, 0.5, 1.0)]
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
