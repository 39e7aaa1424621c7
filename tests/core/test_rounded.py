"""Rounded solutions against fractions.Fraction, whatever proposes them; every boundary, tie and refusal."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.core import rounded
from expunge.core.errors import RunError
from expunge.core.rounded import Rounded, solve

Sums = tuple[np.ndarray, np.ndarray, np.ndarray]


def whole(values: object) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def exactly(sums: np.ndarray, penalty: np.ndarray, targets: np.ndarray) -> list[list[Fraction]]:
    """The solution by elimination in fractions."""
    width = len(sums)
    rows = [
        [Fraction(int(sums[i, j]) + (int(penalty[i]) if i == j else 0)) for j in range(width)]
        + [Fraction(int(value)) for value in targets[i]]
        for i in range(width)
    ]
    for i in range(width):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(width):
            if k != i and rows[k][i]:
                rows[k] = [value - rows[k][i] * own for value, own in zip(rows[k], rows[i], strict=True)]
    return [row[width:] for row in rows]


def nearest(value: Fraction) -> float:
    """The nearest float32 by its definition: a multiple of 2^(exponent − 23), down to 2⁻¹⁴⁹; ties to even."""
    exponent = -150
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    quantum = Fraction(2) ** (max(exponent, -126) - 23)
    return float(round(value / quantum) * quantum)


def twin(system: Sums) -> np.ndarray:
    return np.array([[nearest(value) for value in row] for row in exactly(*system)], dtype=np.float32)


def same(found: np.ndarray, wanted: np.ndarray) -> bool:
    return found.dtype == np.float32 and found.tobytes() == (wanted + np.float32(0)).tobytes()


def random_system(generator: np.random.Generator, widest: int = 12) -> Sums:
    """Sums of 1 to 30 rows of any size up to 10⁶: often of low rank, so that only the penalty keeps them regular."""
    width, rows, columns = (int(generator.integers(1, most + 1)) for most in (widest, 30, 3))
    size = int(10 ** generator.uniform(0, 6))
    features = generator.integers(-size, size + 1, (rows, width)) * generator.integers(0, 2, width)
    targets = features.T @ generator.integers(-1, 2, (rows, columns))
    return features.T @ features, generator.integers(1, int(10 ** generator.uniform(0.4, 4)), width), targets


def condition(system: Sums) -> float:
    return float(np.linalg.cond(system[0] + np.diag(system[1])))


def test_equals_fractions_on_random_systems() -> None:
    generator = np.random.default_rng(0)
    for _ in range(150):
        system = random_system(generator)
        found = solve(*system)
        assert same(found.weights, twin(system))
        assert found.bound < found.margin


def largest_everywhere(rows: int, penalty: int) -> Sums:
    """Sums of rows whose every feature is 2047: one direction holds everything, the others hold the penalty alone."""
    sums = np.full((12, 12), rows * 2047**2)
    sums[-1], sums[:, -1], sums[-1, -1] = rows * 2047, rows * 2047, rows
    return sums, whole([penalty] * 11 + [1]), np.stack([sums[:, -1], -sums[:, -1] // 3], axis=1)


@pytest.mark.parametrize("rows", [1, 3, 10**6, 2**31 - 2**20])
def test_features_that_are_the_largest_everywhere(rows: int) -> None:
    """Up to n · 2047² just under 2⁵³, with a penalty of 4 and with the usual one; past float64's reach, a refusal."""
    for penalty in (4, max(1, rows * 2047**2 >> 16)):
        system = largest_everywhere(rows, penalty)
        assert same(solve(*system).weights, twin(system))
    if rows > 10**9:  # condition 2⁵⁶: no factor in float64 comes nearer
        with pytest.raises(RunError, match="the sums are too ill-conditioned or too large, take a larger penalty"):
            solve(*largest_everywhere(rows, 1))


