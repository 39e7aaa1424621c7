"""The loop against a bare hand-written one, and recording against none, over the same batches."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.pairs import ratio_row, ratios
from expunge.core.streams import Stream
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.plan import Role, TrainingPlan
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.tasks.classification import Classification
from expunge.train.examples import Examples
from expunge.train.log import RunLog
from expunge.train.loop import Recorder, carry_out
from expunge.train.meter import Meter
from expunge.train.objective import training_objective
from expunge.train.optimiser import make_optimiser, set_rate
from expunge.train.profile import pinned
from expunge.train.recorder import FolderRecorder
from expunge.train.trace import ShardTrace, Trace
from expunge.train.training import make_recipe

NOBODY = np.zeros(0, dtype=np.int64)


def pictures(rows: int, side: int, channels: int) -> Dataset:
    """Noise pictures of ten classes: speed does not depend on what they show."""
    stream = Stream(bytes(32), "benchmark")
    pixels = stream.below(256, rows * side * side * channels).astype(np.uint8)
    return make_dataset(
        labels=[int(label) for label in stream.below(10, rows)],
        columns=[Column("image", ColumnKind.IMAGE, (side, side, channels), "HWC", 1 / 255)],
        content={"image": pixels.reshape(rows, side, side, channels)},
        where="benchmark",
    )


class Work:
    """A model and its batches: grey 28×28 (8×8 for digits) for ``cnn``, colour 32×32 for ``resnet18``."""

    def __init__(self, name: str, steps: int, *, side: int = 28, width: int = 64) -> None:
        small = name == "cnn"
        batch = 64 if small else 16
        dataset = pictures(steps * batch, side if small else 32, 1 if small else 3)
        options = {} if small else {"width": width}
        self.recipe: Recipe = make_recipe(dataset, model=name, epochs=1, batch_size=batch, model_options=options)
        self.schedule = Schedule.of(self.recipe, bytes(32), number_units(dataset.subjects))
        self.plan = TrainingPlan(self.recipe, self.schedule, 0, NOBODY)
        self.examples = Examples(self.recipe, dataset, torch.device("cpu"))

    def ours(self, recorder: Callable[[], Recorder | None] = lambda: None) -> Callable[[], None]:
        def work() -> None:
            model = build(self.recipe, self.schedule.seed).train()
            made = recorder()
            with pinned(self.recipe):
                carry_out(
                    self.plan,
                    student=model,
                    objective=training_objective,
                    optimiser=make_optimiser(self.recipe.optimiser, model),
                    recipe=self.recipe,
                    task=Classification(),
                    examples=self.examples,
                    meter=Meter(),
                    recorder=made,
                )
            if isinstance(made, FolderRecorder):
                made.close()

        return work

    def bare(self) -> Callable[[], None]:
        """The same steps as one would write them by hand."""
        batches = [self.plan.step(index) for index in range(self.plan.total)]
        inputs, labels = self.examples.inputs, self.examples.labels

        def work() -> None:
            model = build(self.recipe, self.schedule.seed).train()
            optimiser = make_optimiser(self.recipe.optimiser, model)
            with pinned(self.recipe):
                for step in batches:
                    slots = torch.from_numpy(step.parts[Role.RETAIN].slots)
                    set_rate(optimiser, step.rate)
                    loss = nn.functional.cross_entropy(model(inputs[slots]), labels[slots])
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()

        return work


def loop_against_bare(name: str, pairs: int, side: int = 28) -> dict[str, object]:
    work = Work(name, 200 if name == "cnn" else 6, side=side)
    what = name if name != "cnn" else f"cnn on {side}×{side}"
    return ratio_row(f"loop / bare loop, {what}", ratios(work.ours(), work.bare(), pairs), 1.10)


def recording_against_none(name: str, pairs: int, trace: Trace) -> dict[str, object]:
    """Checkpoints at the default interval, with or without a trace of the steps, against recording nothing.

    ``resnet18`` is narrow here: its checkpoints shrink no more than its steps do, so the ratio stays what it is.
    """
    work = Work(name, 400 if name == "cnn" else 110, width=16)
    folder = Path(tempfile.mkdtemp(prefix="expunge-bench-"))

    def recorder() -> Recorder:
        shutil.rmtree(folder, ignore_errors=True)
        total = work.plan.total
        traced = None if trace is Trace.OFF else ShardTrace(folder, work.schedule, work.plan, trace)
        return FolderRecorder(folder, shard=0, total=total, log=RunLog(folder / "log.jsonl"), trace=traced)

    def recorded() -> Recorder:
        made = recorder()
        made.restore(nn.Linear(1, 1), [torch.optim.SGD(nn.Linear(1, 1).parameters())], Meter())
        return made

    try:
        found = ratios(work.ours(recorded), work.ours(), pairs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    what = "checkpoints" if trace is Trace.OFF else f"checkpoints and trace of {trace.value}"
    return ratio_row(f"recording {what} / none, {name}", found, 1.05 if trace is Trace.OFF else 1.10)
