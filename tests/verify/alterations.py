"""Honest stories, and ways of altering one thing each; how they are refused stands in ``departures``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from safetensors.numpy import save
from tests.verify.lineages import Lineage, MadeUp, digest_of, small_recipe
from tests.verify.records import (
    MadeUpStory,
    approximated,
    certified,
    forged,
    forgot,
    request_for,
    trained,
)

from expunge.core.clock import Time
from expunge.core.hashing import sha256
from expunge.records.record import (
    Beacon,
    Operation,
    State,
    TraceMode,
)
from expunge.schedule.recipe import Profile

SHARDED = Lineage(recipe=small_recipe(shards=3, slices=2, epochs=3), count=40, mode=TraceMode.GRADIENTS)
DATED = Lineage(
    beacon=Beacon(source="drand", value=sha256(b"beacon"), round=7, not_before=Time("2026-01-02T00:00:00Z")),
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
    made = story.last
    records = [made.record_of(0, step) for step in range(16)]
    records[3] = records[2]
    trace = b"".join(records) + made.trace[16 * 64 :]
    return story.with_states(
        [
            replace(state, trace=sha256(b"expunge/trace/1" + bytes(4) + b"".join(records[: state.step])))
            for state in made.states
        ]
    ).with_trace(trace)


def shorter(story: MadeUpStory) -> MadeUpStory:
    """The last step of the trace is missing."""
    trace = story.last.trace
    return story.with_trace(trace[: 15 * 64] + trace[16 * 64 :])


def with_states(story: MadeUpStory, change: Callable[[State], State], **fields: object) -> MadeUpStory:
    """Other states, under a root that fits them."""
    return story.with_states([change(state) for state in story.last.states], **fields)


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

    return with_model(with_states(story, kept).without_states(), parent.model)


def with_model(story: MadeUpStory, model: dict[str, np.ndarray]) -> MadeUpStory:
    """Other weights, signed as those of the run."""
    return story.changed(digest=digest_of(model)).with_files({"model.safetensors": save(model)})


def other_member(story: MadeUpStory) -> MadeUpStory:
    """The old member of a shard in place of the new one, signed as the model."""
    old = story.made[0].model
    model = {**story.last.model, **{name: value for name, value in old.items() if name.startswith("shards.0.")}}
    return with_model(story, model)


def dropped_member(story: MadeUpStory) -> MadeUpStory:
    model = {name: value for name, value in story.last.model.items() if not name.startswith("shards.2.")}
    return with_model(story, model)


def seated(story: MadeUpStory, *emptied: int) -> MadeUpStory:
    """The story whose last run has these empty chairs and fits them; requests stay, and no state was reused."""
    return story.remade(replace(story.last, emptied=emptied), reuse=(), data__tombstones=emptied)


def all_skipped() -> MadeUpStory:
    lineage = Lineage(recipe=small_recipe(least_present=4), count=8, subjects=8)
    story = trained(lineage)
    made = MadeUp(lineage=lineage, emptied=(0, 1, 2, 3, 4, 5))
    assert made.alive == ()
    record = story.record
    told = replace(
        record,
        operation=Operation.RETRAIN,
        algorithm=replace(record.algorithm, name="retrain"),
        data=replace(record.data, tombstones=made.emptied),
        requests=(request_for(made.emptied, lineage.root, story.link().digest),),
        claim=("C2", "C3", "C4"),
    )
    run = replace(story.link(), digest=OTHER, predicate=told)
    return story.and_then(story.last, run).without_states().with_files({"model.safetensors": None})


def early(**fields: object) -> MadeUpStory:
    """A beacon that differs in some field, with everything else as if it had been the one."""
    return base(replace(DATED, beacon=replace(DATED.beacon, **fields)))


def with_only_first_states() -> MadeUpStory:
    """All states but the last; nothing else is known of the end."""
    story = base().without_states().with_files({"model.safetensors": None})
    return story.with_states(story.last.states[:-1])


def called_dead() -> MadeUpStory:
    """Shard 2 is left out of the record altogether."""
    story = forgot(trained(SHARDED), (1, 2))
    states = [state for state in story.last.states if state.shard != 2]
    return (
        dropped_member(story).without_states().with_states(states).changed(alive=(0, 1), reuse=story.record.reuse[:2])
    )
