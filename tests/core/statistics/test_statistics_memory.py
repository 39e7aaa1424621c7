"""ρ, τ and who stands out, against a double loop, simulation, and what must not matter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kstest, t

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.memory import Memory, bounded

ROWS = 40


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """References, witnesses and one model; every row has its own mean, spread and memory."""
    rng = np.random.default_rng(5)
    mean, spread, known = rng.normal(2, 2, ROWS), np.exp(rng.normal(-1, 0.5, ROWS)), rng.uniform(0, 2, ROWS)
    answers = [bounded(mean + spread * rng.normal(size=(count, ROWS))) for count in (7, 1)]
    return answers[0], bounded(mean + known + spread * rng.normal(size=(3, ROWS))), answers[1][0]


def by_loops(references: np.ndarray, witnesses: np.ndarray, own: np.ndarray) -> tuple[float, float, list[float], float]:
    """(ρ, τ, e, effective rows) as the definitions say it, row by row."""
    n, rows = references.shape
    mean = [sum(float(one[i]) for one in references) / n for i in range(rows)]
    variance = [sum((float(one[i]) - mean[i]) ** 2 for one in references) / (n - 1) for i in range(rows)]
    shrunk = [((n - 1) * one + 4 * sum(variance) / rows) / (n + 3) for one in variance]
    direction = [sum(float(one[i]) - mean[i] for one in witnesses) / len(witnesses) for i in range(rows)]
    left = sum((float(own[i]) - mean[i]) * direction[i] for i in range(rows)) / sum(d * d for d in direction)
    off = [(float(own[i]) - mean[i]) / math.sqrt(shrunk[i] * (1 + 1 / n)) for i in range(rows)]
    far = math.log(sum(e * e for e in off) / rows)
    return left, far, off, sum(d * d for d in direction) ** 2 / sum(d**4 for d in direction)


def test_they_are_what_a_double_loop_finds(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    references, witnesses, own = drawn
    memory = Memory(references, witnesses)
    left, far, off, rows = by_loops(references, witnesses, own)
    assert memory.left(own) == pytest.approx(left, abs=1e-10)
    assert memory.distance(own) == pytest.approx(far, abs=1e-10)
    assert memory.outstanding(own) == pytest.approx(off, abs=1e-10)
    assert memory.effective_rows == pytest.approx(rows, abs=1e-10)
    lefts, fars = memory.null
    for index in range(len(references)):
        expected = by_loops(np.delete(references, index, axis=0), witnesses, references[index])
        assert (lefts[index], fars[index]) == pytest.approx(expected[:2], abs=1e-10)


def test_retrained_is_zero_and_untouched_is_one(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    memory = Memory(drawn[0], drawn[1])
    assert memory.left(memory.mean) == 0.0
    assert memory.left(memory.mean + memory.direction) == pytest.approx(1.0)
    assert memory.left(memory.mean - 0.5 * memory.direction) == pytest.approx(-0.5)
    assert memory.left(memory.mean + 0.25 * memory.direction) == pytest.approx(0.25)


def test_damage_across_the_memory_is_seen_by_the_distance_alone(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    memory = Memory(drawn[0], drawn[1])
    across = np.random.default_rng(1).normal(size=ROWS)
    across -= memory.direction * (across @ memory.direction) / (memory.direction @ memory.direction)
    own = memory.mean + 5 * across
    assert memory.left(own) == pytest.approx(0.0, abs=1e-12)
    assert memory.distance(own) > memory.null[1].max() + 2


@pytest.mark.parametrize("turned", ["rows", "references", "witnesses"])
def test_no_order_matters(drawn: tuple[np.ndarray, np.ndarray, np.ndarray], turned: str) -> None:
    references, witnesses, own = drawn
    memory = Memory(references, witnesses)
    found = {
        "rows": lambda: (Memory(references[:, ::-1], witnesses[:, ::-1]), own[::-1]),
        "references": lambda: (Memory(references[::-1], witnesses), own),
        "witnesses": lambda: (Memory(references, witnesses[::-1]), own),
    }
    other, answered = found[turned]()
    assert other.left(answered) == pytest.approx(memory.left(own), abs=1e-12)
    assert other.distance(answered) == pytest.approx(memory.distance(own), abs=1e-12)


def test_bounded_margins_keep_small_ones_and_hold_large_ones() -> None:
    assert bounded([0.0, 0.01, -1e4, 1e4, 4.0]) == pytest.approx([0.0, 0.01, -4.0, 4.0, 4 * math.tanh(1)], abs=1e-6)


@pytest.mark.parametrize("read", [lambda memory, own: memory.left(own), lambda memory, own: memory.distance(own)])
def test_a_model_among_its_like_ranks_evenly(read: Callable[[Memory, np.ndarray], float]) -> None:
    """Whoever of six retrained models is taken for the unlearned one: its place among the others is uniform."""
    rng = np.random.default_rng(2)
    places: list[float] = []
    for _ in range(400):
        models = rng.normal(size=(6, ROWS))
        memory = Memory(models, rng.normal(1.0, 1.0, size=(2, ROWS)))
        null = [read(memory.without(index), own) for index, own in enumerate(models)]
        places.append((sorted(null).index(null[0]) + rng.uniform()) / 6)
    assert kstest(places, "uniform").pvalue > 0.01


@pytest.mark.parametrize("references", [5, 8, 16])
@pytest.mark.parametrize("spreads", ["equal", "different"])
def test_honest_rows_stand_out_no_more_often_than_said(references: int, spreads: str) -> None:
    rng = np.random.default_rng(references)
    single = family = 0
    draws = 300
    for _ in range(draws):
        spread = np.exp(rng.normal(0, 0.5 * (spreads == "different"), ROWS))
        models = bounded(rng.normal(1, 2, ROWS) + spread * rng.normal(size=(references + 1, ROWS)))
        memory = Memory(models[1:], models[1:2] + 1)
        single += int((2 * t.sf(np.abs(memory.outstanding(models[0])), references + 3) <= 0.05).sum())
        family += bool(memory.who_stands_out(models[0]).min() <= 0.05)
    assert 0.015 <= single / (draws * ROWS) <= 0.055
    assert family / draws <= 0.07


def test_the_row_that_is_still_known_stands_out(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    memory = Memory(drawn[0], drawn[1])
    own = memory.mean.copy()
    own[3] += 12 * memory.spread[3]
    assert (memory.who_stands_out(own) <= 0.05).nonzero()[0].tolist() == [3]


@pytest.mark.parametrize(
    ("references", "witnesses", "sentence"),
    [
        (np.zeros((3, 4)), np.zeros((1, 5)), "over the same rows"),
        (np.zeros((1, 4)), np.zeros((1, 4)), "1 references and 1 witnesses: 2 and 1 are the fewest"),
        (np.zeros((3, 4)), np.zeros((0, 4)), "3 references and 0 witnesses"),
        (np.full((3, 4), np.nan), np.zeros((1, 4)), "must be finite"),
    ],
)
def test_what_says_nothing_is_refused(references: np.ndarray, witnesses: np.ndarray, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        Memory(references, witnesses)


def test_where_nothing_is_remembered_nothing_is_left_of_it() -> None:
    memory = Memory(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[2.0, 3.0]]))
    assert memory.effective_rows == 0.0
    assert math.isnan(memory.left(np.array([1.0, 1.0])))
