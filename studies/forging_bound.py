"""How near two random batches bring a step, from the spread of the per-example gradients alone. No torch.

Σ is the population covariance of the per-example gradients at one state, tr Σ its trace: the mean squared distance of
an example's gradient from their mean. ḡ_B is the mean gradient of a batch of b rows; for plain SGD two batches lead to
weights ``rate · ‖ḡ_B − ḡ_B′‖`` apart. The bound holds for every state and every model, and it never reaches a distance
of 0: rounding does (``adversary.forging.absorption``).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from expunge.core.errors import InvalidArgument


def covariance_trace(gradients: npt.ArrayLike) -> float:
    """tr Σ of (examples, parameters), divided by n: the examples are the population, no sample of it."""
    rows = np.asarray(gradients, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        raise InvalidArgument(f"gradients of shape {rows.shape} must be (examples, parameters), one example at least")
    return float(np.square(rows - rows.mean(axis=0)).sum() / len(rows))


def expected_square(trace: float, batch: int, *, population: int | None = None) -> float:
    """E‖ḡ_B − ḡ_B′‖² of two independent batches of ``batch`` rows.

    2 tr Σ / b where rows are drawn with replacement. With ``population`` N each batch is drawn without replacement from
    N rows, which multiplies it by (N − b)/(N − 1); the two batches are still independent and may share rows.
    """
    _check(trace, batch)
    expected = 2.0 * trace / batch
    if population is None:
        return expected
    if population < max(2, batch):
        raise InvalidArgument(f"a batch of {batch} rows cannot be drawn from {population} without replacement")
    return expected * ((population - batch) / (population - 1))  # a factor of at most 1, in rounding too


def expected_rms(rate: float, trace: float, batch: int, *, population: int | None = None) -> float:
    """Root mean square distance of the weights after one step of plain SGD with either batch."""
    return abs(rate) * math.sqrt(expected_square(trace, batch, population=population))


def chance_beyond(distance: float, rate: float, trace: float, batch: int, *, population: int | None = None) -> float:
    """Upper bound on P(rate · ‖ḡ_B − ḡ_B′‖ ≥ distance), by Markov's inequality on the square; at most 1."""
    if not distance > 0:
        raise InvalidArgument(f"distance {distance} must lie above 0: nothing bounds the chance of equal bytes")
    return min(1.0, (expected_rms(rate, trace, batch, population=population) / distance) ** 2)


def chance_of_none(chance: float, candidates: int) -> float:
    """P(no candidate of M lies within reach) = (1 − p)^M, with p the chance of one independent candidate."""
    if not 0 <= chance <= 1:
        raise InvalidArgument(f"chance {chance} must lie between 0 and 1")
    if candidates < 1:
        raise InvalidArgument(f"candidates {candidates} must be a whole number from 1")
    return (1.0 - chance) ** candidates


def _check(trace: float, batch: int) -> None:
    if not (math.isfinite(trace) and trace >= 0):
        raise InvalidArgument(f"the trace of a covariance, {trace}, must be a finite number from 0")
    if batch < 1:
        raise InvalidArgument(f"batch size {batch} must be a whole number from 1")
