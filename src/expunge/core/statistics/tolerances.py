"""How large a difference from retraining anyone cares about, and how far references stretch it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from scipy.special import chdtri

from expunge.core.errors import InvalidArgument


class Scope(Enum):
    """What a verdict is about."""

    METHOD = "method"
    """Do runs of this method centre where retraining does?"""
    RUN = "run"
    """Does this one model lie among retrained models?"""


class Quantity(Enum):
    """What is compared. Ratios are compared as logarithms."""

    FRACTION = "fraction"
    """Accuracy, unlearning accuracy, share taken for non-members."""
    AREA = "area"
    """Area under the curve, and the accuracy of the unlearning likelihood ratio."""
    MARGIN = "margin"
    """Mean φ; one unit is the references' standard deviation of φ over examples."""
    DIVERGENCE = "divergence"
    """Margin divergence (KLoM) minus its null, in nats."""
    RELEARN = "relearn"
    """Log of relearning steps + 1."""
    TUG_OF_WAR = "tug-of-war"
    """Product of agreements on forget set, retain set and holdout."""


@dataclass(frozen=True)
class Tolerance:
    """``floor`` = smallest difference anyone cares about; ``cap`` = largest δ_in still called equal."""

    floor: float
    cap: float


TOLERANCES_VERSION = 1
"""Raised with any change below; both belong in the digest of an evaluation."""

TOLERANCES: Mapping[Quantity, Tolerance] = MappingProxyType(
    {
        Quantity.FRACTION: Tolerance(0.005, 0.03),
        Quantity.AREA: Tolerance(0.01, 0.05),
        Quantity.MARGIN: Tolerance(0.1, 0.5),
        Quantity.DIVERGENCE: Tolerance(0.1, 1.0),
        Quantity.RELEARN: Tolerance(math.log(1.1), math.log(1.5)),
        Quantity.TUG_OF_WAR: Tolerance(0.005, 0.05),
    }
)

SPREADS: Mapping[Scope, float] = MappingProxyType({Scope.METHOD: 2.0, Scope.RUN: 3.0})
"""κ: how many standard deviations of retraining still count as retraining."""


def margin_factors(n: int) -> tuple[float, float]:
    """√((n−1)/χ²) at the .8 and the .2 quantile of χ² with n−1 degrees of freedom: inner < 1 < outer.

    A standard deviation from n references is itself luck: times the inner factor it exceeds the true one in a
    fifth of cases, times the outer factor it falls short in a fifth.
    """
    if n < 2:
        raise InvalidArgument(f"{n} references have no spread: at least 2 are needed")
    freedom = n - 1
    return math.sqrt(freedom / float(chdtri(freedom, 0.2))), math.sqrt(freedom / float(chdtri(freedom, 0.8)))


def equivalence_margins(spread: float, n: int, scope: Scope, floor: float) -> tuple[float, float]:
    """(δ_in, δ_out) from the references' standard deviation: equal within δ_in, different beyond δ_out."""
    inner, outer = margin_factors(n)
    kappa = SPREADS[scope]
    return max(floor, kappa * spread * inner), max(floor, kappa * spread * outer)
