"""Proof-of-Learning (Jia et al., S&P 2021, arXiv 2103.05633): a training as its prover states it.

A proof is a row of states and, for every step between them, the batch and the rate that the prover names. Nothing in it
is signed or committed before: what that is worth is what ``adversary.pol.verify`` and ``adversary.pol.attacks`` show.
It is the baseline that a record of this project is measured against, not a part of it.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.data.commitment import Commitment
from expunge.data.dataset import Dataset
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.models.resolver import build
from expunge.records.run_log import Checkpointed
from expunge.schedule.plan import Part, Plan, Role, StatedPlan, TrainingPlan
from expunge.schedule.recipe import Optimiser, Recipe
from expunge.train.checkpoint import read_checkpoint
from expunge.train.names import parameter_names
from expunge.train.optimiser import make_optimiser
from expunge.train.run import Run
from expunge.train.state import Tensors, copied, full_state
from expunge.train.trace import epoch_ends


class Waypoint(ABC):
    """Weights, buffers and optimiser state after some step, named as in a checkpoint."""

    @abstractmethod
    def tensors(self) -> Tensors: ...


@dataclass(frozen=True)
class InMemory(Waypoint):
    """A state in memory."""

    content: Tensors

    def tensors(self) -> Tensors:
        return self.content


@dataclass(frozen=True)
class Stored(Waypoint):
    """A checkpoint of a run folder; it must be the one that the run's log names."""

    path: Path
    checkpoint: Checkpointed

    def tensors(self) -> Tensors:
        found = read_checkpoint(self.path, self.checkpoint)
        if found is None:
            raise RunError(f"{self.path} is missing or not the state that the log names: restore it, or train again")
        return found


@dataclass(frozen=True)
class LinePoint(Waypoint):
    """A point on the straight line between two states' parameters; everything else is ``rest``."""

    first: Tensors
    last: Tensors
    share: float
    rest: Tensors

    def tensors(self) -> Tensors:
        if self.share == 1.0:  # the end of the line is the model itself, to the last bit
            return {**self.last, **self.rest}
        moved = {
            name: (value.double() + self.share * (self.last[name].double() - value.double())).to(value.dtype)
            for name, value in self.first.items()
        }
        return {**moved, **self.rest}


