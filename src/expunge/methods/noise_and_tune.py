"""Noise on the first kernels, then fine-tuning with balanced classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.streams import Stream
from expunge.methods.class_weights import class_weights
from expunge.methods.contract import Given, Need, Parent, check
from expunge.methods.convolutions import kernels, refuse_without_kernels
from expunge.methods.fields import Between, tuned
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Step
from expunge.tasks.task import ClassTask, Task
from expunge.train.loop import Hooks
from expunge.train.objective import Extras, Loss, StepBatch


class Layers(Enum):
    """The first convolution alone, as the published code does, whose search finds no other; or every one."""

    STEM = "stem"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class NoiseAndTune(ObjectiveMethod):
    """Add Gaussian noise to the stem's kernels, then train on a balanced retain set (CFW; NeurIPS contest, 2023).

    N(0, ``noise``²) comes before the first step, even where the budget covers none, and N(0, ``last_noise``²) before
    the last epoch of those planned, which is cut short where the budget ends within it; if there is one alone, both
    come before it. Each class has weight 1/(its retained rows) to the power ``balance`` in the mean over a batch.
    """

    name = "noise-and-tune"
    aliases = ("cfw",)
    needs = frozenset({Need.RETAIN})
    citation = "NeurIPS unlearning contest, 2023; as reported by Cadet et al., 2024"
    edits = True
    work = "1 a retained row and pass"
    task: ClassVar[type[Task]] = ClassTask
    rate: float = tuned(7e-4, Between(1e-4, 1e-1))
    epochs: int | float | None = 4
    layers: Layers = Layers.STEM
    noise: float = tuned(0.6, Between(1e-3, 1.0))
    last_noise: float = tuned(0.005, Between(1e-4, 0.1))
    balance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("noise", "last_noise", "balance"):
            value = getattr(self, name)
            check(math.isfinite(value) and value >= 0, f"{name} {value} must be a finite number from 0")

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        refuse_without_kernels(self.name, parent.model)

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        found = list(kernels(student).values())
        chosen = found[:1] if self.layers is Layers.STEM else found
        disturb(chosen, self.noise, given.stream("noise", 0))

        def again(step: Step) -> None:
            if step.epoch == step.epochs - 1:
                disturb(chosen, self.last_noise, given.stream("noise", 1))

        return Prepared(extras=Extras(slot_weights=class_weights(given, self.balance)), hooks=Hooks(begin=again))

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.retain_loss(student)


@torch.no_grad()
def disturb(weights: list[nn.Parameter], deviation: float, stream: Stream) -> None:
    """Add N(0, ``deviation``²) to each weight, in place."""
    for weight in weights if deviation else []:
        weight.add_(torch.from_numpy(stream.normal(weight.numel())).to(weight).reshape(weight.shape), alpha=deviation)
