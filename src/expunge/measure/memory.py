"""How much of the memory of the forget set is left, and whether its rows are answered as by a retrained model."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from expunge.core.statistics.memory import Memory, bounded
from expunge.core.values import Direction, Figure, Measurement, Undecided
from expunge.measure.contract import Judging, Probe, ProbeRole
from expunge.measure.readings import SIGNALS
from expunge.measure.trial import Answers, Beside, Ground, Trial, Whose

FEWEST_ROWS = 10  # that may carry a memory
FEWEST_OTHERS = 4  # beside a model that is one of five references


def memory_of(beside: Beside) -> Memory:
    """What references and witnesses answer to the forget set."""
    told = (beside.references, beside.witnesses)
    references, witnesses = (np.array([margins_of(one) for one in models]) for models in told)
    return Memory(references, witnesses)


def memory_in(trial: Trial) -> Memory | None:
    """What those of a trial answer; None where they are too few for a verdict, or answer nothing finite."""
    references, witnesses = (tuple(one.answers for one in of) for of in (trial.references, trial.witnesses))
    told = trial.original.answers.tell("margin") and all(SIGNALS in one.finite for one in (*references, *witnesses))
    if len(references) <= FEWEST_OTHERS or not witnesses or not told:
        return None
    return memory_of(Beside(references, witnesses))


def too_few_rows(trial: Trial) -> str | None:
    """Why a trial's memory is that of too few rows to speak for all, if it is."""
    memory = memory_in(trial)
    if memory is None or memory.effective_rows >= FEWEST_ROWS:
        return None
    carry = f"{memory.effective_rows:.1f} rows carry the memory of the forget set, {FEWEST_ROWS} are needed"
    return f"{carry}: more references would not help"


def margins_of(answers: Answers) -> np.ndarray:
    """Bounded margins of the forget set's true labels."""
    return bounded(answers.of(Whose.FORGET)["margin"])


@dataclass(frozen=True, kw_only=True)
class OfMemory(Probe):
    """Base of what is read off references and witnesses; no interval of its own, the trial's is over references."""

    role = ProbeRole.FORGETTING
    references_needed = FEWEST_OTHERS
    witnesses_needed = 1

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        memory = memory_of(beside)
        value = self.of(memory, margins_of(own))
        if not np.isfinite(value):
            return Undecided("references answer the forget set all alike: needs a recipe whose runs vary")
        return Measurement(
            value=value,
            low=value,
            high=value,
            n=len(beside.references),
            unit="reference",
            direction=self.direction,
            scale=self.scale,
        )

    @abstractmethod
    def of(self, memory: Memory, own: np.ndarray) -> float:
        """The figure of one model's margins."""


@dataclass(frozen=True, kw_only=True)
class MemoryLeft(OfMemory):
    """Share of the memory of the forget set that is left (ρ): 0 as retrained, 1 untouched, below 0 over-forgotten."""

    name = "memory"
    judging = Judging.MEMORY
    scale = "memory"

    def of(self, memory: Memory, own: np.ndarray) -> float:
        return memory.left(own)


@dataclass(frozen=True, kw_only=True)
class Typicality(OfMemory):
    """How far off retrained models' answers to the forget set lie (τ, a logarithm); higher = unlike any of them."""

    name = "typicality"
    judging = Judging.DISTANCE
    direction = Direction.LOW
    scale = "log"

    def of(self, memory: Memory, own: np.ndarray) -> float:
        return memory.distance(own)
