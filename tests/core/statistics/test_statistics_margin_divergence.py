"""KLoM against NumPy's histogram in a loop, and the table of its null, which is not 0."""

from __future__ import annotations

import math

import numpy as np
import pytest

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.margin_divergence import MarginDivergence, counts, divergence
from expunge.core.values import Undecided

RNG = np.random.default_rng(2)
ONE, OTHER = RNG.normal(1.0, 30.0, size=(70, 6)), RNG.normal(0.0, 60.0, size=(130, 6))  # some lie beyond ±100


def naive(unlearned: np.ndarray, references: np.ndarray) -> float:
    """Of one row, with a histogram whose last bin is closed."""
    one, other = np.clip(unlearned, -100, 100), np.clip(references, -100, 100)
    both = np.concatenate([one, other])
    own, edges = np.histogram(one, bins=20, range=(both.min(), both.max()))
    theirs, _ = np.histogram(other, bins=edges)
    assert (own.sum(), theirs.sum()) == (len(one), len(other))
    total = 0.0
    for count, expected in zip(own, theirs, strict=True):
        if count:
            share = count / len(one)
            total += share * math.log(share / max(expected / len(other), 1e-5))
    return total


def test_it_is_what_a_loop_over_histograms_finds() -> None:
    assert divergence(ONE, OTHER) == pytest.approx([naive(ONE[:, row], OTHER[:, row]) for row in range(6)], abs=1e-12)
    own, theirs = counts(ONE, OTHER)
    assert own.shape == theirs.shape == (20, 6)
    assert (own.sum(axis=0) == 70).all()  # the largest value has its place
    assert (theirs.sum(axis=0) == 130).all()


@pytest.mark.parametrize(
    ("runs", "alike", "shifted"),
    [(16, 3.89, 4.68), (32, 1.69, 2.78), (64, 0.64, 1.61), (100, 0.35, 1.21), (200, 0.15, 0.86)],
)
def test_the_null_is_that_of_the_table(runs: int, alike: float, shifted: float) -> None:
    one, other = np.random.default_rng(runs).normal(size=(2, runs, 1500))
    assert divergence(one, other).mean() == pytest.approx(alike, rel=0.1)
    assert divergence(one + 1.0, other).mean() == pytest.approx(shifted, rel=0.1)


def test_many_references_help() -> None:
    rng = np.random.default_rng(0)
    assert divergence(rng.normal(size=(100, 300)), rng.normal(size=(2000, 300))).mean() == pytest.approx(0.10, rel=0.1)


def test_supports_that_never_meet_and_rows_that_do_not_vary() -> None:
    assert divergence(np.ones((64, 1)), np.zeros((64, 1))) == pytest.approx([math.log(1e5)])
    assert divergence(np.ones((64, 1)), np.ones((64, 1))) == pytest.approx([0.0])
    assert divergence(np.full((64, 1), 1e9), np.full((64, 1), 101.0)) == pytest.approx([0.0])  # both are held at 100


def test_what_is_told_is_more_than_retrained_models_read() -> None:
    rng = np.random.default_rng(4)
    alike, apart = (rng.normal(shift, 1.0, size=(64, 30)) for shift in (0.0, 1.0))
    references = rng.normal(size=(130, 30))
    found = [MarginDivergence.of(unlearned, references) for unlearned in (alike, apart)]
    nothing, much = (one.interval() for one in found if isinstance(one, MarginDivergence))
    assert (nothing.n, nothing.unit, nothing.scale) == (64, "run", "nats")
    assert nothing.low < 0 < nothing.high < much.low
    first, further = references[:64], references[64:128]
    twin = np.mean([naive(apart[:, row], first[:, row]) - naive(further[:, row], first[:, row]) for row in range(30)])
    assert much.value == pytest.approx(twin, abs=1e-12)
    again = MarginDivergence.of(apart, references)
    assert isinstance(again, MarginDivergence)
    assert again.interval() == much  # its draws are fixed


@pytest.mark.parametrize(
    ("had", "never", "sentence"),
    [
        (ONE[:63], OTHER, "needs 64 unlearned runs and 128 references, has 63 and 130"),
        (ONE, OTHER[:127], "has 70 and 127"),
        (np.where(ONE > 50, np.inf, ONE), OTHER, "margins are not finite: needs a finite number from each run"),
    ],
)
def test_missing_evidence_is_undecided(had: np.ndarray, never: np.ndarray, sentence: str) -> None:
    found = MarginDivergence.of(had, never)
    assert isinstance(found, Undecided)
    assert sentence in found.reason


def test_other_rows_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"\(70, 6\) and \(130, 5\) must be \(runs, rows\), over the same rows"):
        MarginDivergence.of(ONE, OTHER[:, 1:])
