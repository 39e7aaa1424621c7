"""The schedule against its vectors and against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256
from expunge.core.merkle import leaf_hash
from expunge.core.streams import Stream, lineage_seed, stable_order
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.schedule.digests import executed_digest, step_bytes
from expunge.schedule.placement import dealt_by, number_units, place
from expunge.schedule.recipe import Placement, Recipe
from expunge.schedule.schedule import Schedule

SEED = lineage_seed(sha256(b"recipe"), sha256(b"dataset"))
FORGOTTEN = np.array([3, 17, 42])


@pytest.fixture(scope="module")
def vector() -> Schedule:
    return Schedule(seed=SEED, units=np.arange(100), batch_size=10, stage_epochs=(2,))


def test_schedule_vectors(vector: Schedule) -> None:
    assert leaf_hash(step_bytes(0, 0, vector.chairs(0, 0))).hex() == (
        "e218d8be34aabcc8f1ad9be67535261cd312ad1a313a5e3e58e00deb9feadfd5"
    )
    assert vector.digest().hex() == "d7ff261e6610bee499577297a01a5c6e8528945543496f79be93e2a92b84528a"


def test_touched_steps_and_executed_vector(vector: Schedule) -> None:
    touched = [step for step, chairs in vector.batches(0) if np.isin(chairs, FORGOTTEN).any()]
    assert touched == [3, 4, 10, 13, 15]
    assert vector.first_touch(0, FORGOTTEN) == 3
    chairs = vector.chairs(0, 3)
    assert chairs.tolist() == [87, 35, 28, 10, 42, 92, 17, 76, 91, 16]
    assert executed_digest(0, 3, chairs[~np.isin(chairs, FORGOTTEN)]).hex() == (
        "23572448bda149f38ddd555570269950219d66aa76dde2c1c5c5294d1f32e20d"
    )


def test_placement_vector() -> None:
    found = place(SEED, np.arange(100), shards=4, slices=2, placement=Placement.SLOT)
    assert found[:5].tolist() == [[3, 0], [0, 0], [1, 1], [2, 0], [2, 1]]


def slow_order(seed: bytes, count: int, slots: list[int], shard: int, epoch: int) -> list[int]:
    """Sorted by (key, slot), as the text says, without NumPy."""
    keys = [int(word) for word in Stream(seed, "order", shard, epoch).words(count)]
    return sorted(slots, key=lambda slot: (keys[slot], slot))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(4, 60), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 99)
)
def test_schedule_equals_its_slow_twin(
    count: int, batch: int, shards: int, slices: int, epochs: int, seed: int
) -> None:
    if shards * slices > count:
        return
    lineage = sha256(bytes([seed]))
    schedule = Schedule(
        seed=lineage,
        units=np.arange(count),
        batch_size=batch,
        stage_epochs=(epochs,) * slices,
        shards=shards,
        placement=Placement.SLOT,
    )
    emptied = Stream(lineage, "test").below(count, count // 3)
    total = 0
    for shard in range(shards):
        steps: list[list[int]] = []
        epoch = 0
        for stage in range(slices):
            members = [s for s in range(count) if schedule.cells[s, 0] == shard and schedule.cells[s, 1] <= stage]
            for _ in range(epochs):
                ordered = slow_order(lineage, count, members, shard, epoch)
                steps += [ordered[at : at + batch] for at in range(0, len(ordered), batch)]
                epoch += 1
        assert [chairs.tolist() for _, chairs in schedule.batches(shard)] == steps
        assert schedule.total_steps(shard) == len(steps)
        assert [schedule.chairs(shard, index).tolist() for index in range(len(steps))] == steps
        touches = [index for index, chairs in enumerate(steps) if set(chairs) & set(emptied.tolist())]
        assert schedule.first_touch(shard, emptied) == (touches[0] if touches else None)
        total += sum(len(set(chairs) - set(emptied.tolist())) for chairs in steps)
    assert schedule.work(emptied) == total


def test_work_from_later_steps_counts_the_rest_only(vector: Schedule) -> None:
    slow = sum(int((~np.isin(chairs, FORGOTTEN)).sum()) for step, chairs in vector.batches(0) if step >= 13)
    assert vector.work(FORGOTTEN, starts=(13,)) == slow


def test_work_leaves_out_steps_with_too_few() -> None:
    schedule = Schedule(seed=SEED, units=np.arange(11), batch_size=5, stage_epochs=(3,))
    assert schedule.work(np.zeros(0, dtype=np.int64)) == 33
    assert schedule.work(np.zeros(0, dtype=np.int64), least_present=2) == 30


def test_subjects_stay_together_and_cells_are_balanced() -> None:
    units = np.repeat(np.arange(40), 5)
    cells = place(SEED, units, shards=4, slices=2, placement=Placement.SUBJECT)
    for unit in range(40):
        assert len(np.unique(cells[units == unit], axis=0)) == 1
    sizes = np.bincount(cells[:, 0] * 2 + cells[:, 1])
    assert sizes.tolist() == [25] * 8


@pytest.mark.parametrize("shards", [1, 3])
def test_a_tier_is_a_slice_and_its_people_go_to_the_emptiest_shard(shards: int) -> None:
    units = np.sort(Stream(SEED, "people").below(40, 300))
    units = number_units([str(unit) for unit in units])
    tiers = (np.arange(units.max() + 1) % 7 == 0).astype(np.int64) + (np.arange(units.max() + 1) % 5 == 0)
    cells = place(SEED, units, shards=shards, slices=3, placement=Placement.TIERS, tiers=tiers)
    filled, slow = {(shard, tier): 0 for shard in range(shards) for tier in range(3)}, {}
    for unit in stable_order(Stream(SEED, "shard").words(len(tiers))).tolist():
        sizes = [filled[shard, int(tiers[unit])] for shard in range(shards)]
        slow[unit] = sizes.index(min(sizes)), int(tiers[unit])
        filled[slow[unit]] += int((units == unit).sum())
    assert [tuple(cell) for cell in cells.tolist()] == [slow[unit] for unit in units.tolist()]


def test_tiers_that_seat_nobody_or_are_others_are_refused() -> None:
    units, inputs = np.repeat(np.arange(10), 2), Encoding((Column("x", ColumnKind.NUMERIC),))
    recipe = Recipe(inputs=inputs, classes=(0, 1), slices=2, shards=2)

    def seated(tiers: list[int], told: list[int] | None = None) -> Schedule:
        tiered = dealt_by(recipe, np.array(tiers))
        return Schedule.of(tiered, bytes(32), units, tiers=None if told is None else np.array(told))

    good = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert seated(good, good).cells[:, 1].tolist() == np.repeat(good, 2).tolist()
    for tiers, told, words in (
        (good, None, "deals subjects by tiers, which are not at hand: name their file in `placement` as tiers:FILE"),
        (good, [*good[:-1], 0], "deals subjects by tiers, which are others: name their file"),
        (good[:-1], good[:-1], "deals subjects by tiers, which are others"),
        ([0] * 9 + [1], [0] * 9 + [1], "tier 1 has 1 subject in training, and 2 shards need one each in every tier"),
        ([0] * 10, [0] * 10, "tier 1 has 0 subjects in training"),
        ([0] * 9 + [2**40], [0] * 9 + [2**40], "tiers from 0 to 1099511627776 in 2 slices: a tier is a slice"),
        ([0] * 9 + [-1], [0] * 9 + [-1], "tiers from -1 to 0 in 2 slices"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            seated(tiers, told)


def test_units_are_numbered_by_their_first_slot() -> None:
    assert number_units(["b", "a", "b", "c", "a"]).tolist() == [0, 1, 0, 2, 1]


def test_more_cells_than_people_are_refused(pictures_like: object) -> None:
    from expunge.train.training import make_recipe

    dataset = pictures_like(rows=30, people=3)  # type: ignore[operator]
    recipe: Recipe = make_recipe(dataset, model="mlp", shards=2, slices=2)
    with pytest.raises(InvalidArgument, match="need 4 subjects in training at least, there are 3"):
        Schedule.of(recipe, bytes(32), number_units(dataset.subjects))
