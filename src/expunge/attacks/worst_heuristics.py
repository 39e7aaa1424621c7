"""One score for each row, and the rows at one end of it: what any search must beat."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from expunge.attacks.contract import Candidates, Chooser, Chosen, End, check
from expunge.core.errors import UnsupportedEver
from expunge.core.statistics.margins import probabilities
from expunge.models.resolver import build
from expunge.schedule.plan import TrainingPlan
from expunge.train.answers import signals
from expunge.train.run import Run
from expunge.train.segment import StepRunner


@dataclass(frozen=True, kw_only=True)
class Heuristic(Chooser):
    """The rows of lowest or highest score; of classes, by the mean over their rows."""

    end: End = End.LOW

    @property
    def label(self) -> str:
        return f"{self.name} {self.end.value}"

    def choose(self, candidates: Candidates) -> Chosen:
        kind = replace(self, end=End.LOW)
        if kind not in candidates.scored:
            candidates.scored[kind] = candidates.of_places(self.scores(candidates))
        scores = candidates.scored[kind]
        found = candidates.highest(-scores if self.end is End.LOW else scores)
        return Chosen(
            places=found.places,
            tied=found.tied,
            measured=f"score of {self.name}",
            value=lambda places: float(scores[places].mean()),
        )

    @abstractmethod
    def scores(self, candidates: Candidates) -> np.ndarray:
        """Of every row."""


@dataclass(frozen=True, kw_only=True)
class OriginalLoss(Heuristic):
    """The loss of the original: low are the rows that it knows best."""

    name = "loss"
    finds = "one end of the original's loss"

    def scores(self, candidates: Candidates) -> np.ndarray:
        return candidates.original["loss"]


@dataclass(frozen=True, kw_only=True)
class EarlyError(Heuristic):
    """EL2N: the length of the error vector early in training, a mean over trainings (Paul et al., NeurIPS 2021)."""

    name = "el2n"
    finds = "one end of the error early in training"
    share: float = 0.1
    trainings: int = 3

    def __post_init__(self) -> None:
        check(0 < self.share <= 1, f"share {self.share} of the training must lie above 0, and be 1 at most")
        check(self.trainings >= 1, f"trainings {self.trainings} must be a whole number from 1")

    def refuse(self, run: Run, *, whole_classes: bool) -> None:
        if run.told.adopted is not None:
            raise UnsupportedEver(
                f"el2n on {run.path}, whose model was trained elsewhere: the beginning of its training cannot be "
                "carried out; choose by `heuristic` loss or moderate"
            )

    def scores(self, candidates: Candidates) -> np.ndarray:
        return np.mean([self._one(candidates, number) for number in range(self.trainings)], axis=0)

    def _one(self, candidates: Candidates, number: int) -> np.ndarray:
        """Under a seed of its own, so that neither the original nor a reference is one of these trainings."""
        run = candidates.run
        seed = candidates.stream("early", number).word() >> 11
        recipe = replace(run.recipe, seed=seed, slices=1, perturbation=0.0)
        schedule = run.schedule_of(recipe)
        runner = StepRunner(recipe, candidates.examples, build(recipe, schedule.seed))
        plan = TrainingPlan(recipe, schedule, 0, run.tombstones)
        runner.run(plan, 0, max(1, round(self.share * plan.total)), progress=candidates.progress)
        candidates.meter.thirds += runner.meter.thirds
        candidates.meter.forwards(len(candidates.slots))
        beliefs = signals(recipe, runner.model, candidates.examples, candidates.slots)["beliefs"]
        errors = probabilities(beliefs)
        errors[np.arange(len(errors)), candidates.labels] -= 1.0
        return np.linalg.norm(errors, axis=1)


@dataclass(frozen=True, kw_only=True)
class Moderate(Heuristic):
    """How far the distance to the class's median feature is from the class's median distance (Xia et al., ICLR 2023).

    High are both extremes, whose complement is the middle band that a moderate coreset keeps. Features are what goes
    into the last linear layer of the original.
    """

    name = "moderate"
    finds = "one end of how far a row is from the middle of its class, in the original's features"
    end: End = End.HIGH

    def scores(self, candidates: Candidates) -> np.ndarray:
        features, found = candidates.features, np.zeros(len(candidates.slots))
        for label in np.unique(candidates.labels):
            rows = np.flatnonzero(candidates.labels == label)
            distance = np.linalg.norm(features[rows] - np.median(features[rows], axis=0), axis=1)
            found[rows] = np.abs(distance - np.median(distance))
        return found
