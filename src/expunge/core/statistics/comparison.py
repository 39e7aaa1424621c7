"""A difference from retraining with its errors and margins, and what may be concluded from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from expunge.core.statistics.means import StudentEstimate
from expunge.core.statistics.tolerances import Scope, equivalence_margins
from expunge.core.values import ClaimVerdict, Refuted, Supported, Undecided

LEVEL = 0.05
"""Chance of a false Supported at the true margin, and of a false Refuted."""
ENOUGH = 10_000
"""The most references (or multiples of the examples) that a reason proposes."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """D with its errors and margins: all that a verdict rests on.

    ``runs`` holds D and its error over runs. The errors over examples are added in quadrature on each side,
    which keeps the skew of a Clopper–Pearson interval (method of variance estimates recovery, Zou and Donner,
    2008). A p-value far below the level that rests on examples is an order of magnitude, not a figure.
    """

    runs: StudentEstimate
    spread: float
    references: int
    examples: int
    examples_below: float
    examples_above: float
    floor: float
    cap: float
    scope: Scope

    @property
    def margins(self) -> tuple[float, float]:
        """(δ_in, δ_out)."""
        return equivalence_margins(self.spread, self.references, self.scope, self.floor)

    @property
    def _sides(self) -> tuple[StudentEstimate, StudentEstimate]:
        return self.runs.plus(self.examples_below), self.runs.plus(self.examples_above)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided interval of D."""
        below, above = self._sides
        return self.runs.value - below.reach(level), self.runs.value + above.reach(level)

    @property
    def support_p(self) -> float:
        """p-value of equivalence: the larger of the two one-sided ones."""
        (below, above), (inner, _) = self._sides, self.margins
        return max(above.tail(inner - self.runs.value), below.tail(inner + self.runs.value))

    @property
    def refutation_p(self) -> float:
        """p-value of difference: twice the smaller beyond ±δ_out. Holm takes this one over several probes."""
        (below, above), (_, outer) = self._sides, self.margins
        return min(1.0, 2.0 * min(below.tail(self.runs.value - outer), above.tail(-outer - self.runs.value)))

    @property
    def disagree(self) -> bool:
        """The references vary more than what may still be called equal."""
        return self.margins[0] > self.cap

    @property
    def decided(self) -> bool:
        """Supported or Refuted."""
        return not self.disagree and min(self.support_p, self.refutation_p) <= LEVEL

    def verdict(self) -> ClaimVerdict:
        """Supported, Refuted, or Undecided with what would decide it."""
        inner, outer = self.margins
        if self.disagree:
            return Undecided(
                f"references disagree: {self.references} with standard deviation {self.spread:.3g} "
                f"make δ={inner:.3g}, above the cap {self.cap:.3g}; needs a recipe whose runs vary less, "
                "or scores of more examples"
            )
        if self.support_p <= LEVEL:
            low, high = self.interval(1.0 - 2.0 * LEVEL)
            detail = f"90 % interval [{low:.3g}, {high:.3g}] lies inside ±{inner:.3g}"
            return Supported(self.support_p, detail)
        low, high = self.interval(1.0 - LEVEL)
        if self.refutation_p <= LEVEL:
            reason = f"95 % interval [{low:.3g}, {high:.3g}] lies outside ±{outer:.3g}"
            return Refuted(reason, self.refutation_p)
        return Undecided(f"{self._crossing()}; {self._would_decide()}")

    def _crossing(self) -> str:
        inner, outer = self.margins
        low, high = self.interval(1.0 - 2.0 * LEVEL)
        if (low < inner < high) or (low < -inner < high):
            return f"interval [{low:.3g}, {high:.3g}] crosses ±{inner:.3g}"
        low, high = self.interval(1.0 - LEVEL)
        if (low < outer < high) or (low < -outer < high):
            return f"interval [{low:.3g}, {high:.3g}] crosses ±{outer:.3g}"
        return f"interval [{low:.3g}, {high:.3g}] lies between ±{inner:.3g} and ±{outer:.3g}"

    def _would_decide(self) -> str:
        """The least evidence of the same kind, D and spread held, that would decide."""
        steps = np.unique(np.geomspace(1.0, ENOUGH, 200).round().astype(int))
        for n in (int(n) for n in steps if n > self.references):
            if self._with(n, 1).decided:
                what = "references" if self.scope is Scope.RUN else "runs and references"
                return f"about n={n} {what} would decide"
        for times in (int(times) for times in steps[1:]):
            if self.examples and self._with(self.references, times).decided:
                n = times * self.examples
                return f"about n={n} examples would decide, more references alone would not"
        return "more references alone would not decide: needs more examples too, or another probe"

    def _with(self, references: int, times: int) -> Comparison:
        """As if there were that many references (runs in proportion), and ``times`` as many examples."""
        runs = StudentEstimate(
            self.runs.value,
            self.runs.error * (self.references / references) ** 0.5,
            self.runs.freedom * (references - 1) / (self.references - 1),
        )
        below, above = self.examples_below / times**0.5, self.examples_above / times**0.5
        return replace(self, runs=runs, references=references, examples_below=below, examples_above=above)