@pytest.mark.parametrize("largest", [40, 2047])
def test_a_row_of_nearly_all_leverage(largest: int) -> None:
    """A column that one row alone fills; without that row the column is empty."""
    generator = np.random.default_rng(9)
    features = generator.integers(-5, 6, (40, 5))
    features[:, 2] = 0
    features[7, 2] = largest
    sides = generator.choice([-1, 1], (40, 2))
    for kept in (np.arange(40), np.arange(40) != 7):
        part = features[kept]
        system = part.T @ part, whole([1] * 5), part.T @ sides[kept]
        assert same(solve(*system).weights, twin(system))


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.tuples(
            st.lists(st.lists(st.integers(-2047, 2047), min_size=width, max_size=width), min_size=1, max_size=4),
            st.lists(st.sampled_from([1, 2, 3, 2**20, 2**40, 2**52]), min_size=width, max_size=width),
            st.lists(st.integers(-(2**40), 2**40) | st.integers(-2, 2), min_size=width, max_size=width),
        )
    )
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_equals_fractions_on_systems_that_are_searched(drawn: tuple[list[list[int]], list[int], list[int]]) -> None:
    features, penalty, targets = (whole(part) for part in drawn)
    system = features.T @ features, penalty, targets[:, None]
    assert same(solve(*system).weights, twin(system))


