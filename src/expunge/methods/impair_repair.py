"""Impairing a class by noise that stands for it, then repairing the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.methods.batch_norm import calibration_rows
from expunge.methods.contract import Given, Need, Parent, check
from expunge.methods.fields import Between, tuned
from expunge.methods.given import in_batches
from expunge.methods.learnt_noise import Learning, Mixture, learn_noise
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Plan, Role, Stretch, UnlearningPlan, Walk
from expunge.schedule.recipe import OptimiserName, Recipe
from expunge.tasks.task import ClassTask, Task
from expunge.train.examples import Examples
from expunge.train.objective import Loss, StepBatch

REPAIR = 1  # the turn that repairs: it has an optimiser of its own


@dataclass(frozen=True)
class NoiseCounts:
    """What of everything is done: as the fields ask for, or as much of it as the budget covers."""

    noise_rows: int
    noise_steps: int
    noise_batches: int
    sample_per_class: int


@dataclass(frozen=True, kw_only=True)
class ImpairRepair(ObjectiveMethod):
    """Break whole classes by training on noise labelled as them, then mend the others (UNSIR; Tarun et al., 2023).

    For each class a batch of noise is learnt on the original: it maximises the loss and stays short, in the units that
    the model sees. Impairing trains on it, repeated ``noise_batches`` times, mixed with a sample of the retain set;
    repairing trains on the sample alone. Where the budget covers less, rows of noise and sample shrink in proportion;
    below one noise row its steps and repetitions do.
    """

    name = "impair-repair"
    aliases = ("unsir",)
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.ORIGINAL})
    citation = "Tarun et al., TNNLS 2023"
    work = "1 a noise row and step to learn it, then 1 a noise row and repetition and 1 a sampled row and pass"
    task: ClassVar[type[Task]] = ClassTask
    rate: float = tuned(1e-4, Between(1e-5, 1e-1))
    optimiser: OptimiserName = OptimiserName.ADAM
    noise_batches: int = 80
    noise_batch_size: int = 32
    noise_steps: int = 25
    noise_rate: float = 0.1
    decay: float = 0.1
    sample_per_class: int = 500
    impair_epochs: int | float = 1
    repair_epochs: int | float = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.epochs is None, f"epochs {self.epochs}: {self.name} counts by impair_epochs and repair_epochs")
        for name, least in (("noise_batches", 0), ("noise_batch_size", 1), ("noise_steps", 0), ("sample_per_class", 1)):
            value = getattr(self, name)
            check(value >= least, f"{name} {value} must be a whole number from {least}")
        for name in ("noise_rate", "decay", "impair_epochs", "repair_epochs"):
            value = getattr(self, name)
            check(math.isfinite(value) and value >= 0, f"{name} {value} must be a finite number from 0")

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        present = np.setdiff1d(np.arange(len(parent.examples)), parent.emptied)
        labels, going = labels_of(parent.examples, present), labels_of(parent.examples, forget)
        for label in np.unique(going):
            all_of_it, of_it = int((labels == label).sum()), int((going == label).sum())
            if of_it < all_of_it:
                raise InvalidArgument(
                    f"the forget set holds {of_it} of the {all_of_it} rows of class "
                    f"{parent.recipe.classes[label]!r}: {self.name} forgets whole classes only; forget "
                    f"class:{parent.recipe.classes[label]}, or use another method"
                )

    def stretches(self, recipe: Recipe) -> Sequence[Stretch]:
        return (
            self.stretch(recipe, Walk.RETAIN, self.impair_epochs, turn=0),
            self.stretch(recipe, Walk.RETAIN, self.repair_epochs, turn=REPAIR),
        )

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        classes = [int(label) for label in np.unique(labels_of(given.examples, given.forget))]
        retain = given.retain
        labels = labels_of(given.examples, retain)
        groups = [retain[labels == label] for label in np.unique(labels)]
        kept = len(calibration_rows(given)) if self.recalibrate else 0
        sizes = np.array([len(group) for group in groups])
        wanted = self.wanted(sizes)
        counts = self.covered(wanted, len(classes), sizes, (given.meter.left - kept) / 3)
        if self.rate == 0 or self.impair_epochs + self.repair_epochs == 0 or counts is None:
            return Prepared(still="no step was taken: rate, epochs or budget is zero or covers none")
        learning = Learning(counts.noise_steps, self.noise_rate, self.decay)
        original = given.original
        mixture = Mixture(
            given,
            {label: learn_noise(given, original, label, counts.noise_rows, learning) for label in classes}
            if counts.noise_rows
            else {},
            repeats=counts.noise_batches,
            sample=np.concatenate([given.sample(group, counts.sample_per_class) for group in groups]),
            batch_size=self.batch_size or given.recipe.batch_size,
        )
        seen = ("noise learnt for the forgotten classes",) if counts.noise_rows else ()
        return Prepared(teacher=mixture, notices=notices_of(wanted, counts), seen=seen)

    def plan(self, given: Given, student: nn.Module, teacher: nn.Module | None, *, still: bool, kept: int = 0) -> Plan:
        """All passes over the sample that was taken: it is as large as the budget covers."""
        if still or not isinstance(teacher, Mixture):
            return super().plan(given, student, teacher, still=still, kept=kept)
        impair, repair = self.stretches(given.recipe)
        stretches = replace(impair, retain_batch=teacher.retained), repair

        def planned(steps: Sequence[int]) -> UnlearningPlan:
            return UnlearningPlan(
                seed=given.seed,
                stretches=stretches,
                steps=steps,
                retain=teacher.sample,
                forget=np.zeros(0, dtype=np.int64),
                count=given.count,
                least_present=given.recipe.least_present,
            )

        nothing = planned((0, 0))
        return planned([nothing.wanted(number) or 0 for number in range(len(stretches))])

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        if batch.step.turn == REPAIR:
            return batch.retain_loss(student)
        assert isinstance(teacher, Mixture)
        retained, noise = batch.size(Role.RETAIN), teacher.taken(batch.step)
        everybody = max(1, retained + len(noise))
        of_noise = (len(noise) / everybody) * teacher.loss(student, batch.step, noise)
        return (retained / everybody) * batch.retain_loss(student) + of_noise

    def wanted(self, sizes: np.ndarray) -> NoiseCounts:
        """What the fields ask for, where the classes that stay have so many rows."""
        noisy = self.impair_epochs > 0 and self.noise_batches > 0
        most = min(self.sample_per_class, int(sizes.max()))
        return NoiseCounts(self.noise_batch_size if noisy else 0, self.noise_steps, self.noise_batches, most)

    def covered(self, wanted: NoiseCounts, classes: int, sizes: np.ndarray, left: float) -> NoiseCounts | None:
        """As much of it as ``left`` example-steps cover; None where that is no noise or no sample.

        Both shrink in proportion, the sample to one row of each class at least. What noise leaves over by rounding
        goes to the sample.
        """
        each = classes * (wanted.noise_steps + self.impair_epochs * wanted.noise_batches)
        passes = self.impair_epochs + self.repair_epochs

        def cost_of_sample(per_class: int) -> float:
            return passes * int(np.minimum(sizes, per_class).sum())

        full = each * wanted.noise_rows + cost_of_sample(wanted.sample_per_class)
        rows, steps, batches = wanted.noise_rows, wanted.noise_steps, wanted.noise_batches
        if full > left and rows:
            least = max(1, math.floor(wanted.sample_per_class * left / full))
            covered = (left - cost_of_sample(least)) / each
            rows = max(1, min(rows, math.floor(covered)))
            if covered < 1:
                steps, batches = math.floor(covered * steps), math.floor(covered * batches)
            if batches <= 0:
                return None
        left -= classes * rows * (steps + self.impair_epochs * batches)
        sample = next((count for count in range(wanted.sample_per_class, 0, -1) if cost_of_sample(count) <= left), 0)
        return NoiseCounts(rows, steps, batches, sample) if sample else None


def notices_of(wanted: NoiseCounts, counts: NoiseCounts) -> tuple[str, ...]:
    """One sentence on what was asked for and not covered."""
    pairs = [
        (item.name.replace("_", " "), getattr(counts, item.name), getattr(wanted, item.name))
        for item in fields(NoiseCounts)
    ]
    said = ", ".join(f"{name} {done} of {asked}" for name, done, asked in pairs if done < asked)
    return (f"scaled down to the budget: {said}",) if said else ()


def labels_of(examples: Examples, slots: np.ndarray) -> np.ndarray:
    """Labels of some rows, gathered in parts: the rows come with them."""
    return torch.cat([ClassTask.labels(batch) for batch in in_batches(examples, slots)]).cpu().numpy()
