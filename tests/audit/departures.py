"""Honest stories, and one departure from them each: what is altered, and the code under which V1 refuses it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from safetensors.numpy import save
from tests.audit.records import (
    Lineage,
    MadeUp,
    Story,
    approximated,
    certified,
    changed,
    digest_of,
    forged,
    forgot,
    request_for,
    small_recipe,
    trained,
    with_files,
)

from expunge.audit.draft import Draft
from expunge.audit.fields import Time
from expunge.audit.opened import checkpoint_name
from expunge.audit.record import (
    Beacon,
    Guarantee,
    GuaranteeKind,
    Operation,
    ProfileName,
    State,
    Trace,
    TraceMode,
    states_root,
)
from expunge.core.hashing import canonical_json, sha256, slot_bytes
from expunge.schedule.recipe import Optimiser, Profile

SHARDED = Lineage(recipe=small_recipe(shards=3, slices=2, epochs=3), count=40, mode=TraceMode.GRADIENTS)
DATED = Lineage(
    beacon=Beacon(source="drand", value=sha256(b"beacon"), round=7, not_before=Time("2026-01-02T00:00:00Z")),
    afterwards=False,
)
OTHER = sha256(b"another one")


def base(lineage: Lineage | None = None) -> Story:
    """commit → train → exact replay without slots 3 and 17."""
    return forgot(trained(lineage or Lineage()), (3, 17))


def shard_slots(shard: int) -> tuple[int, ...]:
    return tuple(int(slot) for slot in SHARDED.schedule.shard_slots(shard))


HONEST: dict[str, Callable[[], Story]] = {
    "training": trained,
    "training without some": lambda: trained(without=(2, 3)),
    "exact replay": base,
    "retrained": lambda: forgot(trained(), (3, 17), algorithm="retrain"),
    "twice": lambda: forgot(base(), (4,)),
    "reused": lambda: forgot(trained(Lineage(interval=1)), (int(Lineage().schedule.chairs(0, 7)[0]),)),
    "gradients": lambda: base(Lineage(mode=TraceMode.GRADIENTS)),
    "shards and slices": lambda: forgot(trained(SHARDED), (1, 2)),
    "a shard with nobody left": lambda: forgot(trained(SHARDED), shard_slots(1)),
    "skipped steps": lambda: forgot(trained(Lineage(recipe=small_recipe(least_present=3))), (1, 2, 3, 4, 5, 6, 7)),
    "approximate": lambda: approximated(trained(), (3,)),
    "exact after approximate": lambda: forgot(approximated(trained(), (3,)), (9,)),
    "certified": certified,
    "dated beacon": lambda: base(DATED),
    "speed profile": lambda: base(Lineage(recipe=small_recipe(profile=Profile.SPEED))),
}


def foreign_member(story: Story) -> Story:
    """Step 3 was carried out with a row that sits elsewhere in place of one of its own."""
    present = story.last.present(0, 3)
    outside = next(slot for slot in range(story.lineage.count) if slot not in (*present, *story.last.emptied))
    return forged(story, {(0, 3): (*present[1:], outside)})


def without_a_member(story: Story) -> Story:
    return forged(story, {(0, 3): story.last.present(0, 3)[1:]})


def occupied(story: Story) -> Story:
    """A forgotten row sits in its chair after all."""
    schedule = story.lineage.schedule
    step = schedule.first_touch(0, np.array([story.last.emptied[0]]))
    assert step is not None
    return forged(story, {(0, step): tuple(int(slot) for slot in schedule.chairs(0, step))})


def swapped_batches(story: Story) -> Story:
    return forged(story, {(0, 1): story.last.present(0, 2), (0, 2): story.last.present(0, 1)})


def turned_batch(story: Story) -> Story:
    return forged(story, {(0, 1): tuple(reversed(story.last.present(0, 1)))})


def traced(story: Story, content: bytes) -> Story:
    """Another trace, signed, and running digests of states left as they are."""
    assert story.record.trace is not None
    changed_story = story.changed(trace=replace(story.record.trace, digest=sha256(content)))
    return changed_story.with_files(trace_bin=content)


def moved_step(story: Story) -> Story:
    """Step 2 stands in the place of step 3 as well; states recorded later were traced along it."""
    made = story.last
    records = [made.record_of(0, step) for step in range(16)]
    records[3] = records[2]
    trace = b"".join(records) + made.trace[16 * 64 :]
    states = tuple(
        replace(state, trace=sha256(b"expunge/trace/1" + bytes(4) + b"".join(records[: state.step])))
        for state in made.states
    )
    kept = replace(made.checkpoints, states=states, root=states_root(states))
    return traced(story.changed(checkpoints=kept), trace)


def shorter(story: Story) -> Story:
    """The last step of the trace is missing."""
    trace = story.last.trace
    return traced(story, trace[: 15 * 64] + trace[16 * 64 :])


def with_states(story: Story, change: Callable[[State], State], at: int = -1, **fields: object) -> Story:
    """Other states, under a root that fits them."""
    made = story.made[at]
    states = tuple(change(state) for state in made.states)
    kept = replace(made.checkpoints, states=states, root=states_root(states), **fields)
    return story.changed(at, checkpoints=kept)


def reused_too_late() -> Story:
    """The parent's state from after the first touched step."""
    story = HONEST["reused"]()
    (reuse,) = story.record.reuse
    parent = story.made[0]
    late = parent.state(0, reuse.step + 2)
    return story.changed(reuse=(replace(reuse, step=late.step, leaf=late.leaf),))


