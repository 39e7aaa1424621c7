"""Do initial weights follow their law? One Kolmogorov–Smirnov test per layer, as Proof-of-Learning asks.

A law says how a layer's numbers are spread, not where each of them stands: numbers that were sorted into another order
pass just as well. And a test at level 0.01 for each of L layers refuses about L honest initialisations in a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import ks_2samp, kstest
from torch import nn

from expunge.core.hashing import sha256, u64
from expunge.models.resolver import build, build_empty, resolve
from expunge.records.states import MODEL_PREFIX
from expunge.schedule.recipe import Recipe
from expunge.train.names import parameter_names

LEAST_P = 0.01  # a layer with a smaller p-value is refused
DRAWS = 4  # models that stand for the law of a factory which is not ours


@dataclass(frozen=True)
class Law:
    """How one layer is drawn: uniform in ±bound, always the same numbers, or like the draws of its factory."""

    bound: float | None = None
    constant: np.ndarray | None = None
    draws: np.ndarray | None = None

    def p_value(self, values: np.ndarray) -> float:
        """Of the two-sided test; a constant is met exactly (1) or not at all (0)."""
        flat = values.reshape(-1).astype(np.float64)
        if not np.isfinite(flat).all():
            return 0.0
        if self.bound is not None:
            return _p(kstest(flat, "uniform", args=(-self.bound, 2 * self.bound)))
        if self.draws is not None:
            return _p(ks_2samp(flat, self.draws))
        return float(self.constant is not None and np.array_equal(flat, self.constant.reshape(-1).astype(np.float64)))


def _p(result: Any) -> float:
    return float(result.pvalue)


def init_p_values(recipe: Recipe, state: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """The p-value of every parameter of an initial state, by its name in the model."""
    return {
        name.removeprefix(MODEL_PREFIX): law.p_value(state[name].detach().cpu().float().numpy())
        for name, law in laws(recipe).items()
    }


def laws(recipe: Recipe) -> dict[str, Law]:
    """The law of every parameter by its name in a checkpoint."""
    names = parameter_names(recipe)
    return _laws_of_the_zoo(recipe, names) if resolve(recipe.model)[1] else _laws_by_drawing(recipe, names)


def _laws_of_the_zoo(recipe: Recipe, names: tuple[str, ...]) -> dict[str, Law]:
    """Dense and convolution weights are uniform (see ``models.zoo.draw_weights``), all others constant."""
    model = build_empty(recipe)
    found = {name: Law(constant=_numbers(model, name)) for name in names}
    weighted = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for name, module in weighted:
        scale = 1.0 if module is weighted[-1][1] else 6.0
        found[f"{MODEL_PREFIX}{name}.weight"] = Law(bound=math.sqrt(scale / module.weight[0].numel()))
    return found


def _laws_by_drawing(recipe: Recipe, names: tuple[str, ...]) -> dict[str, Law]:
    """What the factory gives under a few seeds of ours; a layer that never changes is a constant."""
    models = [build(recipe, sha256(b"expunge/pol/law/1", u64(number))) for number in range(DRAWS)]
    found: dict[str, Law] = {}
    for name in names:
        drawn = [_numbers(model, name).reshape(-1) for model in models]
        fixed = all(np.array_equal(drawn[0], other) for other in drawn[1:])
        found[name] = Law(constant=drawn[0]) if fixed else Law(draws=np.concatenate(drawn).astype(np.float64))
    return found


def _numbers(model: nn.Module, name: str) -> np.ndarray:
    return model.get_parameter(name.removeprefix(MODEL_PREFIX)).detach().cpu().float().numpy()
