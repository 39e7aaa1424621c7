"""run.json of a commitment, and of a training as it begins."""

from __future__ import annotations

from dataclasses import replace

from expunge.core.beacon import Beacon
from expunge.records.run_file import CommitRequest, DataFile, RunFile, TrainRequest
from expunge.records.scalars import Slots
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.origins import SUMMED, TRAINED, origins
from expunge.train.perturbation import commitment_of
from expunge.train.without import LeftOut


def fixed(recipe: Recipe, described: DataFile, device: str, key: bytes | None) -> RunFile:
    """run.json of a commitment: what a training adds to is still to come."""
    noise = None if key is None else commitment_of(key)
    return LeftOut(None, {}).begun(
        RunFile(
            status="running",
            operation="train",
            request=CommitRequest(recipe=recipe.as_json(), roots=described.roots, noise_commitment=noise),
            recipe=recipe.as_json(),
            recipe_digest=recipe.digest.hex(),
            data=described,
            dataset_root=described.roots.train,
            beacon=None,
            beacon_note="no beacon so far: data and recipe are fixed, nothing is trained",
            lineage_seed=None,
            tombstones=Slots(()),
            released={},
            method=None,
            parent=None,
            preprocessing=origins(SUMMED if recipe.accumulated else TRAINED, recipe),
            environment=None,
            device=device,
            noise_commitment=noise,
            rest={"beacon_described": None},
        )
    )


def begun(committed: RunFile, schedule: Schedule, beacon: Beacon, left_out: LeftOut) -> RunFile:
    """run.json of a training as it begins."""
    request = TrainRequest(
        recipe=committed.recipe,
        roots=committed.data.roots,
        beacon=beacon.value.hex(),
        device=committed.device,
        without=left_out.request,
        noise_commitment=committed.noise_commitment,
    )
    return left_out.begun(
        replace(
            committed,
            request=request,
            beacon=request.beacon,
            beacon_described=beacon,
            beacon_note=beacon.note,
            lineage_seed=schedule.seed.hex(),
            rest={},
        )
    )
