"""Steps and states as a record tells them: taken from an honest run, changed at will, and told again consistently.

Whoever owns the signing key may tell anything. What is told here fits together, down to the digests of every state and
the trace before it, so that a verifier has to find out what is wrong with it and not merely that something is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from expunge.adversary.pol.proof import parts_of, rates_of
from expunge.core.errors import InvalidArgument
from expunge.core.files import read_bytes
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.models.resolver import build
from expunge.records.bundle import MODEL, TRACE, checkpoint_name
from expunge.records.record import Reuse, State
from expunge.records.trace_file import RunningDigest, TraceMode, step_record, step_records
from expunge.schedule.digests import epoch_digest, executed_digest
from expunge.schedule.plan import Part, StatedPlan, TrainingPlan
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.examples import Examples
from expunge.train.names import buffer_names
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.segment import StepRunner, StepSeen
from expunge.train.state import Tensors, copied, model_part, read_tensors, tensors_digest
from expunge.train.trace import epoch_ends, steps_path
from expunge.verify.state_files import Parts

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class ShardTale:
    """What is told of one shard: for every step who took part and the digest of their losses; states by step.

    Where the trace holds gradients too, the digest of a step's gradient follows that of its losses.
    """

    shard: int
    members: tuple[np.ndarray, ...]
    losses: tuple[bytes, ...]
    states: Mapping[int, Tensors]

    @property
    def last(self) -> Tensors:
        """The state with the highest step."""
        return self.states[max(self.states)]

    def with_members(self, others: Mapping[int, np.ndarray], losses: Mapping[int, bytes] | None = None) -> ShardTale:
        """The same with other members, and losses, told for some steps."""
        told = {} if losses is None else losses
        return replace(
            self,
            members=tuple(others.get(step, slots) for step, slots in enumerate(self.members)),
            losses=tuple(told.get(step, digest) for step, digest in enumerate(self.losses)),
        )


@dataclass(frozen=True, kw_only=True)
class Tale:
    """What is told of every shard that is said to be alive; ``schedule`` says where their epochs end.

    ``buffers`` are the tensors of a model that are no parameters.
    """

    recipe: Recipe
    schedule: Schedule
    buffers: tuple[str, ...]
    shards: tuple[ShardTale, ...]

    @property
    def only(self) -> ShardTale:
        """The shard of a training that has one."""
        (found,) = self.shards
        return found

    def of_shard(self, shard: int) -> ShardTale:
        """What is told of a shard that is alive."""
        return next(told for told in self.shards if told.shard == shard)

    def with_shard(self, shard: ShardTale) -> Tale:
        """The same with another tale of one shard."""
        return replace(self, shards=tuple(shard if one.shard == shard.shard else one for one in self.shards))

    @cached_property
    def states(self) -> tuple[State, ...]:
        """Every state with its digests, shard by shard, by step."""
        found: list[State] = []
        for told in self.shards:
            before = _running(told)
            for step in sorted(told.states):
                parts = Parts.of(told.states[step], self.buffers)
                found.append(
                    State(
                        shard=told.shard,
                        step=step,
                        weights=parts.weights,
                        buffers=parts.buffers,
                        optimiser=parts.optimiser,
                        trace=before[step],
                    )
                )
        return tuple(found)

    @cached_property
    def trace(self) -> bytes:
        """The bytes of ``trace.bin``."""
        found: list[bytes] = []
        for told in self.shards:
            found += _records(told)
            start = 0
            for epoch, end in enumerate(epoch_ends(self.schedule, told.shard)):
                if end <= len(told.members):
                    found.append(epoch_digest(told.shard, epoch, np.concatenate(told.members[start:end])))
                start = end
        return b"".join(found)

    @cached_property
    def model(self) -> Tensors:
        """The model that the last states make."""
        return {
            name if self.recipe.shards == 1 else f"shards.{place}.{name}": value
            for place, told in enumerate(self.shards)
            for name, value in model_part(told.last).items()
        }

    @property
    def files(self) -> dict[str, bytes | Path]:
        """Trace, model and states as files of a bundle."""
        found: dict[str, bytes | Path] = {TRACE: self.trace, MODEL: saved(self.model)}
        for told in self.shards:
            found |= {checkpoint_name(told.shard, step): saved(state) for step, state in told.states.items()}
        return found

    def thirds(self, reuse: Sequence[Reuse]) -> int:
        """The work of these steps in thirds of an example-step, without those that came with a reused state."""
        starts = {one.shard: one.step for one in reuse}
        return 3 * sum(len(slots) for told in self.shards for slots in told.members[starts.get(told.shard, 0) :])

    @property
    def digest(self) -> bytes:
        """The digest of the weights."""
        return tensors_digest(self.model)


def tale_of(run: Run) -> Tale:
    """What an honest run's record tells: who was scheduled and present, the losses it traced, its checkpoints."""
    shards: list[ShardTale] = []
    for shard, lives in enumerate(run.result.alive):
        if not lives:
            continue
        parts = parts_of(TrainingPlan(run.recipe, run.schedule, shard, run.tombstones))
        content = read_bytes(steps_path(run.path, shard), "the trace")
        if len(content) != len(parts) * TraceMode.LOSSES.width:
            raise InvalidArgument(f"{run.path} traced gradients, and its tale is told by losses: train it with those")
        shards.append(
            ShardTale(
                shard=shard,
                members=tuple(members_of(part) for part in parts),
                losses=tuple(losses for _, losses in step_records(content, TraceMode.LOSSES)),
                states={
                    found.step: read_tensors(run.path / "checkpoints" / found.name)
                    for found in run.log.checkpoints(shard)
                },
            )
        )
    return Tale(recipe=run.recipe, schedule=run.schedule, buffers=buffer_names(run.recipe), shards=tuple(shards))


