"""What every forger is: a rule that finds another batch for a step, so that the weights hardly tell the difference.

The forgery of Thudi et al. ("On the Necessity of Auditable Algorithmic Definitions for Machine Unlearning", USENIX
Security 2022): every batch that holds x is replaced by one that does not, the weights stay as they are, and whoever
carries the step out again lands so near that a tolerance lets it pass. Forgers are here so that what claims to stop
them can be tested against the best of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from expunge.adversary.forging.step_state import StepState
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256, slot_bytes, u64
from expunge.core.streams import Stream
from expunge.train.profile import pinned


@dataclass(frozen=True, kw_only=True)
class FoundBatch:
    """What a forger puts in the place of a batch. No slots: it found nothing, the step stays as it is.

    ``chairs`` are given where fewer rows sit than before; ``contents`` are encoded rows, by slot, which that slot's
    own row was exchanged for.
    """

    slots: np.ndarray | None
    chairs: np.ndarray | None = None
    contents: Mapping[int, np.ndarray] = field(default_factory=dict[int, np.ndarray])


@dataclass(frozen=True, kw_only=True)
class ForgedBatch(FoundBatch):
    """The same with the rows that went forward and backward for it."""

    forwards: int
    backwards: int

    @property
    def example_steps(self) -> float:
        """One row forward and backward is 1, a forward pass alone 1/3."""
        return (self.forwards + 2 * self.backwards) / 3


@dataclass(frozen=True, kw_only=True)
class Forger(ABC):
    """A way to forge a step; fields are its settings."""

    name: ClassVar[str]

    seed: int = 0

    @classmethod
    def asked(cls, candidates: int, seed: int) -> Self:
        """The forger with as many candidates as were asked for, where it has any."""
        del candidates
        return cls(seed=seed)

    def batch(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> ForgedBatch:
        """Another batch for a step. Whoever of ``target_batch`` is not in ``pool`` has to go; nobody else may come in.

        ``target_batch`` are slots in chair order, ``pool`` all slots that may be used.
        """
        gone = np.setdiff1d(target_batch, pool)
        if not len(gone):
            raise InvalidArgument(f"step {state.index} holds nobody who has to go: there is nothing to forge")
        before = state.spent.forwards, state.spent.backwards
        with pinned(state.recipe):
            found = self._find(state, target_batch, np.sort(pool))
        if found.slots is not None:
            assert np.isin(found.slots, pool).all(), f"{self.name} took a row that it must not use"
        return ForgedBatch(
            slots=found.slots,
            chairs=found.chairs,
            contents=found.contents,
            forwards=state.spent.forwards - before[0],
            backwards=state.spent.backwards - before[1],
        )

    @abstractmethod
    def _find(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray) -> FoundBatch:
        """The rule; ``pool`` ascends."""

    def draws(self, state: StepState, target_batch: np.ndarray, pool: np.ndarray, candidates: int) -> Stream:
        """Words for candidates: others for every forger, target, step and number of them, so no draws are nested."""
        gone = np.setdiff1d(target_batch, pool)
        seed = sha256(
            b"expunge/forge/1", u64(self.seed), u64(candidates), u64(len(gone)), slot_bytes(gone), state.recipe.digest
        )
        return Stream(seed, f"forge/{self.name}", state.shard, state.index)


@dataclass(frozen=True, kw_only=True)
class Trying(Forger):
    """A forger that looks at so many candidates at most."""

    candidates: int = 400

    def __post_init__(self) -> None:
        check_candidates(self.candidates)

    @classmethod
    def asked(cls, candidates: int, seed: int) -> Self:
        return cls(candidates=candidates, seed=seed)


def check_candidates(candidates: int) -> None:
    """Refuse a number of candidates that is none."""
    if candidates < 1:
        raise InvalidArgument(f"candidates {candidates} must be a whole number from 1")


def put_in(target_batch: np.ndarray, pool: np.ndarray, substitutes: np.ndarray) -> np.ndarray:
    """The batch with substitutes in the chairs of those who have to go."""
    found = target_batch.copy()
    found[~np.isin(target_batch, pool)] = substitutes
    return found


def outside(target_batch: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Who of the pool does not sit in the batch already, ascending; refused where they are fewer than the chairs."""
    free = np.setdiff1d(pool, target_batch)
    wanted = int((~np.isin(target_batch, pool)).sum())
    if len(free) < wanted:
        raise InvalidArgument(
            f"{wanted} rows have to go and {len(free)} of the pool sit elsewhere: too few to take their chairs"
        )
    return free