def starts(system: Sums, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Proposals by LU, by Cholesky, and by the factor of sums that hold one row more."""
    sums, penalty, targets = system
    matrix = sums + np.diag(penalty)
    more = generator.integers(-3, 4, len(sums))
    lower, stale = np.linalg.cholesky(matrix), np.linalg.cholesky(matrix + np.outer(more, more))
    return {
        "lu": np.linalg.solve(matrix, targets),
        "cholesky": np.linalg.solve(lower.T, np.linalg.solve(lower, targets)),
        "stale": np.linalg.solve(stale.T, np.linalg.solve(stale, targets)),
    }


def test_any_proposal_ends_in_one_digest_on_a_thousand_systems() -> None:
    generator = np.random.default_rng(1)
    digests = {name: hashlib.sha256() for name in ("none", "lu", "cholesky", "stale")}
    worst, cast_differs = 0.0, 0
    for _ in range(1000):
        system = random_system(generator)
        worst = max(worst, condition(system))
        alone = solve(*system).weights
        digests["none"].update(alone.tobytes())
        for name, start in starts(system, generator).items():
            digests[name].update(solve(*system, start=start).weights.tobytes())
            cast_differs += name == "lu" and not same(start.astype(np.float32), alone)
    assert len({digest.digest() for digest in digests.values()}) == 1
    assert worst > 1e11
    assert cast_differs > 0  # a cast of float64 is not the rounding


class Proposer:
    """Another solver in the place of the factor, for every refinement."""

    def __init__(self, sums: np.ndarray, penalty: np.ndarray) -> None:
        self.matrix = (sums + np.diag(penalty)).astype(np.float64)


class ByElimination(Proposer):
    def solve(self, right: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.matrix, right)


class Stale(Proposer):
    """The system as it was before one row of two hundred went."""

    def solve(self, right: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.matrix + np.ones_like(self.matrix), right)


class Single(Proposer):
    """In float32: half the digits a time."""

    def solve(self, right: np.ndarray) -> np.ndarray:
        scale = float(np.abs(right).max())
        return np.linalg.solve(self.matrix.astype(np.float32), (right / scale).astype(np.float32)) * scale


@pytest.mark.parametrize("other", [ByElimination, Stale, Single])
def test_another_solver_refines_to_the_same_bits(other: type, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    systems: list[tuple[Sums, Rounded]] = []
    for _ in range(40):
        features = generator.integers(-40, 41, (200, int(generator.integers(2, 9))))
        system = features.T @ features, whole([3] * features.shape[1]), features.T @ generator.choice([-1, 1], (200, 2))
        systems.append((system, solve(*system)))
    monkeypatch.setattr(rounded, "_Factor", other)
    for system, found in systems:
        again = solve(*system)
        assert same(again.weights, found.weights)
        assert again.refinements >= found.refinements


@pytest.mark.parametrize("start", [0.0, math.inf, math.nan, 1e300, 1e-300, 1e18, -7.5, 2.0**-10])
def test_a_proposal_of_nothing_does_no_harm(start: float) -> None:
    system = random_system(np.random.default_rng(3))
    found = solve(*system)
    again = solve(*system, start=np.full(system[2].shape, start))
    assert same(again.weights, found.weights)


CODE = """
import hashlib, numpy as np
from expunge.core.rounded import solve
generator = np.random.default_rng(4)
features = generator.integers(0, 256, (500, 300))
targets = features.T @ generator.choice([-1, 1], (500, 4))
print(hashlib.sha256(solve(features.T @ features, np.full(300, 1000), targets).weights.tobytes()).hexdigest())
"""


def test_one_digest_with_one_thread_and_two() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", CODE],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1


def tridiagonal(width: int, diagonal: int) -> Sums:
    """B = e₁: the k-th weight is about ±diagonal^−k."""
    sums = np.diag(whole([diagonal] * width)) + np.eye(width, k=1, dtype=np.int64) + np.eye(width, k=-1, dtype=np.int64)
    return sums, whole([1] * width), np.eye(width, 1, dtype=np.int64)


@pytest.mark.parametrize("bits", [20, 36, 37, 41])
def test_subnormal_weights_and_those_that_vanish(bits: int) -> None:
    system = tridiagonal(4, 2**bits)
    found = solve(*system)
    assert same(found.weights, twin(system))
    assert (0 < abs(found.weights[-1, 0]) < 2.0**-126) == (bits in (36, 37))
    if bits == 41:
        assert exactly(*system)[3][0] < 0  # and yet no zero has a sign
        assert found.weights[3, 0] == 0
        assert not np.signbit(found.weights[3, 0])


def test_columns_that_no_row_has_and_classes_that_nobody_is_in() -> None:
    generator = np.random.default_rng(5)
    features = generator.integers(-2047, 2048, (20, 6))
    features[:, [1, 4]] = 0
    targets = features.T @ np.stack([generator.choice([-1, 1], 20), np.zeros(20, dtype=np.int64)], axis=1)
    system = features.T @ features, whole([1] * 6), targets
    found = solve(*system)
    assert same(found.weights, twin(system))
    assert not found.weights[[1, 4]].any()
    assert found.limbs == solve(system[0][:1, :1], system[1][:1], targets[:1, :1]).limbs  # zeros cost none
    nothing = solve(np.zeros((6, 6), dtype=np.int64), whole([1] * 6), np.zeros((6, 2), dtype=np.int64))
    assert not nothing.weights.any()
    assert (nothing.limbs, nothing.refinements, nothing.bound) == (1, 0, 0.0)
    assert nothing.margin == pytest.approx(2.0**-150)


@pytest.mark.parametrize(("target", "wanted"), [(2**24 + 1, 2**24), (2**24 + 3, 2**24 + 4), (-(2**24) - 1, -(2**24))])
def test_an_exact_tie_goes_to_the_even_number(target: int, wanted: int) -> None:
    """In a row of its own, where the residual ends at 0; and beside a third, where it never does."""
    found = solve(whole([[2**25 - 1]]), whole([1]), whole([[target]]))
    assert found.weights[0, 0] == np.float32(wanted / 2**25)
    assert found.bound == 0
    matrix = 3 * whole([[2**26, 2**24], [2**24, 2**26]])
    weights = Fraction(target, 2**24), Fraction(1, 3)
    targets = whole([[int(sum(int(own) * weight for own, weight in zip(row, weights, strict=True)))] for row in matrix])
    system = matrix - np.diag([7, 7]), whole([7, 7]), targets
    assert exactly(*system) == [[weights[0]], [weights[1]]]
    found = solve(*system)
    assert same(found.weights, twin(system))
    assert found.weights[0, 0] == np.float32(wanted / 2**24)
    assert found.bound > 0
    assert found.margin == 0


def test_a_tie_that_cannot_be_told_from_a_neighbour_is_refused() -> None:
    """Twenty pairs as above: a determinant of 1,100 bits is beyond what eight limbs tell apart."""
    matrix = 3 * np.kron(np.eye(20, dtype=np.int64), whole([[2**26, 2**24], [2**24, 2**26]]))
    targets = np.tile(whole([[3 * 4 * (2**24 + 1) + 2**24], [3 * (2**24 + 1) + 2**26]]), (20, 1))
    with pytest.raises(RunError, match="not proven by 8 limbs of 44 bits and 64 refinements, and is never guessed"):
        solve(matrix - 7 * np.eye(40, dtype=np.int64), whole([7] * 40), targets)


def near_a_boundary(inner: int, outer: int, off: int) -> Sums:
    """Two rows whose first weight is as near to 1 + 2⁻²⁴ as their determinant allows, without being it."""
    determinant = inner * outer - off * off
    boundary = 2**24 + 1
    rest = -boundary * determinant % 2**24
    numerator = (boundary * determinant + rest) // 2**24
    first = numerator * pow(outer, -1, off) % off
    second = (first * outer - numerator) // off
    matrix = whole([[inner, off], [off, outer]])
    penalty = whole([2**39, 2**39])
    return matrix - np.diag(penalty), penalty, whole([[first], [second]])


def test_a_boundary_nearer_than_two_limbs_takes_one_more() -> None:
    system = near_a_boundary(2**41 + 9, 2**41 + 21, 2**32 + 15)
    distance = abs(exactly(*system)[0][0] - 1 - Fraction(1, 2**24))
    assert 0 < distance < Fraction(1, 2**80)
    found = solve(*system)
    assert same(found.weights, twin(system))
    away = system[0], system[1], system[2] + whole([[2**20], [0]])
    assert same(solve(*away).weights, twin(away))
    assert (solve(*away).limbs, found.limbs) == (2, 3)
    other = system[0], system[1], -system[2]
    assert same(solve(*other).weights, -found.weights)


def test_the_residual_is_exact_to_the_last_bit() -> None:
    generator = np.random.default_rng(6)
    for width, largest, size in ((3, 2**53 - 1, 2**50), (66, 2**53 - 1, 2**50), (20, 2**39, 9), (20, 7, 2**50)):
        half = generator.integers(-largest, largest + 1, (width, width))
        sums = np.triu(half) + np.triu(half, 1).T
        sums[0, 0], sums[-1, -1] = largest, -largest
        penalty, targets = generator.integers(1, 2**52, width), generator.integers(-size, size, (width, 2))
        system = rounded._System(sums, penalty, targets)
        limb = np.rint(generator.uniform(-(2.0**43), 2.0**43, (width, 2)))
        limb[0] = 2.0**43, -(2.0**43)
        matrix = sums.astype(object) + np.diag(penalty.astype(object))
        product = sum(part * 2**power for power, part in _whole(system._products(limb)))
        assert (product == sums.astype(object) @ _integers(limb)).all()
        near = np.linalg.solve(matrix.astype(np.float64), targets)
        iterate = system.refined(system.begun(), near)
        for _ in range(3):
            assert iterate is not None
            found = np.array([[iterate.at(i, j) for j in range(2)] for i in range(width)])
            left = (targets.astype(object) - matrix @ found) * 2**iterate.places
            assert (left == iterate.residual.astype(object)).all()
            correction = np.linalg.solve(matrix.astype(np.float64), iterate.residual.astype(np.float64))
            iterate = system.refined(iterate, correction)


def _integers(values: np.ndarray) -> np.ndarray:
    return np.array([[int(value) for value in row] for row in values], dtype=object)


def _whole(parts: list[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    return [(power, _integers(part)) for power, part in parts]


def test_a_residual_beyond_64_bits_is_seen() -> None:
    system = rounded._System(whole([[2**52]]), whole([1]), whole([[2**52]]))
    assert system.refined(system.begun(), np.array([[1.0 - 2.0**-20]])) is None
    assert system.refined(system.begun(), np.array([[1.0 - 2.0**-52]])) is not None


@pytest.mark.parametrize("value", [2**19 - 1, 2**19, 2**23 - 1, 2**39, 2**39 + 1, 2**43 - 1, 2**53 - 1])
def test_products_are_exact_where_a_wider_digit_would_round(value: int) -> None:
    width, limbs = 1101, [2**43, 2**43 - 1, 2**27 - 1, 2**21 - 1]
    sums = np.broadcast_to(whole(value), (width, width))
    system = rounded._System(sums, np.ones(width, dtype=np.int64), np.ones((width, 4), dtype=np.int64))
    parts = _whole(system._products(np.tile(np.array(limbs, dtype=np.float64), (width, 1))))
    assert (sum(part * 2**power for power, part in parts) == np.array([width * value * limb for limb in limbs])).all()


def test_products_of_the_widest_sums_are_exact() -> None:
    """8,192 products of the largest digit and the largest half are 2⁵³, not a bit less."""
    digits, halves = np.full((4, rounded.WIDEST), -(2.0**19)), np.full((rounded.WIDEST, 20), 2.0**21)
    halves[0] -= 1
    assert (digits @ halves == -(2.0**53) + 2.0**19).all()


def test_the_bound_holds_for_every_entry_of_every_iterate() -> None:
    """Also where a row's own residual is 0 and its weight is wrong all the same."""
    generator = np.random.default_rng(8)
    pair = whole([[1, 1], [1, 1]]), whole([1, 1]), whole([[0], [3]])
    tight = whole([[0]]), whole([3]), whole([[1]])
    for sums, penalty, targets in (pair, tight, *(random_system(generator) for _ in range(40))):
        system, solution = rounded._System(sums, penalty, targets), exactly(sums, penalty, targets)
        factor = rounded._Factor(sums, penalty)
        iterate = system.begun()
        for _ in range(3):
            error = system.error(iterate)
            for (row, column), bound in np.ndenumerate(error):
                assert abs(iterate.at(row, column) - solution[row][column]) <= bound
            norm = np.linalg.norm(np.ldexp(iterate.residual.astype(np.float64), -iterate.places), axis=0)
            assert (error <= norm / penalty.min() * (1 + 1e-8)).all()
            iterate = system.refined(iterate, factor.solve(iterate.residual.astype(np.float64))) or iterate


def test_an_entry_that_float64_cannot_place_is_placed_by_fractions() -> None:
    """W lies half a step of float64 above a boundary: as a float64 it seems to lie a whole one."""
    system = rounded._System(whole([[2**50, 2], [2, 2**50]]), whole([1, 1]), whole([[1], [1]]))
    boundary, step = 1 + 2.0**-24, 2.0**-52
    first, second = np.full((2, 1), boundary + step), np.full((2, 1), -step / 2 + step / 64)
    iterate = rounded._Iterate((first, second), np.ones((2, 1), dtype=np.int64), 0)
    assert system.settled(iterate, np.full((2, 1), step * 0.75)) is None
    settled = system.settled(iterate, np.full((2, 1), step * 0.25))
    assert settled is not None
    assert settled[0].tolist() == [[1 + 2.0**-23]] * 2
    assert settled[1:] == (step * 0.25, 0)


GOOD: Sums = whole([[5, 2], [2, 4]]), whole([1, 1]), whole([[3], [-1]])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a, p, b: (whole([[0, 2**40], [2**40, 0]]), p, b), "not positive definite, as far as float64 can tell"),
        (lambda a, p, b: (whole([[5, 2], [3, 4]]), p, b), "not symmetric, as sums of outer products are"),
        (lambda a, p, b: (a * 2**51, p, b), "the sums are not whole numbers within ±2⁵³"),
        (lambda a, p, b: (a.astype(np.float64), p, b), "the sums are not whole numbers within ±2⁵³"),
        (lambda a, p, b: (a, p * 2**53, b), "the penalties are not whole numbers within ±2⁵³"),
        (lambda a, p, b: (a, p, b * -(2**62)), "the targets are not whole numbers within ±2⁵³"),
        (lambda a, p, b: (a, whole([1, 0]), b), "a penalty of 0 is below 1"),
        (lambda a, p, b: (a, p[:1], b), "do not fit one another"),
        (lambda a, p, b: (a, p, b[:, :0]), "do not fit one another"),
        (lambda a, p, b: (a, p, np.zeros((8193, 1), dtype=np.int64)), "exact up to 8,192, take a smaller width"),
    ],
)
def test_refusals(change: Callable[..., Sums], sentence: str) -> None:
    system = change(*GOOD)
    with pytest.raises(RunError, match=sentence):
        solve(*system)
