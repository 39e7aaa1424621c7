"""How far may a proof be off? A share of the distance between honest trainings of different seeds.

The authors' attack code uses 0.008 × d_ref, with d_ref 71.472 for ResNet-20 and 58.056 for ResNet-50. d_ref belongs to
model, data and recipe, so it is measured here for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from expunge.adversary.pol.proof import check_provable, vector
from expunge.core.errors import InvalidArgument
from expunge.core.values import Progress
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.models.resolver import build
from expunge.schedule.plan import TrainingPlan
from expunge.train.examples import Examples
from expunge.train.meter import Meter
from expunge.train.names import parameter_names
from expunge.train.profile import find_device, pinned
from expunge.train.run import Run
from expunge.train.segment import StepRunner
from expunge.train.state import Tensors, as_model_part, copied, read_tensors

SHARE = 0.008
RUNS = 3


@dataclass(frozen=True)
class Calibration:
    """d_ref as it was measured: the l2 distances of all pairs of runs, and which share of their mean is allowed."""

    distances: tuple[float, ...]
    share: float = SHARE
    work: float = 0.0  # example-steps that it took

    @property
    def d_ref(self) -> float:
        """Mean l2 distance between the final weights of two runs of different seeds."""
        return float(np.mean(self.distances))

    @property
    def delta(self) -> float:
        """The distance up to which a segment that was carried out again counts as the one that was stated."""
        return self.share * self.d_ref

    def __str__(self) -> str:
        low, high = min(self.distances), max(self.distances)
        return (
            f"d_ref {self.d_ref:.4g} over {len(self.distances)} pairs ({low:.4g} to {high:.4g}), "
            f"delta {self.delta:.4g} = {self.share:g} × d_ref"
        )


def calibration_of(finals: Sequence[Tensors], names: Sequence[str], *, share: float = SHARE) -> Calibration:
    """From the final states of runs that differ in their seed alone."""
    if len(finals) < 2:
        raise InvalidArgument(
            f"{len(finals)} runs have no distance between them: give two at least, of different seeds"
        )
    if not share > 0:
        raise InvalidArgument(f"share {share} must be above 0: the authors' is {SHARE}")
    vectors = [vector(final, names) for final in finals]
    return Calibration(
        tuple(float(torch.linalg.vector_norm(one - other)) for one, other in combinations(vectors, 2)), share
    )


def calibrate(
    run: Run,
    *,
    data: GivenData = None,
    runs: int = RUNS,
    shard: int = 0,
    share: float = SHARE,
    progress: Progress | None = None,
) -> Calibration:
    """Train the run's recipe under further seeds, in memory, and measure how far apart all of them end.

    ``runs`` counts the run itself.
    """
    check_provable(run.recipe, shard)
    if runs < 2:
        raise InvalidArgument(f"{runs} runs have no distance between them: ask for two at least")
    rows = run.data(data)[Split.TRAIN]
    examples = Examples(run.recipe, rows, find_device(run.told.device))
    examples = examples.only(np.setdiff1d(np.flatnonzero(rows.present), run.tombstones))
    meter = Meter()
    finals = [final_state(run, shard)]
    for turn in range(1, runs):
        recipe = replace(run.recipe, seed=(run.recipe.seed + turn) % 2**53)
        schedule = run.schedule_of(recipe)

        def moved(done: int, of: int, turn: int = turn) -> None:
            if progress is not None:
                progress((turn - 1) * of + done, (runs - 1) * of)

        with pinned(recipe):
            runner = StepRunner(recipe, examples, build(recipe, schedule.seed, shard))
            runner.run(TrainingPlan(recipe, schedule, shard, run.tombstones), progress=moved)
            finals.append(copied(runner.state))
        meter.thirds += runner.meter.thirds
    found = calibration_of(finals, parameter_names(run.recipe), share=share)
    return replace(found, work=meter.example_steps)


def final_state(run: Run, shard: int = 0) -> Tensors:
    """The weights that a run ended with, named as in a checkpoint."""
    stored = read_tensors(run.path / "model.safetensors")
    if run.recipe.shards == 1:
        return as_model_part(stored)
    alive = run.result.alive
    if not alive[shard]:
        raise InvalidArgument(f"nobody is left in shard {shard} of {run.path}: choose another shard")
    prefix = f"shards.{sum(alive[:shard])}."
    own = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    return as_model_part(own)
