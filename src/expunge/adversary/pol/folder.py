"""A run folder of a training that never was: what a spoofer hands to ``attest`` to have a record made of it.

Everything that form and structure ask for is there and fits together: schedule, trace of members, checkpoints, weights.
What is missing is the training. Losses in the trace are made up.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from expunge.adversary.pol.attacks import Made
from expunge.adversary.pol.proof import Proof
from expunge.core.beacon import ZERO
from expunge.core.errors import InvalidArgument
from expunge.core.files import link_or_copy
from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.core.values import Progress
from expunge.data.stored import write_commitment
from expunge.models.resolver import build_empty
from expunge.records.run_file import RunFile, TrainRequest
from expunge.schedule.plan import Role, Step, TrainingPlan
from expunge.schedule.schedule import Schedule
from expunge.train.folder import writing
from expunge.train.log import RunLog
from expunge.train.meter import Meter
from expunge.train.optimiser import make_optimiser
from expunge.train.recorder import FolderRecorder
from expunge.train.run import Run, write_run_file
from expunge.train.state import load_full_state, model_part, tensors_digest
from expunge.train.trace import ShardTrace, Trace
from expunge.train.without import LeftOut


def check_spoofable(run: Run) -> None:
    """A spoof stands in the place of a plain training of one model."""
    if run.told.operation != "train" or run.recipe.shards != 1:
        raise InvalidArgument(
            f"{run.path} is no training of one shard, and a spoof stands in the place of one: name the training that "
            "it came from, or one with `shards` 1"
        )


def write_spoofed_run(folder: Path, run: Run, made: Made, progress: Progress | None = None) -> Run:
    """Write the folder that the spoofed training would have left, ending with the weights of ``run``."""
    check_spoofable(run)
    proof = made.proof
    schedule = Schedule.of(proof.recipe, proof.commitment.root, proof.units, proof.beacon)
    left_out = LeftOut(run.forget_set if len(run.tombstones) else None, run.told.released)
    with writing(folder):
        write_commitment(folder, proof.commitment, proof.units)
        left_out.write(folder)
        left_out.ask(folder, proof.commitment)
        meter = _record(folder, proof, schedule, made.interval, progress)
        link_or_copy(run.path / "model.safetensors", folder / "model.safetensors")
        write_run_file(folder, _told(run, proof, schedule, made.interval, meter.example_steps))
    return Run.open(folder)


def _record(folder: Path, proof: Proof, schedule: Schedule, interval: int, progress: Progress | None) -> Meter:
    """Checkpoints, log and trace, by the recorder that writes those of honest trainings; the work they would be."""
    recipe = proof.recipe
    plan = TrainingPlan(recipe, schedule, 0, proof.tombstones)
    model, meter = build_empty(recipe), Meter()
    optimiser = make_optimiser(recipe.optimiser, model)
    recorder = FolderRecorder(
        folder,
        shard=0,
        total=plan.total,
        log=RunLog(folder / "log.jsonl"),
        interval=interval,
        stage_ends=schedule.stage_ends(0),
        trace=ShardTrace(folder, schedule, plan, Trace.LOSSES),
        restores=False,
    )
    states = dict(zip(proof.trajectory.steps, proof.trajectory.states, strict=True))
    try:
        recorder.restore(model, [optimiser], meter)
        for index in range(plan.total):
            step = plan.step(index)
            recorder.after_step(step, _losses(proof.seed, step, meter))
            if recorder.due(index + 1):
                load_full_state(model, [optimiser], states[index + 1].tensors(), "the spoof")
                recorder.checkpoint(index + 1, model, [optimiser], meter)
            if progress is not None:
                progress(index + 1, plan.total)
    finally:
        recorder.close()
    return meter


def _losses(seed: bytes, step: Step, meter: Meter) -> dict[Role, torch.Tensor]:
    """Numbers that could be losses: only their digests are kept, and nobody can tell before the step is replayed."""
    part = step.parts.get(Role.RETAIN)
    if part is None:
        return {}
    meter.steps(len(part.slots))
    draws = Stream(seed, "pol/losses", 0, step.index).uniform(len(part.slots))
    return {Role.RETAIN: torch.from_numpy(draws)}


def _told(run: Run, proof: Proof, schedule: Schedule, interval: int, work: float) -> RunFile:
    recipe, before, result = proof.recipe, run.told, run.result
    first = model_part(proof.trajectory.states[0].tensors())
    described, beacon = recipe.as_json(), ZERO.value.hex()
    assert isinstance(before.request, TrainRequest)
    return replace(
        before,
        request=replace(before.request, recipe=described, beacon=beacon),
        recipe=described,
        recipe_digest=recipe.digest.hex(),
        beacon=beacon,
        beacon_described=ZERO,
        beacon_note=ZERO.note,
        lineage_seed=schedule.seed.hex(),
        environment={**(before.environment or {}), "initial_weights": sha256(tensors_digest(first)).hex()},
        trace=Trace.LOSSES.value,
        checkpoint_interval=interval,
        result=replace(
            result,
            steps=schedule.total_steps(0),
            example_steps=work,
            seconds=round(result.seconds * work / max(1.0, result.example_steps), 3),
        ),
    )