@dataclass(frozen=True)
class Course:
    """States by step; ``parameters`` are the names of the tensors that an optimiser moves."""

    steps: tuple[int, ...]
    states: tuple[Waypoint, ...]
    parameters: tuple[str, ...]

    @property
    def segments(self) -> tuple[tuple[int, int], ...]:
        """(first step, end step) of each pair of neighbouring states."""
        return tuple(pairwise(self.steps))

    @cached_property
    def sizes(self) -> np.ndarray:
        """l2 distance between the parameters of neighbouring states."""
        found: list[float] = []
        before: torch.Tensor | None = None
        for state in self.states:
            here = vector(state.tensors(), self.parameters)
            if before is not None:
                found.append(float(torch.linalg.vector_norm(here - before)))
            before = here
        return np.array(found)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a prover hands over. Its checks of form are all that is certain of it.

    ``parts`` is the batch of every step as stated (none: the step was skipped), ``optimiser`` and ``rates`` what the
    prover's optimiser state says. The fields from ``seed`` to ``tombstones`` bind a proof to a schedule; the published
    verifier does not know them.
    """

    recipe: Recipe
    shard: int
    trajectory: Course
    parts: tuple[Part | None, ...]
    epoch_ends: tuple[int, ...]
    optimiser: Optimiser
    rates: np.ndarray
    data_hash: str
    seed: bytes
    beacon: bytes
    commitment: Commitment
    units: np.ndarray
    tombstones: np.ndarray

    def __post_init__(self) -> None:
        steps, total = self.trajectory.steps, len(self.parts)
        if list(steps) != sorted(set(steps)) or len(steps) < 2 or (steps[0], steps[-1]) != (0, total):
            raise InvalidArgument(
                f"the states of a proof over {total} steps must run from step 0 to {total}, ascending"
            )
        if len(self.rates) != total or not self.epoch_ends or self.epoch_ends[-1] != total:
            raise InvalidArgument(
                f"a proof over {total} steps needs {total} rates and epochs that end with its last step"
            )
        stated, count = np.concatenate(self.batches), len(self.units)
        odd = stated[(stated < 0) | (stated >= count)]
        if len(odd):
            raise InvalidArgument(f"slot {odd[0]} is not one of the {count} that the proof is about: state those")

    @property
    def batches(self) -> tuple[np.ndarray, ...]:
        """The slots of every step, as stated."""
        return tuple(np.zeros(0, dtype=np.int64) if part is None else part.slots for part in self.parts)

    @property
    def plan(self) -> StatedPlan:
        """The steps as the prover states them."""
        return StatedPlan(self.shard, self.seed, self.parts, self.rates)


def prove(run: Run, *, shard: int = 0, data: GivenData = None) -> Proof:
    """The proof of a recorded run: its initial weights, its checkpoints, its batches and its rates.

    ``data`` is handed on to ``Run.data``. The run's checkpoint interval is the proof's k; the authors' is 100.
    """
    recipe, schedule = run.recipe, run.schedule
    check_provable(recipe, shard)
    checkpoints = run.log.checkpoints(shard)
    if not checkpoints or checkpoints[-1].step != schedule.total_steps(shard):
        raise InvalidArgument(
            f"{run.path} has no recorded trajectory of shard {shard}: a proof is of a training, a retraining or an "
            "exact replay; name such a run"
        )
    model = build(recipe, schedule.seed, shard)
    first = copied(full_state(model, make_optimiser(recipe.optimiser, model)))
    states = [InMemory(first), *(Stored(run.path / "checkpoints" / found.name, found) for found in checkpoints)]
    steps = (0, *(found.step for found in checkpoints))
    plan = TrainingPlan(recipe, schedule, shard, run.tombstones)
    return Proof(
        recipe=recipe,
        shard=shard,
        trajectory=Course(steps, tuple(states), parameter_names(recipe)),
        parts=parts_of(plan),
        epoch_ends=tuple(epoch_ends(schedule, shard)),
        optimiser=recipe.optimiser,
        rates=rates_of(recipe.optimiser, plan.total),
        data_hash=published_hash(run.data(data)[Split.TRAIN]),
        seed=schedule.seed,
        beacon=run.beacon,
        commitment=run.commitment,
        units=run.units,
        tombstones=run.tombstones,
    )


def check_provable(recipe: Recipe, shard: int) -> None:
    """Whether a trajectory of this recipe can be carried out again by somebody else."""
    if not 0 <= shard < recipe.shards:
        raise InvalidArgument(f"shard {shard} is not one of the recipe's {recipe.shards}: choose from 0")
    if recipe.perturbation:
        raise UnsupportedYet(
            f"a proof of a training under secret noise of σ {recipe.perturbation:g}: nobody can carry it out again "
            "without the key; prove a training without perturbation"
        )
    if recipe.stages is not None or recipe.tiers is not None:
        raise UnsupportedYet(
            "a proof of a training whose stages are said, or whose subjects have tiers: its verifier knows no such "
            "schedule; prove a training with neither"
        )


def forge(proof: Proof, batches: Mapping[int, np.ndarray]) -> Proof:
    """The same states with other batches stated for some steps: the log of a forger.

    Substitutes of the same number sit in the chairs of those whom they replace.
    """
    parts = list(proof.parts)
    for step, slots in batches.items():
        if not 0 <= step < len(parts):
            raise InvalidArgument(f"step {step} is not one of the proof's {len(parts)}: forge steps that it has")
        parts[step] = _restated(parts[step], np.asarray(slots, dtype=np.int64), step)
    return replace(proof, parts=tuple(parts))


def _restated(part: Part | None, slots: np.ndarray, step: int) -> Part | None:
    if len(slots) == 0:
        return None
    if part is not None and len(part.slots) == len(slots):
        return replace(part, slots=slots)
    epoch, draw = (0, step) if part is None else (part.epoch, part.draw)
    return Part(slots, np.arange(len(slots)), len(slots), epoch, draw)


def parts_of(plan: Plan) -> tuple[Part | None, ...]:
    """The batch of every step of a training."""
    return tuple(plan.step(index).parts.get(Role.RETAIN) for index in range(plan.total))


def rates_of(optimiser: Optimiser, total: int) -> np.ndarray:
    """The calendar's rate of every step."""
    return np.array([optimiser.rate_at(step, total) for step in range(total)])


def by_epoch(steps: Sequence[int], ends: Sequence[int]) -> list[list[tuple[int, int]]]:
    """The segments between states by the epoch that they begin in; epochs in which none begins are left out."""
    found: dict[int, list[tuple[int, int]]] = {}
    for start, end in pairwise(steps):
        found.setdefault(int(np.searchsorted(ends, start, side="right")), []).append((start, end))
    return [found[epoch] for epoch in sorted(found)]


def vector(tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> torch.Tensor:
    """These tensors as one vector of float64."""
    if not names:
        return torch.zeros(0, dtype=torch.float64)
    return torch.cat([tensors[name].detach().double().reshape(-1) for name in names])


def published_hash(rows: Dataset) -> str:
    """SHA-256 over the rows as NumPy prints them, as published: arrays above 1,000 entries are abbreviated.

    Labels, ids and order of use have no part in it. It is kept to show what it misses.
    """
    state = hashlib.sha256()
    for row in np.flatnonzero(rows.present):
        for column in rows.columns:
            state.update(printed(rows.content[column.name][row]).encode("utf-8"))
    return state.hexdigest()


def printed(value: object) -> str:
    """``str(value)`` under NumPy's default print options, whatever they are set to here."""
    if not isinstance(value, np.ndarray):
        return str(value)
    return np.array2string(
        value, max_line_width=75, precision=8, suppress_small=False, threshold=1000, edgeitems=3, floatmode="maxprec"
    )
