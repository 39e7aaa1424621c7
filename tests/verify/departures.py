"""Departures from honest stories, one each: what is altered, and the code under which V1 refuses it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from safetensors.numpy import save
from tests.verify.alterations import (
    DATED,
    HONEST,
    OTHER,
    SHARDED,
    all_skipped,
    asked,
    base,
    called_dead,
    dropped_member,
    early,
    foreign_member,
    moved_step,
    no_op,
    not_honoured,
    occupied,
    other_member,
    reuse_of_nothing,
    reused_and_changed,
    reused_too_late,
    revived,
    shard_slots,
    shorter,
    swapped_batches,
    turned_batch,
    unrequested,
    with_environment,
    with_only_first_states,
    with_randomness,
    with_schedule,
    with_states,
    without_a_member,
    without_checkpoints,
)
from tests.verify.lineages import Lineage, digest_of, small_recipe
from tests.verify.records import Story, approximated, certified, forgot, trained, with_files

from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, sha256, slot_bytes
from expunge.records.bundle import checkpoint_name
from expunge.records.record import (
    Guarantee,
    GuaranteeKind,
    Operation,
    ProfileName,
    states_root,
)
from expunge.schedule.recipe import Optimiser, Profile

REFUSED: dict[str, tuple[str, Callable[[], Story]]] = {
    # recipe
    "run names another recipe": ("RECIPE_DIGEST_MISMATCH", lambda: base().changed(recipe=OTHER)),
    "parent names another recipe": ("RECIPE_DIGEST_MISMATCH", lambda: base().changed(1, recipe=OTHER)),
    "recipe.json has another rate": (
        "RECIPE_DIGEST_MISMATCH",
        lambda: base().with_files(recipe_json=canonical_json(small_recipe(optimiser=Optimiser(rate=0.04)).as_json())),
    ),
    "rate of nearly nothing": (
        "RECIPE_DEGENERATE",
        lambda: base(Lineage(recipe=small_recipe(optimiser=Optimiser(rate=1e-9)))),
    ),
    "every step skipped": ("RECIPE_DEGENERATE", all_skipped),
    "other preprocessing in the run": (
        "PREPROCESSING_MISMATCH",
        lambda: base().changed(data=replace(base().record.data, preprocessing=OTHER)),
    ),
    "other preprocessing committed": (
        "PREPROCESSING_MISMATCH",
        lambda: base().changed(0, data=replace(Lineage().commit.predicate.data, preprocessing=OTHER)),  # type: ignore[union-attr]
    ),
    # data
    "a leaf more": (
        "DATASET_ROOT_CHANGED",
        lambda: (
            base()
            .changed(data=replace(base().record.data, count=31, root=OTHER))
            .with_files(leaves_bin=base().draft.files["leaves.bin"] + OTHER)
        ),  # type: ignore[operator]
    ),
    "another root alone": (
        "DATASET_ROOT_CHANGED",
        lambda: base().changed(data=replace(base().record.data, root=OTHER)),
    ),
    "another count alone": (
        "DATASET_ROOT_CHANGED",
        lambda: base().changed(1, data=replace(trained().record.data, count=29)),
    ),
    "a leaf exchanged": (
        "DATASET_ROOT_CHANGED",
        lambda: base().with_files(leaves_bin=OTHER + base().draft.files["leaves.bin"][32:]),  # type: ignore[index]
    ),
    "a holdout leaf exchanged": (
        "DATASET_ROOT_CHANGED",
        lambda: base().with_files(leaves_holdout_bin=b"".join([OTHER] * 5)),
    ),
    "a row in another split": (
        "DATASET_ROOT_CHANGED",
        lambda: base().with_files(assignment_bin=bytes([0] * 29 + [1] * 3 + [2] * 5)),
    ),
    "two rows change their splits": (
        "DATASET_ROOT_CHANGED",
        lambda: base().with_files(assignment_bin=bytes([0] * 29 + [1, 0, 1] + [2] * 5)),
    ),
    "another leaf format": (
        "DATASET_ROOT_CHANGED",
        lambda: base().changed(0, data=replace(Lineage().commit.predicate.data, leaf_format="other")),  # type: ignore[union-attr]
    ),
    # beacon and seeds
    "beacon of the day before": ("BEACON_NOT_AFTER_COMMIT", lambda: early(not_before=Time("2025-12-31T00:00:00Z"))),
    "beacon and a commitment afterwards": (
        "BEACON_NOT_AFTER_COMMIT",
        lambda: base(replace(DATED, afterwards=True)),
    ),
    "a value under the name of none": ("BEACON_NOT_AFTER_COMMIT", lambda: early(source="zero")),
    "another lineage seed": ("LINEAGE_SEED_MISMATCH", lambda: with_randomness(base(), lineage_seed=OTHER)),
    "another derivation": ("LINEAGE_SEED_MISMATCH", lambda: with_randomness(base(), derivation="other/1")),
    "another seed of the method": (
        "LINEAGE_SEED_MISMATCH",
        lambda: with_randomness(approximated(trained(), (3,)), method_seed=OTHER),
    ),
    "no seed of the method": (
        "LINEAGE_SEED_MISMATCH",
        lambda: with_randomness(approximated(trained(), (3,)), method_seed=None, request_seed=None),
    ),
    "another noise key": ("LINEAGE_SEED_MISMATCH", lambda: certified().changed(1, noise_commitment=OTHER)),
    # schedule
    "units exchanged": ("SHARD_MAP_MISMATCH", lambda: base().with_files(units_bin=slot_bytes(np.arange(30)))),
    "a unit missing": ("SHARD_MAP_MISMATCH", lambda: base().with_files(units_bin=slot_bytes(np.arange(29)))),
    "units that skip a number": (
        "SHARD_MAP_MISMATCH",
        lambda: (
            base()
            .changed(0, data=replace(Lineage().commit.predicate.data, units=sha256(slot_bytes(2 * np.arange(30)))))  # type: ignore[union-attr]
            .with_files(units_bin=slot_bytes(2 * np.arange(30)))
        ),
    ),
    "other shards": ("SHARD_MAP_MISMATCH", lambda: with_schedule(base(), shards=2)),
    "another schedule": ("SCHEDULE_ROOT_MISMATCH", lambda: with_schedule(base(), root=OTHER)),
    "another batch size": ("SCHEDULE_ROOT_MISMATCH", lambda: with_schedule(base(), batch_size=5)),
    "drop last": ("SCHEDULE_ROOT_MISMATCH", lambda: with_schedule(base(), drop_last=True)),
    "fewer steps named": ("SCHEDULE_LENGTH_MISMATCH", lambda: with_schedule(base(), steps=(15,))),
    "fewer steps traced": ("SCHEDULE_LENGTH_MISMATCH", lambda: shorter(base())),
    "a step in another's place": ("SCHEDULE_LENGTH_MISMATCH", lambda: moved_step(base())),
    "a member exchanged": ("SCHEDULE_BATCH_MISMATCH", lambda: foreign_member(base())),
    "a member left out": ("SCHEDULE_BATCH_MISMATCH", lambda: without_a_member(base())),
    "a chair of the forgotten occupied": ("SCHEDULE_BATCH_MISMATCH", lambda: occupied(base())),
    "batches in another order": ("SCHEDULE_ORDER_MISMATCH", lambda: swapped_batches(base())),
    "chairs in another order": ("SCHEDULE_ORDER_MISMATCH", lambda: turned_batch(base())),
    "a trace that was not signed": (
        "TRACE_DIGEST_MISMATCH",
        lambda: base().with_files(trace_bin=base().last.trace[:-1] + b"\0"),
    ),
    "states along another trace": (
        "TRACE_DIGEST_MISMATCH",
        lambda: without_checkpoints(with_states(base(), lambda s: replace(s, trace=OTHER) if s.step == 5 else s)),
    ),
    "a trace of a run without one": (
        "TRACE_DIGEST_MISMATCH",
        lambda: approximated(trained(), (3,)).with_files(trace_bin=b""),
    ),
    # states
    "another root of states": (
        "CHECKPOINT_LEAF_MISMATCH",
        lambda: base().changed(checkpoints=replace(base().last.checkpoints, root=OTHER)),
    ),
    "another count of states": (
        "CHECKPOINT_LEAF_MISMATCH",
        lambda: base().changed(checkpoints=replace(base().last.checkpoints, count=5)),
    ),
    "states in another order": (
        "CHECKPOINT_LEAF_MISMATCH",
        lambda: base().changed(
            checkpoints=replace(
                base().last.checkpoints,
                states=tuple(reversed(base().last.states)),
                root=states_root(tuple(reversed(base().last.states))),
            )
        ),
    ),
    "the last state is early": (
        "SCHEDULE_LENGTH_MISMATCH",
        lambda: with_only_first_states(),
    ),
    "a checkpoint nobody listed": (
        "CHECKPOINT_LEAF_MISMATCH",
        lambda: replace(
            base(), draft=with_files(base().draft, {checkpoint_name(0, 7): save(base().last.tensors(0, 7))})
        ),
    ),
    "reuse after the touch": ("REUSE_AFTER_TOUCH", reused_too_late),
    "another first touched step": (
        "REUSE_AFTER_TOUCH",
        lambda: HONEST["reused"]().changed(reuse=(replace(HONEST["reused"]().record.reuse[0], first_touched=16),)),
    ),
    "reuse of a state of nobody": ("CHECKPOINT_LEAF_MISMATCH", reuse_of_nothing),
    "another state before the reused": ("CHECKPOINT_LEAF_MISMATCH", reused_and_changed),
    "the old member kept": (
        "ENSEMBLE_MEMBER_MISMATCH",
        lambda: other_member(forgot(trained(SHARDED), (shard_slots(0)[0], shard_slots(1)[0]))),
    ),
    "a member dropped": ("ENSEMBLE_MEMBER_MISMATCH", lambda: dropped_member(forgot(trained(SHARDED), (1, 2)))),
    "a shard called dead": (
        "ENSEMBLE_MEMBER_MISMATCH",
        lambda: called_dead(),
    ),
    "no-op": ("WEIGHTS_UNCHANGED", no_op),
    "approximate no-op": (
        "WEIGHTS_UNCHANGED",
        lambda: (
            approximated(trained(), (3,))
            .changed(digest=digest_of(trained().last.model))
            .with_files(model_safetensors=save(trained().last.model))
        ),
    ),
    # requests
    "a row is back": ("TOMBSTONE_REVIVED", revived),
    "a released slot is back": (
        "TOMBSTONE_REVIVED",
        lambda: forgot(base(), (4,)).changed(2, data=replace(base().record.data, released_holdout=(2,))),
    ),
    "an empty chair nobody asked for": ("TOMBSTONE_UNREQUESTED", unrequested),
    "a request not honoured": ("REQUEST_MISSING", not_honoured),
    "a request for another model": ("REQUEST_BINDING_MISMATCH", lambda: asked(model=OTHER)),
    "a request for no model": ("REQUEST_BINDING_MISMATCH", lambda: asked(model=None)),
    "a request about other data": ("REQUEST_BINDING_MISMATCH", lambda: asked(root=OTHER)),
    "a training asked by model": (
        "REQUEST_BINDING_MISMATCH",
        lambda: trained(without=(2, 3)).changed(
            requests=(replace(trained(without=(2, 3)).record.requests[0], model=OTHER),)
        ),
    ),
    "a slot released that is not there": (
        "REQUEST_BINDING_MISMATCH",
        lambda: base().changed(data=replace(base().record.data, released_calibration=(2,))),
    ),
    # claims
    "tolerant and exact": (
        "PROFILE_CLAIM_MISMATCH",
        lambda: base(Lineage(recipe=small_recipe(profile=Profile.SPEED))).changed(
            guarantee=Guarantee(kind=GuaranteeKind.EXACT), claim=("C2", "C3", "C4")
        ),
    ),
    "a pinned profile over a speed recipe": (
        "PROFILE_CLAIM_MISMATCH",
        lambda: with_environment(base(), profile=ProfileName.TOLERANT).changed(
            guarantee=Guarantee(kind=GuaranteeKind.EMPIRICAL), claim=("C2", "C3")
        ),
    ),
    "exact, and why it is not": ("PROFILE_CLAIM_MISMATCH", lambda: with_environment(base(), not_exact="two threads")),
    "exact at four threads": (
        "PROFILE_CLAIM_MISMATCH",
        lambda: base(Lineage(recipe=small_recipe(threads=4))).changed(
            guarantee=Guarantee(kind=GuaranteeKind.EXACT), claim=("C2", "C3", "C4")
        ),
    ),
    "threads of another recipe": (
        "PROFILE_CLAIM_MISMATCH",
        lambda: with_environment(base(), fingerprint={"threads": 2, "device": "cpu"}),
    ),
    "no threads named": ("PROFILE_CLAIM_MISMATCH", lambda: with_environment(base(), fingerprint={"device": "cpu"})),
    "a graphics card under the profile of the processor": (
        "PROFILE_CLAIM_MISMATCH",
        lambda: with_environment(base(), fingerprint={"threads": 1, "device": "cuda"}),
    ),
    "a graphics card without a name": (
        "PROFILE_CLAIM_MISMATCH",
        lambda: with_environment(
            base(), profile=ProfileName.EXACT_GPU_PINNED, fingerprint={"threads": 1, "device": "cuda"}
        ),
    ),
    "exact from states of another machine": (
        "PROFILE_CLAIM_MISMATCH",
        lambda: with_environment(HONEST["reused"](), fingerprint={"threads": 1, "device": "cpu", "torch": "2.12.0"}),
    ),
    "exact from states of another self-test": (
        "PROFILE_CLAIM_MISMATCH",
        lambda: with_environment(HONEST["reused"](), self_test=OTHER),
    ),
    "exact from states that are not": (
        "GUARANTEE_TOO_HIGH",
        lambda: HONEST["reused"]().changed(1, guarantee=Guarantee(kind=GuaranteeKind.EMPIRICAL)),
    ),
    "approximate called exact": (
        "GUARANTEE_TOO_HIGH",
        lambda: approximated(trained(), (3,)).changed(
            guarantee=Guarantee(kind=GuaranteeKind.EXACT), claim=("C6", "C4")
        ),
    ),
    "a foreign method under the name of ours": (
        "GUARANTEE_TOO_HIGH",
        lambda: base().changed(algorithm=replace(base().record.algorithm, source=OTHER)),
    ),
    "certified without a delta": (
        "GUARANTEE_TOO_HIGH",
        lambda: certified().changed(guarantee=Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=1.0)),
    ),
    "certified at another epsilon than it ran with": (
        "GUARANTEE_TOO_HIGH",
        lambda: certified().changed(guarantee=Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=0.1, delta=1e-4)),
    ),
    "certified without noise": (
        "GUARANTEE_TOO_HIGH",
        lambda: approximated(
            trained(),
            (3,),
            algorithm="certified-logistic",
            guarantee=Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=1.0, delta=1e-4),
        ),
    ),
    "certified by a method that cannot": (
        "GUARANTEE_TOO_HIGH",
        lambda: base().changed(
            guarantee=Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=1.0, delta=1e-4), claim=("C2", "C3", "C5")
        ),
    ),
    "a claim too many": ("GUARANTEE_TOO_HIGH", lambda: base().changed(claim=("C1", "C2", "C3", "C4"))),
    "a claim too few": ("GUARANTEE_TOO_HIGH", lambda: base().changed(claim=("C2",))),
    "nothing that is not claimed": ("GUARANTEE_TOO_HIGH", lambda: base().changed(not_claimed=())),
    "the commitment claims more": ("GUARANTEE_TOO_HIGH", lambda: base().changed(0, claim=("C1", "C4"))),
    "an approximate trajectory": (
        "GUARANTEE_TOO_HIGH",
        lambda: base().changed(
            algorithm=replace(base().record.algorithm, name="fine-tune"),
            guarantee=Guarantee(kind=GuaranteeKind.EMPIRICAL),
            claim=("C2", "C3"),
        ),
    ),
    # chain
    "an unlearning of nothing": (
        "CHAIN_BROKEN",
        lambda: trained(without=(2,)).changed(operation=Operation.UNLEARN),
    ),
    "a second training": ("CHAIN_BROKEN", lambda: base().changed(operation=Operation.TRAIN)),
    "a retraining by another method": ("CHAIN_BROKEN", lambda: base().changed(operation=Operation.RETRAIN)),
    "called earlier than its commitment": ("CHAIN_BROKEN", lambda: base().changed(recorded_afterwards=False)),
}
