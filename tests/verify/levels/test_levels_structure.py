"""Level V1: an honest record holds; each departure is refused under its own code, and not one level lower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.verify.departures import (
    DATED,
    HONEST,
    OTHER,
    REFUSED,
    TIERED,
    base,
    early,
    foreign_member,
    swapped_batches,
    with_states,
)
from tests.verify.lineages import RECORDED_AT
from tests.verify.records import codes, forged, trained, verdict

from expunge.adversary.table.retelling import saved
from expunge.core.clock import Time
from expunge.core.hashing import example_bytes
from expunge.core.merkle import tree_hash
from expunge.core.streams import lineage_seed
from expunge.data.commitment import leaf_of, open_salt
from expunge.records.bundle import checkpoint_name
from expunge.records.record import Operation
from expunge.records.verdict import FindingOutcome, Level, Status


@pytest.mark.parametrize("name", HONEST)
def test_honest_records_hold(name: str, tmp_path: Path) -> None:
    found = verdict(HONEST[name](), tmp_path)
    assert [finding for finding in found.findings if not finding.stands] == []
    assert (found.status, found.reached) == (Status.ACCEPTED, Level.V1)


def test_an_honest_replay_reuses_states_and_says_which(tmp_path: Path) -> None:
    story = HONEST["reused"]()
    (reuse,) = story.record.reuse
    assert (reuse.step, reuse.first_touched) == (reuse.first_touched, reuse.first_touched)
    assert reuse.step > 0
    details = {finding.name: finding.detail for finding in verdict(story, tmp_path).findings}
    assert details["reuse"] == f"reused: shard 0 up to step {reuse.step}"


@pytest.mark.parametrize("name", REFUSED)
def test_a_departure_is_refused_under_its_code_alone(name: str, tmp_path: Path) -> None:
    expected, story = REFUSED[name]
    assert codes(story(), tmp_path) == [expected]


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_not_refused_one_level_lower(name: str, tmp_path: Path) -> None:
    found = verdict(REFUSED[name][1](), tmp_path, Level.V0)
    assert (found.status, found.codes) == (Status.ACCEPTED, ())


@pytest.mark.parametrize("part", ["model.weight", "model.running_mean", "optimiser.0.momentum_buffer"])
def test_a_state_with_one_part_altered_is_refused_and_the_part_is_named(part: str, tmp_path: Path) -> None:
    story = base()
    tensors = story.last.tensors(0, 10)
    tensors[part] = -tensors[part] - 1
    found = verdict(story.with_files({checkpoint_name(0, 10): saved(tensors)}), tmp_path, Level.V1)
    (refusal,) = found.refusals
    assert refusal.code is not None
    assert refusal.code.value == "CHECKPOINT_LEAF_MISMATCH"
    named = {"model.weight": "weights", "model.running_mean": "buffers"}.get(part, "optimiser state")
    assert f"other {named} than" in refusal.detail


MISSING = {
    "recipe.json": "recipe",
    "leaves.bin": "leaves.bin",
    "leaves-calibration.bin": "leaves-calibration.bin",
    "leaves-holdout.bin": "leaves-holdout.bin",
    "assignment.bin": "splits",
    "units.bin": "units",
    "trace.bin": "trace file",
}


def test_tiers_that_are_missing_leave_the_schedule_undecided(tmp_path: Path) -> None:
    found = verdict(base(TIERED).with_files({"tiers.bin": None}), tmp_path)
    (undecided,) = [finding for finding in found.findings if not finding.stands]
    assert (undecided.name, undecided.reason) == ("units", "evidence-missing")
    assert undecided.detail.startswith("tiers.bin is missing, so slices cannot be computed again")


@pytest.mark.parametrize("name", MISSING)
def test_missing_evidence_is_neither_refused_nor_passed(name: str, tmp_path: Path) -> None:
    story = base()
    found = verdict(story.with_files({name: None}), tmp_path)
    (undecided,) = [finding for finding in found.findings if not finding.stands]
    assert (undecided.outcome, undecided.reason) == (FindingOutcome.UNDECIDED, "evidence-missing")
    assert undecided.name == MISSING[name]
    assert (found.status, found.reached, found.status.exit_status) == (Status.UNDECIDED, Level.V0, 3)


def test_a_training_that_names_no_trace_leaves_its_steps_undecided(tmp_path: Path) -> None:
    found = verdict(base().changed(trace=None).with_files({"trace.bin": None}), tmp_path)
    assert [(f.name, f.reason) for f in found.findings if not f.stands] == [("trace file", "evidence-missing")]


def test_an_undated_beacon_leaves_the_order_undecided(tmp_path: Path) -> None:
    found = verdict(early(not_before=None), tmp_path)
    assert [(f.name, f.reason) for f in found.findings if not f.stands] == [("beacon", "evidence-missing")]


def test_checkpoint_files_and_model_may_be_left_out(tmp_path: Path) -> None:
    found = verdict(base().without_states().with_files({"model.safetensors": None}), tmp_path)
    assert found.status is Status.ACCEPTED
    assert "no-model" in {remark.word for remark in found.remarks}


def test_without_a_model_file_the_one_state_without_buffers_is_still_compared(tmp_path: Path) -> None:
    story = base().with_files({"model.safetensors": None})
    bare = with_states(story, lambda state: state, buffers=()).without_states()
    assert codes(bare, tmp_path / "a") == ["ENSEMBLE_MEMBER_MISMATCH"]
    same = bare.changed(digest=bare.tale.states[-1].weights)
    assert codes(same, tmp_path / "b") == []


def test_a_retraining_in_a_chain_of_its_own_answers_requests_of_other_models(tmp_path: Path) -> None:
    story = trained(without=(2, 3))
    (request,) = story.record.requests
    alone = story.changed(
        operation=Operation.RETRAIN,
        algorithm=replace(story.record.algorithm, name="retrain"),
        requests=(replace(request, model=OTHER),),
    )
    assert codes(alone, tmp_path / "a") == []
    assert codes(alone.changed(requests=(replace(request, model=None),)), tmp_path / "b") == [
        "REQUEST_BINDING_MISMATCH"
    ]


def test_the_log_must_hold_the_commitment_first_where_a_beacon_came_after_it(tmp_path: Path) -> None:
    story = base(DATED)
    assert codes(story, tmp_path / "a", commit_first=True) == []
    day = Time("2026-01-02T00:00:00Z").seconds
    assert codes(story, tmp_path / "b", witnessed_at=day - 60) == []
    assert codes(story, tmp_path / "c", witnessed_at=day + 60) == ["BEACON_NOT_AFTER_COMMIT"]
    assert codes(story, tmp_path / "d", commit_first=True, cosigned_at=RECORDED_AT.seconds) == []


def test_slots_beyond_the_data_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    story = base()
    beyond = story.changed(data=replace(story.record.data, tombstones=(3, 17, 30)))
    assert codes(beyond, tmp_path / "a") == ["DATASET_ROOT_CHANGED", "TOMBSTONE_UNREQUESTED"]
    named = beyond.changed(requests=(replace(story.record.requests[0], slots=(3, 17, 30)),))
    assert codes(named, tmp_path / "b") == ["DATASET_ROOT_CHANGED", "REQUEST_BINDING_MISMATCH"]


def test_every_departure_of_a_shard_is_counted(tmp_path: Path) -> None:
    story = base()
    made = story.last
    steps = {(0, 1): made.present(0, 1)[1:], (0, 2): made.present(0, 2)[1:], (0, 9): made.present(0, 9)[1:]}
    found = verdict(forged(story, steps), tmp_path)
    (refusal,) = found.refusals
    assert "3 steps differ from the schedule, in 2 epochs; the first is step 1 of shard 0 in epoch 0" in refusal.detail


def test_refusals_of_several_kinds_are_all_collected_most_basic_first(tmp_path: Path) -> None:
    story = swapped_batches(foreign_member(base()))
    mixed = forged(base(), {**story.last.steps, (0, 9): base().last.present(0, 9)[1:]})
    found = codes(mixed.changed(environment__not_exact="no"), tmp_path)
    assert found == ["PROFILE_CLAIM_MISMATCH", "SCHEDULE_ORDER_MISMATCH", "SCHEDULE_BATCH_MISMATCH"]


def test_another_salt_of_one_row_gives_another_seed_and_does_not_fit_the_record(tmp_path: Path) -> None:
    story, slot = base(), 17
    fields = {"id": "train-17", "subject": "person-7", "label": 1, "x": 17 / 7}
    leaves = list(story.lineage.leaves[0])
    assert leaf_of(example_bytes(fields), slot, open_salt(slot)) == leaves[slot]
    leaves[slot] = leaf_of(example_bytes(fields), slot, OTHER)
    root = tree_hash(leaves)
    assert lineage_seed(story.lineage.recipe.digest, root) != story.record.randomness.lineage_seed
    assert codes(story.with_files({"leaves.bin": b"".join(leaves)}), tmp_path) == ["DATASET_ROOT_CHANGED"]
