"""Plans: training's empty chairs, and the passes of unlearning."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.schedule.plan import Role, Stretch, TrainingPlan, UnlearningPlan, Walk
from expunge.schedule.recipe import Optimiser, Recipe
from expunge.schedule.schedule import Schedule

SEED = sha256(b"plan")
RETAIN, FORGET = np.arange(0, 20), np.arange(20, 27)


def plan(walk: Walk, least_present: int = 1, **change: object) -> UnlearningPlan:
    return staged([stretch(walk, **change)], [12], least_present=least_present)


def stretch(walk: Walk, **change: object) -> Stretch:
    fields: dict[str, object] = {"retain_batch": 6, "forget_batch": 3, "optimiser": Optimiser(rate=1.0)}
    return Stretch(walk=walk, **{**fields, **change})  # type: ignore[arg-type]


def staged(stretches: list[Stretch], steps: list[int], least_present: int = 1) -> UnlearningPlan:
    return UnlearningPlan(
        seed=SEED,
        stretches=stretches,
        steps=steps,
        retain=RETAIN,
        forget=FORGET,
        count=27,
        least_present=least_present,
    )


def members(found: UnlearningPlan, role: Role, steps: range) -> list[list[int]]:
    return [found.step(i).parts[role].slots.tolist() for i in steps if role in found.step(i).parts]


def joined(found: UnlearningPlan, role: Role, steps: range) -> list[int]:
    return [slot for batch in members(found, role, steps) for slot in batch]


def test_a_retain_pass_sees_everybody_once_in_key_order() -> None:
    found = plan(Walk.RETAIN)
    assert found.steps_per_epoch(0) == 4
    for epoch in range(2):
        keys = Stream(SEED, "unlearn/retain-order", 0, epoch).words(27)
        expected = sorted(RETAIN.tolist(), key=lambda slot: int(keys[slot]))
        assert joined(found, Role.RETAIN, range(4 * epoch, 4 * epoch + 4)) == expected


def test_paired_forget_passes_are_reshuffled() -> None:
    found = plan(Walk.PAIRED)
    first, second = (joined(found, Role.FORGET, range(at, at + 3)) for at in (0, 3))
    assert sorted(first) == sorted(second) == FORGET.tolist()
    assert first != second


def test_orders_do_not_depend_on_the_walk() -> None:
    assert members(plan(Walk.RETAIN), Role.RETAIN, range(8)) == members(plan(Walk.PAIRED), Role.RETAIN, range(8))
    assert members(plan(Walk.FORGET), Role.FORGET, range(6)) == members(plan(Walk.PAIRED), Role.FORGET, range(6))


def test_mixed_walk_is_one_order_over_both() -> None:
    found = plan(Walk.MIXED)
    assert found.steps_per_epoch(0) == 5
    assert sorted(joined(found, Role.RETAIN, range(5))) == list(range(27))
    assert members(found, Role.FORGET, range(5)) == []


def test_forget_then_retain_takes_turns() -> None:
    found = plan(Walk.FORGET_THEN_RETAIN)
    assert found.steps_per_epoch(0) == 3 + 4
    roles = [next(iter(found.step(i).parts)) for i in range(14)]
    assert roles == ([Role.FORGET] * 3 + [Role.RETAIN] * 4) * 2


def test_batches_are_never_larger_than_their_set() -> None:
    found = plan(Walk.PAIRED, retain_batch=500, forget_batch=500)
    parts = found.step(0).parts
    assert (parts[Role.RETAIN].width, parts[Role.FORGET].width) == (20, 7)


def test_small_retain_batches_are_left_out() -> None:
    found = plan(Walk.RETAIN, retain_batch=19, least_present=2)
    assert [len(found.step(i).parts) for i in range(2)] == [1, 0]


def test_rates_span_the_planned_steps() -> None:
    assert plan(Walk.RETAIN).step(6).rate == pytest.approx(0.5)


def test_training_keeps_chairs_and_skips_empty_steps() -> None:
    recipe = Recipe(
        inputs=Encoding((Column("image", ColumnKind.IMAGE, (8, 8), "HW"),)), classes=(0, 1), batch_size=4, epochs=1
    )
    schedule = Schedule(seed=SEED, units=np.arange(12), batch_size=4, stage_epochs=(1,))
    emptied = np.sort(np.concatenate([schedule.chairs(0, 1), schedule.chairs(0, 2)[1:3]]))
    found = TrainingPlan(recipe, schedule, 0, emptied)
    assert [len(found.step(i).parts) for i in range(3)] == [1, 0, 1]
    part = found.step(2).parts[Role.RETAIN]
    assert part.chairs.tolist() == [0, 3]
    assert part.width == 4
    assert part.slots.tolist() == schedule.chairs(0, 2)[[0, 3]].tolist()
    assert found.step(2).rate == TrainingPlan(recipe, schedule, 0, np.zeros(0, dtype=np.int64)).step(2).rate


def test_stages_follow_each_other_and_passes_go_on() -> None:
    """A forget pass, a retain pass, and again: each set's passes are those of a plan without the other set."""
    forget, retain = stretch(Walk.FORGET, epochs=1), stretch(Walk.RETAIN, epochs=1)
    found = staged([forget, retain, forget, retain], [3, 4, 3, 4])
    assert [found.wanted(number) for number in range(4)] == [3, 4, 3, 4]
    assert members(found, Role.RETAIN, range(14)) == members(plan(Walk.RETAIN), Role.RETAIN, range(8))
    assert members(found, Role.FORGET, range(14)) == members(plan(Walk.FORGET), Role.FORGET, range(6))
    alone = [plan(Walk.RETAIN).step(i).parts[Role.RETAIN].draw for i in range(8)]
    among = [found.step(i).parts[Role.RETAIN].draw for i in range(14) if Role.RETAIN in found.step(i).parts]
    assert among == alone == list(range(8))
    assert [found.step(i).stretch for i in range(14)] == [0] * 3 + [1] * 4 + [2] * 3 + [3] * 4
    assert [i for i in range(14) if found.step(i).begins] == [0, 3, 7, 10]


