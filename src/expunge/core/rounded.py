"""Correctly rounded solutions: the float32 numbers nearest to the exact W of (A + diag P) W = B, proven. NumPy alone.

Any solver may propose, because the residual R = B − (A + diag P) W is taken in integers: W is a sum of fixed-point
limbs of 44 bits, A is cut into digits of 20, and float64 BLAS multiplies digits without error, since sums of up to
8,192 products stay within 2⁵³. A is a sum of outer products, so no eigenvalue of it is negative; for M = A + diag P and
e = M⁻¹r then eᵀPe ≤ eᵀMe = rᵀM⁻¹r ≤ rᵀP⁻¹r, hence |e_j| ≤ √(Σ r_i²/P_i) / √P_j, never above ‖r‖ / min P. An entry is
settled when the nearest boundary between two float32 numbers is farther away than that. A zero is written without a
sign. (Whether recorded sums *are* sums of outer products, only adding the rows up anew shows.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from expunge.core.errors import RunError

WIDEST = 8_192
BELOW = 2**53  # what A, P and B stay under
LIMB = 44
LIMBS = 8
REFINEMENTS = 64
_HALF = LIMB // 2
_DIGIT = 20
_ROWS = 64  # of A at a time: its digits stay in the processor's cache


@dataclass(frozen=True)
class Rounded:
    """Weights, and what proved the closest call among them: how far its solution can be from what was rounded, at most,
    and how far the boundary is (0 where that is less than float64 tells, and fractions decided)."""

    weights: np.ndarray
    limbs: int
    refinements: int
    bound: float
    margin: float


def solve(sums: np.ndarray, penalty: np.ndarray, targets: np.ndarray, *, start: np.ndarray | None = None) -> Rounded:
    """The solution W (d, c) of (A + diag P) W = B in float32, to nearest, ties to even.

    Args:
        sums: A (d, d), int64, a sum of outer products.
        penalty: P (d,), int64, each at least 1.
        targets: B (d, c), int64.
        start: A proposal for W; it may save a refinement and never changes a bit.
    """
    system = _System(sums, penalty, targets)
    factor = _Factor(sums, penalty)
    iterate = system.begun()
    if start is not None:
        iterate = system.refined(iterate, np.asarray(start, dtype=np.float64)) or iterate
    for refinements in range(REFINEMENTS + 1):
        limbs = iterate.limbs()
        if limbs > LIMBS:
            break
        settled = system.settled(iterate, system.error(iterate))
        if settled is not None:
            return Rounded(settled[0], limbs, refinements, *settled[1:])
        refined = system.refined(iterate, factor.solve(iterate.residual.astype(np.float64)))
        if refined is None:
            break
        iterate = refined
    raise RunError(
        f"the rounding of the weights is not proven by {LIMBS} limbs of {LIMB} bits and {REFINEMENTS} refinements, and "
        "is never guessed: the sums are too ill-conditioned or too large, take a larger penalty"
    )


@dataclass(frozen=True)
class _Iterate:
    """W as an exact sum of float64 terms, and its exact residual times 2^places."""

    terms: tuple[np.ndarray, ...]
    residual: np.ndarray
    places: int

    def limbs(self) -> int:
        """Limbs from the top bit of the largest weight to the last place."""
        top = math.frexp(float(np.abs(sum(self.terms)).max()))[1]
        return max(1, -(-(self.places + top) // LIMB))

    def at(self, row: int, column: int) -> Fraction:
        return sum((Fraction(float(term[row, column])) for term in self.terms), Fraction(0))


class _System:
    """A, P and B within their bounds, and what is exact about them."""

    def __init__(self, sums: np.ndarray, penalty: np.ndarray, targets: np.ndarray) -> None:
        width = len(targets)
        if width > WIDEST:
            raise RunError(
                f"sums of {width:,} columns: their products are exact up to {WIDEST:,}, take a smaller width"
            )
        if sums.shape != (width, width) or penalty.shape != (width,) or targets.ndim != 2 or not targets.size:
            raise RunError(
                f"sums {sums.shape}, penalty {penalty.shape} and targets {targets.shape} do not fit one another"
            )
        for name, values in (("sums", sums), ("penalties", penalty), ("targets", targets)):
            if values.dtype != np.int64 or not -BELOW < values.min() <= values.max() < BELOW:
                raise RunError(f"the {name} are not whole numbers within ±2⁵³: products with them would not be exact")
        if penalty.min() < 1:
            raise RunError(f"a penalty of {penalty.min()} is below 1: without one the weights may have no bound")
        if (sums != sums.T).any():
            raise RunError("the sums are not symmetric, as sums of outer products are: they were altered")
        self.sums, self.penalty, self.targets = sums, penalty[:, None], targets
        largest = max(int(sums.max()), -int(sums.min()))
        self.digits = next(count for count in (1, 2, 3) if largest <= 2 ** (_DIGIT * count - 1))
        self.diagonal = sums.diagonal()
        self.alone = np.count_nonzero(sums, axis=1) == (self.diagonal != 0)  # bound to no other row

    def begun(self) -> _Iterate:
        return _Iterate((np.zeros(self.targets.shape),), self.targets, 0)

    def refined(self, iterate: _Iterate, correction: np.ndarray) -> _Iterate | None:
        """W plus the 44 leading bits of a correction, given in units of the last place.

        The residual is computed modulo 2⁶⁴ and beside that in floating point; None where the latter, with its error,
        does not show that the former is the whole.
        """
        largest = float(np.abs(correction).max())
        gain = LIMB - 1 - math.frexp(largest)[1]
        if not 0.0 < largest < math.inf or abs(gain) > LIMBS * LIMB:
            return None
        limb = np.rint(np.ldexp(correction, gain))
        rise, fall = max(gain, 0), max(-gain, 0)
        residual = _shifted(iterate.residual, rise) - _shifted(self.penalty * limb.astype(np.int64), fall)
        parts = [np.ldexp(iterate.residual.astype(np.float64), rise), np.ldexp(-limb * self.penalty, fall)]
        for exponent, product in self._products(limb):
            residual -= _shifted(product.astype(np.int64), exponent + fall)
            parts.append(np.ldexp(-product, exponent + fall))
        doubt = 2.0**-48 * sum(np.abs(part) for part in parts)  # of at most eight terms and seven additions
        if not (np.abs(sum(parts)) + doubt < 2.0**62).all():
            return None
        places = iterate.places + rise
        return _Iterate((*iterate.terms, np.ldexp(limb, fall - places)), residual, places)

    def _products(self, limb: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """A times a limb: exact products of digits, each with its power of two."""
        high = np.rint(limb * 2.0**-_HALF)
        halves = np.hstack([limb - high * 2.0**_HALF, high])
        found = np.empty((self.digits, *halves.shape))
        for first in range(0, len(self.sums), _ROWS):
            rows = slice(first, first + _ROWS)
            left = self.sums[rows].astype(np.float64)
            for place in reversed(range(self.digits)):
                digit = np.rint(left * 2.0 ** (-_DIGIT * place)) if place else left
                found[place, rows] = digit @ halves
                left = left - digit * 2.0 ** (_DIGIT * place) if place else left
        columns = limb.shape[1]
        return [
            (_DIGIT * place + _HALF * half, found[place, :, half * columns : (half + 1) * columns])
            for place in range(self.digits)
            for half in (0, 1)
        ]

    def error(self, iterate: _Iterate) -> np.ndarray:
        """How far each entry of W can be from the solution; 0 where a row stands alone and its residual is 0."""
        residual = iterate.residual.astype(np.float64)
        size = np.sqrt((residual**2 / self.penalty).sum(axis=0)) * (1 + 2.0**-30)  # the sum's own roundings
        bound = np.ldexp(size / np.sqrt(self.penalty), -iterate.places)
        return np.where(self.alone[:, None] & (iterate.residual == 0), 0.0, bound)

    def settled(self, iterate: _Iterate, error: np.ndarray) -> tuple[np.ndarray, float, float] | None:
        """The rounding of every entry with the closest call's bound and margin, or None while an entry is open."""
        near = sum(reversed(iterate.terms))
        assert isinstance(near, np.ndarray)
        slack = 2.0**-52 * len(iterate.terms) * sum(np.abs(term) for term in iterate.terms)
        weights = near.astype(np.float32)
        above, below = (np.nextafter(weights, np.float32(end)).astype(np.float64) for end in (math.inf, -math.inf))
        distance = np.minimum((weights + above) / 2 - near, near - (weights + below) / 2)
        open_still = error >= distance * (1 - 2.0**-50) - slack
        if (open_still & (error >= distance + slack)).any():
            return None
        for row, column in np.argwhere(open_still):  # nearer to a boundary than float64 can tell
            told = self._told(iterate.at(row, column), Fraction(float(error[row, column])))
            if told is None:
                return None
            weights[row, column] = told
        margin = np.maximum(distance - slack, 0.0)
        closest = np.unravel_index(np.argmax(error / np.maximum(margin, 2.0**-900)), error.shape)
        return weights + np.float32(0), float(error[closest]), float(margin[closest])

    def _told(self, value: Fraction, error: Fraction) -> np.float32 | None:
        """The rounding of a solution that lies within ``error`` of ``value``, where there is only one.

        A solution is a fraction over det M, at most the product of M's diagonal (Hadamard): one that is nearer to a
        boundary than such a fraction can be lies on it.
        """
        low, high = _nearest(value - error), _nearest(value + error)
        if low == high:
            return low
        boundary = (Fraction(float(low)) + Fraction(float(high))) / 2
        determinant = math.prod(int(own) for own in self.diagonal + self.penalty[:, 0])
        on_it = (abs(value - boundary) + error) * boundary.denominator * determinant < 1
        return _nearest(boundary) if on_it else None


