"""The contract of a probe: it measures one model of a trial and does not know which method made it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, final

from expunge.core.statistics.tolerances import Quantity
from expunge.core.values import Direction, Measurement, Undecided
from expunge.measure.trial import Signals, Trial


class ProbeRole(Enum):
    """What a figure is about."""

    UTILITY = "utility"
    FORGETTING = "forgetting"
    COST = "cost"


@dataclass(frozen=True, kw_only=True)
class Probe(ABC):
    """Base of all probes. ``required`` probes decide the trial, the others are printed beside.

    A probe that needs no references (``references_needed`` 0) looks at the model and the trial's rows alone.
    """

    name: ClassVar[str]
    role: ClassVar[ProbeRole]
    direction: ClassVar[Direction] = Direction.MATCH
    scale: ClassVar[str] = "fraction"
    quantity: ClassVar[Quantity | None] = None
    required: ClassVar[bool] = False
    references_needed: ClassVar[int] = 0

    @abstractmethod
    def value(self, model: Signals, others: tuple[Signals, ...], trial: Trial) -> Measurement | Undecided:
        """The figure of one model. ``others`` are the references without the model itself."""

    @final
    def measure(self, model: Signals, trial: Trial) -> Measurement | Undecided:
        """The sealed call: what cannot be measured is said before anything is computed, and nothing twice."""
        if self.references_needed == 0 and self.role is not ProbeRole.COST:  # equal weights may have cost different
            named = (self, model.weights_digest)
            if named not in trial.alone:
                trial.alone[named] = self._measure(model, trial)
            return trial.alone[named]
        key = (self, id(model))
        if key not in trial.measured:
            trial.measured[key] = self._measure(model, trial)
        return trial.measured[key]

    def _measure(self, model: Signals, trial: Trial) -> Measurement | Undecided:
        if not model.finite:
            return Undecided("the model's outputs are not finite: needs finite weights and inputs")
        if self.role is ProbeRole.FORGETTING and (reason := trial.unfit()) is not None:
            return Undecided(reason)
        others = tuple(reference for reference in trial.references if reference is not model)
        if len(others) < self.references_needed:
            return Undecided(f"needs {self.references_needed} other references, has {len(others)}")
        return self.value(model, others, trial)

    def unit(self, trial: Trial) -> float | None:
        """What one unit of the tolerances means; None where it is 1."""
        return None