def test_turns_have_calendars_of_their_own() -> None:
    stretches = [
        stretch(Walk.FORGET),
        stretch(Walk.RETAIN, turn=1, optimiser=Optimiser(rate=0.5)),
        stretch(Walk.FORGET),
    ]
    found = staged(stretches, [3, 4, 3])
    alone = staged([stretch(Walk.FORGET)], [6])
    assert [found.step(i).rate for i in (0, 1, 2, 7, 8, 9)] == [alone.step(i).rate for i in range(6)]
    assert found.step(3).rate == 0.5
    assert [found.step(i).turn for i in (0, 3, 7)] == [0, 1, 0]


def test_a_stage_without_steps_is_passed_over() -> None:
    found = staged([stretch(Walk.FORGET), stretch(Walk.RETAIN)], [0, 4])
    assert found.step(0).stretch == 1
    assert list(found.step(0).parts) == [Role.RETAIN]


def test_split_keeps_members_apart_in_the_mixed_order() -> None:
    mixed, split = plan(Walk.MIXED), plan(Walk.SPLIT)
    for index in range(10):
        whole = mixed.step(index).parts[Role.RETAIN].slots.tolist()
        parts = split.step(index).parts
        assert sorted(slot for part in parts.values() for slot in part.slots) == sorted(whole)
        assert all(np.isin(part.slots, FORGET).all() == (role is Role.FORGET) for role, part in parts.items())


def test_paired_by_forget_ends_its_epoch_with_the_forget_pass() -> None:
    found = plan(Walk.PAIRED_BY_FORGET)
    assert found.steps_per_epoch(0) == 3
    assert members(found, Role.RETAIN, range(8)) == members(plan(Walk.RETAIN), Role.RETAIN, range(8))