def members_of(part: Part | None) -> np.ndarray:
    """Who took part in a step; nobody where it was skipped."""
    return np.zeros(0, dtype=np.int64) if part is None else part.slots


def saved(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """A safetensors file."""
    return save({name: tensors[name].contiguous() for name in sorted(tensors)})


def _records(told: ShardTale) -> list[bytes]:
    return [
        step_record(executed_digest(told.shard, step, slots), losses)
        for step, (slots, losses) in enumerate(zip(told.members, told.losses, strict=True))
    ]


def _running(told: ShardTale) -> dict[int, bytes]:
    """By the number of steps the digest of all records before it."""
    records = _records(told)
    return {step: RunningDigest(told.shard, b"".join(records[:step])).digest() for step in told.states}


def training_rows(run: Run) -> Dataset:
    """The training rows of a run, by slot."""
    return run.data()[Split.TRAIN]


@dataclass(frozen=True, kw_only=True)
class Enacted:
    """Steps that were really carried out: the states at some of them, and the digest of every step's losses."""

    states: Mapping[int, Tensors]
    losses: tuple[bytes, ...]


def enact(
    run: Run,
    at: Collection[int],
    *,
    shard: int = 0,
    parts: Sequence[Part | None] | None = None,
    recipe: Recipe | None = None,
    rows: Dataset | None = None,
    schedule: Schedule | None = None,
    start: int = 0,
    state: Tensors | None = None,
) -> Enacted:
    """Carry out steps of a run's training in whatever way is told, and keep the states after ``at`` steps.

    ``parts`` are other members than the schedule's, ``recipe`` is another rate, momentum or precision than was
    committed, ``rows`` is other content in the chairs, ``schedule`` seats people elsewhere. ``state`` is where step
    ``start`` begins, if not at the initial weights.
    """
    executed, seats = recipe or run.recipe, schedule or run.schedule
    members = parts_of(TrainingPlan(run.recipe, seats, shard, run.tombstones)) if parts is None else tuple(parts)
    plan = StatedPlan(shard, seats.seed, members, rates_of(executed.optimiser, len(members)))
    states: dict[int, Tensors] = {}
    losses: list[bytes] = []

    def look(step: int, tensors: Tensors, seen: list[StepSeen]) -> None:
        losses.extend(one.losses for one in seen)
        states[step] = copied(tensors)

    with pinned(executed):
        examples = Examples(executed, training_rows(run) if rows is None else rows, CPU)
        runner = StepRunner(executed, examples, build(executed, seats.seed, shard))
        if state is not None:
            runner.take_up(state, f"the state at step {start}")
        runner.run(plan, start, max(at), look=look, at=at)
    return Enacted(states=states, losses=tuple(losses))
