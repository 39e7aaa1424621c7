"""Honest stories, and ways of altering one thing each; how they are refused stands in ``departures``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from safetensors.numpy import save
from tests.verify.lineages import Lineage, MadeUp, digest_of, small_recipe
from tests.verify.records import (
    Story,
    approximated,
    certified,
    changed,
    forged,
    forgot,
    request_for,
    trained,
    with_files,
)

from expunge.core.clock import Time
from expunge.core.hashing import sha256
from expunge.records.draft import Draft
from expunge.records.record import (
    Beacon,
    Operation,
    State,
    Trace,
    TraceMode,
    states_root,
)
from expunge.schedule.recipe import Profile

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