def reuse_of_nothing() -> Story:
    story = HONEST["reused"]()
    return story.changed(reuse=(replace(story.record.reuse[0], leaf=OTHER),))


def reused_and_changed() -> Story:
    """A state before the reused one is not the ancestor's."""
    story = HONEST["reused"]()
    return without_checkpoints(
        with_states(story, lambda state: replace(state, optimiser=OTHER) if state.step == 2 else state)
    )


def without_checkpoints(story: Story) -> Story:
    files = {name: None for name in story.draft.files if name.startswith("checkpoints/")}
    return replace(story, draft=with_files(story.draft, files))


def no_op() -> Story:
    """The parent's weights under a new record, which states the right steps."""
    story = base()
    parent = story.made[0]
    last = parent.state(0, 16)

    def kept(state: State) -> State:
        return replace(state, weights=last.weights, buffers=last.buffers) if state.step == 16 else state

    return (
        without_checkpoints(with_states(story, kept))
        .changed(digest=digest_of(parent.model))
        .with_files(model_safetensors=save(parent.model))
    )


def other_member(story: Story) -> Story:
    """The old member of a shard in place of the new one, signed as the model."""
    old = story.made[0].model
    model = {**story.last.model, **{name: value for name, value in old.items() if name.startswith("shards.0.")}}
    return story.changed(digest=digest_of(model)).with_files(model_safetensors=save(model))


def dropped_member(story: Story) -> Story:
    model = {name: value for name, value in story.last.model.items() if not name.startswith("shards.2.")}
    return story.changed(digest=digest_of(model)).with_files(model_safetensors=save(model))


def revived() -> Story:
    """Slot 3 was forgotten and sits again in the next record, whose trace and states fit that."""
    story = forgot(base(), (5,))
    made = replace(story.last, emptied=(5, 17))
    return remade(story, made)


def remade(story: Story, made: MadeUp) -> Story:
    """The story with another last run that fits its own empty chairs; requests and reuse stay."""
    draft = changed(
        story.draft,
        digest=digest_of(made.model),
        data=replace(story.record.data, tombstones=made.emptied),
        checkpoints=made.checkpoints,
        trace=Trace(mode=story.lineage.mode, digest=sha256(made.trace)),
        reuse=(),
    )
    return Story(story.lineage, (*story.made[:-1], made), with_files(draft, made.files))


def unrequested() -> Story:
    return remade(base(), replace(base().last, emptied=(3, 9, 17)))


def not_honoured() -> Story:
    return remade(base(), replace(base().last, emptied=(17,)))


def asked(**fields: object) -> Story:
    """A request that differs in some field."""
    story = base()
    (request,) = story.record.requests
    return story.changed(requests=(replace(request, **fields),))


def with_schedule(story: Story, **fields: object) -> Story:
    return story.changed(schedule=replace(story.record.schedule, **fields))


def with_environment(story: Story, **fields: object) -> Story:
    return story.changed(environment=replace(story.record.environment, **fields))


def with_randomness(story: Story, **fields: object) -> Story:
    return story.changed(randomness=replace(story.record.randomness, **fields))


def all_skipped() -> Story:
    lineage = Lineage(recipe=small_recipe(least_present=4), count=8, subjects=8)
    story = trained(lineage)
    made = MadeUp(lineage=lineage, emptied=(0, 1, 2, 3, 4, 5))
    assert made.alive == ()
    first = story.draft.run
    assert not isinstance(first, bytes)
    record = story.record
    request = request_for(made.emptied, lineage.root, first.digest)
    run = replace(
        first,
        digest=OTHER,
        predicate=replace(
            record,
            operation=Operation.RETRAIN,
            algorithm=replace(record.algorithm, name="retrain"),
            data=replace(record.data, tombstones=made.emptied),
            requests=(request,),
            claim=("C2", "C3", "C4"),
        ),
    )
    made_of = Draft(chain=(*story.draft.chain, run), files=story.draft.files)
    return without_checkpoints(Story(lineage, (*story.made, story.last), made_of)).with_files(model_safetensors=None)


def early(**fields: object) -> Story:
    """A beacon that differs in some field, with everything else as if it had been the one."""
    return base(replace(DATED, beacon=replace(DATED.beacon, **fields)))


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


def with_only_first_states() -> Story:
    """All states but the last; nothing else is known of the end."""
    story = without_checkpoints(base()).with_files(model_safetensors=None)
    states = story.last.states[:-1]
    kept = replace(story.last.checkpoints, states=states, count=len(states), root=states_root(states))
    return story.changed(checkpoints=kept)


def called_dead() -> Story:
    """Shard 2 is left out of the record altogether."""
    story = forgot(trained(SHARDED), (1, 2))
    made = story.last
    states = tuple(state for state in made.states if state.shard != 2)
    kept = replace(made.checkpoints, states=states, count=len(states), root=states_root(states))
    return without_checkpoints(dropped_member(story)).changed(
        alive=(0, 1), checkpoints=kept, reuse=story.record.reuse[:2]
    )
