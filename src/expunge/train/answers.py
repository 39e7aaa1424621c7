"""What a model answers to rows as they are: what is asked of each; answers that are not finite are no result."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from expunge.core.errors import Diverged
from expunge.data.dataset import Dataset
from expunge.records.learnt import Learnt
from expunge.schedule.recipe import Recipe
from expunge.tasks import TASKS
from expunge.tasks.task import Batch, Task
from expunge.train.examples import Examples
from expunge.train.profile import precision_of

ROWS = 64
CHUNK = 1024
ASKED = 10_000  # rows of a split at most that say what a model has learnt


Ask = Callable[[nn.Module, Task, Batch], Mapping[str, np.ndarray]]


def answers(recipe: Recipe, model: nn.Module, examples: Examples, slots: np.ndarray, ask: Ask) -> dict[str, np.ndarray]:
    """What is asked of one row at least, in eval mode at the recipe's precision, rows not augmented."""
    task = TASKS[recipe.task]
    with torch.no_grad(), evaluating(model), precision_of(recipe, examples.device):
        found = [
            ask(model, task, examples.batch(slots[start : start + CHUNK])) for start in range(0, len(slots), CHUNK)
        ]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def signals(recipe: Recipe, model: nn.Module, examples: Examples, slots: np.ndarray) -> dict[str, np.ndarray]:
    """The task's signals of one row at least."""
    return answers(recipe, model, examples, slots, lambda model, task, rows: task.signals(model, rows))


def learnt(
    recipe: Recipe,
    model: nn.Module,
    examples: Examples,
    present: np.ndarray,
    calibration: Dataset,
    tiers: np.ndarray | None = None,
) -> tuple[Learnt, ...]:
    """How well a finished model answers its training rows and those for calibration; of many some that lie evenly.

    Where slots have ``tiers``, the training rows of each once more.

    A copy is asked: it is a look at the result, which changes nothing of it, and no part of anybody's work.
    """
    found = [_learnt(recipe, model, "train", examples, present)] if len(present) else []
    if len(calibration):
        others = Examples(recipe, calibration, examples.device)
        found.append(_learnt(recipe, model, "calibration", others, np.arange(len(calibration))))
    if tiers is not None:
        by_tier = [(tier, present[tiers[present] == tier]) for tier in np.unique(tiers[present]).tolist()]
        found += [replace(_learnt(recipe, model, "train", examples, slots), tier=tier) for tier, slots in by_tier]
    return tuple(found)


def _learnt(
    recipe: Recipe, model: nn.Module, split: Literal["train", "calibration"], examples: Examples, slots: np.ndarray
) -> Learnt:
    asked = slots[np.linspace(0, len(slots) - 1, min(len(slots), ASKED)).astype(np.int64)]
    told = TASKS[recipe.task].fit(signals(recipe, copy.deepcopy(model), examples, asked))
    figures = {name: value for name, value in told.items() if math.isfinite(value)}
    return Learnt(split=split, rows=len(asked), figures=figures)


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Eval mode meanwhile; every module gets its own mode back."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def check_answers(recipe: Recipe, model: nn.Module, examples: Examples, slots: np.ndarray) -> None:
    """The first rows of some slots, in eval mode; a look at the result, no part of anybody's work."""
    rows = examples.batch(slots[:ROWS])
    with torch.no_grad(), evaluating(model), precision_of(recipe, examples.device):
        finite = torch.isfinite(TASKS[recipe.task].outputs(model, rows)).flatten(1).all(dim=1)
    if not bool(finite.all()):
        raise Diverged(
            f"the model answers {int((~finite).sum())} of {len(rows)} rows with numbers that are not finite: no result "
            "is written; lower the rate, or repair the model or the data"
        )
