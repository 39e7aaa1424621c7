"""Writing what a run came to: its weights, then run.json with status finished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from expunge.core.values import Cost, Guarantee
from expunge.records.run_file import Result, RunFile
from expunge.schedule.recipe import Recipe
from expunge.train.carried import Carried
from expunge.train.loading import assemble
from expunge.train.run import Run, write_run_file
from expunge.train.state import check_finite, copied, weights_digest, weights_of, write_tensors


def finish(
    folder: Path,
    told: RunFile,
    recipe: Recipe,
    carried: Carried,
    *,
    guarantee: Guarantee,
    exact_refused: str | None,
    steps: int,
) -> Run:
    """Write the weights and complete run.json."""
    return finish_model(
        folder,
        told,
        assemble(recipe, carried.members),
        alive=tuple(member is not None for member in carried.members),
        guarantee=guarantee,
        exact_refused=exact_refused,
        cost=Cost(carried.thirds / 3, round(carried.seconds, 3), row_sums=carried.row_sums),
        steps=steps,
        sums=carried.sums,
    )


def finish_model(
    folder: Path,
    told: RunFile,
    model: torch.nn.Module,
    *,
    alive: tuple[bool, ...],
    guarantee: Guarantee,
    exact_refused: str | None,
    cost: Cost,
    steps: int,
    sums: str | None = None,
) -> Run:
    """Write a model's weights, then run.json with status finished."""
    weights = copied(weights_of(model))
    if sums is None:  # those of sums are whole numbers, or rounded ones
        check_finite(weights)
    write_tensors(folder / "model.safetensors", weights)
    result = Result(
        weights_digest=weights_digest(model),
        parameters=sum(value.numel() for value in (weights.values() if sums else model.parameters())),
        alive=alive,
        guarantee=guarantee,
        exact_refused=exact_refused,
        example_steps=cost.example_steps,
        seconds=cost.seconds,
        steps=steps,
        row_sums=cost.row_sums,
        sums=sums,
    )
    complete = replace(told, status="finished", result=result)
    write_run_file(folder, complete)
    return Run(folder, complete)
