"""How well a score tells members from others. Higher score = more like a member; area .5 = no signal."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtri

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array, as_vector, check_level
from expunge.core.statistics.proportions import clopper_pearson, proportion
from expunge.core.values import Direction, Measurement, Undecided


def area_under_curve(members: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """P(member's score > other's) + ½ P(equal), in [0, 1], from mid-ranks (Mann–Whitney)."""
    first, second = as_vector(members, "members"), as_vector(others, "others")
    if first.size == 0 or second.size == 0 or np.isnan(first).any() or np.isnan(second).any():
        raise InvalidArgument(
            f"an area needs scores that are numbers on both sides, got {first.size} members and "
            f"{second.size} others, NaN among them or a side empty; delong_interval answers Undecided instead"
        )
    return float(_placements(first, second)[0].mean())


def delong_standard_error(members: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """√(S₁₀/m + S₀₁/n) of the area (DeLong, DeLong and Clarke-Pearson, 1988). 0 when perfect or constant."""
    scores = as_vector(members, "members"), as_vector(others, "others")
    if min(scores[0].size, scores[1].size) < 2 or np.isnan(np.concatenate(scores)).any():
        raise InvalidArgument("a standard error needs at least 2 members and 2 others, none of them NaN")
    first, second = _placements(*scores)
    return math.sqrt(float(first.var(ddof=1)) / first.size + float(second.var(ddof=1)) / second.size)


def delong_interval(
    members: npt.ArrayLike,
    others: npt.ArrayLike,
    level: float = 0.95,
) -> Measurement | Undecided:
    """Area under the curve over examples, with DeLong's interval on the logit scale.

    On the plain scale the interval covers .83–.91 instead of .95 when the area is .95–.99 and the samples are
    20 to 200; on the logit scale .92–.98. Perfect separation has variance 0 without being certain: min(m, n)
    disjoint pairs, none misranked, then give an exact Clopper–Pearson bound.
    """
    check_level(level)
    first, second = as_vector(members, "members"), as_vector(others, "others")
    reason = _unusable(first, second)
    if reason is not None:
        return Undecided(reason)
    value, error = area_under_curve(first, second), delong_standard_error(first, second)
    pairs = min(first.size, second.size)
    if value == 1.0:
        low, high = clopper_pearson(pairs, pairs, level)
    elif value == 0.0:
        low, high = clopper_pearson(0, pairs, level)
    else:
        reach = float(ndtri((1.0 + level) / 2.0)) * error / (value * (1.0 - value))
        centre = float(logit(value))
        low, high = float(expit(centre - reach)), float(expit(centre + reach))
    return Measurement(
        value=value,
        low=min(low, value),
        high=max(high, value),
        n=first.size + second.size,
        unit="example",
        direction=Direction.MATCH,
        level=level,
        scale="auc",
    )


def true_positive_rate(
    members: npt.ArrayLike, others_for_threshold: npt.ArrayLike, alpha: float, level: float = 0.95
) -> Measurement | Undecided:
    """Share of members above a threshold whose expected false positive rate is k/(n + 1) ≤ ``alpha``.

    The threshold is the k-th largest of the n other scores, k = ⌊α(n + 1)⌋, and flagged means strictly above
    it. The others must not be scored again: they set the threshold. Clopper–Pearson over members, threshold
    held.
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidArgument(f"alpha {alpha} is a false positive rate: it must lie strictly between 0 and 1")
    first, second = as_vector(members, "members"), as_vector(others_for_threshold, "others_for_threshold")
    needed = math.ceil(1.0 / alpha - 1e-9) - 1
    k = math.floor(alpha * (second.size + 1) + 1e-9)
    if k < 1:
        return Undecided(f"a false positive rate of {alpha:g} needs {needed} others, has {second.size}")
    reason = _unusable(first, second)
    if reason is not None:
        return Undecided(reason)
    threshold = np.partition(second, second.size - k)[second.size - k]
    return proportion(first > threshold, level)


def _unusable(members: Array, others: Array) -> str | None:
    """Why these scores decide nothing, and what would; None when they can."""
    if members.size < 2 or others.size < 2:
        return f"needs at least 2 members and 2 others, has {members.size} and {others.size}"
    missing = int(np.isnan(members).sum() + np.isnan(others).sum())
    if missing:
        return f"{missing} scores are NaN: needs a finite output for every example"
    if max(members.max(), others.max()) == min(members.min(), others.min()):
        return "scores constant: needs a signal that differs between examples"
    return None


def _placements(members: Array, others: Array) -> tuple[Array, Array]:
    """For each member the share of others below it, for each other that of members above; ties count ½."""
    ranks = _mid_ranks(np.concatenate([members, others]))
    below = (ranks[: members.size] - _mid_ranks(members)) / others.size
    above = 1.0 - (ranks[members.size :] - _mid_ranks(others)) / members.size
    return below, above


def _mid_ranks(values: Array) -> Array:
    """Places in ascending order from 1; equal values share the middle of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]
