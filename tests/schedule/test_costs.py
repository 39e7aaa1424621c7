"""Formulas of what replay costs, against sums over every draw, the tables of their source, and the real schedule."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest

from expunge.core.errors import InvalidArgument
from expunge.schedule.costs import least_asked, share_of_stages, works
from expunge.schedule.recipe import Placement
from expunge.schedule.rewinds import Rewinds
from expunge.schedule.schedule import Schedule

ROWS = 1200
BATCH = 4


def share_of_slices(shards: int, slices: int, requests: int) -> float:
    """The closed form where slices are alike, their stages take equally many epochs, and any row may be asked for."""
    untouched = sum(stage * (1 - stage / (shards * slices)) ** requests for stage in range(1, slices + 1))
    return 1 - 2 * untouched / (slices * (slices + 1))


def share_of_tiers(shards: int, asked: float, last: float) -> float:
    """The law of tiers for one request: one that is not for the last tier costs its whole shard."""
    return (1 - asked * (1 - last)) / shards


def times_of_slices(shards: int, slices: int, requests: int) -> float:
    """How many times cheaper than retraining, by the form that the product has."""
    alike = [1 / slices] * slices
    return 1 / share_of_stages(shards, alike, [1] * slices, alike, requests)


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
        assert times_of_slices(shards, slices, requests) == pytest.approx(expected, rel=0.005)


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
    for slices, requests, fewest in (
        (1, 1, 15),
        (2, 1, 13),
        (4, 1, 12),
        (8, 1, 11),
        (4, 4, 44),
        (4, 16, 174),
        (4, 64, 694),
    ):
        assert times_of_slices(fewest - 1, slices, requests) < 14.999 < times_of_slices(fewest, slices, requests)


def test_the_law_of_tiers() -> None:
    late, whole = works([0.9, 0.1], [9, 1])[-1], sum(works([0.9, 0.1], [9, 1]))
    last = late / whole
    assert last == pytest.approx(1 / (9 * 0.9 + 1))
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
    formula = share_of_stages(shards, alike, epochs, alike, requests)
    close_to_drawn(formula, drawn, np.ones(ROWS) / ROWS, requests)


@pytest.mark.parametrize(("shards", "epochs"), [(1, (19, 1)), (2, (9, 1)), (4, (9, 1)), (8, (8, 2))])
@pytest.mark.parametrize(("late", "requests"), [(0.5, 1), (0.9, 1), (0.9, 4), (0.9, 16), (0.99, 4)])
def test_tiers_are_what_schedules_give(shards: int, epochs: tuple[int, int], late: float, requests: int) -> None:
    asked = np.where(TIERS == 1, late / TIERS.sum(), (1 - late) / (ROWS - TIERS.sum()))
    drawn = schedules(shards, epochs, tiered=True)
    close_to_drawn(share_of_stages(shards, [0.9, 0.1], epochs, [1 - late, late], requests), drawn, asked, requests)


def close_to_drawn(formula: float, drawn: tuple[Schedule, ...], asked: np.ndarray, requests: int) -> None:
    """Within three standard errors over schedules, each of which answers 40 drawn batches, or .5 %."""
    draws, means = np.random.default_rng(0), []
    for schedule in drawn:
        rewinds = Rewinds.of(schedule, [schedule.stage_ends(at) for at in range(schedule.shards)])
        slots = draws.choice(ROWS, size=(40, requests), p=asked)
        means.append(rewinds.begun(np.repeat(np.arange(40), requests), slots.ravel()).mean() / rewinds.whole)
    error = np.std(means, ddof=1) / np.sqrt(len(means))
    assert abs(np.mean(means) - formula) <= max(3 * error, 0.005 * formula)
