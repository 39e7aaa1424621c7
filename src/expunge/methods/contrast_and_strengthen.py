"""Away from any class on the forget set, then apart from and back to the retain set, in turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

import torch
from torch import nn

from expunge.methods.contract import Need, check
from expunge.methods.divergence import divergence
from expunge.methods.fields import Between, tuned
from expunge.methods.objective_method import ObjectiveMethod
from expunge.schedule.plan import Role, Stretch, Walk
from expunge.schedule.recipe import Calendar, Recipe
from expunge.tasks.classification import Classification
from expunge.tasks.task import Task
from expunge.train.objective import Answer, Loss, Pass, StepBatch

ROWS = 64  # that the rate of retain passes is stated for


class Turn(IntEnum):
    """Which optimiser takes a step: each has moments and a calendar of its own."""

    RETAIN = 0
    UNIFORM = 1
    CONTRAST = 2


@dataclass(frozen=True, kw_only=True)
class ContrastAndStrengthen(ObjectiveMethod):
    """Flatten beliefs on F, then push its logits among R's and train on R, in turns (FCS; NeurIPS contest, 2023).

    First ``uniform_epochs`` passes over F of KL(uniform‖p) at ``uniform_rate``. Then ``epochs`` passes over R of
    cross-entropy, with weight decay, at ``rate`` · batch/64 and by the field ``calendar``. Before each of the first
    ``forget_epochs`` of these comes a pass over F of −mean log softmax_j(z_f·z_rj / ``temperature``), with z_r the
    logits of a retain batch without a gradient, at ``contrast_rate`` falling along a cosine. Passes over F have no
    weight decay; at rate 0 they are left out. At ``rate`` 0 nothing is done at all. Where the budget ends early, it
    ends wherever it comes to in this order.
    """

    name = "contrast-and-strengthen"
    aliases = ("fcs",)
    needs = frozenset({Need.FORGET, Need.RETAIN})
    citation = "NeurIPS unlearning contest, 2023; as reported by Cadet et al., 2024"
    work = "1 a row and pass, and 1/3 a retained row beside a forgotten one"
    task: ClassVar[type[Task]] = Classification
    rate: float = tuned(1e-3, Between(1e-4, 1e-1))
    epochs: int | float | None = 8
    weight_decay: float | None = 0.01
    calendar: Calendar = Calendar.CONSTANT
    uniform_epochs: int = 1
    uniform_rate: float = tuned(5e-3, Between(1e-4, 1e-1))
    forget_epochs: int = 8
    contrast_rate: float = tuned(3e-4, Between(1e-5, 1e-2))
    temperature: float = tuned(1.15, Between(0.5, 8.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("uniform_epochs", "forget_epochs"):
            check(getattr(self, name) >= 0, f"{name} {getattr(self, name)} must be a whole number from 0")
        for name in ("uniform_rate", "contrast_rate"):
            value = getattr(self, name)
            check(math.isfinite(value) and value >= 0, f"{name} {value} must be a finite number from 0")
        check(
            math.isfinite(self.temperature) and self.temperature > 0,
            f"temperature {self.temperature} must be a finite number above 0",
        )

    def stretches(self, recipe: Recipe) -> Sequence[Stretch]:
        def forgetting(walk: Walk, epochs: float, turn: Turn, rate: float, calendar: Calendar) -> Stretch:
            return self.stretch(recipe, walk, epochs, turn=turn, rate=rate, calendar=calendar, weight_decay=0.0)

        def stretch(turn: Turn, epochs: float | None) -> Stretch:
            if turn is Turn.CONTRAST:
                assert epochs is not None
                return forgetting(Walk.PAIRED_BY_FORGET, epochs, turn, self.contrast_rate, Calendar.COSINE)
            rate = self.rate * (self.batch_size or recipe.batch_size) / ROWS
            return self.stretch(recipe, Walk.RETAIN, epochs, turn=turn, rate=rate)

        flattened = self.uniform_epochs if self.uniform_rate else 0
        first = forgetting(Walk.FORGET, flattened, Turn.UNIFORM, self.uniform_rate, Calendar.CONSTANT)
        return [first, *(stretch(turn, epochs) for turn, epochs in self._passes())]

    def _passes(self) -> Iterator[tuple[Turn, float | None]]:
        """F, R, F, R, …, R; the last of them is cut where ``epochs`` is no whole number."""
        wanted = math.inf if self.epochs is None else self.epochs
        contrasted = math.ceil(min(wanted, self.forget_epochs)) if self.contrast_rate else 0
        for epoch in range(contrasted):
            yield Turn.CONTRAST, min(1.0, wanted - epoch)
            yield Turn.RETAIN, min(1.0, wanted - epoch)
        yield Turn.RETAIN, None if self.epochs is None else max(0.0, self.epochs - contrasted)

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        match batch.step.turn:
            case Turn.UNIFORM:
                return batch.term(flatness, Pass(student, Role.FORGET))
            case Turn.CONTRAST:
                others = Pass(student, Role.RETAIN, gradient=False, writes=True)
                return batch.term(self.contrast, Pass(student, Role.FORGET), others)
            case _:
                return batch.retain_loss(student)

    def contrast(self, forgotten: Answer, retained: Answer) -> torch.Tensor:
        """−mean over rows f and r of log softmax over r of z_f·z_r / T: least where z_f is as near to all of R."""
        likeness = forgotten.outputs @ retained.outputs.T / self.temperature
        wide = likeness.float() if likeness.dtype in (torch.bfloat16, torch.float16) else likeness
        return -torch.log_softmax(wide, dim=1).mean()


def flatness(forgotten: Answer) -> torch.Tensor:
    """KL(uniform‖p), averaged over rows."""
    return divergence(torch.zeros_like(forgotten.outputs), forgotten.outputs).mean()
