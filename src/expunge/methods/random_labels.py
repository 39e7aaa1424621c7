"""Relabelling the forget set at random, beside training on the retain set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.streams import Stream, below_from_words
from expunge.methods.batch_norm import batch_norms
from expunge.methods.contract import Given, Need
from expunge.methods.fields import Between, tuned
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Walk
from expunge.schedule.recipe import OptimiserName
from expunge.tasks.task import Batch, ClassTask, Task
from expunge.train.objective import Extras, Loss, Relabel, StepBatch


class LabelOrder(Enum):
    """Forget and retain examples in one order, as in training, or a forget pass before each retain pass."""

    MIXED = "mixed"
    FORGET_THEN_RETAIN = "forget-then-retain"


@dataclass(frozen=True, kw_only=True)
class RandomLabels(ObjectiveMethod):
    """Train on the retain set and on the forget set with labels drawn uniformly, once (Golatkar et al., 2020)."""

    name = "random-labels"
    needs = frozenset({Need.FORGET, Need.RETAIN})
    citation = "Golatkar et al., CVPR 2020"
    work = "1 a row and pass"
    task: ClassVar[type[Task]] = ClassTask
    rate: float = tuned(0.01, Between(1e-4, 1e-1))
    order: LabelOrder = LabelOrder.MIXED
    redraws: ClassVar[bool] = False

    @property
    def walk(self) -> Walk:
        return Walk.MIXED if self.order is LabelOrder.MIXED else Walk.FORGET_THEN_RETAIN

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        """The labels. In the mixed order forgotten rows stand in batches as in training: statistics see them."""
        extras = Extras(relabel=self.relabel(given))
        if self.order is not LabelOrder.MIXED or self.recalibrate or not batch_norms(student):
            return Prepared(extras=extras)
        said = "batch-norm statistics hold forgotten rows, as the order is mixed: recalibrate=true takes them anew"
        return Prepared(extras=extras, notices=(said,), seen=("batch-norm statistics of the forget set",))

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.retain_loss(student) + batch.forget_loss(student)

    def relabel(self, given: Given) -> Relabel:
        """Replaces the labels of forget slots by those of the pass; retain labels stay."""
        forgotten = torch.zeros(given.count, dtype=torch.bool)
        forgotten[torch.from_numpy(given.forget)] = True
        forgotten = forgotten.to(given.device)
        choices = self.choices(len(given.recipe.classes))
        drawn: dict[int, torch.Tensor] = {}

        def relabel(batch: Batch, epoch: int) -> Batch:
            number = epoch if self.redraws else 0
            if number not in drawn:
                drawn.clear()
                drawn[number] = torch.from_numpy(draw_labels(given.seed, number, given.count, choices)).to(given.device)
            own = ClassTask.labels(batch)
            others = self.label(batch.of_slots(drawn[number]), own)
            return batch.replace(labels=torch.where(batch.of_slots(forgotten), others, own))

        return relabel

    def choices(self, classes: int) -> int:
        """How many labels a draw is from."""
        return classes

    def label(self, drawn: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """The label that a draw stands for in a row whose own label is known."""
        return drawn


@dataclass(frozen=True, kw_only=True)
class SuccessiveRandomLabels(RandomLabels):
    """The same with labels drawn anew for every epoch (SRL; what the SalUn code calls RL; Fan et al., 2024)."""

    name = "successive-random-labels"
    aliases = ("srl",)
    citation = "Fan et al., ICLR 2024"
    redraws = True


@dataclass(frozen=True, kw_only=True)
class Amnesiac(RandomLabels):
    """Train on the retain set and on the forget set with wrong labels, drawn once (Graves et al., 2021).

    The relabelling of that paper, not its replay of stored updates: each of the C − 1 wrong labels is equally likely.
    """

    name = "amnesiac"
    citation = "Graves et al., AAAI 2021"
    rate: float = tuned(1e-4, Between(1e-5, 1e-2))
    epochs: int | float | None = 3
    optimiser: OptimiserName = OptimiserName.ADAM

    def choices(self, classes: int) -> int:
        return classes - 1

    def label(self, drawn: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """The wrong labels in ascending order: those from the row's own on move up by one."""
        return drawn + (drawn >= own).to(drawn.dtype)


def draw_labels(seed: bytes, epoch: int, count: int, classes: int) -> np.ndarray:
    """One uniform label per slot; the stream does not depend on who is in the forget set."""
    return below_from_words(Stream(seed, "unlearn/labels", 0, epoch).words(count), classes)
