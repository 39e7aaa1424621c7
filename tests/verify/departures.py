"""Honest stories, ways of altering one thing each, and the code under which V1 refuses every one of them alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tests.verify.lineages import Lineage, MadeUp, small_recipe
from tests.verify.records import MadeUpStory, approximated, certified, forged, forgot, trained

from expunge.adversary.table.retelling import saved
from expunge.adversary.table.telling import request_for
from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, sha256, slot_bytes
from expunge.records.bundle import checkpoint_name
from expunge.records.record import BeaconPart, GuaranteeKind, GuaranteePart, Operation, ProfileName, State
from expunge.records.trace_file import RunningDigest, TraceMode
from expunge.schedule.placement import dealt_by
from expunge.schedule.recipe import Optimiser, Profile

SHARDED = Lineage(recipe=small_recipe(shards=3, slices=2, epochs=3), count=40, mode=TraceMode.GRADIENTS)
TIERS = (0, 1, 0, 0, 1, 0, 0, 0, 1, 0)
TIERED = Lineage(
    recipe=dealt_by(small_recipe(shards=2, slices=2, stages=(3, 1), epochs=4), np.array(TIERS)), tiers=TIERS
)
DATED = Lineage(
    beacon=BeaconPart(source="drand", value=sha256(b"beacon"), round=7, not_before=Time("2026-01-02T00:00:00Z")),
    afterwards=False,
)
OTHER = sha256(b"another one")


def base(lineage: Lineage | None = None) -> MadeUpStory:
    """commit → train → exact replay without slots 3 and 17."""
    return forgot(trained(lineage or Lineage()), (3, 17))


def shard_slots(shard: int) -> tuple[int, ...]:
    return tuple(int(slot) for slot in SHARDED.schedule.shard_slots(shard))


HONEST: dict[str, Callable[[], MadeUpStory]] = {
    "training": trained,
    "training without some": lambda: trained(without=(2, 3)),
    "exact replay": base,
    "retrained": lambda: forgot(trained(), (3, 17), algorithm="retrain"),
    "twice": lambda: forgot(base(), (4,)),
    "reused": lambda: forgot(trained(Lineage(interval=1)), (int(Lineage().schedule.chairs(0, 7)[0]),)),
    "gradients": lambda: base(Lineage(mode=TraceMode.GRADIENTS)),
    "shards and slices": lambda: forgot(trained(SHARDED), (1, 2)),
    "tiers": lambda: forgot(trained(TIERED), (1, 2)),
    "a shard with nobody left": lambda: forgot(trained(SHARDED), shard_slots(1)),
    "skipped steps": lambda: forgot(trained(Lineage(recipe=small_recipe(least_present=3))), (1, 2, 3, 4, 5, 6, 7)),
    "approximate": lambda: approximated(trained(), (3,)),
    "exact after approximate": lambda: forgot(approximated(trained(), (3,)), (9,)),
    "certified": certified,
    "dated beacon": lambda: base(DATED),
    "speed profile": lambda: base(Lineage(recipe=small_recipe(profile=Profile.SPEED))),
}


def foreign_member(story: MadeUpStory) -> MadeUpStory:
    """Step 3 was carried out with a row that sits elsewhere in place of one of its own."""
    present = story.last.present(0, 3)
    outside = next(slot for slot in range(story.lineage.count) if slot not in (*present, *story.last.emptied))
    return forged(story, {(0, 3): (*present[1:], outside)})


def without_a_member(story: MadeUpStory) -> MadeUpStory:
    return forged(story, {(0, 3): story.last.present(0, 3)[1:]})


def occupied(story: MadeUpStory) -> MadeUpStory:
    """A forgotten row sits in its chair after all."""
    schedule = story.lineage.schedule
    step = schedule.first_touch(0, np.array([story.last.emptied[0]]))
    assert step is not None
    return forged(story, {(0, step): tuple(int(slot) for slot in schedule.chairs(0, step))})


def swapped_batches(story: MadeUpStory) -> MadeUpStory:
    return forged(story, {(0, 1): story.last.present(0, 2), (0, 2): story.last.present(0, 1)})


def turned_batch(story: MadeUpStory) -> MadeUpStory:
    return forged(story, {(0, 1): tuple(reversed(story.last.present(0, 1)))})


def moved_step(story: MadeUpStory) -> MadeUpStory:
    """Step 2 stands in the place of step 3 as well; states recorded later were traced along it."""
    honest, width = story.tale.trace, TraceMode.LOSSES.width
    trace = honest[: 3 * width] + honest[2 * width : 3 * width] + honest[4 * width :]
    other = with_states(story, lambda s: replace(s, trace=RunningDigest(0, trace[: s.step * width]).digest()))
    return other.with_trace(trace)


def shorter(story: MadeUpStory) -> MadeUpStory:
    """The last step of the trace is missing."""
    trace = story.tale.trace
    return story.with_trace(trace[: 15 * 64] + trace[16 * 64 :])


def with_states(story: MadeUpStory, change: Callable[[State], State], **fields: object) -> MadeUpStory:
    """Other states, under a root that fits them."""
    return story.with_states([change(state) for state in story.tale.states], **fields)


def reused_too_late() -> MadeUpStory:
    """The parent's state from after the first touched step."""
    story = HONEST["reused"]()
    late = story.made[0].state(0, story.record.reuse[0].step + 2)
    return story.changed(reuse__0__step=late.step, reuse__0__leaf=late.leaf)


