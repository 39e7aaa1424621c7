"""Do somebody's initial weights come from the seed alone? What is known to bring others in is said, in one clause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath

import torch

from expunge.core.hashing import sha256
from expunge.core.wording import counted
from expunge.models.front import Fronted
from expunge.models.resolver import beyond_sources, build, read_beside
from expunge.models.zoo import ZOO
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.state import weights_of

MOST_FIXED = 16  # numbers that weights may share over seeds, such as the 0 of biases and the 1 of norms
LEAST_COMPARED = 64  # entries of a matrix whose draws of two seeds are compared
FAR = 6.0  # standard errors from no correlation; two independent draws come here once in 10⁹
MOST_NAMED = 3


def not_of_the_seed(recipe: Recipe, schedule: Schedule) -> str | None:
    """Why initial weights, or answers, may hold what no seed gave; None where nothing shows it, and for our models.

    A base is named and not looked at. What hides well enough from this is still somebody's code: whoever relies on it
    reads its sources.
    """
    if recipe.model in ZOO:
        return None
    seeds = schedule.seed, sha256(b"expunge/other-seed/1", schedule.seed)
    first, other = (build(replace(recipe, base=None), seed) for seed in seeds)
    beyond = beyond_sources(recipe.model, first)
    return (
        recipe.crowded_options
        or opened_beside(recipe)
        or (None if beyond is None else f"model {recipe.model!r} has sources that do not say all: {beyond}")
        or _alike(recipe, first, other)
    )


def opened_beside(recipe: Recipe) -> str | None:
    """What a model's code opened so far beside its rows, as the reason why it is not exact."""
    names = [PurePath(name).name for name in read_beside(recipe)]
    if not names:
        return None
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return (
        f"the code of model {recipe.model!r} opened {', '.join(map(repr, names[:MOST_NAMED]))}{more}, so weights or "
        "answers may hold what neither seed nor rows gave"
    )


def _alike(recipe: Recipe, first: Fronted, other: Fronted) -> str | None:
    """Weights that two seeds share: numbers that are no plain constants, or draws that go together."""
    same: list[torch.Tensor] = []
    for name, one, two in _pairs(first, other):
        if one.shape != two.shape:
            return None  # whatever the shapes hang on, a checkpoint cannot be taken up either
        equal = one == two
        same.append(one[equal])
        apart = ~equal & one.isfinite() & two.isfinite()
        if one.dim() > 1 and int(apart.sum()) >= LEAST_COMPARED and _together(one[apart], two[apart]):
            return f"weights {name!r} of model {recipe.model!r} go together for two seeds: they hold what no seed gave"
    kept = torch.cat(same).unique() if same else torch.empty(0)
    if len(kept) <= MOST_FIXED:
        return None
    return (
        f"{counted(len(kept), 'different number')} in the initial weights of model {recipe.model!r} are the same for "
        "two seeds, so no seed gave them: draw weights from torch's generator as the factory finds it"
    )


def _pairs(first: Fronted, other: Fronted) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Parameters and buffers of real or complex numbers, of both models."""
    there = weights_of(other)
    for name, value in weights_of(first).items():
        if name in there and (value.is_floating_point() or value.is_complex()):
            yield name, _as_real(value), _as_real(there[name])


def _as_real(value: torch.Tensor) -> torch.Tensor:
    return (torch.view_as_real(value) if value.is_complex() else value).double()


def _together(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Whether draws are correlated: the sum of their products in units of what independent ones would come to."""
    products = (one - one.mean()) * (two - two.mean())
    spread = products.square().sum().sqrt()
    return bool(spread > 0) and abs(float(products.sum() / spread)) > FAR
