"""The job of one training: its key holds all that decides the weights, so that whoever asks for the same shares it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as numbers

import numpy as np
import torch

from expunge.core.hashing import sha256
from expunge.core.streams import Stream, stable_order
from expunge.core.version import __version__
from expunge.data.commitment import tombstones_digest
from expunge.data.forget_set import ForgetSet
from expunge.records.scalars import Slots
from expunge.schedule.recipe import Recipe
from expunge.study.job import ForgetKey, PlannedData, ShardSpec, Train, TrainMeans, TrainSpec
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
    tiers: np.ndarray | None = None,
    shard: ShardSpec | None = None,
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
        shard=shard,
    )
    left_out = None if without is None else listed(without.slots)
    tiered = None if tiers is None else tuple(tiers.tolist())
    means = TrainMeans(data=data, recipe=recipe.as_json(), without=left_out, replayed=replayed, tiers=tiered)
    return Train(title=title, spec=spec, means=means)


def half_sets(root: bytes, count: int, before: ForgetSet | None = None) -> Iterator[ForgetSet]:
    """What half models do without, two by two: what the first of them lacks the second has, of all rows still there."""
    rules, gone = ((), np.zeros(0, dtype=np.int64)) if before is None else (before.rules, before.slots)
    there, seed = np.setdiff1d(np.arange(count), gone), sha256(b"expunge/halves/1", root)
    for pair in numbers():
        order = there[stable_order(Stream(seed, "halves", 0, pair).words(len(there)))]
        for part, lacking in enumerate(np.array_split(order, 2)):
            yield ForgetSet(np.union1d(gone, lacking), (*rules, f"half:{pair}:{part}"), root.hex())


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
