"""Unlearning in the last layers of a model, the rest frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from expunge.core.errors import InvalidArgument, UnsupportedEver
from expunge.core.values import Exact, Guarantee
from expunge.methods.contract import Given, Need, Outcome, Parent, check
from expunge.methods.fields import Among, Between, tuned
from expunge.methods.objective_method import ObjectiveMethod, Prepared
from expunge.schedule.plan import Plan, Stretch, TrainingPlan, Walk
from expunge.schedule.recipe import Recipe
from expunge.train.objective import Loss, StepBatch


class LayerShare(Enum):
    """A share of the layers instead of their number: half of them, rounded down but one at least, or all."""

    HALF = "half"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class LastLayers(ObjectiveMethod):
    """Train the last ``layers`` of the model on the retain set; the others keep their bits, buffers included.

    A layer is a module that owns weights itself, in the order in which the model lists its modules. Norms and other
    modules that own vectors or buffers alone belong to the layer before them, or to the first. Frozen batch norms are
    in eval mode.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.RETAIN})
    work = "1 a retained row and pass, though less is computed in the frozen layers"
    rate: float = tuned(0.01, Between(1e-4, 1e-1))
    layers: int | LayerShare = tuned(1, Among((1, 2, 3, LayerShare.HALF, LayerShare.ALL)))  # noqa: RUF009 - as every tuned field

    def __post_init__(self) -> None:
        super().__post_init__()
        check(isinstance(self.layers, LayerShare) or self.layers >= 1, f"layers {self.layers} must be at least 1")

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        count = len(layers_of(parent.model))
        if not isinstance(self.layers, LayerShare) and self.layers > count:
            raise InvalidArgument(f"layers {self.layers} of a model that has {count}: ask for {count} at most, or all")

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        self.freeze(student)
        return Prepared()

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.retain_loss(student)

    def freeze(self, model: nn.Module) -> list[str]:
        """Freeze what comes before the last layers; the names of the modules that are left to train."""
        layers = layers_of(model)
        count = self.layers if isinstance(self.layers, int) else len(layers)
        if self.layers is LayerShare.HALF:
            count = max(1, len(layers) // 2)
        chosen = [name for layer in layers[-count:] for name in layer]
        modules = dict(model.named_modules())
        trained = {id(one) for name in chosen for one in modules[name].parameters(recurse=False)}
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.requires_grad and id(parameter) in trained)
        for layer in layers[:-count]:
            for name in layer:
                if any(True for _ in modules[name].buffers(recurse=False)):
                    modules[name].training = False
        return chosen


@dataclass(frozen=True, kw_only=True)
class FineTuneLastLayers(LastLayers):
    """Keep training the last layers alone on the retain set (CF-k; Goel et al., 2022)."""

    name = "fine-tune-last-layers"
    aliases = ("cf-k",)
    citation = "Goel et al., 2022"


class StepsOf(Enum):
    """Whose steps: the method's own within the budget, or those of the recipe's training with empty chairs."""

    OWN = "own"
    RECIPE = "recipe"


@dataclass(frozen=True, kw_only=True)
class RetrainLastLayers(LastLayers):
    """Draw the last layers' initial weights again and train them alone on the retain set (EU-k; Goel et al., 2022).

    Called exact in its paper, which it is not: the frozen layers saw the forget set. With all layers and the recipe's
    schedule, carried out to its end, it is ``retrain`` to the bit, and only then exact.
    """

    name = "retrain-last-layers"
    aliases = ("eu-k",)
    needs = frozenset({Need.RETAIN, Need.INIT})
    citation = "Goel et al., 2022"
    schedule: StepsOf = StepsOf.OWN

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.schedule is StepsOf.RECIPE:
            defaults = {item.name: item.default for item in fields(self)}
            for item in fields(ObjectiveMethod):
                value = getattr(self, item.name)
                check(
                    value == defaults[item.name],
                    f"{item.name} {value} with schedule recipe: the recipe's own training decides it; leave it out",
                )

    @property
    def reach(self) -> type[Guarantee]:
        """Nothing of the original is left where every layer is drawn anew: then it can be as good as retraining."""
        return Exact if self.layers is LayerShare.ALL and self.schedule is StepsOf.RECIPE else self.ceiling

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        super().refuse(parent, forget)
        if self.schedule is StepsOf.RECIPE and parent.recipe.perturbation:
            raise UnsupportedEver(
                f"{self.name} with schedule recipe on a recipe with a perturbation: its secret noise is for certified "
                "removal alone; use retrain"
            )

    def unlearn(self, given: Given) -> Outcome:
        outcome = super().unlearn(given)
        total = given.schedule.total_steps(0)
        refused = given.exact_refused
        if refused is None and outcome.steps < total:
            refused = f"the budget ended the recipe's training after {outcome.steps} of {total} steps"
        return replace(outcome, exact=refused is None, exact_refused=refused)

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        initial = given.initial()
        chosen = self.freeze(student)
        if not self.step_follows(given, student, spent=0):  # layers drawn anew and never trained are no result
            return Prepared(still="no step was taken: rate, epochs or budget is zero or covers none")
        draw_again(student, initial, chosen)
        return Prepared()

    def stretches(self, recipe: Recipe) -> Sequence[Stretch]:
        if self.schedule is StepsOf.OWN:
            return super().stretches(recipe)
        size = recipe.batch_size
        return (Stretch(walk=Walk.RETAIN, optimiser=recipe.optimiser, retain_batch=size, forget_batch=size),)

    def plan(self, given: Given, student: nn.Module, teacher: nn.Module | None, *, still: bool, kept: int = 0) -> Plan:
        """The steps of the chosen schedule; none where no rows come up, or the first of them pass the budget."""
        own = still or self.schedule is StepsOf.OWN
        plan = (
            super().plan(given, student, teacher, still=still, kept=kept)
            if own
            else TrainingPlan(given.recipe, given.schedule, 0, given.emptied)
        )
        first = next((step for step in map(plan.step, range(plan.total)) if step.parts), None)
        if first is not None:
            cost = self.objective(student, StepBatch(first, plan, given.examples, given.task), teacher).thirds
            if given.meter.fits(cost):
                return plan
        return super().plan(given, student, teacher, still=True)


def layers_of(model: nn.Module) -> list[list[str]]:
    """Names of the modules that make up each layer, first layer first."""
    layers: list[list[str]] = []
    early: list[str] = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if not own and not any(True for _ in module.buffers(recurse=False)):
            continue
        if not isinstance(module, nn.LayerNorm) and any(parameter.dim() > 1 for parameter in own):
            layers.append([*early, name])
            early = []
        else:
            (layers[-1] if layers else early).append(name)
    return layers or [early]


@torch.no_grad()
def draw_again(model: nn.Module, initial: nn.Module, names: Sequence[str]) -> None:
    """Weights and buffers of some modules as the recipe draws them, in place: batch-norm statistics start anew."""
    fresh, modules = dict(initial.named_modules()), dict(model.named_modules())
    for name in names:
        for one, other in (
            (modules[name].parameters(recurse=False), fresh[name].parameters(recurse=False)),
            (modules[name].buffers(recurse=False), fresh[name].buffers(recurse=False)),
        ):
            for tensor, source in zip(one, other, strict=True):
                tensor.copy_(source)
