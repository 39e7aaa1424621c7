"""Proofs of learning: honest ones are accepted, and where the published verifier looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.adversary.pol.pol_runs import KINDS, Proven, fixed, published

from expunge.adversary.pol.proof import by_epoch, forge, prove
from expunge.adversary.pol.verdict import Mode, PolCheck
from expunge.adversary.pol.verify import largest_of_each_epoch, verify_proof
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.train.state import weights_of
from expunge.train.training import train

CHANCE = sha256(b"what the verifier of these tests draws")


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
    assert verdict.refused_by == (PolCheck.BATCHES,)
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
    assert verdict.refused_by == (PolCheck.WEIGHTS,)
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