def reused_and_changed() -> MadeUpStory:
    """A state before the reused one is not the ancestor's."""
    story = HONEST["reused"]()
    other = with_states(story, lambda state: replace(state, optimiser=OTHER) if state.step == 2 else state)
    return other.without_states()


def no_op() -> MadeUpStory:
    """The parent's weights under a new record, which states the right steps."""
    story = base()
    parent = story.made[0]
    last = parent.state(0, 16)

    def kept(state: State) -> State:
        return replace(state, weights=last.weights, buffers=last.buffers) if state.step == 16 else state

    return with_states(story, kept).without_states().with_model(parent.tale.model)


def other_member(story: MadeUpStory) -> MadeUpStory:
    """The old member of a shard in place of the new one, signed as the model."""
    old = story.made[0].tale.model
    model = {**story.tale.model, **{name: value for name, value in old.items() if name.startswith("shards.0.")}}
    return story.with_model(model)


def dropped_member(story: MadeUpStory) -> MadeUpStory:
    model = {name: value for name, value in story.tale.model.items() if not name.startswith("shards.2.")}
    return story.with_model(model)


def seated(story: MadeUpStory, *emptied: int) -> MadeUpStory:
    """The story whose last run has these empty chairs and fits them; requests stay, and no state was reused."""
    return story.remade(replace(story.last, emptied=emptied), reuse=(), data__tombstones=emptied)


def all_skipped() -> MadeUpStory:
    lineage = Lineage(recipe=small_recipe(least_present=4), count=8, subjects=8)
    story = trained(lineage)
    made = MadeUp(lineage=lineage, emptied=(0, 1, 2, 3, 4, 5))
    assert made.alive == ()
    told = story.changed(
        digest=OTHER,
        operation=Operation.RETRAIN,
        algorithm__name="retrain",
        data__tombstones=made.emptied,
        requests=(request_for(story, made.emptied, story.link().digest),),
        claim=("C2", "C3", "C4"),
    )
    return story.then(told.link(), story.tale).without_states().with_files({"model.safetensors": None})


def early(**fields: object) -> MadeUpStory:
    """A beacon that differs in some field, with everything else as if it had been the one."""
    return base(replace(DATED, beacon=replace(DATED.beacon, **fields)))


def with_only_first_states() -> MadeUpStory:
    """All states but the last; nothing else is known of the end."""
    story = base().without_states().with_files({"model.safetensors": None})
    return story.with_states(story.tale.states[:-1])


