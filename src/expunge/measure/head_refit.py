"""What a new head finds in a model's features: outputs may hide what the layers before them still tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from expunge.core.selection.ridge import Ridge, class_codes, standardised
from expunge.core.statistics.margins import correct, margins
from expunge.core.statistics.means import mean_interval
from expunge.core.statistics.proportions import proportion
from expunge.core.values import Figure
from expunge.measure.contract import Judging, Probe, ProbeRole
from expunge.measure.readings import Arrays, RequestReading, RequestRows
from expunge.measure.trial import Answers, Beside, Ground, Whose
from expunge.models.last_layer import entering, last_linear
from expunge.schedule.recipe import Recipe
from expunge.tasks import TASKS
from expunge.tasks.task import Batch, ClassTask, Task
from expunge.train.answers import answers
from expunge.train.examples import Examples


def features(recipe: Recipe, model: nn.Module, examples: Examples, slots: np.ndarray) -> Arrays:
    """ "features", what goes into the last layer where that is linear, and "labels"; nothing where it is not."""
    layer, task = last_linear(model), TASKS[recipe.task]
    if layer is None or recipe.shards > 1 or not isinstance(task, ClassTask):
        return {}
    with entering(layer) as seen:

        def ask(model: nn.Module, _: Task, rows: Batch) -> Arrays:
            seen.clear()
            task.outputs(model, rows)
            labels = task.labels(rows).cpu().numpy()
            return {"features": seen[-1].double().flatten(1).cpu().numpy(), "labels": labels} if seen else {}

        return answers(recipe, model, examples, slots, ask)


@dataclass(frozen=True, kw_only=True)
class RefittedHead(RequestReading):
    """What a ridge regression on the features of R answers to F: "margin", and "correct" or not.

    Features have standard deviation 1 over R; classes are told apart one against all.
    """

    name = "refitted-head"
    penalty: float = 4.0

    def __call__(self, model: nn.Module, recipe: Recipe, examples: Examples, rows: RequestRows) -> Arrays:
        told, asked = (features(recipe, model, examples, slots) for slots in (rows.retain, rows.forget))
        if told and not all(np.isfinite(part["features"]).all() for part in (told, asked)):
            return {"margin": np.full(len(rows.forget), np.nan)}
        if not told or not (told["features"].std(axis=0) > 0).any():
            return {}
        known, unknown = (standardised(part["features"], told["features"]) for part in (told, asked))
        fit = Ridge.fit(known, class_codes(told["labels"], len(recipe.classes)), self.penalty)
        scores, labels = unknown @ fit.weights, asked["labels"]
        return {"margin": margins(scores, labels), "correct": correct(scores, labels)}


@dataclass(frozen=True, kw_only=True)
class _Refitted(Probe):
    """Base of what is said of a refitted head."""

    role = ProbeRole.FORGETTING
    asked = "head-refit"
    reads = (RefittedHead(),)
    untold = "no head to refit: needs classes, one shard, and a last layer that is linear, whose inputs vary"


@dataclass(frozen=True, kw_only=True)
class HeadRefit(_Refitted):
    """Share of the forget set that the model answers rightly once its last layer is fitted anew on the retain set."""

    name = "head-refit"

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return proportion(own.of(Whose.FORGET, self.reads[0])["correct"])


@dataclass(frozen=True, kw_only=True)
class HeadRefitMargin(_Refitted):
    """Mean margin of the forget set's true labels once the last layer is fitted anew on the retain set."""

    name = "head-refit-margin"
    scale = "margin"

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return mean_interval(own.of(Whose.FORGET, self.reads[0])["margin"], scale=self.scale, unit="example")


@dataclass(frozen=True, kw_only=True)
class RequiredHeadRefit(HeadRefit):
    """Share of the forget set that the model answers rightly once its last layer is fitted anew on the retain set.

    It judges a run that left layers as they were: whatever these remember is still there, under a new head.
    """

    judging = Judging.FEATURES
