"""U-LiRA against a naive loop; its null, and what including the target in its own fit would read."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import norm

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.unlearning_likelihood_ratio import UnlearningLikelihoodRatio, leave_one_out
from expunge.core.values import Measurement, Undecided

RNG = np.random.default_rng(5)
HAD, NEVER = RNG.normal(1.0, 1.5, size=(11, 12)), RNG.normal(size=(9, 12))


def told(unlearned: np.ndarray, never: np.ndarray) -> UnlearningLikelihoodRatio:
    found = UnlearningLikelihoodRatio.of(unlearned, never)
    assert isinstance(found, UnlearningLikelihoodRatio)
    return found


def included(sides: np.ndarray) -> float:
    """Accuracy of an attack that fits its Gaussians to all runs, the one that is scored among them."""
    spread = sides.std(axis=1, ddof=1)[:, None]
    fitted = [norm.logpdf(sides, sides[fit].mean(axis=0), spread[fit]) for fit in (0, 1)]
    return float(np.mean([fitted[0][0] > fitted[1][0], fitted[0][1] < fitted[1][1]]))


def test_it_is_what_a_naive_loop_finds() -> None:
    found = told(HAD, NEVER)
    assert found.runs == 9
    right = np.zeros((18, 12))
    scores: list[list[float]] = [[], []]
    for side, runs in enumerate((HAD[:9], NEVER)):
        for target in range(9):
            for row in range(12):
                fits: list[float] = []
                for group in (HAD[:9], NEVER):
                    others = [group[run, row] for run in range(9) if run != target]
                    mean = sum(others) / 8
                    spread = math.sqrt(sum((value - mean) ** 2 for value in others) / 7)
                    fits.append(math.log(NormalDist(mean, spread).pdf(runs[target, row])))
                ratio = fits[0] - fits[1]
                chance = 1 / (1 + math.exp(-ratio))
                assert found.scores[side, target, row] == pytest.approx(ratio, abs=1e-10)
                right[9 * side + target, row] = (chance > 0.5) == (side == 0)
                scores[side].append(ratio)
    accuracy = found.accuracy
    assert isinstance(accuracy, Measurement)
    assert (accuracy.value, accuracy.n, accuracy.unit) == (pytest.approx(right.mean(), abs=1e-12), 18, "run")
    reach = 2.109816 * right.mean(axis=1).std(ddof=1) / math.sqrt(18)
    assert (accuracy.low, accuracy.high) == pytest.approx((right.mean() - reach, right.mean() + reach), abs=1e-6)
    assert found.by_row == pytest.approx(right.mean(axis=0))
    assert found.worst == pytest.approx(np.quantile(right.mean(axis=0), 0.95))
    assert found.sure == sum(share > 0.9 for share in right.mean(axis=0))
    pairs = [float(one > other) for one in scores[0] for other in scores[1]]
    assert found.area == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    threshold = sorted(scores[1])[-1]  # one of 108
    caught = found.caught
    assert isinstance(caught, Measurement)
    assert caught.value == pytest.approx(np.mean([score > threshold for score in scores[0]]))


@pytest.mark.parametrize("runs", [4, 8, 16])
def test_alike_they_are_not_told_apart(runs: int) -> None:
    scores = leave_one_out(np.random.default_rng(runs).normal(size=(2, runs, 120_000 // runs)))
    assert UnlearningLikelihoodRatio(scores).right.mean() == pytest.approx(0.5, abs=0.01)
    assert UnlearningLikelihoodRatio(scores).area == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("runs", "reads"), [(4, 0.70), (8, 0.63), (16, 0.58), (64, 0.54)])
def test_a_target_in_its_own_fit_looks_known(runs: int, reads: float) -> None:
    """Why it is left out: nothing is known here."""
    assert included(np.random.default_rng(runs).normal(size=(2, runs, 120_000 // runs))) == pytest.approx(
        reads, abs=0.01
    )


def test_the_few_that_leak_are_seen() -> None:
    rng = np.random.default_rng(8)
    never, had = rng.normal(size=(2, 16, 40))
    had[:, :4] += 6.0
    found = told(had, never)
    assert found.sure == 4
    assert found.worst > 0.9
    assert found.by_row.mean() == pytest.approx(0.55, abs=0.04)


def test_what_is_told_apart_in_every_run_is_no_certainty() -> None:
    rng = np.random.default_rng(1)
    apart = told(rng.normal(size=(8, 5)) + 100.0, rng.normal(size=(8, 5))).accuracy
    assert isinstance(apart, Measurement)
    assert (apart.value, apart.high) == (1.0, 1.0)
    assert apart.low == pytest.approx(0.025 ** (1 / 16))


def test_exchanging_the_sides_changes_no_accuracy() -> None:
    one, other = told(HAD[:9], NEVER), told(NEVER, HAD[:9])
    assert one.by_row == pytest.approx(other.by_row)
    assert one.area == pytest.approx(other.area)


@pytest.mark.parametrize(
    ("had", "never", "sentence"),
    [
        (HAD[:7], NEVER, "needs 8 runs a side, has 7"),
        (HAD[:0], NEVER, "needs 8 runs a side, has 0"),
        (np.where(HAD > 3, np.nan, HAD), NEVER, "margins are not finite"),
        (np.zeros((9, 12)), NEVER, "all runs of a side answer a row alike: needs runs that vary"),
    ],
)
def test_missing_evidence_is_undecided(had: np.ndarray, never: np.ndarray, sentence: str) -> None:
    found = UnlearningLikelihoodRatio.of(had, never)
    assert isinstance(found, Undecided)
    assert sentence in found.reason


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="12 and 11 rows: both sides must answer the same rows"):
        UnlearningLikelihoodRatio.of(HAD, NEVER[:, 1:])
    with pytest.raises(InvalidArgument, match=r"unlearned has shape \(11,\); \(runs, rows\)"):
        UnlearningLikelihoodRatio.of(HAD[:, 0], NEVER)
