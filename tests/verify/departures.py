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
    base,
    called_dead,
    dropped_member,
    early,
    foreign_member,
    moved_step,
    no_op,
    occupied,
    other_member,
    reused_and_changed,
    reused_too_late,
    seated,
    shard_slots,
    shorter,
    swapped_batches,
    turned_batch,
    with_model,
    with_only_first_states,
    with_states,
    without_a_member,
)
from tests.verify.lineages import Lineage, small_recipe
from tests.verify.records import MadeUpStory, approximated, certified, forgot, trained

from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, sha256, slot_bytes
from expunge.records.bundle import checkpoint_name
from expunge.records.record import (
    Guarantee,
    GuaranteeKind,
    Operation,
    ProfileName,
)
from expunge.schedule.recipe import Optimiser, Profile

BY_CODE: dict[str, dict[str, Callable[[], MadeUpStory]]] = {
    "RECIPE_DIGEST_MISMATCH": {
        "run names another recipe": lambda: base().changed(recipe=OTHER),
        "parent names another recipe": lambda: base().changed(1, recipe=OTHER),
        "recipe.json has another rate": lambda: base().with_files(
            {"recipe.json": canonical_json(small_recipe(optimiser=Optimiser(rate=0.04)).as_json())}
        ),
    },
    "RECIPE_DEGENERATE": {
        "rate of nearly nothing": lambda: base(Lineage(recipe=small_recipe(optimiser=Optimiser(rate=1e-9)))),
        "every step skipped": all_skipped,
    },
    "PREPROCESSING_MISMATCH": {
        "other preprocessing in the run": lambda: base().changed(data__preprocessing=OTHER),
        "other preprocessing committed": lambda: base().changed(0, data__preprocessing=OTHER),
    },
    "DATASET_ROOT_CHANGED": {
        "a leaf more": lambda: (
            base()
            .changed(data__count=31, data__root=OTHER)
            .with_files({"leaves.bin": base().draft.files["leaves.bin"] + OTHER})
        ),
        "another root alone": lambda: base().changed(data__root=OTHER),
        "another count alone": lambda: base().changed(1, data__count=29),
        "a leaf exchanged": lambda: base().with_files({"leaves.bin": OTHER + base().draft.files["leaves.bin"][32:]}),
        "a holdout leaf exchanged": lambda: base().with_files({"leaves-holdout.bin": b"".join([OTHER] * 5)}),
        "a row in another split": lambda: base().with_files({"assignment.bin": bytes([0] * 29 + [1] * 3 + [2] * 5)}),
        "two rows change their splits": lambda: base().with_files(
            {"assignment.bin": bytes([0] * 29 + [1, 0, 1] + [2] * 5)}
        ),
        "another leaf format": lambda: base().changed(0, data__leaf_format="other"),
    },
    "BEACON_NOT_AFTER_COMMIT": {
        "beacon of the day before": lambda: early(not_before=Time("2025-12-31T00:00:00Z")),
        "beacon and a commitment afterwards": lambda: base(replace(DATED, afterwards=True)),
        "a value under the name of none": lambda: early(source="zero"),
    },
    "LINEAGE_SEED_MISMATCH": {
        "another lineage seed": lambda: base().changed(randomness__lineage_seed=OTHER),
        "another derivation": lambda: base().changed(randomness__derivation="other/1"),
        "another seed of the method": lambda: approximated(trained(), (3,)).changed(randomness__method_seed=OTHER),
        "no seed of the method": lambda: approximated(trained(), (3,)).changed(
            randomness__method_seed=None, randomness__request_seed=None
        ),
        "another noise key": lambda: certified().changed(1, noise_commitment=OTHER),
    },
    "SHARD_MAP_MISMATCH": {
        "units exchanged": lambda: base().with_files({"units.bin": slot_bytes(np.arange(30))}),
        "a unit missing": lambda: base().with_files({"units.bin": slot_bytes(np.arange(29))}),
        "units that skip a number": lambda: (
            base()
            .changed(0, data__units=sha256(slot_bytes(2 * np.arange(30))))
            .with_files({"units.bin": slot_bytes(2 * np.arange(30))})
        ),
        "other shards": lambda: base().changed(schedule__shards=2),
    },
    "SCHEDULE_ROOT_MISMATCH": {
        "another schedule": lambda: base().changed(schedule__root=OTHER),
        "another batch size": lambda: base().changed(schedule__batch_size=5),
        "drop last": lambda: base().changed(schedule__drop_last=True),
    },
    "SCHEDULE_LENGTH_MISMATCH": {
        "fewer steps named": lambda: base().changed(schedule__steps=(15,)),
        "fewer steps traced": lambda: shorter(base()),
        "a step in another's place": lambda: moved_step(base()),
        "the last state is early": with_only_first_states,
    },
    "SCHEDULE_BATCH_MISMATCH": {
        "a member exchanged": lambda: foreign_member(base()),
        "a member left out": lambda: without_a_member(base()),
        "a chair of the forgotten occupied": lambda: occupied(base()),
    },
    "SCHEDULE_ORDER_MISMATCH": {
        "batches in another order": lambda: swapped_batches(base()),
        "chairs in another order": lambda: turned_batch(base()),
    },
    "TRACE_DIGEST_MISMATCH": {
        "a trace that was not signed": lambda: base().with_files({"trace.bin": base().last.trace[:-1] + b"\0"}),
        "states along another trace": lambda: with_states(
            base(), lambda s: replace(s, trace=OTHER) if s.step == 5 else s
        ).without_states(),
        "a trace of a run without one": lambda: approximated(trained(), (3,)).with_files({"trace.bin": b""}),
    },
    "CHECKPOINT_LEAF_MISMATCH": {
        "another root of states": lambda: base().changed(checkpoints__root=OTHER),
        "another count of states": lambda: base().changed(checkpoints__count=5),
        "states in another order": lambda: base().with_states(base().last.states[::-1]),
        "a checkpoint nobody listed": lambda: base().with_files(
            {checkpoint_name(0, 7): save(base().last.tensors(0, 7))}
        ),
        "reuse of a state of nobody": lambda: HONEST["reused"]().changed(reuse__0__leaf=OTHER),
        "another state before the reused": reused_and_changed,
    },
    "REUSE_AFTER_TOUCH": {
        "reuse after the touch": reused_too_late,
        "another first touched step": lambda: HONEST["reused"]().changed(reuse__0__first_touched=16),
    },
    "ENSEMBLE_MEMBER_MISMATCH": {
        "the old member kept": lambda: other_member(forgot(trained(SHARDED), (shard_slots(0)[0], shard_slots(1)[0]))),
        "a member dropped": lambda: dropped_member(forgot(trained(SHARDED), (1, 2))),
        "a shard called dead": called_dead,
    },
    "WEIGHTS_UNCHANGED": {
        "no-op": no_op,
        "approximate no-op": lambda: with_model(approximated(trained(), (3,)), trained().last.model),
    },
    "TOMBSTONE_REVIVED": {
        "a row is back": lambda: seated(forgot(base(), (5,)), 5, 17),
        "a released slot is back": lambda: forgot(base(), (4,)).changed(2, data__released_holdout=(2,)),
    },
    "TOMBSTONE_UNREQUESTED": {
        "an empty chair nobody asked for": lambda: seated(base(), 3, 9, 17),
    },
    "REQUEST_MISSING": {
        "a request not honoured": lambda: seated(base(), 17),
    },
    "REQUEST_BINDING_MISMATCH": {
        "a request for another model": lambda: base().changed(requests__0__model=OTHER),
        "a request for no model": lambda: base().changed(requests__0__model=None),
        "a request about other data": lambda: base().changed(requests__0__root=OTHER),
        "a training asked by model": lambda: trained(without=(2, 3)).changed(requests__0__model=OTHER),
        "a slot released that is not there": lambda: base().changed(data__released_calibration=(2,)),
    },
    "PROFILE_CLAIM_MISMATCH": {
        "tolerant and exact": lambda: base(Lineage(recipe=small_recipe(profile=Profile.SPEED))).changed(
            guarantee=Guarantee(kind=GuaranteeKind.EXACT), claim=("C2", "C3", "C4")
        ),
        "a pinned profile over a speed recipe": lambda: (
            base()
            .changed(environment__profile=ProfileName.TOLERANT)
            .changed(guarantee=Guarantee(kind=GuaranteeKind.EMPIRICAL), claim=("C2", "C3"))
        ),
        "exact, and why it is not": lambda: base().changed(environment__not_exact="two threads"),
        "exact at four threads": lambda: base(Lineage(recipe=small_recipe(threads=4))).changed(
            guarantee=Guarantee(kind=GuaranteeKind.EXACT), claim=("C2", "C3", "C4")
        ),
        "threads of another recipe": lambda: base().changed(environment__fingerprint={"threads": 2, "device": "cpu"}),
        "no threads named": lambda: base().changed(environment__fingerprint={"device": "cpu"}),
        "a graphics card under the profile of the processor": lambda: base().changed(
            environment__fingerprint={"threads": 1, "device": "cuda"}
        ),
        "a graphics card without a name": lambda: base().changed(
            environment__profile=ProfileName.EXACT_GPU_PINNED, environment__fingerprint={"threads": 1, "device": "cuda"}
        ),
        "exact from states of another machine": lambda: HONEST["reused"]().changed(
            environment__fingerprint={"threads": 1, "device": "cpu", "torch": "2.12.0"}
        ),
        "exact from states of another self-test": lambda: HONEST["reused"]().changed(environment__self_test=OTHER),
    },
    "GUARANTEE_TOO_HIGH": {
        "exact from states that are not": lambda: HONEST["reused"]().changed(
            1, guarantee=Guarantee(kind=GuaranteeKind.EMPIRICAL)
        ),
        "approximate called exact": lambda: approximated(trained(), (3,)).changed(
            guarantee=Guarantee(kind=GuaranteeKind.EXACT), claim=("C6", "C4")
        ),
        "a foreign method under the name of ours": lambda: base().changed(algorithm__source=OTHER),
        "certified without a delta": lambda: certified().changed(
            guarantee=Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=1.0)
        ),
        "certified at another epsilon than it ran with": lambda: certified().changed(
            guarantee=Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=0.1, delta=1e-4)
        ),
        "certified without noise": lambda: approximated(
            trained(),
            (3,),
            algorithm="certified-logistic",
            guarantee=Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=1.0, delta=1e-4),
        ),
        "certified by a method that cannot": lambda: base().changed(
            guarantee=Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=1.0, delta=1e-4), claim=("C2", "C3", "C5")
        ),
        "a claim too many": lambda: base().changed(claim=("C1", "C2", "C3", "C4")),
        "a claim too few": lambda: base().changed(claim=("C2",)),
        "nothing that is not claimed": lambda: base().changed(not_claimed=()),
        "the commitment claims more": lambda: base().changed(0, claim=("C1", "C4")),
        "an approximate trajectory": lambda: base().changed(
            algorithm__name="fine-tune", guarantee=Guarantee(kind=GuaranteeKind.EMPIRICAL), claim=("C2", "C3")
        ),
    },
    "CHAIN_BROKEN": {
        "an unlearning of nothing": lambda: trained(without=(2,)).changed(operation=Operation.UNLEARN),
        "a second training": lambda: base().changed(operation=Operation.TRAIN),
        "a retraining by another method": lambda: base().changed(operation=Operation.RETRAIN),
        "called earlier than its commitment": lambda: base().changed(recorded_afterwards=False),
    },
}
REFUSED = {name: (code, story) for code, stories in BY_CODE.items() for name, story in stories.items()}
