"""The pass over all steps: the published vectors, and what it says of made-up traces of any shape."""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verify.lineages import Lineage, MadeUp, small_recipe
from tests.verify.records import codes, forged, forgot, trained, verdict

from expunge.core.hashing import sha256
from expunge.core.streams import ZERO_BEACON, lineage_seed
from expunge.records.limits import Code
from expunge.records.trace_file import TraceMode
from expunge.records.verdict import Status
from expunge.schedule.recipe import Calendar, Optimiser, Placement
from expunge.schedule.schedule import Schedule
from expunge.verify.levels.segments import layout_of
from expunge.verify.levels.steps import scan
from expunge.verify.levels.structure import alive_shards

VECTOR = Schedule(
    seed=lineage_seed(sha256(b"recipe"), sha256(b"dataset"), ZERO_BEACON),
    units=np.arange(100),
    batch_size=10,
    stage_epochs=(2,),
)


def test_the_published_root_is_computed_again() -> None:
    found = scan(VECTOR, record=trained().record, least_present=1)
    assert found.root.hex() == "d7ff261e6610bee499577297a01a5c6e8528945543496f79be93e2a92b84528a"
    assert found.steps == 20


def test_the_published_step_is_what_a_trace_must_hold() -> None:
    """Step 3 of the vector, with slots 3, 17 and 42 empty."""
    lineage = trained().lineage
    record = replace(forgot(trained(), (3, 17)).record, checkpoints=None)
    record = replace(record, data=replace(record.data, tombstones=(3, 17, 42)), alive=(0,))
    length = layout_of(VECTOR, (0,), TraceMode.LOSSES).size
    assert length == 20 * 64 + 2 * 32
    stated = bytearray(length)
    stated[3 * 64 : 3 * 64 + 32] = bytes.fromhex("23572448bda149f38ddd555570269950219d66aa76dde2c1c5c5294d1f32e20d")
    found = scan(VECTOR, record=record, least_present=1, trace=io.BytesIO(bytes(stated)))
    assert [(one.epoch, one.steps) for one in found.departures] == [(0, 9), (1, 10)]
    assert lineage.mode is TraceMode.LOSSES


@st.composite
def lineages(draw: st.DrawFn) -> Lineage:
    shards, slices = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    batch = draw(st.integers(1, 7))
    recipe = small_recipe(
        shards=shards,
        slices=slices,
        epochs=draw(st.integers(1, 3)),
        batch_size=batch,
        least_present=draw(st.integers(1, min(batch, 3))),
        placement=draw(st.sampled_from((Placement.SUBJECT, Placement.SLOT))),
    )
    subjects = draw(st.integers(shards * slices, 18))
    return Lineage(
        recipe=recipe,
        count=draw(st.integers(subjects, 24)),
        subjects=subjects,
        mode=draw(st.sampled_from(TraceMode)),
        interval=draw(st.integers(1, 9)),
    )


@settings(max_examples=60, deadline=None)
@given(lineages(), st.data())
def test_honest_records_of_any_shape_hold_and_one_row_more_or_less_does_not(
    lineage: Lineage, data: st.DataObject
) -> None:
    emptied = tuple(data.draw(st.sets(st.integers(0, lineage.count - 1), max_size=lineage.count // 2), label="emptied"))
    first = trained(lineage)
    if not first.last.alive or (emptied and not MadeUp(lineage=lineage, emptied=emptied).alive):
        return
    story = forgot(first, emptied) if emptied else first
    with tempfile.TemporaryDirectory() as folder:
        found = verdict(story, Path(folder) / "honest")
        assert found.status is Status.ACCEPTED, found.refusals
        made = story.last
        schedule = lineage.schedule
        shard = data.draw(st.sampled_from(made.alive), label="shard")
        step = data.draw(st.integers(0, schedule.total_steps(shard) - 1), label="step")
        present = made.present(shard, step)
        slot = data.draw(st.integers(0, lineage.count - 1), label="slot")
        others = tuple(one for one in present if one != slot) if slot in present else (*present, slot)
        found_codes = codes(forged(story, {(shard, step): others}), Path(folder) / "forged")
        assert Code.SCHEDULE_BATCH_MISMATCH.value in found_codes
        if not any(reuse.step > step for reuse in story.record.reuse):  # else its states are not the ancestor's either
            assert found_codes == [Code.SCHEDULE_BATCH_MISMATCH.value]


@settings(max_examples=40, deadline=None)
@given(lineages(), st.sets(st.integers(0, 23), max_size=20))
def test_shards_are_alive_where_a_step_has_enough_rows(lineage: Lineage, emptied: set[int]) -> None:
    gone = tuple(sorted(slot for slot in emptied if slot < lineage.count))
    assert alive_shards(lineage.recipe, lineage.schedule, gone) == MadeUp(lineage=lineage, emptied=gone).alive


@pytest.mark.parametrize("calendar", Calendar)
@pytest.mark.parametrize("total", [1, 7, 500, 30_000])
def test_the_mean_rate_is_that_of_all_steps(calendar: Calendar, total: int) -> None:
    optimiser = Optimiser(calendar=calendar, rate=0.1)
    slow = sum(optimiser.rate_at(step, total) for step in range(total)) / total
    assert optimiser.mean_rate(total) == pytest.approx(slow, rel=1e-3)