def called_dead() -> MadeUpStory:
    """Shard 2 is left out of the record altogether."""
    story = forgot(trained(SHARDED), (1, 2))
    states = [state for state in story.tale.states if state.shard != 2]
    return (
        dropped_member(story).without_states().with_states(states).changed(alive=(0, 1), reuse=story.record.reuse[:2])
    )


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
        "another tier of two": lambda: base(TIERED).with_files({"tiers.bin": slot_bytes(np.array(TIERS[::-1]))}),
        "a tier missing": lambda: base(TIERED).with_files({"tiers.bin": slot_bytes(np.array(TIERS[1:]))}),
        "tiers that no recipe names": lambda: base().with_files({"tiers.bin": slot_bytes(np.array(TIERS))}),
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
        "a trace that was not signed": lambda: base().with_files({"trace.bin": base().tale.trace[:-1] + b"\0"}),
        "states along another trace": lambda: with_states(
            base(), lambda s: replace(s, trace=OTHER) if s.step == 5 else s
        ).without_states(),
        "a trace of a run without one": lambda: approximated(trained(), (3,)).with_files({"trace.bin": b""}),
    },
    "CHECKPOINT_LEAF_MISMATCH": {
        "another root of states": lambda: base().changed(checkpoints__root=OTHER),
        "another count of states": lambda: base().changed(checkpoints__count=5),
        "states in another order": lambda: base().with_states(base().tale.states[::-1]),
        "a checkpoint nobody listed": lambda: base().with_files(
            {checkpoint_name(0, 7): saved(base().last.tensors(0, 7))}
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
        "approximate no-op": lambda: approximated(trained(), (3,)).with_model(trained().tale.model),
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
            guarantee=GuaranteePart(kind=GuaranteeKind.EXACT), claim=("C2", "C3", "C4")
        ),
        "a pinned profile over a speed recipe": lambda: (
            base()
            .changed(environment__profile=ProfileName.TOLERANT)
            .changed(guarantee=GuaranteePart(kind=GuaranteeKind.EMPIRICAL), claim=("C2", "C3"))
        ),
        "exact, and why it is not": lambda: base().changed(environment__not_exact="two threads"),
        "exact at four threads": lambda: base(Lineage(recipe=small_recipe(threads=4))).changed(
            guarantee=GuaranteePart(kind=GuaranteeKind.EXACT), claim=("C2", "C3", "C4")
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
            1, guarantee=GuaranteePart(kind=GuaranteeKind.EMPIRICAL)
        ),
        "approximate called exact": lambda: approximated(trained(), (3,)).changed(
            guarantee=GuaranteePart(kind=GuaranteeKind.EXACT), claim=("C6", "C4")
        ),
        "a foreign method under the name of ours": lambda: base().changed(algorithm__source=OTHER),
        "certified without a delta": lambda: certified().changed(
            guarantee=GuaranteePart(kind=GuaranteeKind.CERTIFIED, epsilon=1.0)
        ),
        "certified at another epsilon than it ran with": lambda: certified().changed(
            guarantee=GuaranteePart(kind=GuaranteeKind.CERTIFIED, epsilon=0.1, delta=1e-4)
        ),
        "certified without noise": lambda: approximated(
            trained(),
            (3,),
            algorithm="certified-logistic",
            guarantee=GuaranteePart(kind=GuaranteeKind.CERTIFIED, epsilon=1.0, delta=1e-4),
        ),
        "certified by a method that cannot": lambda: base().changed(
            guarantee=GuaranteePart(kind=GuaranteeKind.CERTIFIED, epsilon=1.0, delta=1e-4), claim=("C2", "C3", "C5")
        ),
        "a claim too many": lambda: base().changed(claim=("C1", "C2", "C3", "C4")),
        "a claim too few": lambda: base().changed(claim=("C2",)),
        "nothing that is not claimed": lambda: base().changed(not_claimed=()),
        "the commitment claims more": lambda: base().changed(0, claim=("C1", "C4")),
        "an approximate trajectory": lambda: base().changed(
            algorithm__name="fine-tune", guarantee=GuaranteePart(kind=GuaranteeKind.EMPIRICAL), claim=("C2", "C3")
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
