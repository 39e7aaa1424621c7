"""Watch one layer while it is trained: by slot, what went in and what came back, which make up its gradient."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from expunge.data.forms import read
from expunge.data.source import Source
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.plan import Part, TrainingPlan
from expunge.schedule.schedule import Schedule
from expunge.train.examples import Examples
from expunge.train.loop import Recorder
from expunge.train.profile import pinned
from expunge.train.segment import StepRunner
from expunge.train.training import make_recipe


class Watch(Recorder):
    """Factors of each step's gradient: by slot the layer's input and the loss's gradient at its output."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer
        self.factors: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.apart: list[float] = []

    @contextmanager
    def watching(self, model: nn.Module, part: Part) -> Generator[None]:
        def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            def came_back(back: torch.Tensor) -> None:
                self.factors = dict(zip(part.slots.tolist(), zip(inputs[0].detach(), back, strict=True), strict=True))

            output.register_hook(came_back)

        with self.layer.register_forward_hook(note):
            yield

    def before_update(self, student: nn.Module) -> None:
        total = torch.stack([torch.outer(back, came) for came, back in self.factors.values()]).sum(0)
        self.apart.append(float((total - self.layer.weight.grad).abs().max() / self.layer.weight.grad.abs().max()))


if __name__ == "__main__":
    rows = read(Source(location="digits"))
    recipe = make_recipe(rows, model="mlp")
    schedule = Schedule.of(recipe, bytes(32), number_units(rows.subjects))
    with pinned(recipe):
        runner = StepRunner(recipe, Examples(recipe, rows, torch.device("cpu")), build(recipe, schedule.seed))
        watch = Watch(next(one for one in runner.model.modules() if isinstance(one, nn.Linear)))
        runner.run(TrainingPlan(recipe, schedule, 0, np.array([], dtype=np.int64)), end=20, recorder=watch)
    print(
        f"{len(watch.apart)} steps: the factors of every slot sum to the gradient within {max(watch.apart):.1e} of it"
    )
    assert max(watch.apart) < 1e-6
