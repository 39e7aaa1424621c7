"""Which segments are replayed, and what a draw may miss: the specification's table, brute force and simulation."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom

from expunge.core.errors import InvalidArgument
from expunge.core.streams import lineage_seed
from expunge.records.record import State
from expunge.records.trace_file import TraceMode, step_records
from expunge.schedule.placement import Placement
from expunge.schedule.schedule import Schedule
from expunge.schedule.seats import emptied_steps
from expunge.verify.levels.segments import Segment, always_replayed, draw, layout_of, missed, needed, segments_of

SEED = lineage_seed(bytes(32), bytes(32))


def state(shard: int, step: int) -> State:
    return State(shard=shard, step=step, weights=b"w", buffers=b"b", optimiser=b"o", trace=b"t")


def schedule(rows: int = 100, shards: int = 1, stages: tuple[int, ...] = (2,)) -> Schedule:
    return Schedule(
        seed=SEED,
        units=np.arange(rows),
        batch_size=10,
        stage_epochs=stages,
        shards=shards,
        placement=Placement.SLOT,
    )


def test_segments_lie_between_states_and_begin_at_the_initial_weights() -> None:
    found = segments_of([state(3, 4), state(0, 10), state(0, 5), state(0, 12)])
    assert found == (Segment(0, 0, 5), Segment(0, 5, 10), Segment(0, 10, 12), Segment(3, 0, 4))
    assert str(found[1]) == "shard 0 steps 5–9"


def test_a_recorded_state_at_step_0_is_a_segment_without_steps() -> None:
    assert segments_of([state(1, 0), state(1, 3)]) == (Segment(1, 0, 0), Segment(1, 0, 3))


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(0, 59), max_size=8),
    st.sampled_from([((2,), 1), ((1, 2), 1), ((3,), 3), ((1, 1, 1), 2)]),
)
def test_emptied_steps_are_those_whose_chairs_hold_a_tombstone(
    gone: set[int], shape: tuple[tuple[int, ...], int]
) -> None:
    made = schedule(60, shape[1], shape[0])
    for shard in range(made.shards):
        slow = [step for step, chairs in made.batches(shard) if gone & set(chairs.tolist())]
        assert emptied_steps(made, shard, np.array(sorted(gone), dtype=np.int64)).tolist() == slow


def test_what_is_always_replayed() -> None:
    """First; with an empty chair; after the last such one; and the extremes of the change, ten of a hundred here."""
    segments = segments_of([state(shard, step) for shard in (0, 1) for step in range(2, 102, 2)])
    size = {segment: 1.0 + at / 1000 for at, segment in enumerate(segments)}
    small, large = Segment(1, 50, 52), Segment(1, 60, 62)
    size[small], size[large] = 0.5, 9.0
    found = always_replayed(segments, {0: np.array([11, 12, 93]), 1: np.zeros(0, dtype=np.int64)}, size.__getitem__)
    assert {s.start for s in found if s.shard == 0} == {0, 10, 12, 92, 94, 96, 98, 2}  # 2: among the three smallest
    assert {s for s in found if s.shard == 1} == {
        Segment(1, 0, 2),
        small,
        large,
        Segment(1, 96, 98),
        Segment(1, 98, 100),
    }


def test_a_draw_holds_what_is_fixed_and_so_many_others() -> None:
    segments = segments_of([state(0, step) for step in range(1, 101)])
    fixed = segments[:7]
    found = draw(segments, fixed, 20, random.Random(1))
    assert (found.always, len(found.drawn), found.pool) == (fixed, 20, 93)
    assert not set(found.drawn) & set(fixed)
    assert found.chosen == tuple(sorted((*fixed, *found.drawn)))
    assert draw(segments, fixed, 20, random.Random(2)).drawn != found.drawn
    assert draw(segments, fixed, 1000, random.Random(1)).chosen == segments
    with pytest.raises(InvalidArgument, match="segments -1 must be"):
        draw(segments, fixed, -1, random.Random(1))


TABLE = """
1  | 2.5 % | 5.0 % | 10.0 % | 20.0 % | 40.0 % | 80.0 % | 380 | 396
2  | 4.9 % | 9.8 % | 19.0 % | 36.0 % | 64.1 % | 96.0 % | 311 | 360
5  | 11.9 % | 22.7 % | 41.1 % | 67.4 % | 92.4 % | >99.9 % | 180 | 240
10 | 22.6 % | 40.5 % | 65.6 % | 89.6 % | 99.4 % | >99.9 % | 103 | 146
20 | 40.5 % | 65.1 % | 88.5 % | 99.0 % | >99.9 % | >99.9 % | 55 | 81
"""


@pytest.mark.parametrize("line", TABLE.strip().splitlines())
def test_the_specifications_table_to_its_printed_precision(line: str) -> None:
    bad, *cells = (cell.strip() for cell in line.split("|"))
    for k, cell in zip((10, 20, 40, 80, 160, 320), cells, strict=False):
        seen = 100 * (1 - missed(400, int(bad), k))
        assert seen > Fraction("99.9") if cell[0] == ">" else f"{float(seen):.1f} %" == cell
    assert [needed(400, int(bad), chance) for chance in (0.95, 0.99)] == [int(cell) for cell in cells[6:]]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 60), st.data())
def test_missing_is_the_quotient_of_binomials(pool: int, data: st.DataObject) -> None:
    bad, drawn = data.draw(st.integers(0, pool)), data.draw(st.integers(0, pool))
    assert missed(pool, bad, drawn) == Fraction(math.comb(pool - bad, drawn), math.comb(pool, drawn))


def test_missing_by_counting_every_draw() -> None:
    for pool, bad, drawn in itertools.product((5, 7), (0, 1, 3), (0, 2, 4)):
        draws = [set(chosen) for chosen in itertools.combinations(range(pool), drawn)]
        clean = sum(not chosen & set(range(bad)) for chosen in draws)
        assert missed(pool, bad, drawn) == Fraction(clean, len(draws))


def test_large_counts_neither_overflow_nor_lose_digits() -> None:
    found = float(missed(1_000_000, 20, 500_000))
    assert found == pytest.approx(float(hypergeom.pmf(0, 1_000_000, 20, 500_000)), rel=1e-9)
    assert missed(10**7, 1, 10**7 - 1) == Fraction(1, 10**7)


@pytest.mark.parametrize("pool", [1, 6, 23])
def test_needed_is_the_least_count_that_suffices(pool: int) -> None:
    for bad, chance in itertools.product(range(1, pool + 1), (0.0, 0.5, 0.95, 1.0)):
        slow = next(k for k in range(pool + 1) if 1 - missed(pool, bad, k) >= Fraction(str(chance)))
        assert needed(pool, bad, chance) == slow


def test_impossible_counts_are_refused() -> None:
    for wrong in ((5, 6, 1), (5, 1, 6), (5, -1, 1)):
        with pytest.raises(InvalidArgument):
            missed(*wrong)
    with pytest.raises(InvalidArgument):
        needed(5, 0, 0.9)


CASES = [(400, m, k) for m in (1, 5, 20) for k in (10, 40, 160)] + [(23, 3, 4), (1000, 7, 100)]
AUDITS = 2000


def test_simulated_audits_see_forgeries_as_often_as_the_formula_says() -> None:
    """2,000 draws each, against the exact binomial 99 % interval around the formula (acceptance 12).

    Of eleven such intervals one may well be left by chance; two may not, and none by far.
    """
    outside: list[tuple[int, int, int]] = []
    for total, bad, count in CASES:
        segments = [Segment(0, at, at + 1) for at in range(total)]
        chance = random.Random(f"audits/{total}/{bad}/{count}")
        seen = 0
        for _ in range(AUDITS):
            forged = set(chance.sample(segments[1:], bad))
            seen += bool(forged & set(draw(segments, segments[:1], count, chance).drawn))
        expected = float(1 - missed(total - 1, bad, count))
        low, high = binom.interval(0.99, AUDITS, expected)
        if not low <= seen <= high:
            outside.append((total, bad, count))
        low, high = binom.interval(0.9999, AUDITS, expected)
        assert low <= seen <= high
    assert len(outside) <= 1, outside


def test_steps_are_found_in_the_trace_whatever_lies_between_them() -> None:
    made = schedule(60, 3, (1, 2))
    alive = (0, 2)
    for mode, width in ((TraceMode.LOSSES, 64), (TraceMode.GRADIENTS, 96)):
        content, where = b"", {}
        for shard in alive:
            for step in range(made.total_steps(shard)):
                where[shard, step] = bytes([shard]) * 32 + bytes([step]) * (width - 32)
                content += where[shard, step]
            content += bytes(32) * 3  # its epochs
        layout = layout_of(made, alive, mode)
        assert layout.size == len(content)
        for shard in alive:
            start, size = layout.steps(shard, 1, 3)
            found = step_records(content[start : start + size], mode)
            assert found == [(bytes([shard]) * 32, *[bytes([step]) * 32] * (width // 32 - 1)) for step in (1, 2)]
