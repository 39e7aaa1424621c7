"""``hidden``: rows whose loss stays lowest after they are unlearned (Fan et al., Challenging Forgets, ECCV 2024)."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import torch

from expunge.attacks.contract import Candidates, Chooser, Chosen, check
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.selection.projection import project, project_capped
from expunge.core.selection.ranking import overlap
from expunge.schedule.plan import TrainingPlan
from expunge.schedule.recipe import Calendar, Optimiser, OptimiserName
from expunge.train.objective import Extras
from expunge.train.segment import StepRunner
from expunge.train.state import copied

SPREADS = 0.5  # standard deviations of the losses that a weight moves by in an upper step
MOST_HALVINGS = 10
MOVED = 0.2  # beyond chance, what a search may share with what it began with


class Start(Enum):
    """Where the weights begin: all at m/N, or a random set at 1 and the rest at 0."""

    EVEN = "even"
    MASK = "mask"


@dataclass(frozen=True, kw_only=True)
class Hidden(Chooser):
    """Search by two levels: the lower unlearns rows by their weights, the upper weighs up those that stay well known.

    An upper step takes ``epochs`` of signed steps of ``step_rate`` from the original, on the loss with weights 1 − w
    (1 − 2w with ``ascent``). Signs do not change under a small change of w, so the gradient in w is the loss itself.
    ``rate`` is half a standard deviation of the losses unless said; ``pull`` draws weights towards each other.
    """

    name = "hidden"
    finds = "the most typical examples: lowest loss after unlearning"
    steps: int = 5
    epochs: int = 2
    step_rate: float = 1e-4
    rate: float | None = None
    pull: float = 1e-4
    start: Start = Start.EVEN
    ascent: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "epochs"):
            check(getattr(self, name) >= 1, f"{name} {getattr(self, name)} must be a whole number from 1")
        for name in ("step_rate", "rate"):
            value = getattr(self, name)
            check(value is None or 0 < value < math.inf, f"{name} {value} must be a finite number above 0")
        check(0 <= self.pull < math.inf, f"pull {self.pull} must be a finite number from 0")

    def choose(self, candidates: Candidates) -> Chosen:
        search = TwoLevelSearch(self, candidates)
        for step in range(self.steps):
            losses = search.unlearn(step)
            if self.start is Start.MASK and step + 1 == self.steps and search.reach_with(losses) < 1:
                raise InvalidArgument(
                    f"`start` mask with `rate` {search.rate(losses):.3g}: over {self.steps} steps two weights come "
                    f"nearer to each other by {search.reach_with(losses):.3g} at most, and 1 lies between a row of the "
                    "mask and any other, so that the random start would come out as it went in; start even, or leave "
                    "`rate` out"
                )
            search.rise(losses)
        return search.chosen()


class TwoLevelSearch:
    """Weights of the places, and the one model that the lower level takes from the original every time."""

    def __init__(self, settings: Hidden, candidates: Candidates) -> None:
        self.settings, self.candidates = settings, candidates
        first = candidates.random(1)[0]
        self.weights = np.full(candidates.total, candidates.chance)
        if settings.start is Start.MASK:
            self.weights = np.isin(np.arange(candidates.total), first).astype(np.float64)
        self.first = first
        self.losses = np.zeros(candidates.total)
        self.reach, self.halved = 0.0, 0
        run = candidates.run
        signed = Optimiser(
            name=OptimiserName.SIGN,
            rate=settings.step_rate,
            momentum=0.0,
            weight_decay=0.0,
            calendar=Calendar.CONSTANT,
        )
        self.recipe = replace(
            run.recipe,
            optimiser=signed,
            epochs=settings.steps * settings.epochs,
            seed=candidates.seed,
            slices=1,
            perturbation=0.0,
        )
        self._schedule = run.schedule_of(self.recipe)
        self.runner = StepRunner(self.recipe, candidates.examples, deepcopy(candidates.model))
        self._original = copied(self.runner.state)

    def unlearn(self, step: int) -> np.ndarray:
        """Loss of every place after an unlearning by the weights; a rate that breaks the model is halved."""
        candidates = self.candidates
        share = self.weights[candidates.places]
        kept = 1.0 - share
        while True:
            self.carry_out(step, kept - share if self.settings.ascent else kept)
            losses = candidates.losses(self.runner.model)
            before, after = (float((kept * each).sum() / kept.sum()) for each in (candidates.original["loss"], losses))
            if after <= 2 * before + 0.1:
                return candidates.of_places(losses)
            self.halved += 1
            if self.halved > MOST_HALVINGS:
                raise RunError(
                    f"signed steps of {self.settings.step_rate / 2**MOST_HALVINGS:.3g} still take the loss of the rows "
                    f"that stay from {before:.3g} to {after:.3g}: set a lower step_rate or fewer epochs"
                )

    def carry_out(self, step: int, factors: np.ndarray) -> None:
        """Signed steps from the original, each row's loss by its factor; rows of factor 0 leave their chairs empty."""
        runner, candidates = self.runner, self.candidates
        of_slots = np.zeros(len(candidates.examples))
        of_slots[candidates.slots] = factors
        rate = self.settings.step_rate / 2**self.halved
        recipe = replace(self.recipe, optimiser=replace(self.recipe.optimiser, rate=rate))
        plan = TrainingPlan(recipe, self._schedule, 0, np.flatnonzero(of_slots == 0))
        each = plan.total // self.settings.steps
        before, told = runner.meter.thirds, candidates.progress
        runner.take_up(self._original, "the original")
        runner.run(
            plan,
            step * each,
            (step + 1) * each,
            extras=Extras(slot_weights=torch.from_numpy(of_slots).to(candidates.examples.device)),
            progress=None if told is None else lambda done, of: told(done, plan.total),
        )
        candidates.meter.thirds += runner.meter.thirds - before

    def rate(self, losses: np.ndarray) -> float:
        """How far a weight moves for a loss of 1."""
        if self.settings.rate is not None:
            return self.settings.rate
        spread = float(losses.std())
        if spread == 0:
            raise RunError("every row has the same loss after unlearning: nothing tells them apart; choose at random")
        return SPREADS / spread

    def reach_with(self, losses: np.ndarray) -> float:
        """How near two weights can have come after one more step."""
        return self.reach + self.rate(losses) * float(np.ptp(losses) + 2 * self.settings.pull)

    def rise(self, losses: np.ndarray) -> None:
        """One projected step of the weights."""
        candidates = self.candidates
        self.reach, self.losses = self.reach_with(losses), losses
        moved = self.weights - self.rate(losses) * (losses + 2 * self.settings.pull * self.weights)
        if candidates.most is None:
            self.weights = project(moved, candidates.count)
        else:
            self.weights = project_capped(moved, candidates.count, candidates.labels, candidates.most)

    def chosen(self) -> Chosen:
        """The largest weights, with what came of the search."""
        candidates, found = self.candidates, self.candidates.highest(self.weights)
        start = overlap(found.places, self.first)
        few = candidates.whole_classes and self.settings.start is Start.EVEN  # a random class may well be the right one
        return Chosen(
            places=found.places,
            tied=found.tied,
            measured="loss after unlearning",
            value=lambda places: float(self.losses[places].mean()),
            start=start,
            stuck=found.tied > 0 if few else start > candidates.chance + MOVED,
            held=float(self.weights[found.places].sum()),
            fractional=int(((self.weights > 0) & (self.weights < 1)).sum()),
            reach=self.reach,
            halved=self.halved,
        )
