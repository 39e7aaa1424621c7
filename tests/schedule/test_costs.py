"""Formulas of what replay costs, against sums over every draw, the tables of their source, and the real schedule."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest

from expunge.core.errors import InvalidArgument
from expunge.schedule.costs import fewest_shards, least_asked, share_of_slices, share_of_stages, share_of_tiers
from expunge.schedule.recipe import Placement
from expunge.schedule.rewinds import Rewinds
from expunge.schedule.schedule import Schedule

ROWS = 1200
BATCH = 4


def every_draw(shards: int, rows: list[Fraction], epochs: list[int], asked: list[Fraction], requests: int) -> Fraction:
    """The mean over all ways in which the requests fall on cells."""
    work = [many * sum(rows[: stage + 1]) for stage, many in enumerate(epochs)]
    mean = Fraction(0)
    for cells in product(product(range(shards), range(len(rows))), repeat=requests):
        chance, again = Fraction(1), Fraction(0)
        for _, stage in cells:
            chance *= asked[stage] / shards
        for shard in range(shards):
            first = min((stage for own, stage in cells if own == shard), default=len(rows))
            again += sum(work[first:], Fraction(0))
        mean += chance * again
    return mean / (shards * sum(work))


@pytest.mark.parametrize(("shards", "requests"), [(1, 1), (1, 3), (2, 2), (3, 3)])
def test_stages_against_every_draw(shards: int, requests: int) -> None:
    rows, epochs = [Fraction(1, 2), Fraction(3, 10), Fraction(1, 5)], [3, 2, 4]
    asked = [Fraction(1, 10), Fraction(1, 10), Fraction(4, 5)]
    found = share_of_stages(shards, [float(row) for row in rows], epochs, [float(share) for share in asked], requests)
    assert found == pytest.approx(float(every_draw(shards, rows, epochs, asked, requests)), rel=1e-12)


def test_the_short_forms_are_the_general_one() -> None:
    for shards, slices, requests in product((1, 2, 11), (1, 3, 8), (1, 4, 64)):
        alike = [1 / slices] * slices
        general = share_of_stages(shards, alike, [2] * slices, alike, requests)
        assert share_of_slices(shards, slices, requests) == pytest.approx(general, rel=1e-12)
    for shards, asked in product((1, 4), (0.0, 0.3, 1.0)):
        general = share_of_stages(shards, [0.9, 0.1], [9, 1], [1 - asked, asked], 1)
        assert share_of_tiers(shards, asked, 1 / (9 * 0.9 + 1)) == pytest.approx(general, rel=1e-12)


def test_a_rewind_of_one_shard() -> None:
    """k rows leave 1/(k + 1) of one epoch of E in front of them."""
    for requests, epochs in product((1, 2, 10), (1, 10)):
        found = share_of_stages(1, [1.0], [epochs], [1.0], requests, rewind=True)
        assert found == pytest.approx(1 - 1 / ((requests + 1) * epochs), rel=1e-12)


@pytest.mark.parametrize(
    ("shards", "slices", "times"),
    [
        (4, 1, (4.00, 2.29, 1.46, 1.11, 1.01, 1.00, 1.00)),
        (8, 8, (11.3, 5.94, 3.28, 1.97, 1.36, 1.02, 1.00)),
        (11, 8, (15.5, 8.06, 4.33, 2.48, 1.59, 1.05, 1.00)),
        (16, 4, (21.3, 10.9, 5.77, 3.19, 1.92, 1.09, 1.00)),
        (50, 10, (71.4, 36.0, 18.3, 9.43, 5.01, 1.75, 1.07)),
    ],
)
def test_the_table_of_slices(shards: int, slices: int, times: tuple[float, ...]) -> None:
    for requests, expected in zip((1, 2, 4, 8, 16, 64, 256), times, strict=True):
        assert 1 / share_of_slices(shards, slices, requests) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize(
    ("shards", "epochs", "times"),
    [
        (1, (19, 1), (1.9, 6.7, 2.6, 1.2, 15.5, 10.8, 5.1)),
        (2, (9, 1), (3.6, 10.1, 3.7, 1.6, 16.8, 8.3, 5.6)),
        (4, (9, 1), (7.2, 20.1, 6.2, 2.5, 33.7, 11.9, 7.0)),
        (8, (8, 2), (13.1, 27.1, 7.8, 3.0, 35.5, 10.7, 4.8)),
    ],
)
def test_the_table_of_tiers(shards: int, epochs: tuple[int, int], times: tuple[float, ...]) -> None:
    """As it is printed, to one place behind the point."""
    asked = ((0.5, 1), (0.9, 1), (0.9, 4), (0.9, 16), (0.99, 1), (0.99, 4), (0.99, 16))
    for (late, requests), expected in zip(asked, times, strict=True):
        share = share_of_stages(shards, [0.9, 0.1], epochs, [1 - late, late], requests)
        assert 1 / share == pytest.approx(expected, abs=0.05)


def test_the_fewest_shards() -> None:
    assert [fewest_shards(slices, 1, 15) for slices in (1, 2, 4, 8, 4096)] == [15, 13, 12, 11, 11]
    assert [fewest_shards(4, requests, 15) for requests in (4, 16, 64)] == [44, 174, 694]
    assert fewest_shards(1, 10**6, 15) is None


def test_the_law_of_tiers() -> None:
    last = 1 / (9 * 0.9 + 1)
    assert least_asked(1, last, 15) is None
    assert [least_asked(shards, last, 15) for shards in (2, 3, 4)] == pytest.approx([0.974, 0.90, 0.825], abs=0.002)
    assert least_asked(16, last, 15) == 0
    cases = ((3, 0.9, 15.1), (4, 0.8, 13.9), (4, 0.9, 20.1), (4, 0.95, 25.9))
    for shards, asked, times in cases:
        share = share_of_tiers(shards, asked, last)
        assert 1 / share == pytest.approx(times, rel=0.005)
        assert least_asked(shards, last, 1 / share) == pytest.approx(asked)
    with pytest.raises(InvalidArgument, match="the last stage is 1 of the training: a stage is a share between"):
        least_asked(4, 1, 15)


TIERS = (np.arange(ROWS) % 10 == 0).astype(np.int64)


@cache
def schedules(shards: int, epochs: tuple[int, ...], tiered: bool) -> tuple[Schedule, ...]:
    placed = {"placement": Placement.TIERS, "tiers": TIERS} if tiered else {"placement": Placement.SLOT}
    return tuple(
        Schedule(
            seed=bytes([seed]) * 32,
            units=np.arange(ROWS),
            batch_size=BATCH,
            stage_epochs=epochs,
            shards=shards,
            **placed,
        )
        for seed in range(16)
    )


@pytest.mark.parametrize(("shards", "epochs"), [(4, (8,)), (1, (4, 4, 4)), (4, (2, 2, 2, 2))])
@pytest.mark.parametrize("requests", [1, 4, 16])
def test_formulas_are_what_schedules_give(shards: int, epochs: tuple[int, ...], requests: int) -> None:
    alike = [1 / len(epochs)] * len(epochs)
    drawn = schedules(shards, epochs, tiered=False)
    for rewind in (False, True):
        formula = share_of_stages(shards, alike, epochs, alike, requests, rewind=rewind)
        close_to_drawn(formula, drawn, np.ones(ROWS) / ROWS, requests, rewind)


@pytest.mark.parametrize(("shards", "epochs"), [(1, (19, 1)), (2, (9, 1)), (4, (9, 1)), (8, (8, 2))])
@pytest.mark.parametrize(("late", "requests"), [(0.5, 1), (0.9, 1), (0.9, 4), (0.9, 16), (0.99, 4)])
def test_tiers_are_what_schedules_give(shards: int, epochs: tuple[int, int], late: float, requests: int) -> None:
    asked = np.where(TIERS == 1, late / TIERS.sum(), (1 - late) / (ROWS - TIERS.sum()))
    drawn = schedules(shards, epochs, tiered=True)
    for rewind in (False, True):
        formula = share_of_stages(shards, [0.9, 0.1], epochs, [1 - late, late], requests, rewind=rewind)
        close_to_drawn(formula, drawn, asked, requests, rewind)


def close_to_drawn(formula: float, drawn: tuple[Schedule, ...], asked: np.ndarray, requests: int, rewind: bool) -> None:
    """Within three standard errors over schedules, each of which answers 40 drawn batches, or .5 %.

    With ``rewind`` half a step more in every shard that is touched: the step that a row sits in is done again whole.
    """
    draws, means = np.random.default_rng(0), []
    for schedule in drawn:
        shards = range(schedule.shards)
        kept = [range(schedule.total_steps(at)) if rewind else schedule.stage_ends(at) for at in shards]
        rewinds = Rewinds.of(schedule, kept)
        slots = draws.choice(ROWS, size=(40, requests), p=asked)
        means.append(rewinds.begun(np.repeat(np.arange(40), requests), slots.ravel()).mean() / rewinds.whole)
    whole = sum(stage.epochs * len(stage.slots) for shard in drawn[0].stages for stage in shard)
    expected = formula + rewind * (1 - (1 - 1 / drawn[0].shards) ** requests) * drawn[0].shards * BATCH / 2 / whole
    error = np.std(means, ddof=1) / np.sqrt(len(means))
    assert abs(np.mean(means) - expected) <= max(3 * error, 0.005 * expected)
