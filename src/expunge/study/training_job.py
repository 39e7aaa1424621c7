"""The job of one training: its key holds all that decides the weights, so that whoever asks for the same shares it."""

from __future__ import annotations

import numpy as np
import torch

from expunge.core.version import __version__
from expunge.data.commitment import tombstones_digest
from expunge.data.forget_set import ForgetSet
from expunge.records.scalars import Slots
from expunge.schedule.recipe import Recipe
from expunge.study.job import ForgetKey, PlannedData, Train, TrainMeans, TrainSpec
from expunge.study.study_file import LARGEST_SEED
from expunge.train.profile import LOOP_ARITHMETIC

REFERENCE_SEEDS = LARGEST_SEED + 1  # no reference shares the lineage of an original
WITNESS_SEEDS = 2 * REFERENCE_SEEDS  # and no witness that of either
HALF_SEEDS = 3 * REFERENCE_SEEDS  # and no half model that of any


def training_job(
    recipe: Recipe,
    data: PlannedData,
    title: str,
    *,
    without: ForgetSet | None,
    factory: str,
    device: str,
    checkpoint_interval: int | None = None,
    replayed: bool | None = None,
) -> Train:
    """``factory`` is the digest of the model's source. What is never replayed keeps no checkpoints."""
    spec = TrainSpec(
        recipe=recipe.digest.hex(),
        roots=data.roots,
        split_seed=data.split_seed,
        split_by=data.split_by,
        without=None if without is None else named(without),
        factory=factory,
        checkpoint_interval=checkpoint_interval,
        device=device,
        software=software(),
    )
    left_out = None if without is None else listed(without.slots)
    means = TrainMeans(data=data, recipe=recipe.as_json(), without=left_out, replayed=replayed)
    return Train(title=title, spec=spec, means=means)


def software() -> dict[str, str]:
    """Versions that decide bits; a job done under others is another job."""
    return {
        "expunge": f"{__version__}/{LOOP_ARITHMETIC}",
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def named(chosen: ForgetSet) -> ForgetKey:
    return ForgetKey(slots=tombstones_digest(chosen.slots).hex(), rules=chosen.rules)


def listed(slots: np.ndarray) -> Slots:
    return Slots(tuple(slots.tolist()))
