"""How models differ inside. Permuted units give a distance with an equal function: nothing here decides anything."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from torch import nn

from expunge.core.statistics.arrays import Array
from expunge.core.streams import Stream, stable_order
from expunge.core.values import Figure, Undecided
from expunge.measure.contract import Diagnostic
from expunge.measure.head_refit import features
from expunge.measure.readings import Arrays, RequestReading, RequestRows
from expunge.measure.relearn import over_references
from expunge.measure.trial import Answers, Beside, Ground, Whose
from expunge.schedule.recipe import Recipe
from expunge.train.examples import Examples

SAMPLE = 500


@dataclass(frozen=True, kw_only=True)
class AllWeights(RequestReading):
    """The "weights" of a model in one row, without buffers."""

    name = "weights"

    def __call__(self, model: nn.Module, recipe: Recipe, examples: Examples, rows: RequestRows) -> Arrays:
        if recipe.accumulated:  # what a column of its features stands for may differ from model to model
            return {}
        return {"weights": np.concatenate([one.detach().cpu().flatten().numpy() for one in model.parameters()])}


@dataclass(frozen=True, kw_only=True)
class LastFeatures(RequestReading):
    """What goes into the last linear layer, "forget" and "retain", rows first; of retained rows a sample by stream."""

    name = "last-features"

    def __call__(self, model: nn.Module, recipe: Recipe, examples: Examples, rows: RequestRows) -> Arrays:
        order = stable_order(Stream(rows.seed, "probe/representation").words(len(rows.retain)))
        asked = {"forget": rows.forget, "retain": np.sort(rows.retain[order[:SAMPLE]])}
        told = {name: features(recipe, model, examples, slots) for name, slots in asked.items()}
        return {name: part["features"] for name, part in told.items() if part}


@dataclass(frozen=True, kw_only=True)
class Representation(Diagnostic):
    """Base of what is averaged over references; these are held against each other likewise."""

    asked = "representation"
    references_needed = 1
    untold = "no features: needs classes, one shard, and a last layer that is linear"

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        found = np.array([self.against(own, reference, beside) for reference in beside.references])
        if not np.isfinite(found).all():
            return Undecided("nothing to compare with: the original, or the features of a model, do not vary")
        return over_references(found, self.scale)

    @abstractmethod
    def against(self, own: Answers, reference: Answers, beside: Beside) -> float:
        """The figure of a model beside one reference; NaN where there is none."""


@dataclass(frozen=True, kw_only=True)
class WeightDistance(Representation):
    """‖θ − θ_r‖ / ‖θ_o − θ_r‖ over references: how far off the weights lie, beside the original's. No evidence."""

    name = "weight-distance"
    scale = "ratio"
    original_needed = True
    reads = (AllWeights(),)

    def against(self, own: Answers, reference: Answers, beside: Beside) -> float:
        assert beside.original is not None
        mine, theirs, first = (
            one.of(Whose.FORGET, self.reads[0])["weights"].astype(np.float64)
            for one in (own, reference, beside.original)
        )
        whole = float(np.linalg.norm(first - theirs))
        return float(np.linalg.norm(mine - theirs)) / whole if whole else np.nan


@dataclass(frozen=True, kw_only=True)
class FeatureSimilarity(Representation):
    """Linear CKA of the last features of a retain sample, model and references (Kornblith, 2019). No evidence."""

    name = "feature-similarity"
    reads = (LastFeatures(),)

    def against(self, own: Answers, reference: Answers, beside: Beside) -> float:
        mine, theirs = (one.of(Whose.FORGET, self.reads[0])["retain"] for one in (own, reference))
        return linear_cka(mine, theirs)


@dataclass(frozen=True, kw_only=True)
class ActivationDistance(Representation):
    """Mean distance of the last features of the forget set, model and references. No evidence."""

    name = "activation-distance"
    scale = "features"
    reads = (LastFeatures(),)

    def against(self, own: Answers, reference: Answers, beside: Beside) -> float:
        mine, theirs = (one.of(Whose.FORGET, self.reads[0])["forget"] for one in (own, reference))
        return float(np.linalg.norm(mine - theirs, axis=1).mean())


def linear_cka(first: Array, second: Array) -> float:
    """‖YᵀX‖² / (‖XᵀX‖·‖YᵀY‖) of centred features, rows alike: 1 up to rotation and scale; NaN where one is constant."""
    one, other = (values - values.mean(axis=0) for values in (first, second))
    scale = float(np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other))
    return float(np.linalg.norm(other.T @ one) ** 2) / scale if scale else np.nan
