"""Inputs that a model is most wrong about, learnt for one class and then trained on as if they were of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from expunge.core.errors import UnsupportedEver
from expunge.core.streams import Stream, stable_order
from expunge.methods.contract import Given
from expunge.models.dropout import DropoutAddress, addressed
from expunge.models.front import input_space
from expunge.schedule.plan import Step, Stretch, UnlearningPlan, Walk
from expunge.schedule.recipe import Calendar, Optimiser, OptimiserName
from expunge.tasks.task import labelled
from expunge.train.loop import carry_out
from expunge.train.objective import Loss, StepBatch, Term, running_statistics
from expunge.train.optimiser import make_optimiser


@dataclass(frozen=True)
class Learning:
    """How noise is learnt: Adam at a constant rate, and the weight of the mean squared length."""

    steps: int
    rate: float
    decay: float


class _Values(nn.Module):
    """Noise in the units that the model sees; what the loop trains in the place of a model."""

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)


def learn_noise(given: Given, original: nn.Module, label: int, rows: int, learning: Learning) -> torch.Tensor:
    """Encoded rows that maximise the original's loss for one class and stay short; one example-step a row and step.

    They start from N(0, 1) in the units that the model sees. They need not be rows that anybody could have: pixels
    are neither kept in their range nor rounded.
    """
    plain = given.task.inputs(given.examples.batch(given.forget[:1]))
    dtype = plain.dtype if plain.is_floating_point() else torch.get_default_dtype()
    shape = (rows, *plain.shape[1:])
    drawn = given.stream("noise", label).normal(int(np.prod(shape))).reshape(shape)
    noise = _Values(torch.from_numpy(drawn).to(given.device, dtype))
    labels = torch.full((rows,), label, device=given.device)
    space = input_space(original, given.recipe.inputs)

    def value() -> torch.Tensor:
        losses = given.task.losses(original, labelled(space.rows(noise.values), labels))
        if not losses.requires_grad:
            raise UnsupportedEver(
                "noise for a class cannot be learnt on this model: its loss has no gradient in the rows that come in; "
                "use random-labels or decoupled-distillation, which change no input"
            )
        return learning.decay * noise.values.flatten(1).square().sum(1).mean() - losses.mean()

    def objective(student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return Loss((Term(1.0, {"noise": 3 * rows}, value),))

    adam = Optimiser(name=OptimiserName.ADAM, rate=learning.rate, weight_decay=0.0, calendar=Calendar.CONSTANT)
    alone = Stretch(walk=Walk.NOBODY, optimiser=adam, retain_batch=1, forget_batch=1, epochs=learning.steps)
    nobody = np.zeros(0, dtype=np.int64)
    carry_out(
        UnlearningPlan(
            seed=given.seed,
            stretches=(alone,),
            steps=(learning.steps,),
            retain=nobody,
            forget=nobody,
            count=given.count,
        ),
        student=noise,
        objective=objective,
        optimiser=make_optimiser(adam, noise),
        recipe=given.recipe,
        task=given.task,
        examples=given.examples,
        meter=given.meter,
    )
    return space.rows(noise.values.detach())


class Mixture(nn.Module):
    """Noise rows beside a sample of retained rows, dealt to the steps of an epoch as evenly as can be.

    Each noise row comes up ``repeats`` times in an epoch, in a drawn order. ``retained`` of a step's members are from
    the sample, so that the mixture is about the same in every step.
    """

    rows: torch.Tensor
    labels: torch.Tensor

    def __init__(
        self,
        given: Given,
        noise: Mapping[int, torch.Tensor],
        *,
        repeats: int,
        sample: np.ndarray,
        batch_size: int,
    ) -> None:
        super().__init__()
        self.seed, self.task = given.seed, given.task
        self.repeats = repeats
        self.sample = sample
        self.register_buffer("rows", torch.cat(list(noise.values())) if noise else torch.zeros(0))
        of_row = [label for label, rows in noise.items() for _ in range(len(rows))]
        self.register_buffer("labels", torch.tensor(of_row, dtype=torch.int64, device=self.rows.device))
        share = len(sample) / (len(sample) + self.size)
        self.retained = max(given.recipe.least_present, round(batch_size * share))
        self.steps = -(-len(sample) // min(self.retained, len(sample)))  # of an epoch

    @property
    def size(self) -> int:
        """Rows of an epoch, repetitions included."""
        return self.repeats * len(self.rows)

    def taken(self, step: Step) -> np.ndarray:
        """The noise rows of a step."""
        if not self.size:
            return np.zeros(0, dtype=np.int64)
        words = Stream(self.seed, "unlearn/noise-order", 0, step.epoch).words(self.size)
        place = step.index - step.epoch * self.steps
        start, end = (number * self.size // self.steps for number in (place, place + 1))
        return stable_order(words)[start:end] % len(self.rows)

    def loss(self, student: nn.Module, step: Step, chosen: np.ndarray) -> Loss:
        """The mean loss of some noise rows; running statistics are an average over data, so it writes none."""
        count = len(chosen)
        if count == 0:
            return Loss()

        def value() -> torch.Tensor:
            index = torch.from_numpy(chosen).to(self.rows.device)
            everybody = np.arange(count)
            address = DropoutAddress(self.seed, "unlearn/dropout/noise", 0, step.index, everybody, count)
            with addressed(address, student), running_statistics(student, written=False, rows=count):
                return self.task.losses(student, labelled(self.rows[index], self.labels[index])).mean()

        return Loss((Term(1.0, {("noise", id(student)): 3 * count}, value),))
