"""Does an unlearned model behave like retrained ones? Two one-sided tests, margins from the references.

Schuirmann (1987) for two one-sided tests, Welch (1947) for unequal variances. Let D = unlearned − mean(references).
``Supported`` if the 90 % interval of D lies inside (−δ_in, δ_in); ``Refuted`` if its 95 % interval lies wholly outside
[−δ_out, δ_out]; else ``Undecided`` with what would decide it. Normality of runs is assumed.
"""

from __future__ import annotations

import math

import numpy.typing as npt
from scipy.special import ndtri

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array, as_vector
from expunge.core.statistics.comparison import Comparison
from expunge.core.statistics.means import StudentEstimate, missing_runs, paired, spread, welch
from expunge.core.statistics.tolerances import TOLERANCES, Quantity, Scope
from expunge.core.values import Measurement, Undecided

MINIMUM = 5
"""Fewest references, and fewest runs of a method, for a verdict."""


def compare(
    unlearned: npt.ArrayLike,
    references: npt.ArrayLike,
    quantity: Quantity,
    scope: Scope,
    *,
    pairs: bool = False,
    examples: Measurement | None = None,
    unit: float | None = None,
) -> Comparison | Undecided:
    """D = mean(unlearned) − mean(references), one number per run; ratios as logarithms.

    ``METHOD``: Welch's t over at least 5 runs on each side, or with ``pairs`` the paired t of runs that share
    lineage seeds (preferred). ``RUN``: one unlearned model, (u − mean r) ± t s/√n with n−1 degrees of
    freedom.

    ``examples`` is the interval of u over examples. Its errors (half widths over the normal quantile) are
    added in quadrature on each side; left out, the verdict is about exactly these examples, which every run
    was measured on. Where the references do not vary it is required: it is then all the error there is (δ =
    floor).

    ``unit`` is what one unit of floor and cap means: for ``MARGIN`` the references' standard deviation over
    examples.

    A model that truly is κ standard deviations off is falsely supported in at most 5 % of cases by ``METHOD``
    at any n, and by ``RUN`` up to 24 references; beyond, in 6 % at 64 and never more than 7.2 %.
    """
    runs, retrained = as_vector(unlearned, "unlearned"), as_vector(references, "references")
    if scope is Scope.RUN and (pairs or runs.size > 1):
        raise InvalidArgument(f"scope run is for one model and has no pairs; got {runs.size}, pairs={pairs}")
    reason = missing_runs(retrained, MINIMUM, "reference")
    reason = reason or missing_runs(runs, MINIMUM if scope is Scope.METHOD else 1, "unlearned run")
    if reason is not None:
        return Undecided(reason)
    spread_of_references = spread(retrained)
    if spread_of_references == 0.0 and examples is None:
        return Undecided(
            f"all {retrained.size} references give {retrained[0]:.4g}: their spread decides nothing; "
            "needs the interval of the unlearned model over examples"
        )
    below, above = _errors(examples)
    if not math.isfinite(below + above):
        return Undecided("the interval over examples is unbounded: needs more examples")
    one = _unit(quantity, unit)
    tolerance = TOLERANCES[quantity]
    return Comparison(
        runs=_difference(runs, retrained, scope, pairs),
        spread=spread_of_references,
        references=retrained.size,
        examples=0 if examples is None else examples.n,
        examples_below=below,
        examples_above=above,
        floor=tolerance.floor * one,
        cap=tolerance.cap * one,
        scope=scope,
    )


def _difference(runs: Array, retrained: Array, scope: Scope, pairs: bool) -> StudentEstimate:
    if scope is Scope.RUN:
        error = spread(retrained) / math.sqrt(retrained.size)
        return StudentEstimate(float(runs[0] - retrained.mean()), error, float(retrained.size - 1))
    return paired(runs, retrained) if pairs else welch(runs, retrained)


def _errors(examples: Measurement | None) -> tuple[float, float]:
    """Standard errors over examples, downwards and upwards: half widths over the normal quantile."""
    if examples is None:
        return 0.0, 0.0
    if examples.unit != "example":
        raise InvalidArgument(f"examples must be an interval over examples, not over {examples.unit}s")
    quantile = float(ndtri((1.0 + examples.level) / 2.0))
    return (examples.value - examples.low) / quantile, (examples.high - examples.value) / quantile


def _unit(quantity: Quantity, unit: float | None) -> float:
    if unit is None and quantity is Quantity.MARGIN:
        raise InvalidArgument("a mean margin needs unit: the references' spread of φ over examples")
    if unit is not None and not (unit > 0.0 and math.isfinite(unit)):
        raise InvalidArgument(f"unit {unit} of the tolerances must be a positive number")
    return 1.0 if unit is None else unit
