"""Steps of a recorded run as they were: the nearest recorded state, carried on by the run's own rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from expunge.adversary.forging.step_state import StepState
from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.records.run_log import Checkpointed
from expunge.schedule.plan import Role, TrainingPlan
from expunge.train.checkpoint import read_checkpoint
from expunge.train.examples import Examples
from expunge.train.perturbation import draw_noise, key_of
from expunge.train.profile import find_device, pinned
from expunge.train.run import Run
from expunge.train.segment import StepSeen, Training, carry_out_segment
from expunge.train.state import Tensors, copied


def training_of(run: Run, rows: Dataset) -> Training:
    """What every step of a run was a function of; ``rows`` are its training rows, by slot."""
    examples = Examples(run.recipe, rows, find_device(run.told.device))
    key = key_of(run.path, run.told)
    return Training(
        recipe=run.recipe,
        schedule=run.schedule,
        examples=examples.only(np.setdiff1d(np.flatnonzero(rows.present), run.tombstones)),
        emptied=run.tombstones,
        noise=None if key is None else draw_noise(run.recipe, key, run.schedule.seed),
    )


def step_states(run: Run, training: Training, shard: int, steps: Sequence[int]) -> Iterator[StepState]:
    """The state before each of some steps, in their order, from the nearest state that is on disk."""
    plan = TrainingPlan(run.recipe, training.schedule, shard, training.emptied)
    recorded = [item for item in run.log.checkpoints(shard) if item.step < plan.total]
    for _, group in groupby(sorted(steps), key=lambda step: sum(item.step <= step for item in recorded)):
        wanted = list(group)
        found = _states(run, training, shard, wanted, [item for item in recorded if item.step <= wanted[0]])
        for step in wanted:
            part = plan.step(step).parts.get(Role.RETAIN)
            if part is None:
                raise InvalidArgument(f"step {step} of shard {shard} was skipped: nobody sat there")
            yield StepState(training, shard, step, found.pop(step), part)


def _states(
    run: Run, training: Training, shard: int, wanted: Sequence[int], recorded: Sequence[Checkpointed]
) -> dict[int, Tensors]:
    """By step, the states before these steps; ``recorded`` are the checkpoints up to the first of them."""
    start, state = 0, None
    for checkpoint in reversed(recorded):
        state = read_checkpoint(run.path / "checkpoints" / checkpoint.name, checkpoint)
        if state is not None:
            start = checkpoint.step
            break
    found: dict[int, Tensors] = {}

    def look(step: int, tensors: Tensors, seen: list[StepSeen]) -> None:
        found[step] = copied(tensors)

    with pinned(training.recipe):
        carry_out_segment(training, shard, (start, wanted[-1]), look, state=state, at=wanted, where=str(run.path))
    return found