class _Factor:
    """The Cholesky factor of A + diag P in float64: its answers are proposals and prove nothing."""

    def __init__(self, sums: np.ndarray, penalty: np.ndarray) -> None:
        matrix = sums.astype(np.float64)
        matrix[np.diag_indices(len(sums))] += penalty
        try:
            self.lower = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            raise RunError(
                "the sums with their penalty are not positive definite, as far as float64 can tell: they are no sums "
                "of outer products, or too ill-conditioned; take a larger penalty"
            ) from None
        self.blocks = [slice(first, first + _ROWS) for first in range(0, len(sums), _ROWS)]
        self.inverses = [np.linalg.inv(self.lower[block, block]) for block in self.blocks]

    def solve(self, right: np.ndarray) -> np.ndarray:
        """About (A + diag P)⁻¹ times ``right``: forward, then backward, block by block."""
        found = right.copy()
        for block, inverse in zip(self.blocks, self.inverses, strict=True):
            before = slice(0, block.start)
            found[block] = inverse @ (found[block] - self.lower[block, before] @ found[before])
        for block, inverse in zip(reversed(self.blocks), reversed(self.inverses), strict=True):
            behind = slice(block.stop, None)
            found[block] = inverse.T @ (found[block] - self.lower[behind, block].T @ found[behind])
        return found


def _shifted(values: np.ndarray, places: int) -> np.ndarray:
    """Values times 2^places modulo 2⁶⁴."""
    return values << places if places < 64 else np.zeros_like(values)


def _nearest(value: Fraction) -> np.float32:
    """The float32 nearest to a fraction, ties to even."""
    guess = np.float32(float(value))
    candidates = (np.nextafter(guess, np.float32(end)) for end in (-math.inf, guess, math.inf))
    return min(candidates, key=lambda number: (abs(Fraction(float(number)) - value), int(number.view(np.uint32)) & 1))
